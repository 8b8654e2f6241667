/**
 * Verified pieces that wait for the rest of their part, kept in the store, or elsewhere where the store is dear: a piece is
 * paid for, and a crash must not lose it. What lies here is bounded by the window in which pieces are fetched.
 */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { itemsOf, putAll, type Put } from '../../protocol/items.ts'
import { locatePiece, type Metainfo } from '../../protocol/metainfo.ts'
import type { Store } from '../../protocol/store.ts'
import type { AgentContext } from '../context.ts'

export interface Spool {
  /** Durable once it resolves. */
  keep(piece: number, bytes: Uint8Array): Promise<void>
  drop(pieces: Iterable<number>): Promise<void>
  /** Pieces that were kept whole. */
  load(): AsyncGenerator<{ readonly piece: number; readonly bytes: Bytes }>
}

/** @param lengthOf a piece has so many bytes */
export type OpenSpool = (pk: string, lengthOf: (piece: number) => number) => Spool

/** @param pk of the download, or of its stretch */
export function spoolOf(
  { openSpool, store }: Pick<AgentContext, 'openSpool' | 'store'>,
  pk: string,
  meta: Metainfo,
): Spool {
  const lengthOf = (piece: number): number => locatePiece(meta, piece).length
  return openSpool ? openSpool(pk, lengthOf) : createSpool(store, pk, lengthOf)
}

const SPOOL = 'spool/'
const CHUNK_BYTES = 256 * 1024
const DIGITS = { piece: 8, chunk: 3 }

const keyOf = (piece: number, chunk: number): string =>
  `${SPOOL}${String(piece).padStart(DIGITS.piece, '0')}/${String(chunk).padStart(DIGITS.chunk, '0')}`

/** @param lengthOf a piece has so many bytes */
export function createSpool(store: Store, pk: string, lengthOf: (piece: number) => number): Spool {
  function* puts(piece: number, bytes?: Uint8Array): Generator<Put> {
    for (let at = 0, chunk = 0; at < lengthOf(piece); at += CHUNK_BYTES, chunk++) {
      const key = { pk, sk: keyOf(piece, chunk) }
      yield bytes ? { ...key, body: new Uint8Array(bytes.subarray(at, at + CHUNK_BYTES)) } : key
    }
  }

  function whole(piece: number | undefined, chunks: readonly Bytes[]): { piece: number; bytes: Bytes } | undefined {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    return piece !== undefined && length === lengthOf(piece) ? { piece, bytes: concat(...chunks) } : undefined
  }

  return {
    keep: (piece, bytes) => putAll(store, puts(piece, bytes)),
    drop: (pieces) =>
      putAll(
        store,
        Iterator.from(pieces).flatMap((piece) => puts(piece)),
      ),
    async *load() {
      let current: number | undefined
      let chunks: Bytes[] = []
      for await (const { sk, body } of itemsOf(store, pk, { prefix: SPOOL })) {
        const piece = Number(sk.slice(SPOOL.length, SPOOL.length + DIGITS.piece))
        const before = piece === current ? undefined : whole(current, chunks)
        if (before) yield before
        if (piece !== current) chunks = []
        chunks.push(body)
        current = piece
      }
      const last = whole(current, chunks)
      if (last) yield last
    },
  }
}
