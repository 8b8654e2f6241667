/** Which pieces there are, a bit each; the high bit of the first byte is piece 0 and spare bits are 0 (BEP 3). */
import type { Bytes } from './bytes.ts'
import { Problem } from './problem.ts'

export const emptyBitfield = (pieces: number): Bytes => new Uint8Array(Math.ceil(pieces / 8))

export function fullBitfield(pieces: number): Bytes {
  const bits = emptyBitfield(pieces).fill(0xff)
  if (pieces % 8 !== 0) bits[bits.length - 1] = 0xff << (8 - (pieces % 8))
  return bits
}

/** A piece beyond the end is not there. */
export const hasPiece = (bits: Uint8Array, piece: number): boolean =>
  (((bits[piece >> 3] ?? 0) >> (7 - (piece & 7))) & 1) === 1

export function setPiece(bits: Bytes, piece: number): void {
  bits[piece >> 3] = (bits[piece >> 3] ?? 0) | (0x80 >> (piece & 7))
}

export function countPieces(bits: Uint8Array): number {
  let count = 0
  for (let byte of bits) for (; byte > 0; byte &= byte - 1) count++
  return count
}

/** @throws Problem `bad-encoding` for a wrong length or spare bits that are set */
export function checkBitfield(bits: Uint8Array, pieces: number): void {
  const spare = bits.length * 8 - pieces
  if (spare < 0 || spare > 7) throw new Problem('bad-encoding', `A bitfield of ${pieces} pieces has another length.`)
  if (((bits.at(-1) ?? 0) & ((1 << spare) - 1)) !== 0) throw new Problem('bad-encoding', 'Spare bits are set.')
}
