import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, seal } from '../../protocol/signed.ts'
import { parseUsage, requireCounter, stateUsage, sumOf, type DayUsage, type UsageTerms } from '../../protocol/usage.ts'
import { coded } from '../problems.ts'
import { DAY, delegationOf, NOW, person } from '../repository/people.ts'

const [ann, bob] = [person(1), person(2)]
const day = (number: number): DayUsage => ({ day: number, fetched: 1, served: 2 ** 40, stored: 3 })
const terms: UsageTerms = { by: ann.id, days: [day(20_000), day(20_002)], from: 20_000, issued: NOW, to: 20_030 }
const parsed = (changes: Partial<UsageTerms> = {}) => parseUsage(stateUsage({ ...terms, ...changes }, ann.agent))

describe('a statement of usage', () => {
  it('comes back as it was signed, and adds up', () => {
    const envelope = stateUsage(terms, ann.agent)
    expect(parseUsage(envelope)).toEqual({ ...terms, id: objectId('usage', envelope.body), key: ann.agent.key })
    expect(sumOf(parsed().days)).toEqual({ fetched: 2, served: 2 ** 41, stored: 6 })
  })

  it.each<[string, Partial<UsageTerms>]>([
    ['a day twice', { days: [day(20_000), day(20_000)] }],
    ['days out of order', { days: [day(20_002), day(20_000)] }],
    ['a day before it', { days: [day(19_999)] }],
    ['a day after it', { days: [day(20_031)] }],
    ['too many days', { days: Array.from({ length: limits.usageDaysStated + 1 }, (_, i) => day(i)), from: 0 }],
  ])('is none with %s', (_, changes) => {
    expect(() => parsed(changes)).toThrow(coded('bad-encoding'))
  })

  it('counts from the owner’s agent alone', () => {
    requireCounter(parsed(), ann.state, delegationOf(ann, ['announce']))
    expect(() => requireCounter(parsed(), ann.state, undefined)).toThrow(coded('unknown-key'))
    expect(() => requireCounter(parsed(), bob.state, delegationOf(bob, ['announce']))).toThrow(coded('unknown-key'))
    const late = parsed({ issued: NOW + 400 * DAY })
    expect(() => requireCounter(late, ann.state, delegationOf(ann, ['announce']))).toThrow(coded('delegation-exceeded'))
  })

  it('is read from any bytes, or refused with a problem', () => {
    const { body, key, signature } = stateUsage(terms, ann.agent)
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = body.map((byte, i) => (i === at ? byte ^ flip : byte))
        expect(() => parseUsage({ body: changed, key, signature })).toThrow(Problem)
      }),
    )
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.nat(), fc.string())), (members) => {
        expect(() => parseUsage(seal('usage', members, ann.agent))).toThrow(Problem)
      }),
    )
  })
})
