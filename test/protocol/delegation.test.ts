import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Bytes } from '../../protocol/bytes.ts'
import {
  dayOf,
  delegate,
  giveBack,
  NOTHING_USED,
  parseDelegation,
  requirePayee,
  requirePower,
  spend,
  type Delegation,
  type DelegationTerms,
  type GrantUsage,
} from '../../protocol/delegation.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, seal, signerFrom } from '../../protocol/signed.ts'
import { coded } from '../problems.ts'

const DAY = 86_400_000
const NOW = 20_000 * DAY
const owner = signerFrom(new Uint8Array(32).fill(1))
const agent = signerFrom(new Uint8Array(32).fill(2))
const id = (n: number): Bytes => new Uint8Array(32).fill(n)
const terms: DelegationTerms = {
  agent: agent.key,
  owner: id(1),
  may: ['spend', 'announce'],
  day: 100n,
  total: 250n,
  issued: NOW,
  expires: NOW + 10 * DAY,
}
const parsed = (changes: Partial<DelegationTerms> = {}): Delegation =>
  parseDelegation(delegate({ ...terms, ...changes }, owner))

describe('a delegation', () => {
  it('comes back as it was signed, with its id and its signer', () => {
    const envelope = delegate({ ...terms, payees: [id(7)] }, owner)
    expect(parseDelegation(envelope)).toEqual({
      ...terms,
      payees: [id(7)],
      id: objectId('delegation', envelope.body),
      key: owner.key,
    })
  })

  it.each<[string, object]>([
    ['a power that is not known', { may: ['withdraw'] }],
    ['a power twice', { may: ['spend', 'spend'] }],
    ['a negative cap', { day: -1n }],
    ['a cap that is text', { day: 'all' }],
    ['an end before its start', { expires: NOW }],
    ['too long a life', { expires: NOW + limits.delegationMs + 1 }],
    ['an agent’s key of small order', { agent: new Uint8Array(32) }],
    ['an owner that is no id', { owner: new Uint8Array(20) }],
    ['too many payees', { payees: Array.from({ length: limits.payeesPerDelegation + 1 }, (_, n) => id(n)) }],
    ['a member that is not known', { admin: 1 }],
  ])('is refused with %s', (_, changes) => {
    const envelope = seal('delegation', { ...terms, ...changes }, owner)
    expect(() => parseDelegation(envelope)).toThrow(coded('bad-encoding'))
  })

  it('is refused when its signature does not verify', () => {
    expect(() => parseDelegation({ ...delegate(terms, owner), key: agent.key })).toThrow(coded('bad-signature'))
  })

  it('gives a power from its issue, allowing for a clock that is behind, until it expires', () => {
    const { issued, expires } = terms
    expect(() => requirePower(parsed(), 'announce', issued - limits.clockSkewMs)).not.toThrow()
    expect(() => requirePower(parsed(), 'announce', expires - 1)).not.toThrow()
    for (const nowMs of [issued - limits.clockSkewMs - 1, expires]) {
      expect(() => requirePower(parsed(), 'announce', nowMs)).toThrow(coded('delegation-exceeded'))
    }
  })

  it('gives no power that it does not name', () => {
    expect(() => requirePower(parsed(), 'book', NOW)).toThrow(coded('delegation-exceeded'))
    expect(() => spend(parsed({ may: ['book'] }), NOTHING_USED, 1n, undefined, NOW)).toThrow(
      coded('delegation-exceeded'),
    )
  })

  it('pays anyone, or the payees that it names', () => {
    expect(() => requirePayee(parsed(), id(9))).not.toThrow()
    expect(() => requirePayee(parsed({ payees: [id(7), id(8)] }), id(8))).not.toThrow()
    expect(() => requirePayee(parsed({ payees: [id(7)] }), id(9))).toThrow(coded('delegation-exceeded'))
    expect(() => requirePayee(parsed({ payees: [] }), id(9))).toThrow(coded('delegation-exceeded'))
    expect(() => spend(parsed({ payees: [id(7)] }), NOTHING_USED, 1n, id(9), NOW)).toThrow(coded('delegation-exceeded'))
    expect(spend(parsed({ payees: [id(7)] }), NOTHING_USED, 1n, id(7), NOW).total).toBe(1n)
  })
})

