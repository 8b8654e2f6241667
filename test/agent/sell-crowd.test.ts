/**
 * Identities behind one vouch, by the rules alone: what the sellers lose does not depend on how many they are. CROWD=all is
 * a hundred thousand of them.
 */
import { describe, expect, it } from 'vitest'
import { creditLineOf, vouchAccount, type CreditLine } from '../../agent/trust/trust.ts'
import { debtChanges, newTab, owedOn, takeRequest, type LaneTerms, type Tab } from '../../agent/sell/tab.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { evaluate, type Edge } from '../../protocol/trust.ts'
import { Problem } from '../../protocol/problem.ts'

const CROWD = process.env['CROWD'] === 'all' ? 100_000 : 2_000
const PATIENCE_MS = 600_000
const SELLERS = 50
const NOW = 1_000_000
const NOBODY_DISTRUSTED = { distrusted: new Set<string>(), halved: new Map<string, number>(), follows: false }

function idOf(number: number): Bytes {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}
const edge = (issuer: number, subject: number, depth: number, credit: number): Edge => ({
  issuer: idOf(issuer),
  subject: idOf(subject),
  depth,
  credit,
  expires: NOW * 2,
})

/** As much of a lane's terms as credit goes by. */
const termsOf = (payer: string): LaneTerms =>
  ({ payer, mode: 'credit', cap: 64, expires: NOW * 1000 }) as Partial<LaneTerms> as LaneTerms

/** A seller's accounts; each of the crowd takes what it is given and pays nothing. */
function robbed(lines: ReadonlyMap<string, CreditLine>): Map<string, number> {
  const owed = new Map<string, number>()
  for (const [payer, line] of lines) {
    const terms = termsOf(payer)
    let tab: Tab = newTab(NOW)
    for (let index = 0; ; index++) {
      const request = { index, tick: undefined, bringsLane: true, nowMs: NOW, line }
      const step = takeRequest(terms, tab, request, (account) => owed.get(account) ?? 0)
      if (step.refusal) break
      for (const [account, more] of debtChanges(terms, tab, step.tab))
        owed.set(account, (owed.get(account) ?? 0) + more)
      tab = step.tab
    }
    if (owedOn(tab) === 0) owed.delete(payer)
  }
  return owed
}

const linesOf = (edges: readonly Edge[]): Map<string, CreditLine> => {
  const verdicts = evaluate(idOf(0), edges)
  // The farthest first: who stands near takes what is left.
  return new Map([...verdicts].toReversed().map(([id, verdict]) => [id, creditLineOf(verdict, NOBODY_DISTRUSTED)]))
}

const account = (issuer: number, subject: number): string =>
  vouchAccount({ issuer: idOf(issuer), subject: idOf(subject) })

describe('many identities', { timeout: PATIENCE_MS }, () => {
  it('behind one vouch of credit 16 each try fifty sellers, and take 16 unpaid pieces from each: 800', () => {
    const crowd = Array.from({ length: CROWD }, (_, i) => edge(1, i + 2, 4, 1_000_000))
    const lines = linesOf([edge(0, 1, 4, 16), ...crowd])
    expect(lines.size).toBe(CROWD + 1)
    const taken = Array.from({ length: SELLERS }, () => robbed(lines).get(account(0, 1)))
    expect(taken).toEqual(Array(SELLERS).fill(16))
  })

  it('behind a vouch deep in a chain take no more than it allows, though the vouches before it allow more', () => {
    const crowd = Array.from({ length: CROWD }, (_, i) => edge(2, i + 3, 0, 1_000_000))
    const owed = robbed(linesOf([edge(0, 1, 4, 64), edge(1, 2, 4, 5), ...crowd]))
    expect(owed.get(account(1, 2))).toBe(5)
    expect(owed.get(account(0, 1))).toBe(5 + 59)
    expect(owed.get(toHex(idOf(1)))).toBe(59)
  })
})

it('a lane without a tick is refused no other way', () => {
  const line = { credit: 0, vouches: [] }
  const request = { index: 0, tick: undefined, bringsLane: true, nowMs: NOW, line }
  const { refusal } = takeRequest(termsOf('a'), newTab(NOW), request, () => 0)
  expect(refusal).toBeInstanceOf(Problem)
  expect(refusal?.code).toBe('credit-exceeded')
})
