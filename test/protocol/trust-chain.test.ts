import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chainsToJson, edgesOf, evidenceFromJson, type Evidence } from '../../protocol/chain.ts'
import { applyOperation, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { seal } from '../../protocol/signed.ts'
import { decode } from '../../protocol/encoding.ts'
import { evaluateOne } from '../../protocol/trust.ts'
import { parseHead, renewBook } from '../../protocol/vouch.ts'
import { coded } from '../problems.ts'
import { bookOf, DAY, delegationOf, NOW, numbered, person, proofOf, vouchFor } from '../repository/people.ts'

const [ann, bob, cid, dan] = [person(1), person(2), person(3), person(4)]
const annBook = bookOf(ann, [vouchFor(bob.id), vouchFor(dan.id)])
const bobBook = bookOf(bob, [vouchFor(cid.id, { credit: 9 })])
const identities = [ann.state, bob.state]
const toBob = proofOf(annBook, bob.id)
const toCid = proofOf(bobBook, cid.id)
const trustInCid = (evidence: Evidence, atMs = NOW) => evaluateOne(ann.id, cid.id, edgesOf(evidence, atMs))

describe('chains', () => {
  it('are checked without asking anybody, from their JSON', () => {
    const json = JSON.parse(JSON.stringify(chainsToJson(identities, [[toBob, toCid]])))
    expect(trustInCid(evidenceFromJson(json, NOW))).toMatchObject({ trusted: true, depth: 2, credit: 9 })
  })

  it('join the verifier’s own book', () => {
    expect(trustInCid({ identities, books: [annBook], proofs: [toCid] })).toMatchObject({ trusted: true })
  })

  it('end with the vouch, and with the book, whichever is first', () => {
    const evidence = { identities, books: [annBook, bobBook] }
    const [edge] = edgesOf(evidence, NOW)
    expect(edge?.expires).toBe(NOW + 7 * DAY)
    expect(trustInCid(evidence, NOW + 7 * DAY - 1).trusted).toBe(true)
    expect(trustInCid(evidence, NOW + 7 * DAY).trusted).toBe(false)
    expect(trustInCid(evidence, NOW - DAY).trusted).toBe(false)
  })

  it('count vouches for everything, and for the asked scope alone', () => {
    const books = [bookOf(ann, [vouchFor(bob.id), vouchFor(cid.id, { scope: 'music' })])]
    expect(edgesOf({ identities, books }, NOW)).toHaveLength(1)
    expect(edgesOf({ identities, books }, NOW, 'music')).toHaveLength(2)
    expect(edgesOf({ identities, books }, NOW, 'films')).toHaveLength(1)
  })

  it('lose what is shown from an old book once a newer one is shown', () => {
    const newer = bookOf(ann, [vouchFor(dan.id)], { seq: 1, prev: parseHead(annBook.head).id })
    const evidence = { identities, books: [newer], proofs: [toBob, toCid] }
    expect(trustInCid(evidence).trusted).toBe(false)
  })

  it('lose an issuer whose owner signed two books under one number', () => {
    const evidence = { identities, books: [annBook, bookOf(ann, [vouchFor(bob.id)])], proofs: [toCid] }
    expect(edgesOf(evidence, NOW)).toHaveLength(1)
    expect(trustInCid(evidence).trusted).toBe(false)
  })

  it('keep what an agent renewed, and lose what it added', () => {
    const renewed = renewBook(annBook, { issued: NOW + DAY, expires: NOW + 8 * DAY }, ann.agent, delegationOf(ann, []))
    expect(trustInCid({ identities, books: [renewed, bobBook] }, NOW + DAY).trusted).toBe(true)
    const { base, ...bare } = renewed
    expect(base).toBeDefined()
    expect(trustInCid({ identities, books: [bare, bobBook] }, NOW + DAY).trusted).toBe(false)
  })

  it('need the issuer’s operation log, and a key that is still in force', () => {
    expect(trustInCid({ identities: [ann.state], proofs: [toBob, toCid] }).trusted).toBe(false)
    const rotated = applyOperation(bob.state, rotate(bob.state, [cid.owner.key], NOW, bob.owner), NOW)
    expect(trustInCid({ identities: [ann.state, rotated], proofs: [toBob, toCid] }).trusted).toBe(false)
  })

  it('are not spoiled by what does not verify', () => {
    const forged = { ...toCid, head: seal('book', decode(toCid.head.body), dan.owner) }
    const wrong = { ...toCid, vouch: { ...toCid.vouch, credit: 64 } }
    expect(trustInCid({ identities, proofs: [forged, wrong, toBob, toCid] })).toMatchObject({ credit: 9 })
    expect(trustInCid({ identities, proofs: [forged, wrong, toBob] }).trusted).toBe(false)
  })
})

describe('the JSON of chains', () => {
  const good = chainsToJson(identities, [[toBob, toCid]])

  it('is refused with too many chains or identities, or a chain that is too long', () => {
    const [chain = []] = good.chains
    const many = { ...good, chains: Array.from({ length: limits.chains + 1 }, () => chain) }
    const long = {
      ...good,
      chains: [chain, Array.from({ length: limits.chainVouches + 1 }, () => chain[0] ?? never())],
    }
    const crowd = { ...good, identities: Array.from({ length: limits.chains * limits.chainVouches + 1 }, () => []) }
    for (const each of [many, long, crowd]) expect(() => evidenceFromJson(each, NOW)).toThrow(coded('too-large'))
  })

  it('loses what is malformed in it, and nothing else', () => {
    const [first, second] = good.chains[0] ?? []
    if (!first || !second) throw new Error('the fixture has no chain')
    const spoiled = {
      identities: [[], ...good.identities, [{ body: 'x', key: 'y', signature: 'z' }]],
      chains: [[{ ...first, vouch: '!' }, first, { ...second, path: ['AA'] }, second]],
    }
    expect(trustInCid(evidenceFromJson(spoiled, NOW)).trusted).toBe(true)
  })

  it('causes no error but a problem, whatever texts are in it', () => {
    const text = fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom(good.chains[0]?.[0]?.vouch ?? ''))
    const envelope = fc.record({ body: text, key: text, signature: text })
    const proof = fc.record({
      head: envelope,
      vouch: text,
      index: fc.integer(),
      path: fc.array(text, { maxLength: 3 }),
    })
    const json = fc.record({
      identities: fc.array(fc.array(envelope)),
      chains: fc.array(fc.array(proof, { maxLength: 5 })),
    })
    fc.assert(
      fc.property(json, (drawn) => {
        try {
          expect(edgesOf(evidenceFromJson(drawn, NOW), NOW)).toEqual([])
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
      }),
    )
  })

  it('shows an index that no book has as no vouch', () => {
    for (const index of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(trustInCid({ identities, proofs: [toBob, { ...toCid, index }] }).trusted).toBe(false)
    }
    expect(numbered(1, 1)).toHaveLength(32)
  })
})

function never(): never {
  throw new Error('the fixture has no chain')
}
