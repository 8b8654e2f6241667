import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { decodeEntry, encodeEntry, entryHash, type Entry } from '../../protocol/entry.ts'
import type { ProblemCode } from '../../protocol/problem.ts'
import { orProblem } from '../problems.ts'
import entryVectors from '../vectors/entry.json' with { type: 'json' }
import objectVectors from '../vectors/settlement.json' with { type: 'json' }

const code = (expected: ProblemCode) => expect.objectContaining({ code: expected })

const partOf = (kind: string): Entry['parts'][number] => {
  const object = objectVectors.objects.find((each) => each.kind === kind) as (typeof objectVectors.objects)[number]
  const key = objectVectors.keys[object.signer as keyof typeof objectVectors.keys].public
  return { body: fromHex(object.body), key: fromHex(key), signature: fromHex(object.signature) }
}
const vectors = entryVectors.entries.map(({ kind, time, parts, data, bytes, hash }) => {
  const numbers = data && { data: Object.fromEntries(Object.entries(data).map(([name, n]) => [name, BigInt(n)])) }
  const entry: Entry = { kind, time, parts: parts.map(partOf), ...numbers }
  return { kind, entry, bytes, hash }
})
const claim = vectors[1]?.entry as Entry

describe('log entries', () => {
  it.each(vectors)('writes the $kind entry of the vectors, hashes it and reads it back', ({ entry, bytes, hash }) => {
    expect(toHex(encodeEntry(entry))).toBe(bytes)
    expect(toHex(entryHash(fromHex(bytes)))).toBe(hash)
    expect(decodeEntry(fromHex(bytes))).toEqual(entry)
  })

  it('refuses an entry that a bundle cannot hold', () => {
    const part = { ...partOf('claim'), body: new Uint8Array(33_000) }
    expect(() => encodeEntry({ ...claim, parts: [part, part] })).toThrow(code('too-large'))
    expect(() => decodeEntry(new Uint8Array(65_536))).toThrow(code('too-large'))
  })

  it.each(['', 'Claim', 'claim ', '-claim', 'claim-', 'c/d', 'a'.repeat(33)])('refuses %j as a kind', (kind) => {
    expect(() => decodeEntry(encodeEntry({ ...claim, kind }))).toThrow(code('bad-encoding'))
  })

  it('refuses another shape', () => {
    const part = { b: new Uint8Array(1), k: new Uint8Array(32), s: new Uint8Array(64) }
    const whole = { kind: 'claim', parts: [part], time: 5 }
    expect(decodeEntry(encode(whole)).parts).toHaveLength(1)
    for (const bad of [
      { ...whole, time: -1 },
      { ...whole, time: 2n ** 62n },
      { ...whole, extra: 1 },
      { ...whole, parts: part },
      { ...whole, parts: [{ ...part, k: new Uint8Array(31) }] },
      { ...whole, parts: [{ ...part, s: new Uint8Array(65) }] },
      { ...whole, parts: [{ ...part, x: 1 }] },
      { ...whole, parts: Array.from({ length: 9 }, () => part) },
      { kind: 'claim', parts: [] },
    ]) {
      expect(() => decodeEntry(encode(bad))).toThrow(code('bad-encoding'))
    }
  })

  it('reads any bytes as an entry that it writes back the same, or refuses them', () => {
    const bytes = encodeEntry(claim)
    const spoiled = fc
      .tuple(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }))
      .map(([at, byte]) => bytes.map((old, i) => (i === at ? byte : old)))
    fc.assert(
      fc.property(fc.oneof(spoiled, fc.uint8Array()), (input) => {
        const entry = orProblem(() => decodeEntry(input))
        if (entry) expect(encodeEntry(entry)).toEqual(input)
      }),
    )
  })
})
