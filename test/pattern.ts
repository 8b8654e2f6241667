/** Bytes that differ from place to place and from seed to seed, the same everywhere (`test/vectors/torrents.json` says how). */
import type { Bytes } from '../protocol/bytes.ts'

export function pattern(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length)
  let state = seed >>> 0
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}
