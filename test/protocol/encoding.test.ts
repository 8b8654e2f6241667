import fc from 'fast-check'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { compare, equal, fromUtf8, utf8, type Bytes } from '../../protocol/bytes.ts'
import { decode, encode, field, fields, type Bencode, type Encodable } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { isProblemCode, Problem } from '../../protocol/problem.ts'
import { coded } from '../problems.ts'
import vectors from '../vectors/bencode.json' with { type: 'json' }

const decodeText = (text: string): Bencode => decode(utf8(text))
const badEncoding = coded('bad-encoding')

function problemFrom(run: () => unknown): Problem {
  try {
    run()
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const byteString = fc.uint8Array({ maxLength: 40 }).map((bytes) => new Uint8Array(bytes))
const integer = fc.bigInt({ min: -limits.integer, max: limits.integer })
const key = fc.string({ unit: 'grapheme', maxLength: 8 })
const { value: bencode } = fc.letrec<{ value: Bencode }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    byteString,
    integer,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  ),
}))

describe('the canonical encoding', () => {
  it.each(vectors.valid)('encodes $name', ({ value, encoding }) => {
    expect(fromUtf8(encode(value as Encodable))).toBe(encoding)
  })

  it.each(vectors.valid)('decodes $name and encodes it to the same bytes', ({ encoding }) => {
    expect(fromUtf8(encode(decodeText(encoding)))).toBe(encoding)
  })

  it.each(vectors.invalid)('refuses $name', ({ encoding }) => {
    expect(() => decodeText(encoding)).toThrow(badEncoding)
  })

  it('leaves undefined members out', () => {
    expect(fromUtf8(encode({ a: undefined, b: 1 }))).toBe('d1:bi1ee')
  })

  it('orders keys by their bytes, not by UTF-16 units', () => {
    const [fullwidth, astral] = ['\uff5e', '\u{10000}']
    expect(compare(utf8(fullwidth), utf8(astral))).toBeLessThan(0)
    expect(fromUtf8(encode({ [astral]: 1, [fullwidth]: 2 }))).toBe(`d3:${fullwidth}i2e4:${astral}i1ee`)
  })

  it('treats __proto__ as a key like any other', () => {
    const value = decodeText('d9:__proto__d5:admini1eee')
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect((value as { admin?: unknown }).admin).toBeUndefined()
    expect(fromUtf8(encode(value))).toBe('d9:__proto__d5:admini1eee')
  })

  it.each([
    ['a fraction', 0.5],
    ['a number that is no safe integer', 2 ** 53],
    ['NaN', Number.NaN],
    ['2^63', 2n ** 63n],
    ['-2^63', -(2n ** 63n)],
    ['half of a surrogate pair', '\ud800'],
    ['half of a surrogate pair as a key', { '\udfff': 1 }],
  ])('refuses to encode %s', (_, value) => {
    expect(() => encode(value)).toThrow(badEncoding)
  })

  it('copies what it decodes, so that the caller may reuse the buffer', () => {
    const bytes = Buffer.from('3:abc')
    const value = decode(bytes)
    bytes.fill(0)
    expect(value).toEqual(utf8('abc'))
  })

  it('carries arbitrary bytes as keys where that is asked for', () => {
    const bytes = Uint8Array.from([0x64, 0x32, 0x3a, 0xff, 0x00, 0x69, 0x31, 0x65, 0x65])
    const value = decode(bytes, { keys: 'binary' })
    expect(value).toEqual({ '\u00ff\u0000': 1n })
    expect(encode(value, { keys: 'binary' })).toEqual(bytes)
    expect(() => decode(bytes)).toThrow(badEncoding)
    expect(() => encode({ '\u0100': 1 }, { keys: 'binary' })).toThrow(badEncoding)
  })
})

