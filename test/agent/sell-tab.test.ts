import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import {
  acceptTick,
  newTab,
  owedOn,
  takeLastTick,
  takeRequest,
  type LaneTerms,
  type Step,
  type Tab,
} from '../../agent/sell/tab.ts'
import { toBase64url, toHex, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { makeChain, type Tick } from '../../protocol/payword.ts'
import { Problem } from '../../protocol/problem.ts'
import { START_MS } from './hand-clock.ts'

const FIRST = 2
const CAP = 10
const shape = { units: 20, segment: 4 }
const chain = makeChain(sha256(utf8('seed')), shape)
const id = sha256(utf8('lane'))

const termsOf = (mode: LaneTerms['mode']): LaneTerms => ({
  id,
  lane: toHex(id),
  mode,
  ledger: id,
  declaration: id,
  payer: toHex(id),
  payerKeys: [],
  content: toHex(id),
  price: 1n,
  cap: CAP,
  first: FIRST,
  tickRoot: chain.root,
  shape,
  expires: START_MS + 2 * limits.expiryMarginMs,
  disputeWindow: limits.clockSkewMs,
})
const prepaid = termsOf('prepaid')
const onCredit = termsOf('credit')

const tickAt = (unit: number): Tick => ({
  lane: id,
  unit,
  link: chain.link(FIRST, unit),
  proof: chain.proof(FIRST + Math.floor((unit - 1) / shape.segment)),
})
const bare = ({ lane, unit, link }: Tick): Tick => ({ lane, unit, link })

const lineOf = (credit: number) => ({ credit, vouches: [{ account: 'vouch', most: credit }] })

const pay = (tab: Tab, unit: number, index: number, bringsLane = false): Step =>
  takeRequest(prepaid, tab, { index, tick: tickAt(unit), bringsLane, nowMs: START_MS, line: lineOf(0) }, () => 0)
const owe = (tab: Tab, paid: number, index: number, credit = 4, owedElsewhere = 0): Step =>
  takeRequest(
    onCredit,
    tab,
    { index, tick: paid > 0 ? tickAt(paid) : undefined, bringsLane: false, nowMs: START_MS, line: lineOf(credit) },
    () => owedOn(tab) + owedElsewhere,
  )

const codeOf = (work: () => unknown): string => {
  try {
    work()
    return 'accepted'
  } catch (error) {
    return error instanceof Problem ? error.code : String(error)
  }
}

describe('a prepaid tab', () => {
  it('takes one unit a piece, across segments', () => {
    let tab = newTab(START_MS)
    for (let unit = 1; unit <= CAP; unit++) tab = pay(tab, unit, unit * 3).tab
    expect(tab).toMatchObject({ unit: CAP, served: CAP, piece: CAP * 3 })
  })

  it('keeps the proof of each segment it enters, and no other', () => {
    let tab = newTab(START_MS)
    const proofs = [1, 2, 3, 4, 5].map((unit) => (tab = pay(tab, unit, 0).tab).proof)
    const proofOf = (segment: number) => chain.proof(segment).map(toBase64url)
    expect(proofs).toEqual([...Array.from({ length: 4 }, () => proofOf(FIRST)), proofOf(FIRST + 1)])
  })

  it('wants a proof with the first tick of a segment', () => {
    const request = { index: 0, tick: bare(tickAt(1)), bringsLane: false, nowMs: START_MS, line: lineOf(0) }
    expect(codeOf(() => takeRequest(prepaid, newTab(START_MS), request, () => 0))).toBe('tick-invalid')
  })

  it('refuses a tick that was spent on another piece, and older ticks', () => {
    const tab = pay(pay(newTab(START_MS), 1, 7).tab, 2, 8).tab
    expect(codeOf(() => pay(tab, 2, 9))).toBe('tick-replayed')
    expect(codeOf(() => pay(tab, 1, 7))).toBe('tick-replayed')
  })

  it('refuses to skip units, to go beyond the cap, or to serve without a tick', () => {
    const tab = pay(newTab(START_MS), 1, 0).tab
    expect(codeOf(() => pay(tab, 3, 1))).toBe('tick-invalid')
    expect(codeOf(() => pay({ ...tab, unit: CAP, served: CAP }, CAP + 1, 1))).toBe('tick-invalid')
    expect(
      codeOf(() =>
        takeRequest(
          prepaid,
          tab,
          { index: 1, tick: undefined, bringsLane: false, nowMs: START_MS, line: lineOf(9) },
          () => 0,
        ),
      ),
    ).toBe('payment-required')
  })

  it('sends the latest piece again for the latest tick, a limited number of times', () => {
    let tab = pay(newTab(START_MS), 1, 7).tab
    for (let again = 1; again <= limits.repeatsPerTick; again++) {
      tab = pay(tab, 1, 7).tab
      expect(tab).toMatchObject({ unit: 1, served: 1, repeats: again })
    }
    expect(pay(tab, 1, 7).refusal?.code).toBe('tick-replayed')
    expect(pay(tab, 2, 7).tab).toMatchObject({ unit: 2, repeats: 0 })
  })

  it('sends nothing again to who knows the unit but not its link', () => {
    const tab = pay(newTab(START_MS), 1, 7).tab
    const forged = { ...tickAt(1), link: sha256(utf8('guess')) }
    expect(
      codeOf(() =>
        takeRequest(
          prepaid,
          tab,
          { index: 7, tick: forged, bringsLane: false, nowMs: START_MS, line: lineOf(0) },
          () => 0,
        ),
      ),
    ).toBe('tick-invalid')
  })
})

describe('a tab on credit', () => {
  it('serves before it is paid, up to the credit', () => {
    const tab = owe(owe(owe(newTab(START_MS), 0, 1, 3).tab, 0, 2, 3).tab, 0, 3, 3).tab
    expect(tab).toMatchObject({ unit: 0, served: 3 })
    expect(owe(tab, 0, 4, 3).refusal?.code).toBe('credit-exceeded')
  })

  it('counts what the payer owes on other lanes', () => {
    expect(owe(newTab(START_MS), 0, 1, 3, 2).refusal).toBeUndefined()
    expect(owe(newTab(START_MS), 0, 1, 3, 3).refusal?.code).toBe('credit-exceeded')
  })

  it('gives a payer without credit nothing', () => {
    expect(owe(newTab(START_MS), 0, 1, 0).refusal?.code).toBe('credit-exceeded')
  })

  it('goes on as ticks come, several units at once if need be', () => {
    const tab = owe(owe(newTab(START_MS), 0, 1, 2).tab, 0, 2, 2).tab
    expect(owe(tab, 2, 3, 2).tab).toMatchObject({ unit: 2, served: 3 })
  })

  it('keeps what was paid even when the piece is refused', () => {
    const tab = owe(owe(newTab(START_MS), 0, 1, 2).tab, 0, 2, 2).tab
    const step = owe(tab, 1, 3, 0)
    expect(step).toMatchObject({ tab: { unit: 1, served: 2 }, refusal: { code: 'credit-exceeded' } })
  })

  it('sends the latest piece again without counting it twice', () => {
    let tab = owe(newTab(START_MS), 0, 1, 1).tab
    for (let again = 1; again <= limits.repeatsPerTick; again++) tab = owe(tab, 0, 1, 1).tab
    expect(tab).toMatchObject({ served: 1, repeats: limits.repeatsPerTick })
    expect(owe(tab, 0, 1, 1).refusal?.code).toBe('tick-replayed')
  })

  it('takes the tick that comes with one request too many for the latest piece', () => {
    let tab = owe(owe(newTab(START_MS), 0, 1).tab, 0, 2).tab
    for (let again = 1; again <= limits.repeatsPerTick; again++) tab = owe(tab, 0, 2).tab
    expect(owe(tab, 1, 2)).toMatchObject({ tab: { unit: 1, served: 2 }, refusal: { code: 'tick-replayed' } })
  })

  it('refuses a request older than the last tick', () => {
    const tab = owe(owe(newTab(START_MS), 0, 1).tab, 1, 2).tab
    expect(codeOf(() => owe(tab, 0, 3))).toBe('tick-replayed')
    expect(() => owe(tab, 0, 3)).toThrow('The request carries no tick')
  })

  it('takes the last tick without a request, once', () => {
    const tab = owe(newTab(START_MS), 0, 1).tab
    const paid = takeLastTick(onCredit, tab, tickAt(1), START_MS).tab
    expect(paid).toMatchObject({ unit: 1, served: 1 })
    expect(takeLastTick(onCredit, paid, tickAt(1), START_MS).tab).toBe(paid)
  })

  it('serves no more than the cap', () => {
    const tab = { ...newTab(START_MS), served: CAP }
    expect(owe(tab, 0, 1, 64).refusal?.code).toBe('limit-reached')
  })
})

describe('a tab that was put back', () => {
  const [old, FORGOTTEN] = [{ ...newTab(START_MS), served: 2, piece: 7, repeats: 3 }, 6]
  const sealed = termsOf('sealed')
  const open = (tab: Tab, unit: number, index: number): Step =>
    takeRequest(sealed, tab, { index, tick: tickAt(unit), bringsLane: true, nowMs: START_MS, line: lineOf(0) }, () => 0)

  it('takes a prepaid tick of the unit that the payer is at, where the lane is brought again', () => {
    const tab = pay(pay(newTab(START_MS), 1, 7).tab, FORGOTTEN, 8, true).tab
    expect(tab).toMatchObject({ unit: FORGOTTEN, served: FORGOTTEN, piece: 8 })
    expect(codeOf(() => pay(tab, FORGOTTEN, 9, true))).toBe('tick-replayed')
    expect(codeOf(() => pay(tab, 3, 9, true))).toBe('tick-replayed')
    expect(codeOf(() => pay(tab, CAP + 1, 9, true))).toBe('tick-invalid')
  })

  it('counts what is paid for as sent, so that no credit comes of it, and sends none of it again', () => {
    const tab = takeLastTick(onCredit, old, tickAt(FORGOTTEN), START_MS).tab
    expect(tab).toMatchObject({ unit: FORGOTTEN, served: FORGOTTEN, repeats: 0 })
    expect(owedOn(tab)).toBe(0)
    expect(tab.piece).toBeUndefined()
    expect(owe(tab, FORGOTTEN, 9, 1).tab).toMatchObject({ served: FORGOTTEN + 1, piece: 9 })
    expect(owe(tab, FORGOTTEN, 9, 0).refusal?.code).toBe('credit-exceeded')
  })

  it('seals the next piece under a unit that none was sealed under before', () => {
    expect(open(old, FORGOTTEN, 7).tab).toMatchObject({ unit: FORGOTTEN, served: FORGOTTEN + 1, piece: 7, repeats: 0 })
  })
})

describe('any tab', () => {
  it('serves nothing once signed off or close to expiry', () => {
    for (const state of ['closing', 'closed'] as const) {
      expect(codeOf(() => pay({ ...newTab(START_MS), state }, 1, 0))).toBe('closed')
    }
    const late = {
      index: 0,
      tick: tickAt(1),
      bringsLane: false,
      nowMs: prepaid.expires - limits.expiryMarginMs,
      line: lineOf(0),
    }
    expect(codeOf(() => takeRequest(prepaid, newTab(START_MS), late, () => 0))).toBe('expired')
  })

  it('takes no tick of another chain, of another place, or made up', () => {
    const forged = makeChain(sha256(utf8('another seed')), shape)
    const ticks: Tick[] = [
      { lane: id, unit: 1, link: forged.link(FIRST, 1), proof: forged.proof(FIRST) },
      { lane: id, unit: 1, link: forged.link(FIRST, 1), proof: chain.proof(FIRST) },
      { ...tickAt(1), link: chain.link(FIRST, 2) },
      { ...tickAt(1), link: chain.link(0, 1), proof: chain.proof(0) },
      { ...tickAt(1), proof: chain.proof(FIRST + 1) },
    ]
    for (const tick of ticks)
      expect(codeOf(() => acceptTick(prepaid, newTab(START_MS), tick, START_MS))).toBe('tick-invalid')
  })

  it('never serves more than was paid, nor owes more than the credit, whatever is asked', () => {
    const request = fc.record({
      unit: fc.integer({ min: 0, max: CAP + 1 }),
      index: fc.integer({ min: 0, max: 3 }),
      bringsLane: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(request, { maxLength: 40 }), fc.integer({ min: 0, max: 5 }), (requests, credit) => {
        let [paid, owing] = [newTab(START_MS), newTab(START_MS)]
        let [sentPaid, sentOwing] = [0, 0]
        for (const { unit, index, bringsLane } of requests) {
          const next = { paid, owing }
          codeOf(() => unit > 0 && (next.paid = pay(paid, unit, index, bringsLane).tab))
          codeOf(() => (next.owing = owe(owing, unit, index, credit).tab))
          if (next.paid.piece !== paid.piece || next.paid.unit > paid.unit) sentPaid++
          sentOwing = Math.max(sentOwing, next.owing.served)
          ;({ paid, owing } = next)
          expect(sentPaid).toBeLessThanOrEqual(paid.unit)
          expect(owedOn(owing)).toBeGreaterThanOrEqual(0)
          expect(owedOn(owing)).toBeLessThanOrEqual(credit)
          expect(owing.served).toBeLessThanOrEqual(CAP)
        }
      }),
    )
  })
})
