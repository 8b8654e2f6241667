/**
 * A log in a store (C2SP tlog-tiles), for a service whose entries are few: an entry is appended in the very write that
 * makes what it says count, so nothing waits and nothing is lost. Who appends at the same time comes one after the other:
 * each write is conditional on the head that it goes on from.
 */
import { formatCheckpoint, signNote } from './checkpoint.ts'
import type { Bytes } from './bytes.ts'
import { decode, encode, field, fields } from './encoding.ts'
import { limits } from './limits.ts'
import {
  append,
  consistencySpans,
  EMPTY_FRONTIER,
  frontierRoot,
  HASH_BYTES,
  leafHash,
  readSpans,
  type Frontier,
} from './merkle.ts'
import { Problem } from './problem.ts'
import type { Signer } from './signed.ts'
import type { Change, Store } from './store.ts'
import { encodeBundle, growTiles, hasTile, readEdge, tileNodeReader, type HashTile, type Tile } from './tile.ts'

export interface StoreLog {
  /** What appends these entries to the log as it is now, and the index of the first; to be written with what they say. */
  grow(entries: readonly Bytes[]): Promise<{ readonly changes: readonly Change[]; readonly index: number }>
  /** The log as it is: a signed note (C2SP tlog-checkpoint), that of the empty log before the first entry. */
  head(): Promise<LogHead>
  /** Another one as soon as the log has grown; 0 while nothing is in it. */
  version(): Promise<number>
  size(): Promise<number>
  /** From an index on, up to a size that the log has reached. */
  entries(from: number, size: number): Promise<readonly Bytes[]>
  /** @throws Problem `not-found` beyond the log's end */
  tile(tile: Tile): Promise<Bytes>
  /** RFC 6962 §2.1.2, from one size to another that the log has reached. */
  consistency(oldSize: number, size: number): Promise<readonly Bytes[]>
}

export interface LogHead extends Frontier {
  /** 0 before the first write. */
  readonly version: number
  readonly note: string
}

export interface LogName {
  readonly origin: string
  readonly signer: Signer
}

const HEAD = { pk: 'log', sk: 'head' }
const DIGITS = 16
const sortable = (value: number): string => String(value).padStart(DIGITS, '0')
const logTileKey = (level: number, index: number) => ({ pk: `log/tile/${level}`, sk: sortable(index) })
const logEntryKey = (index: number) => ({
  pk: `log/entries/${sortable(Math.floor(index / limits.entriesPerTile))}`,
  sk: sortable(index),
})

const headShape = { note: field.text(), peaks: field.list(field.bytes(HASH_BYTES)), size: field.integer() }

export const headOfLog = (head: Omit<LogHead, 'version'>, expect: number): Change => ({
  ...HEAD,
  expect,
  body: encode({ note: head.note, peaks: [...head.peaks], size: head.size }),
})

/** Undefined before the first write. */
export async function readLogHead(store: Store): Promise<LogHead | undefined> {
  const item = await store.get(HEAD.pk, HEAD.sk)
  return item && { version: item.version, ...fields(decode(item.body), headShape) }
}

/** @param name who signs; its own note is served while the log is empty */
export function createStoreLog(store: Store, name: () => Promise<LogName>): StoreLog {
  async function noteOf(frontier: Frontier): Promise<string> {
    const { origin, signer } = await name()
    const text = formatCheckpoint({ origin, size: frontier.size, rootHash: frontierRoot(frontier) })
    return signNote(text, { name: origin, signer })
  }

  async function head(): Promise<LogHead> {
    return (await readLogHead(store)) ?? { ...EMPTY_FRONTIER, version: 0, note: await noteOf(EMPTY_FRONTIER) }
  }

  async function grow(entries: readonly Bytes[]) {
    const before = await head()
    const { changes, grown } = await growthOf(store, before, entries)
    return {
      changes: [headOfLog({ ...grown, note: await noteOf(grown) }, before.version), ...changes],
      index: before.size,
    }
  }

  return {
    grow,
    head,
    version: async () => (await store.get(HEAD.pk, HEAD.sk))?.version ?? 0,
    size: async () => (await readLogHead(store))?.size ?? 0,
    entries: (from, size) => readEntries(store, from, size),
    tile: async (tile) => readTile(store, tile, (await head()).size),
    consistency: (oldSize, size) =>
      readSpans(
        consistencySpans(oldSize, size),
        tileNodeReader(size, (tile) => readTile(store, tile, size)),
      ),
  }
}

/** The entries and tiles that a log grows by; its head is the caller's. */
export async function growthOf(store: Store, before: Frontier, entries: readonly Bytes[]) {
  const hashes = entries.map(leafHash)
  const edge = await readEdge(before.size, (tile) => readHashes(store, tile))
  const { tiles } = growTiles(edge, before.size, hashes)
  const changes: Change[] = [
    ...entries.map((body, i): Change => ({ ...logEntryKey(before.size + i), expect: 'any', body })),
    ...tiles.map(({ tile, bytes }): Change => ({ ...logTileKey(tile.level, tile.index), expect: 'any', body: bytes })),
  ]
  return { changes, grown: append(before, hashes) }
}

async function readTile(store: Store, tile: Tile, size: number): Promise<Bytes> {
  if (!hasTile(tile, size)) throw new Problem('not-found', 'The log has no such tile.')
  const { level, index, width } = tile
  if (level === 'entries') return encodeBundle(await readBundle(store, index, width))
  return readHashes(store, { level, index, width })
}

async function readEntries(store: Store, from: number, size: number): Promise<Bytes[]> {
  const entries: Bytes[] = []
  for (let at = from; at < size; at += limits.entriesPerTile - (at % limits.entriesPerTile)) {
    const { pk, sk } = logEntryKey(at)
    const limit = Math.min(size - at, limits.entriesPerTile - (at % limits.entriesPerTile))
    // The item itself is not among those after it.
    const [first, rest] = await Promise.all([
      store.get(pk, sk),
      limit > 1 ? store.list(pk, { after: sk, limit: limit - 1 }) : [],
    ])
    entries.push(...[first, ...rest].flatMap((item) => (item ? [item.body] : [])))
  }
  return entries
}

async function readBundle(store: Store, bundle: number, width: number): Promise<Bytes[]> {
  const { pk } = logEntryKey(bundle * limits.entriesPerTile)
  const items = await store.list(pk, { limit: width })
  if (items.length < width) throw new Error(`bundle ${bundle} is not whole`)
  return items.map(({ body }) => body)
}

/** Of which the store may hold more than asked for. */
async function readHashes(store: Store, { level, index, width }: HashTile): Promise<Bytes> {
  const { pk, sk } = logTileKey(level, index)
  const item = await store.get(pk, sk)
  if (!item || item.body.length < width * HASH_BYTES) throw new Error(`tile ${level}/${index} is missing`)
  return item.body.slice(0, width * HASH_BYTES)
}
