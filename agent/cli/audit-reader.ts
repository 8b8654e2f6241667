/** The entries of a log for its audit: read bundle by bundle, one ahead, and held against the tiles of hashes. */
import { equal, type Bytes } from '../../protocol/bytes.ts'
import { decodeEntry, entryHash, type Entry } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { append, type Frontier } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  decodeBundle,
  growTiles,
  tileHashes,
  tilePath,
  tileWidth,
  type Edge,
  type Tile,
  type TileUpdate,
} from '../../protocol/tile.ts'
import { verifyAhead, type Kind } from '../../protocol/signed.ts'
import type { LogSource } from './log-source.ts'

/** Where an entry is: in the log, or of a log in shards in one of its logs. */
export interface Place {
  readonly index: number
  /** As a fault names it, and by its origin. */
  readonly log?: { readonly name: string; readonly origin: string }
}

export interface PlacedEntry extends Place {
  readonly bytes: Bytes
  /** Undefined where it cannot be. */
  readonly decoded: Entry | undefined
}

/** What is wrong with a log, and with which entry first, where it is with one. */
export class Fault extends Error {
  readonly place: Place | undefined
  constructor(rule: string, place?: Place) {
    super(place === undefined ? rule : `entry ${place.index}${place.log ? ` of ${place.log.name}` : ''}: ${rule}`)
    this.place = place
  }
}

/** The tree over the entries that were taken. */
export interface Grown {
  readonly frontier: Frontier
  readonly edge: Edge
}

/** What an audit goes on from. */
export interface ReadSoFar extends Grown {
  /** Of a log in shards, whose root log the tree is: each shard's, as far as that joins it. */
  readonly shards?: readonly Grown[]
}

export interface LogReader {
  /** How many logs hold the entries. */
  readonly shards: number
  /** Entries that the checkpoint covers. */
  readonly size: number
  /** The entries that were not taken yet, a bundle at a time. @throws Fault, Problem */
  bundles(): AsyncGenerator<readonly PlacedEntry[]>
  /** The entry was replayed. */
  take(entry: PlacedEntry): void
  grown(): ReadSoFar
  /** Holds the tiles above the entries that were taken against those of the log. @throws Fault, Problem */
  checkTiles(): Promise<void>
}

/** The kinds of the signed objects in an entry, to verify them ahead; what is not here is verified in its turn. */
const PARTS: Readonly<Record<string, readonly Kind[]>> = {
  register: ['identity', 'membership'],
  rotate: ['identity'],
  delegate: ['delegation'],
  declare: ['declaration'],
  claim: ['commitment', 'claim'],
  redeem: ['redemption'],
  release: ['release', 'signoff'],
  dispute: ['label', 'dispute'],
  buy: ['buy'],
  sell: ['sell', 'sell'],
  lock: ['lock'],
  decline: ['lock'],
  mint: ['mint'],
  refund: ['refund'],
  transfer: ['transfer'],
}

/** @param log that faults name; none for a log that is not in shards */
export function createLogReader(source: LogSource, size: number, from: Grown, log?: Place['log']): LogReader {
  let { frontier, edge } = from
  let taken: Bytes[] = []
  let unchecked: TileUpdate[] = []

  async function readTile(tile: Tile): Promise<Bytes> {
    return source.tile(tilePath(tile)).catch((error: unknown) => {
      throw missing(source, tile, error)
    })
  }

  /** @throws Fault that names the first entry whose hash is another */
  async function readBundle(index: number): Promise<readonly PlacedEntry[]> {
    const width = tileWidth('entries', index, size)
    const [bytes, hashes] = await Promise.all([
      readTile({ level: 'entries', index, width }),
      readTile({ level: 0, index, width }),
    ])
    const first = index * limits.entriesPerTile
    const entries = orFault(() => decodeBundle(bytes, width), `the entries from ${first} on cannot be read`)
    const stated = orFault(() => tileHashes(hashes, width), `${tilePath({ level: 0, index, width })} is no tile`)
    for (const [i, entry] of entries.entries()) {
      if (!equal(entryHash(entry), stated[i] as Bytes))
        throw new Fault(`${tilePath({ level: 0, index, width })} does not hold its hash`, place(first + i))
    }
    const placed = entries.map((entry, i) => ({ ...place(first + i), bytes: entry, decoded: decoded(entry) }))
    await verifyPartsAhead(placed.slice(Math.max(0, frontier.size - first)))
    return placed
  }

  const place = (index: number): Place => ({ index, ...(log && { log }) })

  async function* bundles(): AsyncGenerator<readonly PlacedEntry[]> {
    const start = frontier.size
    let index = Math.floor(start / limits.entriesPerTile)
    const last = Math.ceil(size / limits.entriesPerTile)
    if (start >= size) return
    for (let next = readBundle(index); ; index++) {
      const entries = await next
      if (index + 1 < last) next = ahead(readBundle(index + 1))
      yield entries.slice(Math.max(0, start - index * limits.entriesPerTile))
      if (index + 1 >= last) return
    }
  }

  function grow(): void {
    if (taken.length === 0) return
    const next = growTiles(edge, frontier.size, taken)
    frontier = append(frontier, taken)
    edge = next.edge
    unchecked.push(...next.tiles.filter(({ tile }) => tile.level > 0))
    taken = []
  }

  return {
    shards: 1,
    size,
    bundles,
    take: ({ bytes }) => void taken.push(entryHash(bytes)),
    grown() {
      grow()
      return { frontier, edge }
    },
    async checkTiles() {
      grow()
      const due = unchecked.filter(({ tile }) => tile.width === tileWidth(tile.level, tile.index, size))
      unchecked = []
      for (const { tile, bytes } of due) {
        if (!equal(await readTile(tile), bytes))
          throw new Fault(`${tilePath(tile)} does not hold the hashes of the entries below it`)
      }
    },
  }
}

async function verifyPartsAhead(entries: readonly PlacedEntry[]): Promise<void> {
  const found = entries.flatMap(({ decoded: { kind, parts } = { kind: '', parts: [] } }) =>
    parts.map((part, i) => ({ part, kind: PARTS[kind]?.[i] })),
  )
  await Promise.all(found.map(async ({ part, kind }) => kind && verifyAhead(kind, part)))
}

/** What cannot be read is found out when it is applied. */
function decoded(bytes: Bytes): Entry | undefined {
  try {
    return decodeEntry(bytes)
  } catch {
    return undefined
  }
}

/** Its failure waits until it is asked for. */
function ahead<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined)
  return work
}

function orFault<T>(read: () => T, what: string): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof Problem) throw new Fault(`${what}: ${error.message}`)
    throw error
  }
}

function missing({ isCopy }: LogSource, tile: Tile, error: unknown): unknown {
  if (!(error instanceof Problem)) return error
  const what =
    tile.level === 'entries'
      ? `the entries from ${tile.index * limits.entriesPerTile} on cannot be read`
      : `${tilePath(tile)} cannot be read`
  if (error.code !== 'not-found') return isCopy ? error : new Fault(`${what}: ${error.message}`)
  return isCopy
    ? new Problem('log-behind', `The copy does not hold ${tilePath(tile)}, which its checkpoint covers.`)
    : new Fault(`${what}: ${error.message}`)
}
