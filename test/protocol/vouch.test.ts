import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { announce, parseAnnouncement } from '../../protocol/announcement.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { fromHex, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/encoding.ts'
import { applyOperation, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { leafHash, rootOf } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { seal, signerFrom } from '../../protocol/signed.ts'
import {
  bookFromJson,
  bookToJson,
  checkBook,
  checkProof,
  decodeVouches,
  encodeVouch,
  encodeVouches,
  isEquivocation,
  isLiveVouch,
  parseHead,
  proofFromJson,
  proofToJson,
  proveVouch,
  renewBook,
  requireAuthor,
  writeBook,
  type Book,
  type Vouch,
} from '../../protocol/vouch.ts'
import { coded } from '../problems.ts'
import { bookOf, DAY, delegationOf, NOW, numbered, person, proofOf, vouchFor } from '../repository/people.ts'
import vectors from '../vectors/vouch.json' with { type: 'json' }

const [ann, bob, cid, dan] = [person(1), person(2), person(3), person(4)]
const three = bookOf(ann, [vouchFor(cid.id), vouchFor(bob.id), vouchFor(dan.id)])
const renewal = { issued: NOW + DAY, expires: NOW + 8 * DAY }

describe('a book', () => {
  it('names the number and the root of its vouches, which stand in the order of their subjects', () => {
    const head = checkBook(three)
    expect(head).toMatchObject({ issuer: ann.id, seq: 0, count: 3, key: ann.owner.key })
    const subjects = three.vouches.map(({ subject }) => toBase64url(subject))
    expect(three.vouches.map(({ subject }) => subject)).toEqual(
      [bob.id, cid.id, dan.id].toSorted((a, b) => Buffer.compare(a, b)),
    )
    expect(new Set(subjects).size).toBe(3)
    expect(head.root).toEqual(rootOf(three.vouches.map((vouch) => leafHash(encodeVouch(vouch)))))
  })

  it('comes back from JSON as it was', () => {
    expect(bookFromJson(bookToJson(three))).toEqual(three)
    const empty = bookOf(ann, [])
    expect(checkBook(bookFromJson(bookToJson(empty)))).toMatchObject({ count: 0 })
  })

  it.each<[string, Partial<Vouch>]>([
    ['for oneself', { subject: ann.id }],
    ['of a life that is too long', { expires: NOW - DAY + limits.vouchMs + 1 }],
    ['that ends before it begins', { expires: NOW - DAY }],
  ])('with a vouch %s is refused', (_, changes) => {
    expect(() => checkBook(bookOf(ann, [vouchFor(bob.id, changes)]))).toThrow(coded('bad-encoding'))
  })

  it.each<[string, object]>([
    ['beyond the depth', { depth: limits.vouchDepth + 1 }],
    ['of negative depth', { depth: -1 }],
    ['of too much credit', { credit: limits.vouchCredit + 1 }],
    ['with a salt of another length', { salt: new Uint8Array(15) }],
    ['with a long scope', { scope: 'x'.repeat(limits.scopeBytes + 1) }],
    ['with another member', { note: 'x' }],
  ])('with a vouch %s is refused when it is read', (_, changes) => {
    expect(() => decodeVouches(encode([{ ...vouchFor(bob.id), ...changes }]))).toThrow(coded('bad-encoding'))
  })

  it('has room for as many vouches as the limit, and not for one more', () => {
    const many = Array.from({ length: limits.vouchesPerBook }, (_, i) => vouchFor(numbered(9, i)))
    expect(checkBook(bookFromJson(bookToJson(bookOf(ann, many))))).toMatchObject({ count: limits.vouchesPerBook })
    const bytes = encodeVouches([...many, vouchFor(bob.id)])
    expect(() => decodeVouches(bytes)).toThrow(coded('too-large'))
    expect(() => decodeVouches(new Uint8Array(limits.bookBytes + 1))).toThrow(coded('too-large'))
  })

  it.each<[string, (book: Book) => Book]>([
    ['a vouch is missing', (book) => ({ ...book, vouches: book.vouches.slice(1) })],
    [
      'a vouch is another',
      (book) => ({ ...book, vouches: [{ ...(book.vouches[0] as Vouch), credit: 99 }, ...book.vouches.slice(1)] }),
    ],
    ['the vouches are out of order', (book) => ({ ...book, vouches: book.vouches.toReversed() })],
    ['a vouch is there twice', (book) => ({ ...book, vouches: [book.vouches[0] as Vouch, ...book.vouches] })],
  ])('is refused when %s', (_, change) => {
    expect(() => checkBook(change(three))).toThrow(coded('bad-encoding'))
  })

  it.each<[string, object]>([
    ['a later book without its predecessor', { seq: 1 }],
    ['a first book with a predecessor', { prev: numbered(7, 1) }],
    ['a life of more than the limit', { expires: NOW + limits.bookMs + 1 }],
    ['an end before its start', { expires: NOW }],
    ['a negative number', { seq: -1 }],
    ['more vouches than the limit', { count: limits.vouchesPerBook + 1 }],
    ['another member', { note: 1 }],
  ])('is refused with %s', (_, changes) => {
    const head = { ...(decode(three.head.body) as object), ...changes }
    expect(() => parseHead(seal('book', head, ann.owner))).toThrow(coded('bad-encoding'))
  })

  it('is refused when its signature is of other bytes', () => {
    const head = { ...three.head, signature: bookOf(ann, []).head.signature }
    expect(() => checkBook({ ...three, head })).toThrow(coded('bad-signature'))
  })
})

describe('who may write a book', () => {
  const byAgent = (may: Parameters<typeof delegationOf>[1], changes = {}): Book =>
    writeBook(
      { issuer: ann.id, seq: 0, issued: NOW, expires: NOW + DAY },
      [vouchFor(bob.id)],
      ann.agent,
      delegationOf(ann, may, changes),
    )

  it('is the owner, and an agent whose delegation says so', () => {
    requireAuthor(three, ann.state, NOW)
    requireAuthor(byAgent(['book']), ann.state, NOW)
  })

  it('is nobody in the name of another identity', () => {
    const forged = writeBook({ ...parseHead(three.head), issuer: bob.id }, three.vouches, ann.owner)
    expect(() => requireAuthor(forged, ann.state, NOW)).toThrow(coded('unknown-key'))
  })

  it('is no agent that may only announce, nor one whose delegation ended', () => {
    expect(() => requireAuthor(byAgent(['announce']), ann.state, NOW)).toThrow(coded('delegation-exceeded'))
    const ended = byAgent(['book'], { expires: NOW - 1 })
    expect(() => requireAuthor(ended, ann.state, NOW)).toThrow(coded('delegation-exceeded'))
  })

  it.each<[string, Book]>([
    ['a stranger', { ...bookOf(ann, []), head: seal('book', decode(three.head.body), bob.owner) }],
    ['an agent without a delegation', { ...bookOf(ann, []), head: seal('book', decode(three.head.body), ann.agent) }],
    [
      'a delegation of somebody else',
      { ...byAgent(['book']), delegation: delegationOf(bob, ['book'], { agent: ann.agent.key }) },
    ],
    [
      'a delegation for another agent',
      { ...byAgent(['book']), delegation: delegationOf(ann, ['book'], { agent: bob.agent.key }) },
    ],
    ['the owner of another book', bookOf(bob, [])],
  ])('is not %s', (_, book) => {
    expect(() => requireAuthor(book, ann.state, NOW)).toThrow(coded('unknown-key'))
  })

  it('is not a key that was rotated out', () => {
    const state = applyOperation(ann.state, rotate(ann.state, [bob.owner.key], NOW, ann.owner), NOW)
    expect(() => requireAuthor(three, state, NOW)).toThrow(coded('unknown-key'))
  })

  it('is a key that was rotated out, for books below the number since which it counts as stolen', () => {
    const rotation = rotate(ann.state, [bob.owner.key], NOW, ann.owner, 0, 1)
    const state = applyOperation(ann.state, rotation, NOW)
    requireAuthor(three, state, NOW)
    requireAuthor(byAgent(['book']), state, NOW)
    const stolen = bookOf(ann, [vouchFor(bob.id)], { seq: 1, prev: parseHead(three.head).id })
    expect(() => requireAuthor(stolen, state, NOW)).toThrow(coded('unknown-key'))
    const late = renewBook(three, renewal, ann.agent, delegationOf(ann, ['announce']))
    expect(() => requireAuthor(late, state, NOW)).toThrow(coded('unknown-key'))
    const worse = rotate(state, [numbered(5, 1)], NOW, bob.owner, 1, 0)
    expect(() => requireAuthor(three, applyOperation(state, worse, NOW), NOW)).toThrow(coded('unknown-key'))
  })
})

describe('a renewal by the agent', () => {
  const delegation = delegationOf(ann, ['announce'])
  const renewed = renewBook(three, renewal, ann.agent, delegation)

  it('keeps the vouches, and the next one still shows what the owner signed', () => {
    expect(checkBook(renewed)).toMatchObject({
      seq: 1,
      prev: parseHead(three.head).id,
      root: parseHead(three.head).root,
    })
    requireAuthor(renewed, ann.state, NOW)
    const again = renewBook(renewed, renewal, ann.agent, delegation)
    expect(again.base).toEqual(three.head)
    requireAuthor(bookFromJson(bookToJson(again)), ann.state, NOW)
  })

  it('ends with the delegation', () => {
    const book = renewBook(three, renewal, ann.agent, delegationOf(ann, ['announce'], { expires: NOW + 1 }))
    requireAuthor(book, ann.state, NOW)
    expect(() => requireAuthor(book, ann.state, NOW + 1)).toThrow(coded('delegation-exceeded'))
  })

  it('cannot add a vouch, show no base, or show one of a later number or of a stranger', () => {
    const added = writeBook({ ...parseHead(renewed.head) }, [vouchFor(bob.id)], ann.agent, delegation)
    const { base, ...bare } = renewed
    const cases: Book[] = [
      { ...added, base: three.head },
      bare,
      { ...renewed, base: renewed.head },
      { ...renewed, base: bookOf(ann, three.vouches, { seq: 9, prev: numbered(1, 1) }).head },
    ]
    for (const each of cases) expect(() => requireAuthor(each, ann.state, NOW)).toThrow(coded('delegation-exceeded'))
    expect(base).toBeDefined()
    const forged = { ...renewed, base: seal('book', decode(three.head.body), bob.owner) }
    expect(() => requireAuthor(forged, ann.state, NOW)).toThrow(coded('unknown-key'))
  })
})

describe('two heads under one number', () => {
  const other = bookOf(ann, [vouchFor(bob.id)])

  it('are proof when the owner signed both with other vouches', () => {
    expect(isEquivocation(three.head, other.head, ann.state)).toBe(true)
    expect(isEquivocation(three.head, three.head, ann.state)).toBe(false)
    expect(isEquivocation(three.head, bookOf(ann, three.vouches, { issued: NOW + 1 }).head, ann.state)).toBe(false)
    expect(isEquivocation(three.head, bookOf(bob, []).head, ann.state)).toBe(false)
  })

  it('are none when an agent renewed while its owner changed', () => {
    const renewed = renewBook(three, renewal, ann.agent, delegationOf(ann, []))
    const changed = bookOf(ann, [], { seq: 1, prev: parseHead(three.head).id })
    expect(isEquivocation(renewed.head, changed.head, ann.state)).toBe(false)
  })
})

describe('one vouch alone', () => {
  it('is shown with its path, and shows no other subject', () => {
    for (const subject of [bob.id, cid.id, dan.id]) {
      const proof = proofFromJson(proofToJson(proofOf(three, subject)))
      expect(checkProof(proof)).toEqual(checkBook(three))
      expect(proof.vouch.subject).toEqual(subject)
    }
    expect(JSON.stringify(proofToJson(proofOf(three, bob.id)))).not.toContain(toBase64url(cid.id))
  })

  it('is refused with other terms, at another place, or with another path', () => {
    const proof = proofOf(three, bob.id)
    for (const changed of [
      { ...proof, vouch: { ...proof.vouch, credit: 17 } },
      { ...proof, index: (proof.index + 1) % 3 },
      { ...proof, index: 3 },
      { ...proof, path: proof.path.slice(1) },
      { ...proof, path: [...proof.path, numbered(1, 1)] },
      { ...proof, head: bookOf(ann, [vouchFor(bob.id)]).head },
    ]) {
      expect(() => checkProof(changed)).toThrow(coded('bad-encoding'))
    }
    expect(() => proveVouch(three, 3)).toThrow(RangeError)
  })

  it('is none for its own issuer, nor for longer than a vouch lasts', () => {
    for (const vouch of [vouchFor(ann.id), vouchFor(bob.id, { expires: NOW + limits.vouchMs + DAY })])
      expect(() => checkProof(proveVouch(bookOf(ann, [vouch]), 0))).toThrow(coded('bad-encoding'))
  })

  it('holds within its own times and those of its book', () => {
    const head = parseHead(three.head)
    const vouch = vouchFor(bob.id, { notBefore: NOW + DAY, expires: NOW + 2 * DAY })
    expect([NOW, NOW + DAY, NOW + 2 * DAY - 1, NOW + 2 * DAY].map((at) => isLiveVouch(head, vouch, at))).toEqual([
      false,
      true,
      true,
      false,
    ])
    expect(isLiveVouch(head, vouchFor(bob.id), NOW + 7 * DAY)).toBe(false)
    expect(isLiveVouch({ ...head, issued: NOW + limits.clockSkewMs + 1 }, vouchFor(bob.id), NOW)).toBe(false)
  })
})

describe('the published vectors', () => {
  const signer = signerFrom(fromHex(vectors.secret))
  const vouchOf = ({
    subject,
    salt,
    leaf: _,
    leafHash: __,
    ...terms
  }: (typeof vectors.books)[0]['vouches'][0]): Vouch => ({
    ...terms,
    subject: fromHex(subject),
    salt: fromHex(salt),
  })

  it.each(vectors.books)(
    'make book $seq',
    ({ issuer, seq, prev, issued, expires, vouches, root, body, id, signature }) => {
      const terms = {
        issuer: fromHex(issuer),
        seq,
        issued,
        expires,
        ...(prev !== undefined && { prev: fromHex(prev) }),
      }
      const book = writeBook(terms, vouches.map(vouchOf).toReversed(), signer)
      expect(checkBook(book)).toMatchObject({ root: fromHex(root), id: fromHex(id) })
      expect(book.head).toEqual({ body: fromHex(body), key: fromHex(vectors.key), signature: fromHex(signature) })
      expect(book.vouches.map((vouch) => toHex(encodeVouch(vouch)))).toEqual(vouches.map(({ leaf }) => leaf))
      expect(book.vouches.map((vouch) => toHex(leafHash(encodeVouch(vouch))))).toEqual(
        vouches.map((each) => each.leafHash),
      )
      if (seq > 0) return
      expect(book.vouches.map((__, i) => proveVouch(book, i).path.map(toHex))).toEqual(vectors.proofs)
    },
  )

  it('make the announcement', () => {
    const { body, id, signature, agent, infoHash, price, ...terms } = vectors.announcement
    const modes = terms.modes as LaneMode[]
    const envelope = announce(
      { ...terms, modes, agent: fromHex(agent), infoHash: fromHex(infoHash), price: BigInt(price) },
      signer,
    )
    expect(envelope).toEqual({ body: fromHex(body), key: fromHex(vectors.key), signature: fromHex(signature) })
    expect(toHex(parseAnnouncement(envelope).id)).toBe(id)
  })
})

describe('any bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((drawn) => new Uint8Array(drawn))

  /** Some bytes of a good encoding changed. */
  const mutated = (good: Bytes) =>
    fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }).map((changes) => {
      const copy = good.slice()
      for (const [at, byte] of changes) copy[at] = byte
      return copy
    })

  const onlyProblems = (read: () => unknown): void => {
    try {
      read()
    } catch (error) {
      expect(error).toBeInstanceOf(Problem)
    }
  }

  it('are read as vouches or refused, and what is read is written the same', () => {
    const good = encodeVouches(three.vouches)
    fc.assert(
      fc.property(fc.oneof(bytes, mutated(good)), (drawn) => {
        onlyProblems(() => expect(encodeVouches(decodeVouches(drawn))).toEqual(drawn))
      }),
    )
  })

  it('are no head without the signature', () => {
    fc.assert(
      fc.property(fc.oneof(bytes, mutated(three.head.body)), (body) => {
        onlyProblems(() => parseHead(seal('book', decode(body), ann.owner)))
        fc.pre(Buffer.compare(body, three.head.body) !== 0)
        expect(() => parseHead({ ...three.head, body })).toThrow(coded('bad-signature'))
      }),
    )
  })
})
