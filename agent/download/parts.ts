/**
 * Pieces of one file become the parts that its storage takes: a unit is a part, or a piece where pieces are larger. A piece
 * that comes before the rest of its unit, or before the unit's turn, is kept in the spool; who completes a unit puts it.
 */
import type { ByteRange, Storage, WriteRef } from '../storage/storage.ts'
import type { Spool } from './spool.ts'

export interface Parts {
  /** Durable once it resolves, in the storage or in the spool. @param bytes are the caller's again then */
  put(piece: number, offset: number, bytes: Uint8Array): Promise<void>
  /** A piece that the spool has kept. */
  restore(piece: number, offset: number, bytes: Uint8Array): void
  /** Puts what is complete, in order. */
  flush(): Promise<void>
}

export interface PartsOptions {
  readonly storage: Pick<Storage, 'writes' | 'partBytes' | 'put'>
  readonly write: WriteRef
  readonly pieceLength: number
  readonly spool: Spool
  /** What the storage holds of the file, in order and merged. */
  readonly held: readonly ByteRange[]
  /** Told of pieces that the storage holds from now on. */
  readonly onStored: (pieces: Iterable<number>) => void
}

interface Unit {
  readonly offset: number
  readonly length: number
  /** Missing where one piece is all of it, and its turn is whenever it comes. */
  readonly buffer: Uint8Array | undefined
  /** Where they begin in the file. */
  readonly pieces: Map<number, number>
  readonly spooled: Set<number>
  state: 'open' | 'storing' | 'stored'
}

export const unitBytes = (partBytes: number, pieceLength: number): number => Math.max(partBytes, pieceLength)

export function createParts({ storage, write, pieceLength, spool, held, onStored }: PartsOptions): Parts {
  const partBytes = write.partBytes ?? storage.partBytes
  const unitLength = unitBytes(partBytes, pieceLength)
  const inOrder = storage.writes === 'in-order'
  const units = new Map<number, Unit>()
  /** Where the next put must begin, where the order counts. */
  let next = inOrder && held[0]?.offset === 0 ? held[0].length : 0
  let draining: Promise<void> | undefined

  function unitAt(offset: number): Unit {
    const start = offset - (offset % unitLength)
    const length = Math.min(unitLength, write.size - start)
    const isDirect = !inOrder && length <= pieceLength
    const buffer = isDirect ? undefined : (units.get(start)?.buffer ?? new Uint8Array(length))
    const made = {
      offset: start,
      length,
      buffer,
      pieces: new Map(),
      spooled: new Set<number>(),
      state: 'open' as const,
    }
    const unit = units.get(start) ?? made
    units.set(start, unit)
    return unit
  }

  /** All of its pieces are here, but for those that the storage holds already. */
  function isReady({ offset, length, pieces, state }: Unit): boolean {
    const isTurn = !inOrder || (next >= offset && next < offset + length)
    if (state !== 'open' || !isTurn) return false
    const stored = inOrder ? Math.floor((next - offset) / pieceLength) : 0
    const here = [...pieces.values()].filter((at) => at >= offset + stored * pieceLength)
    return here.length === Math.ceil(length / pieceLength) - stored
  }

  async function store(unit: Unit, bytes: Uint8Array): Promise<void> {
    const { offset, length, pieces, spooled } = unit
    unit.state = 'storing'
    try {
      for (let at = inOrder ? next : offset; at < offset + length;) {
        const end = Math.min(offset + length, at - (at % partBytes) + partBytes)
        await storage.put(write, at, bytes.subarray(at - offset, end - offset))
        at = end
        if (inOrder) next = end
      }
    } catch (error) {
      unit.state = 'open'
      throw error
    }
    unit.state = 'stored'
    units.delete(offset)
    onStored(pieces.keys())
    await spool.drop(spooled)
  }

  /** Those whose turn has come, one after the other. */
  async function drain(): Promise<void> {
    for (;;) {
      const unit = [...units.values()].find((one) => one.buffer && isReady(one))
      if (!unit?.buffer) return
      await store(unit, unit.buffer)
    }
  }

  function flush(): Promise<void> {
    draining ??= drain().finally(() => (draining = undefined))
    return draining
  }

  async function keep(unit: Unit, piece: number, bytes: Uint8Array): Promise<void> {
    unit.spooled.add(piece)
    await spool.keep(piece, bytes)
    // Its unit was stored meanwhile, and dropped what was not there yet.
    if (unit.state === 'stored') return spool.drop([piece])
    if (inOrder && isReady(unit)) await flush()
  }

  function take(piece: number, offset: number, bytes: Uint8Array): Unit {
    const unit = unitAt(offset)
    unit.buffer?.set(bytes, offset - unit.offset)
    unit.pieces.set(piece, offset)
    return unit
  }

  /** A unit of one piece is put again: whoever puts it knows better than the storage whether it is right. */
  const isHeld = (offset: number, length: number): boolean =>
    (inOrder ? offset + length <= next : unitLength > pieceLength) && covers(held, offset, length)

  return {
    async put(piece, offset, bytes) {
      if (isHeld(offset, bytes.length)) return onStored([piece])
      const unit = take(piece, offset, bytes)
      if (!isReady(unit) || draining) return keep(unit, piece, bytes)
      return inOrder ? flush() : store(unit, unit.buffer ?? bytes)
    },
    restore(piece, offset, bytes) {
      take(piece, offset, bytes).spooled.add(piece)
    },
    flush,
  }
}

/** @param held in order and merged: the bytes lie in the last range that begins at or before them, or are not all there */
export function covers(held: readonly ByteRange[], offset: number, length: number): boolean {
  let low = 0
  let high = held.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((held[middle] as ByteRange).offset <= offset) low = middle + 1
    else high = middle
  }
  const range = held[low - 1]
  return range !== undefined && offset + length <= range.offset + range.length
}