describe('hostile input', () => {
  it('returns what was encoded, for any value', () => {
    fc.assert(
      fc.property(bencode, (value) => {
        expect(decode(encode(value))).toEqual(value)
      }),
    )
  })

  it('either refuses bytes or encodes them again to the same', () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.string({ unit: fc.constantFrom(...Array.from('deli0123456789-:ab')), maxLength: 40 }).map(utf8),
      fc.tuple(bencode, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
        const bytes = encode(value)
        bytes[at % bytes.length] = byte
        return bytes
      }),
    )
    fc.assert(fc.property(garbage, staysCanonical), { numRuns: 3000 })
  })

  it.each(['l', 'd1:a', 'd0:', 'll', 'lld1:ad'])('refuses "%s" nested a million times', (prefix) => {
    expect(() => decodeText(prefix.repeat(1e6))).toThrow(badEncoding)
  })

  it('counts depth alike in both directions', () => {
    const nested = (depth: number): Bencode => (depth === 0 ? [] : [nested(depth - 1)])
    expect(decode(encode(nested(limits.bencodeDepth)))).toEqual(nested(limits.bencodeDepth))
    expect(() => encode(nested(limits.bencodeDepth + 1))).toThrow(badEncoding)
    expect(encode(nested(99), { depth: 100 })).toHaveLength(200)
    expect(() => decode(encode(nested(99), { depth: 100 }))).toThrow(badEncoding)
  })

  it('refuses a length far beyond the bytes', () => {
    for (const length of ['9', '4294967296', '9999999999', '99999999999999999999']) {
      expect(() => decodeText(`${length}:abc`)).toThrow(badEncoding)
    }
  })

  it('refuses an integer of a million digits', () => {
    expect(() => decodeText(`i${'9'.repeat(1e6)}e`)).toThrow(badEncoding)
  })

  it('refuses more values than a limit', () => {
    expect(() => decodeText(`l${'le'.repeat(limits.bencodeValues)}e`)).toThrow(badEncoding)
  })

  it('takes long lists and byte strings', () => {
    const list = Array.from({ length: 200_000 }, (_, i) => BigInt(i))
    expect(decode(encode(list))).toEqual(list)
    expect(equal(decode(encode(new Uint8Array(1e6))) as Bytes, new Uint8Array(1e6))).toBe(true)
  })
})

describe('reading a dictionary by its shape', () => {
  const shape = {
    amount: field.amount,
    mode: field.choice('credit', 'prepaid'),
    name: field.text({ maxBytes: 5 }),
    note: field.optional(field.text()),
    owner: field.bytes(2),
    places: field.list(field.dict({ at: field.integer({ min: 1, max: 9 }) }), { min: 1, max: 2 }),
  }
  const good = { amount: 7, mode: 'credit', name: 'abc', owner: new Uint8Array(2), places: [{ at: 1 }] }
  const read = (value: Encodable): unknown => fields(decode(encode(value)), shape)

  it('gives the members their types', () => {
    const value = fields(decode(encode(good)), shape)
    expectTypeOf(value).toEqualTypeOf<{
      readonly amount: bigint
      readonly mode: 'credit' | 'prepaid'
      readonly name: string
      readonly note?: string
      readonly owner: Bytes
      readonly places: readonly { readonly at: number }[]
    }>()
    expect(value).toEqual({ ...good, amount: 7n })
    expect('note' in value).toBe(false)
  })

  it.each([
    ['a member is missing', { ...good, name: undefined }, 'name'],
    ['a member is unknown', { ...good, extra: 1 }, 'extra'],
    ['a member of a member is unknown', { ...good, places: [{ at: 1, to: 2 }] }, 'places[0].to'],
    ['an integer is out of bounds', { ...good, places: [{ at: 1 }, { at: 10 }] }, 'places[1].at'],
    ['a list is too long', { ...good, places: [{ at: 1 }, { at: 1 }, { at: 1 }] }, 'places'],
    ['a list is too short', { ...good, places: [] }, 'places'],
    ['a text is too long', { ...good, name: 'abcdef' }, 'name'],
    ['a text is not UTF-8', { ...good, name: Uint8Array.of(0xff) }, 'name'],
    ['a byte string has another length', { ...good, owner: new Uint8Array(3) }, 'owner'],
    ['an amount is negative', { ...good, amount: -1 }, 'amount'],
    ['a choice is none of them', { ...good, mode: 'gift' }, 'mode'],
    ['an optional member is of another type', { ...good, note: 1 }, 'note'],
    ['a dictionary is a list', { ...good, places: [[]] }, 'places[0]'],
    ['a list is a dictionary', { ...good, places: {} }, 'places'],
  ])('names the field when %s', (_, value, path) => {
    const problem = problemFrom(() => read(value))
    expect(problem.code).toBe('bad-encoding')
    expect(problem.members).toEqual({ field: path })
    expect(problem.message).toContain(path)
  })

  it('ignores unknown members where that is asked for', () => {
    const value = fields(decode(encode({ ...good, extra: 1 })), shape, { rest: true })
    expect(value).not.toHaveProperty('extra')
  })

  it('finds no member in what every object inherits', () => {
    expect(() => fields(decodeText('de'), { toString: field.any })).toThrow(badEncoding)
    expect(() => fields({}, { toString: field.any })).toThrow(badEncoding)
    expect(() => fields(decodeText('d8:toStringi1ee'), {})).toThrow(badEncoding)
  })

  it('throws nothing but problems, for any value', () => {
    fc.assert(
      fc.property(bencode, (value) => {
        expect(problemFrom(() => fields(value, shape)).code).toSatisfy(isProblemCode)
      }),
    )
  })
})

function staysCanonical(bytes: Uint8Array): void {
  let value: Bencode
  try {
    value = decode(bytes)
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad-encoding' })
    return
  }
  expect(equal(encode(value), bytes)).toBe(true)
}
