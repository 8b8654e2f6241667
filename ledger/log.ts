/** The log as it lies in the store: the head, the entries in runs, the tiles of hashes above them. Only sequencers write it. */
import { concat, type Bytes } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import {
  consistencySpans,
  HASH_BYTES,
  inclusionSpans,
  readSpans,
  subtrees,
  type Frontier,
  type Span,
} from '../protocol/merkle.ts'
import { Problem } from '../protocol/problem.ts'
import type { Store } from '../protocol/store.ts'
import { encodeBundle, hasTile, tileNodeReader, tileWidth, type HashTile, type Tile } from '../protocol/tile.ts'
import { sortable } from './places.ts'
import { bundleOf, readPlace, readRuns, type Place } from './runs.ts'

export const logKeys = {
  head: { pk: 'log', sk: 'head' },
  /** From level 1 up: the hashes below are in the runs of the entries. */
  tile: (level: number, index: number): Key => ({ pk: `tile/${level}`, sk: sortable(index) }),
} as const

/** What the log has come to: the tree over all entries, and the signed checkpoint that says so. */
export interface Head extends Frontier {
  /** 0 before the first write. */
  readonly version: number
  /** A signed note (C2SP tlog-checkpoint); empty while the log is. */
  readonly note: string
  /** What was appended last goes from here up to the size. */
  readonly from: number
  /** Of a shard: the last round whose entries it holds (shards.ts). */
  readonly round?: number
}

const headShape = {
  from: field.integer(),
  note: field.text(),
  peaks: field.list(field.bytes(HASH_BYTES)),
  round: field.optional(field.integer()),
  size: field.integer(),
}

export const encodeHead = ({ from, note, peaks, round, size }: Omit<Head, 'version'>): Bytes =>
  encode({ from, note, peaks, round, size })

export async function readHead(store: Store): Promise<Head> {
  const item = await store.get(logKeys.head.pk, logKeys.head.sk)
  if (!item) return { version: 0, from: 0, size: 0, peaks: [], note: '' }
  return { version: item.version, ...fields(decode(item.body), headShape) }
}

/** The hashes of a tile, of which the store may hold more than asked for. */
export async function readTile(store: Store, { level, index, width }: HashTile): Promise<Bytes> {
  if (level === 0) return readHashes(store, index, width)
  const { pk, sk } = logKeys.tile(level, index)
  const item = await store.get(pk, sk)
  if (!item || item.body.length < width * HASH_BYTES) throw new Error(`tile ${level}/${index} is missing`)
  return item.body.slice(0, width * HASH_BYTES)
}

async function readHashes(store: Store, bundle: number, width: number): Promise<Bytes> {
  const runs = await readRuns(store, bundle, bundle * limits.entriesPerTile + width)
  return concat(...runs.map(({ hashes }) => hashes)).slice(0, width * HASH_BYTES)
}

/** The bytes of a tile or an entry bundle, as C2SP tlog-tiles serves them. @throws Problem `not-found` beyond the log's end */
export async function readLogTile(store: Store, tile: Tile): Promise<Bytes> {
  const { size } = await readHead(store)
  if (!hasTile(tile, size)) throw new Problem('not-found', 'The log has no such tile.')
  const { level, index, width } = tile
  if (level !== 'entries') return readTile(store, { level, index, width })
  return encodeBundle(await readBundle(store, index, width))
}

/** The first entries of a bundle, but for some at its start. */
async function readBundle(store: Store, bundle: number, width: number, but = 0): Promise<Bytes[]> {
  const runs = await readRuns(store, bundle, bundle * limits.entriesPerTile + width)
  const places = runs.flatMap(({ entries }) => entries).slice(but, width)
  return Promise.all(places.map((place) => readPlace(store, place)))
}

/** The entries of one bundle from an index on, up to its end or the log's. */
export function readEntries(store: Store, from: number, size: number): Promise<Bytes[]> {
  const bundle = bundleOf(from)
  return readBundle(store, bundle, tileWidth('entries', bundle, size), from % limits.entriesPerTile)
}

/** One entry of a log that has so many, and more. */
export async function readEntry(store: Store, index: number): Promise<Bytes> {
  const runs = await readRuns(store, bundleOf(index), index + 1)
  const run = runs.at(-1)
  return readPlace(store, run?.entries[index - run.first] as Place)
}

export interface ProvenEntry {
  readonly bytes: Bytes
  readonly index: number
  /** The tree that the proof leads to the root of. */
  readonly size: number
  readonly proof: readonly Bytes[]
}

/** @param size of the tree that the proof is for. @throws Problem `not-found` beyond its end */
export async function readProven(store: Store, index: number, size: number): Promise<ProvenEntry> {
  if (index >= size) throw new Problem('not-found', `The log has ${size} entries.`)
  const bytes = await readEntry(store, index)
  const proof = await readProof(store, inclusionSpans(index, size), size)
  return { bytes, index, size, proof }
}

/** The proof that the tree of `size` leaves, or of fewer than the log has, goes on from that of `oldSize` (RFC 6962 §2.1.2). */
export const readConsistency = (store: Store, oldSize: number, size: number): Promise<readonly Bytes[]> =>
  readProof(store, consistencySpans(oldSize, size), size)

const readProof = (store: Store, spans: readonly Span[], size: number): Promise<Bytes[]> =>
  readSpans(
    spans,
    tileNodeReader(size, (tile) => readTile(store, tile)),
  )

/** The tree over the first `size` entries, which may be fewer than the log has. */
export async function readFrontier(store: Store, size: number): Promise<Frontier> {
  const read = tileNodeReader(size, (tile) => readTile(store, tile))
  return { size, peaks: await read(subtrees([0, size])) }
}

/** Of the first `size` entries, which may be fewer than the log has. */
export async function readRoot(store: Store, size: number): Promise<Bytes> {
  const [root] = await readProof(store, [[0, size]], size)
  return root as Bytes
}
