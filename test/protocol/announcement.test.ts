import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  announce,
  isLive,
  isWithdrawal,
  parseAnnouncement,
  requireAnnouncer,
  type AnnouncementTerms,
} from '../../protocol/announcement.ts'
import { decode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, seal } from '../../protocol/signed.ts'
import { coded } from '../problems.ts'
import { DAY, delegationOf, NOW, numbered, person } from '../repository/people.ts'

const [ann, bob] = [person(1), person(2)]
const terms: AnnouncementTerms = {
  agent: ann.id,
  infoHash: numbered(7, 1),
  issued: NOW,
  expires: NOW + DAY,
  modes: ['credit', 'prepaid'],
  price: 3n,
  public: false,
  urls: ['https://ann.example/agent'],
}
const parsed = (changes: Partial<AnnouncementTerms> = {}) =>
  parseAnnouncement(announce({ ...terms, ...changes }, ann.agent))

describe('an announcement', () => {
  it('comes back as it was signed, with its id and its signer', () => {
    const envelope = announce(terms, ann.agent)
    expect(parseAnnouncement(envelope)).toEqual({
      ...terms,
      id: objectId('announcement', envelope.body),
      key: ann.agent.key,
    })
    expect(parsed({ public: true, modes: [], price: 0n })).toMatchObject({ public: true, modes: [] })
  })

  it('counts until it expires, and not before it was issued', () => {
    expect([NOW, NOW + DAY - 1, NOW + DAY].map((at) => isLive(terms, at))).toEqual([true, true, false])
    expect(isLive(terms, NOW - limits.clockSkewMs - 1)).toBe(false)
  })

  it('withdraws when it expires at once', () => {
    const withdrawal = parsed({ expires: NOW, urls: [] })
    expect(isWithdrawal(withdrawal)).toBe(true)
    expect(isLive(withdrawal, NOW - 1)).toBe(false)
  })

  it.each<[string, object, string]>([
    ['too long a life', { expires: NOW + limits.announcementMs + 1 }, 'bad-encoding'],
    ['no URL', { urls: [] }, 'bad-encoding'],
    ['too many URLs', { urls: Array.from({ length: 9 }, (_, i) => `https://a${i}.example`) }, 'bad-encoding'],
    ['a URL twice', { urls: ['https://a.example', 'https://a.example'] }, 'bad-encoding'],
    ['a long URL', { urls: [`https://a.example/${'x'.repeat(limits.urlBytes)}`] }, 'bad-encoding'],
    ['a URL of another scheme', { urls: ['ftp://a.example'] }, 'bad-request'],
    ['a relative URL', { urls: ['/v1'] }, 'bad-request'],
    ['a URL with a password', { urls: ['https://u:p@a.example'] }, 'bad-request'],
    ['a URL with a name', { urls: ['https://u@a.example'] }, 'bad-request'],
    ['a URL with a query', { urls: ['https://a.example/?x'] }, 'bad-request'],
    ['no mode', { modes: [] }, 'bad-encoding'],
    ['a mode twice', { modes: ['credit', 'credit'] }, 'bad-encoding'],
    ['a mode that is not known', { modes: ['gift'] }, 'bad-encoding'],
    ['a negative price', { price: -1n }, 'bad-encoding'],
    ['a v1 info hash', { infoHash: new Uint8Array(20) }, 'bad-encoding'],
    ['another member', { note: 'x' }, 'bad-encoding'],
    ['a truth that is neither 0 nor 1', { public: 2 }, 'bad-encoding'],
  ])('is refused with %s', (_, changes, code) => {
    expect(() => parseAnnouncement(seal('announcement', { ...terms, public: 0, ...changes }, ann.agent))).toThrow(
      coded(code),
    )
  })

  it('is refused when it is signed as another kind of object', () => {
    expect(() => parseAnnouncement(seal('book', { ...terms, public: 0 }, ann.agent))).toThrow(coded('bad-signature'))
  })

  it('is signed by the owner, or by the agent that may announce', () => {
    const byAgent = parsed()
    requireAnnouncer(parseAnnouncement(announce(terms, ann.owner)), ann.state, undefined, NOW)
    requireAnnouncer(byAgent, ann.state, delegationOf(ann, ['announce']), NOW)
    const anothers = delegationOf(ann, ['announce'], { agent: bob.agent.key })
    const refusals: [string, () => void][] = [
      ['unknown-key', () => requireAnnouncer(byAgent, ann.state, undefined, NOW)],
      ['unknown-key', () => requireAnnouncer(byAgent, ann.state, anothers, NOW)],
      [
        'unknown-key',
        () => requireAnnouncer(parsed({ agent: bob.id }), ann.state, delegationOf(ann, ['announce']), NOW),
      ],
      ['unknown-key', () => requireAnnouncer(byAgent, bob.state, delegationOf(ann, ['announce']), NOW)],
      [
        'unknown-key',
        () => requireAnnouncer(byAgent, ann.state, delegationOf(ann, ['announce'], { owner: bob.id }), NOW),
      ],
      [
        'unknown-key',
        () =>
          requireAnnouncer(
            byAgent,
            ann.state,
            delegationOf(bob, ['announce'], { owner: ann.id, agent: ann.agent.key }),
            NOW,
          ),
      ],
      ['delegation-exceeded', () => requireAnnouncer(byAgent, ann.state, delegationOf(ann, ['spend']), NOW)],
      [
        'delegation-exceeded',
        () => requireAnnouncer(byAgent, ann.state, delegationOf(ann, ['announce'], { expires: NOW }), NOW),
      ],
    ]
    for (const [code, attempt] of refusals) expect(attempt).toThrow(coded(code))
  })

  it('causes no error but a problem, whatever bytes are signed', () => {
    const good = announce(terms, ann.agent).body
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const copy = good.slice()
        for (const [at, byte] of changes) copy[at] = byte
        return copy
      })
    fc.assert(
      fc.property(mutated, (body) => {
        try {
          const envelope = seal('announcement', decode(body), ann.agent)
          expect(envelope.body).toEqual(body)
          parseAnnouncement(envelope)
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
      }),
    )
  })
})
