import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromBase64url, fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  envelopeFromJson,
  envelopeToJson,
  objectId,
  seal,
  signerFrom,
  verifyAhead,
  verifyEnvelope,
  type EnvelopeJson,
  type Kind,
} from '../../protocol/signed.ts'
import { coded } from '../problems.ts'
import vectors from '../vectors/signed-objects.json' with { type: 'json' }

const signer = signerFrom(fromHex(vectors.secret))
const envelope = seal('claim', { payee: new Uint8Array(32) }, signer)
const json = envelopeToJson(envelope)

describe('a signed object', () => {
  it.each(vectors.objects)(
    'of kind $kind has the id and the signature of the vector',
    ({ kind, value, ...expected }) => {
      const sealed = seal(kind as Kind, value, signer)
      expect(toHex(sealed.body)).toBe(expected.body)
      expect(toHex(sealed.key)).toBe(vectors.key)
      expect(toHex(sealed.signature)).toBe(expected.signature)
      expect(toHex(objectId(kind as Kind, sealed.body))).toBe(expected.id)
      expect(() => verifyEnvelope(kind as Kind, sealed)).not.toThrow()
    },
  )

  it('is valid as its own kind alone', () => {
    expect(() => verifyEnvelope('claim', envelope)).not.toThrow()
    expect(() => verifyEnvelope('commitment', envelope)).toThrow(coded('bad-signature'))
    expect(objectId('commitment', envelope.body)).not.toEqual(objectId('claim', envelope.body))
  })

  it('is invalid after any change of body, key or signature', () => {
    const members = fc.constantFrom('body' as const, 'key' as const, 'signature' as const)
    fc.assert(
      fc.property(members, fc.nat(), fc.nat(7), (member, at, bit) => {
        const bytes = Uint8Array.from(envelope[member])
        bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ (1 << bit)
        expect(() => verifyEnvelope('claim', { ...envelope, [member]: bytes })).toThrow(coded('bad-signature'))
      }),
    )
  })

  it('has an id that does not depend on who signed', () => {
    const other = seal('claim', { payee: new Uint8Array(32) }, signerFrom(new Uint8Array(32).fill(5)))
    expect(objectId('claim', other.body)).toEqual(objectId('claim', envelope.body))
  })

  it('keeps its signer working when the caller wipes the secret', () => {
    const secret = fromHex(vectors.secret)
    const kept = signerFrom(secret)
    secret.fill(0)
    expect(kept.sign(utf8('text'))).toEqual(signer.sign(utf8('text')))
  })
})

describe('the JSON form', () => {
  it('comes back as it was', () => {
    expect(envelopeFromJson(JSON.parse(JSON.stringify(json)))).toEqual(envelope)
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a text', 'text'],
    ['a list', [json.body, json.key, json.signature]],
    ['an object without a member', { body: json.body, key: json.key }],
    ['an object with an unknown member', { ...json, kind: 'claim' }],
    ['a member that is no text', { ...json, body: 1 }],
    ['a member of another name', { body: json.body, key: json.key, sign: json.signature }],
    ['inherited members', Object.create(json)],
  ])('refuses %s', (_, value) => {
    expect(() => envelopeFromJson(value)).toThrow(coded('bad-request'))
  })

  it.each<[string, Partial<EnvelopeJson>]>([
    ['padded base64', { key: `${json.key}=` }],
    ['the other alphabet of base64', { body: 'ab+/' }],
    ['base64 with bits to spare', { body: 'AB' }],
    ['hex', { key: toHex(envelope.key) }],
    ['a short key', { key: json.key.slice(0, 40) }],
    ['a short signature', { signature: json.signature.slice(0, 84) }],
    ['a key of small order', { key: 'A'.repeat(43) }],
  ])('refuses %s', (_, change) => {
    expect(() => envelopeFromJson({ ...json, ...change })).toThrow(coded('bad-encoding'))
  })

  it.each(['body', 'key', 'signature'])('names the member that is malformed: %s', (field) => {
    const malformed = expect.objectContaining({ code: 'bad-encoding', members: { field } })
    expect(() => envelopeFromJson({ ...json, [field]: 'ab+/' })).toThrow(malformed)
  })

  it('limits the body, and a book’s body further up', () => {
    const ofLength = (length: number): EnvelopeJson => envelopeToJson({ ...envelope, body: new Uint8Array(length) })
    expect(envelopeFromJson(ofLength(limits.signedBytes)).body).toHaveLength(limits.signedBytes)
    expect(() => envelopeFromJson(ofLength(limits.signedBytes + 1))).toThrow(coded('too-large'))
    expect(envelopeFromJson(ofLength(limits.signedBytes + 1), 'book').body).toHaveLength(limits.signedBytes + 1)
    expect(() => envelopeFromJson(ofLength(limits.bookBytes + 1), 'book')).toThrow(coded('too-large'))
  })

  it('that was verified ahead is valid as that kind alone, and not at all when it is not', async () => {
    const good = { ...envelope }
    await verifyAhead('claim', good)
    expect(() => verifyEnvelope('claim', good)).not.toThrow()
    expect(() => verifyEnvelope('commitment', good)).toThrow(coded('bad-signature'))
    const forged = { ...envelope, signature: envelope.signature.with(0, (envelope.signature[0] ?? 0) ^ 1) }
    await verifyAhead('claim', forged)
    expect(() => verifyEnvelope('claim', forged)).toThrow(coded('bad-signature'))
  })

  it('throws nothing but problems, for any JSON', () => {
    const text = fc.oneof(fc.string(), fc.base64String(), fc.constantFrom(json.body, json.key, json.signature))
    const near = fc.record({ body: text, key: text, signature: text }, { requiredKeys: [] })
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), near), (value) => {
        try {
          expect(envelopeToJson(envelopeFromJson(value))).toEqual(value)
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
      }),
    )
  })

  it('decodes to exactly the bytes that were signed', () => {
    expect(fromBase64url(json.body)).toEqual(encode({ payee: new Uint8Array(32) }))
  })
})
