import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  formatSession,
  grantSession,
  parseSession,
  readSession,
  requireTime,
  type SessionTerms,
} from '../../protocol/session.ts'
import { objectId, seal } from '../../protocol/signed.ts'
import { coded } from '../problems.ts'
import { NOW, numbered, person } from '../repository/people.ts'

const [ann, bob] = [person(1), person(2)]
const terms: SessionTerms = {
  by: ann.id,
  circle: 'lab-4',
  expires: NOW + limits.sessionMs,
  holder: bob.agent.key,
  issued: NOW,
  member: bob.id,
  nonce: numbered(3, 1, 16),
}
const parsed = (changes: Partial<SessionTerms> = {}) => parseSession(grantSession({ ...terms, ...changes }, ann.agent))

describe('a session', () => {
  it('comes back from its header as it was signed', () => {
    const envelope = grantSession(terms, ann.agent)
    const read = parseSession(readSession(formatSession(envelope)))
    expect(read).toEqual({ ...terms, id: objectId('session', envelope.body), key: ann.agent.key })
  })

  it.each<[string, Partial<SessionTerms>]>([
    ['too long a life', { expires: NOW + limits.sessionMs + 1 }],
    ['no life', { expires: NOW }],
    ['a name that is none', { circle: '-lab' }],
    ['a long name', { circle: 'a'.repeat(64) }],
    ['a key of small order', { holder: new Uint8Array(32) }],
    ['a short nonce', { nonce: numbered(3, 1, 15) }],
  ])('is none with %s', (_, changes) => {
    expect(() => parsed(changes)).toThrow(coded('bad-encoding'))
  })

  it('holds from when it was issued until it is over', () => {
    const session = parsed()
    requireTime(session, NOW)
    requireTime(session, NOW + limits.sessionMs - 1)
    expect(() => requireTime(session, NOW + limits.sessionMs)).toThrow(coded('expired'))
    expect(() => requireTime(session, NOW - limits.clockSkewMs - 1)).toThrow(coded('stale-request'))
  })

  it('is read from any text and any bytes, or refused with a problem', () => {
    const text = formatSession(grantSession(terms, ann.agent))
    const read = (given: string) => parseSession(readSession(given))
    for (const bad of ['', 'a.b', `${text}.x`, text.slice(1), 'x'.repeat(limits.paymentHeaderBytes + 1)])
      expect(() => read(bad)).toThrow(Problem)
    fc.assert(
      fc.property(fc.string(), (given) => {
        expect(() => read(given)).toThrow(Problem)
      }),
    )
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('a', 'Z', '0', '_', '-', '.'), (at, letter) => {
        const changed = text.slice(0, at) + letter + text.slice(at + 1)
        if (changed !== text) expect(() => read(changed)).toThrow(Problem)
      }),
    )
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.nat(), fc.string())), (members) => {
        expect(() => parseSession(seal('session', members, ann.agent))).toThrow(Problem)
      }),
    )
  })
})