describe('caps', () => {
  const delegation = parsed()
  const exceeded = coded('delegation-exceeded')

  it('hold for the UTC day and for all days', () => {
    const first = spend(delegation, NOTHING_USED, 100n, undefined, NOW + DAY - 1)
    expect(first).toEqual({ day: dayOf(NOW), today: 100n, total: 100n })
    expect(() => spend(delegation, first, 1n, undefined, NOW + DAY - 1)).toThrow(exceeded)
    const second = spend(delegation, first, 100n, undefined, NOW + DAY)
    expect(second).toEqual({ day: dayOf(NOW) + 1, today: 100n, total: 200n })
    expect(() => spend(delegation, second, 51n, undefined, NOW + 2 * DAY)).toThrow(exceeded)
    expect(spend(delegation, second, 50n, undefined, NOW + 2 * DAY).total).toBe(250n)
  })

  it('are freed by what comes back, today’s as far as it was spent today', () => {
    const spent = spend(delegation, spend(delegation, NOTHING_USED, 90n, undefined, NOW), 30n, undefined, NOW + DAY)
    expect(giveBack(spent, 20n, NOW + DAY)).toEqual({ day: dayOf(NOW) + 1, today: 10n, total: 100n })
    expect(giveBack(spent, 50n, NOW + DAY)).toEqual({ day: dayOf(NOW) + 1, today: 0n, total: 70n })
    expect(giveBack(spent, 50n, NOW + 2 * DAY)).toEqual({ day: dayOf(NOW) + 2, today: 0n, total: 70n })
    expect(giveBack(spent, 999n, NOW + DAY).total).toBe(0n)
  })

  it('do not start anew when the clock steps back', () => {
    const spent = spend(delegation, NOTHING_USED, 100n, undefined, NOW + DAY)
    expect(() => spend(delegation, spent, 1n, undefined, NOW)).toThrow(exceeded)
  })

  it('bound what is spent in any day and in all, whatever the sequence of spending and giving back', () => {
    const step = fc.record({ amount: fc.bigInt({ min: 0n, max: 120n }), hours: fc.nat(20), back: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let usage: GrantUsage = NOTHING_USED
        let nowMs = NOW
        let net = 0n
        for (const { amount, hours, back } of steps) {
          nowMs += hours * 3_600_000
          const after = back ? giveBack(usage, amount < net ? amount : net, nowMs) : trySpend(usage, amount, nowMs)
          net += after.total - usage.total
          usage = after
          expect(usage.total).toBe(net)
          expect(usage.total).toBeLessThanOrEqual(delegation.total)
          expect(usage.today).toBeLessThanOrEqual(delegation.day)
          expect(usage.today).toBeGreaterThanOrEqual(0n)
        }
      }),
    )

    function trySpend(usage: GrantUsage, amount: bigint, nowMs: number): GrantUsage {
      try {
        return spend(delegation, usage, amount, undefined, nowMs)
      } catch (error) {
        expect(error).toMatchObject({ code: 'delegation-exceeded' })
        return usage
      }
    }
  })

  it('add up exactly near 2^63', () => {
    const rich = parsed({ day: limits.integer, total: limits.integer })
    const usage = spend(rich, NOTHING_USED, limits.integer, undefined, NOW)
    expect(usage.total).toBe(limits.integer)
    expect(() => spend(rich, usage, 1n, undefined, NOW)).toThrow(exceeded)
  })
})

describe('hostile delegations', () => {
  it('throw nothing but problems, for any body that is signed', () => {
    const value = fc.oneof(
      fc.bigInt({ min: -1n, max: limits.integer }),
      fc.constantFrom<string | Bytes>('spend', agent.key, id(3)),
      fc.array(fc.constantFrom<string | Bytes>('spend', 'book', id(3)), { maxLength: 3 }),
    )
    const keys = ['agent', 'owner', 'may', 'day', 'total', 'issued', 'expires', 'payees', 'more'] as const
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...keys), value), (changes) => {
        try {
          expect(parseDelegation(seal('delegation', { ...terms, ...changes }, owner)).owner).toHaveLength(32)
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
      }),
    )
  })
})
