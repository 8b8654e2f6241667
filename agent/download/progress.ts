/**
 * Which pieces of a download are verified and stored: a bit each, kept in blocks, so that a piece costs one small write. No
 * block lies in two stretches: each has one writer.
 */
import { hasPiece, setPiece } from '../../protocol/bitfield.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import { locatePiece, type Metainfo } from '../../protocol/metainfo.ts'
import type { Item } from '../../protocol/store.ts'
import type { Entry } from './journal.ts'
import { startBefore, type Span } from './stretches.ts'

export interface Progress {
  /** Pieces and bytes of the span that are done. */
  readonly pieces: number
  readonly bytes: number
  isDone(piece: number): boolean
  /** For the journal: the piece counts as done once it is written. */
  mark(piece: number): Entry
  /** The storage lost it. */
  unmark(piece: number): Entry
}

/** 1 KiB a block. */
const BLOCK_PIECES = 8192
export const PROGRESS_PREFIX = 'pieces/'

export interface ProgressOptions {
  readonly pk: string
  readonly meta: Metainfo
  /** Of `PROGRESS_PREFIX` under `pk`. */
  readonly items: readonly Item[]
  /** Where the download's stretches begin. */
  readonly starts: readonly number[]
  readonly span: Span
}

export function openProgress({ pk, meta, items, starts, span }: ProgressOptions): Progress {
  const blocks = new Map(items.map(({ sk, body }) => [Number(sk.slice(PROGRESS_PREFIX.length)), body]))
  let pieces = 0
  let bytes = 0
  for (let piece = span.from; piece < span.to; piece++) if (isDone(piece)) count(piece, 1)

  /** A block is known by its first piece. */
  function placeOf(piece: number): { readonly first: number; readonly bit: number } {
    const start = startBefore(starts, piece)
    const bit = (piece - start) % BLOCK_PIECES
    return { first: piece - bit, bit }
  }

  function isDone(piece: number): boolean {
    const { first, bit } = placeOf(piece)
    const block = blocks.get(first)
    return block !== undefined && hasPiece(block, bit)
  }

  function count(piece: number, sign: 1 | -1): void {
    pieces += sign
    bytes += sign * locatePiece(meta, piece).length
  }

  function change(piece: number, alter: (block: Bytes, bit: number) => void): Entry {
    const { first, bit } = placeOf(piece)
    const block = new Uint8Array(blocks.get(first) ?? new Uint8Array(BLOCK_PIECES / 8))
    alter(block, bit)
    blocks.set(first, block)
    return { pk, sk: PROGRESS_PREFIX + String(first).padStart(8, '0'), body: block }
  }

  return {
    get pieces() {
      return pieces
    },
    get bytes() {
      return bytes
    },
    isDone,
    mark(piece) {
      if (!isDone(piece)) count(piece, 1)
      return change(piece, setPiece)
    },
    unmark(piece) {
      if (isDone(piece)) count(piece, -1)
      return change(piece, clearPiece)
    },
  }
}

function clearPiece(bits: Bytes, piece: number): void {
  bits[piece >> 3] = (bits[piece >> 3] ?? 0) & ~(0x80 >> (piece & 7))
}
