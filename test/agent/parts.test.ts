import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { covers, createParts, type Parts } from '../../agent/download/parts.ts'
import { createSpool, type Spool } from '../../agent/download/spool.ts'
import { merge } from '../../agent/storage/ranges.ts'
import type { ByteRange } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { pattern } from '../pattern.ts'

interface Disk {
  readonly writes: 'any-order' | 'in-order'
  readonly partBytes: number
  readonly bytes: Uint8Array
  ranges: readonly ByteRange[]
  put(write: unknown, offset: number, part: Uint8Array): Promise<void>
  /** The next put fails. */
  isBroken: boolean
}

/** A storage that takes nothing but whole parts, in order where it says so. */
function strictDisk(writes: Disk['writes'], partBytes: number, size: number): Disk {
  const disk: Disk = {
    writes,
    partBytes,
    bytes: new Uint8Array(size),
    ranges: [],
    isBroken: false,
    async put(_, offset, part) {
      const end = Math.min(size, offset - (offset % partBytes) + partBytes)
      expect(offset + part.length).toBe(end)
      if (writes === 'in-order') expect(offset).toBe(disk.ranges[0]?.length ?? 0)
      else expect(offset % partBytes).toBe(0)
      await Promise.resolve()
      if (disk.isBroken) throw new Error('broken')
      disk.bytes.set(part, offset)
      disk.ranges = merge([...disk.ranges, { offset, length: part.length }])
    },
  }
  return disk
}

interface World {
  readonly disk: Disk
  readonly spool: Spool
  readonly size: number
  readonly pieceLength: number
  readonly source: Uint8Array
  open(): Promise<{ parts: Parts; stored: Set<number> }>
}

function worldOf(disk: Disk, pieceLength: number): World {
  const size = disk.bytes.length
  const lengthOf = (piece: number): number => Math.min(pieceLength, size - piece * pieceLength)
  const spool = createSpool(openSqlite(':memory:'), 'download/x', lengthOf)
  async function open() {
    const stored = new Set<number>()
    const onStored = (pieces: Iterable<number>): void => [...pieces].forEach((piece) => stored.add(piece))
    const write = { id: 'x', name: 'file', size }
    const held = disk.ranges
    const parts = createParts({ storage: disk, write, pieceLength, spool, held, onStored })
    for await (const { piece, bytes } of spool.load()) {
      if (covers(held, piece * pieceLength, bytes.length)) await spool.drop([piece])
      else parts.restore(piece, piece * pieceLength, bytes)
    }
    await parts.flush()
    return { parts, stored }
  }
  return { disk, spool, size, pieceLength, source: pattern(size), open }
}

const pieceOf = ({ source, pieceLength }: World, piece: number): Uint8Array =>
  Uint8Array.from(source.subarray(piece * pieceLength, (piece + 1) * pieceLength))

const shapes = fc.record({
  writes: fc.constantFrom('any-order' as const, 'in-order' as const),
  partLog: fc.integer({ min: 2, max: 5 }),
  pieceLog: fc.integer({ min: 1, max: 6 }),
  size: fc.integer({ min: 1, max: 300 }),
})

describe('pieces on their way into parts', () => {
  test('arrive whole whatever their order, sizes and company, and leave nothing in the spool', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.infiniteStream(fc.nat()), async ({ writes, partLog, pieceLog, size }, choices) => {
        const world = worldOf(strictDisk(writes, 2 ** partLog, size), 2 ** pieceLog)
        const { parts, stored } = await world.open()
        const left = Array.from({ length: Math.ceil(size / world.pieceLength) }, (_, i) => i)
        const count = left.length
        while (left.length > 0) {
          const some = Array.from({ length: Math.min(left.length, 1 + ((choices.next().value as number) % 3)) }, () => {
            const [piece = 0] = left.splice((choices.next().value as number) % left.length, 1)
            const bytes = pieceOf(world, piece)
            // The buffer is the caller's again once the put resolves.
            return parts.put(piece, piece * world.pieceLength, bytes).then(() => bytes.fill(0))
          })
          await Promise.all(some)
        }
        expect(Buffer.from(world.disk.bytes).equals(world.source)).toBe(true)
        expect(stored.size).toBe(count)
        expect(await Array.fromAsync(world.spool.load())).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  test('survive crashes at any point: what was put need not be put again', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.infiniteStream(fc.nat()), async ({ writes, partLog, pieceLog, size }, choices) => {
        const world = worldOf(strictDisk(writes, 2 ** partLog, size), 2 ** pieceLog)
        const left = Array.from({ length: Math.ceil(size / world.pieceLength) }, (_, i) => i)
        for (let crashes = 0; left.length > 0; crashes++) {
          const { parts } = await world.open()
          const pieces = crashes > 10 ? left.length : (choices.next().value as number) % 4
          for (let i = 0; i < pieces && left.length > 0; i++) {
            const at = (choices.next().value as number) % left.length
            const piece = left[at] as number
            world.disk.isBroken = crashes <= 10 && (choices.next().value as number) % 4 === 0
            const isDone = await parts.put(piece, piece * world.pieceLength, pieceOf(world, piece)).then(
              () => true,
              () => false,
            )
            world.disk.isBroken = false
            if (!isDone) break
            left.splice(at, 1)
          }
        }
        await world.open()
        expect(Buffer.from(world.disk.bytes).equals(world.source)).toBe(true)
        expect(world.disk.ranges).toEqual([{ offset: 0, length: size }])
      }),
      { numRuns: 300 },
    )
  })

  test('a unit that the provider has in part goes on where the provider says', async () => {
    const world = worldOf(strictDisk('in-order', 8, 32), 4)
    world.disk.bytes.set(world.source.subarray(0, 13))
    world.disk.ranges = [{ offset: 0, length: 13 }]
    const { parts } = await world.open()
    for (const piece of [3, 4, 5, 6, 7]) await parts.put(piece, piece * 4, pieceOf(world, piece))
    expect(Buffer.from(world.disk.bytes).equals(world.source)).toBe(true)
  })
})
