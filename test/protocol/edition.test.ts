import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseEdition, publishEdition, requireEditor, type EditionTerms } from '../../protocol/edition.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, seal } from '../../protocol/signed.ts'
import { coded } from '../problems.ts'
import { DAY, delegationOf, NOW, numbered, person } from '../repository/people.ts'

const [ann, bob] = [person(1), person(2)]
const terms: EditionTerms = {
  before: numbered(7, 1),
  by: ann.id,
  infoHash: numbered(7, 2),
  issued: NOW,
  name: 'measurements',
  prev: numbered(8, 1),
  seq: 4,
}
const parsed = (changes: Partial<EditionTerms> = {}) =>
  parseEdition(publishEdition({ ...terms, ...changes }, ann.agent))

describe('an edition', () => {
  it('comes back as it was signed, with its id and its signer', () => {
    const envelope = publishEdition(terms, ann.agent)
    expect(parseEdition(envelope)).toEqual({ ...terms, id: objectId('edition', envelope.body), key: ann.agent.key })
    const { before: _, prev: __, ...first } = terms
    expect(parseEdition(publishEdition({ ...first, seq: 0 }, ann.agent))).toMatchObject({ seq: 0 })
  })

  it.each<[string, object]>([
    ['no name', { name: '' }],
    ['a name that does something on a terminal', { name: 'a\u001b[2J' }],
    ['a long name', { name: 'x'.repeat(limits.nameBytes + 1) }],
    ['a first number and one before', { seq: 0 }],
    ['a member that it does not have', { url: 'https://a.example' }],
  ])('is none with %s', (_, changes) => {
    expect(() => parsed(changes)).toThrow(coded('bad-encoding'))
  })

  it('is none that leaves the one before unnamed, or is another object', () => {
    const { prev: _, ...rest } = terms
    expect(() => parseEdition(publishEdition(rest, ann.agent))).toThrow(coded('bad-encoding'))
    expect(() => parseEdition(seal('notice', { ...terms }, ann.agent))).toThrow(coded('bad-signature'))
  })

  it('counts from the owner, and from an agent that may announce', () => {
    const edition = parsed()
    requireEditor(edition, ann.state, delegationOf(ann, ['announce']), NOW)
    requireEditor(parseEdition(publishEdition(terms, ann.owner)), ann.state, undefined, NOW)
    expect(() => requireEditor(edition, ann.state, undefined, NOW)).toThrow(coded('unknown-key'))
    expect(() => requireEditor(edition, bob.state, delegationOf(bob, ['announce']), NOW)).toThrow(coded('unknown-key'))
    expect(() => requireEditor(edition, ann.state, delegationOf(ann, ['spend']), NOW)).toThrow(
      coded('delegation-exceeded'),
    )
    expect(() => requireEditor(edition, ann.state, delegationOf(ann, ['announce']), NOW + 400 * DAY)).toThrow(
      coded('delegation-exceeded'),
    )
  })

  it('is read from any bytes, or refused with a problem', () => {
    const { body, key, signature } = publishEdition(terms, ann.agent)
    fc.assert(
      fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = body.map((byte, i) => (i === at ? byte ^ flip : byte))
        expect(() => parseEdition({ body: changed, key, signature })).toThrow(Problem)
      }),
    )
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(fc.nat(), fc.string())), (members) => {
        expect(() => parseEdition(seal('edition', members, ann.agent))).toThrow(Problem)
      }),
    )
  })
})
