/** Which pieces of a download are verified and stored: a bit each, kept in blocks, so that a piece costs one small write. */
import { hasPiece, setPiece } from '../../protocol/bitfield.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import { locatePiece, type Metainfo } from '../../protocol/metainfo.ts'
import type { Item } from '../../protocol/store.ts'
import type { Entry } from './journal.ts'

export interface Progress {
  /** Pieces and bytes that are done. */
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

/** @param items of `PROGRESS_PREFIX` under `pk` */
export function openProgress(pk: string, meta: Metainfo, items: readonly Item[]): Progress {
  const blocks = new Map(items.map(({ sk, body }) => [Number(sk.slice(PROGRESS_PREFIX.length)), body]))
  let pieces = 0
  let bytes = 0
  for (let piece = 0; piece < meta.pieces; piece++) if (isDone(piece)) count(piece, 1)

  function isDone(piece: number): boolean {
    const block = blocks.get(Math.floor(piece / BLOCK_PIECES))
    return block !== undefined && hasPiece(block, piece % BLOCK_PIECES)
  }

  function count(piece: number, sign: 1 | -1): void {
    pieces += sign
    bytes += sign * locatePiece(meta, piece).length
  }

  function change(piece: number, alter: (block: Bytes, place: number) => void): Entry {
    const number = Math.floor(piece / BLOCK_PIECES)
    const block = new Uint8Array(blocks.get(number) ?? new Uint8Array(BLOCK_PIECES / 8))
    alter(block, piece % BLOCK_PIECES)
    blocks.set(number, block)
    return { pk, sk: PROGRESS_PREFIX + String(number).padStart(4, '0'), body: block }
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
