import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createFraming } from '../../agent/bittorrent/framing.ts'
import { concat } from '../../protocol/bytes.ts'
import { words } from './stock-client.ts'

const MOST = 50
const HANDSHAKE = new Uint8Array(68).fill(0xff)

const messages = (lengths: readonly number[]): Uint8Array =>
  concat(
    HANDSHAKE,
    ...lengths.map((length) => concat(words(length), new Uint8Array(Math.min(length, 1000)).fill(0xff))),
  )

/** Bytes, cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

it('messages up to the limit pass, however they are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: MOST })), fc.array(fc.nat()), (lengths, places) => {
      const passes = createFraming(MOST)
      for (const chunk of cut(messages(lengths), places)) expect(passes(chunk)).toBe(true)
    }),
  )
})

it('the first that is longer is found, however they are cut', () => {
  const tooLong = fc.integer({ min: MOST + 1, max: 2 ** 32 - 1 })
  fc.assert(
    fc.property(fc.array(fc.nat({ max: MOST })), tooLong, fc.array(fc.nat()), (lengths, long, places) => {
      const passes = createFraming(MOST)
      const before = messages(lengths)
      for (const chunk of cut(before, places)) expect(passes(chunk)).toBe(true)
      const answers = cut(words(long), places).map((chunk) => passes(chunk))
      expect(answers.includes(false)).toBe(true)
    }),
  )
})
