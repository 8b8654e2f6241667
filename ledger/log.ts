/**
 * The log as it lies in the store: the head, the tiles of hashes, the entries, and what waits to be sequenced. Only the
 * sequencer writes any of it but the last.
 */
import { concat, toHex, type Bytes } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import {
  consistencySpans,
  HASH_BYTES,
  inclusionSpans,
  readSpans,
  type Frontier,
  type Span,
} from '../protocol/merkle.ts'
import { Problem } from '../protocol/problem.ts'
import type { Store } from '../protocol/store.ts'
import { decodeBundle, hasTile, tileNodeReader, tileWidth, type Edge, type Tile } from '../protocol/tile.ts'

/** With the digits of every safe integer, keys sort like numbers. */
export const sortable = (value: number): string => String(value).padStart(16, '0')

export const logKeys = {
  head: { pk: 'log', sk: 'head' },
  tile: (level: number, index: number): Key => ({ pk: `tile/${level}`, sk: sortable(index) }),
  /** A run of entries, within one bundle, from its first entry's index on. */
  entries: (first: number): Key => ({ pk: bundleKey(bundleOf(first)), sk: sortable(first) }),
  /** In order of time, which respects what rests on what. */
  pending: (timeMs: number, hash: Bytes): Key => ({ pk: PENDING, sk: `${sortable(timeMs)}/${toHex(hash)}` }),
} as const

export const PENDING = 'pending'
const bundleKey = (bundle: number): string => `entries/${sortable(bundle)}`
export const bundleOf = (index: number): number => Math.floor(index / limits.entriesPerTile)

/** What the log has come to: the tree over all entries, and the signed checkpoint that says so. */
export interface Head extends Frontier {
  /** 0 before the first write. */
  readonly version: number
  /** A signed note (C2SP tlog-checkpoint); empty while the log is. */
  readonly note: string
}

const headShape = {
  note: field.text(),
  peaks: field.list(field.bytes(HASH_BYTES)),
  size: field.integer(),
}

export const encodeHead = ({ note, peaks, size }: Omit<Head, 'version'>): Bytes => encode({ note, peaks, size })

export async function readHead(store: Store): Promise<Head> {
  const item = await store.get(logKeys.head.pk, logKeys.head.sk)
  if (!item) return { version: 0, size: 0, peaks: [], note: '' }
  return { version: item.version, ...fields(decode(item.body), headShape) }
}

/** The hashes of a tile, of which the store may hold more than asked for. */
async function readTile(store: Store, { level, index, width }: Tile & { readonly level: number }): Promise<Bytes> {
  const { pk, sk } = logKeys.tile(level, index)
  const item = await store.get(pk, sk)
  if (!item || item.body.length < width * HASH_BYTES) throw new Error(`tile ${level}/${index} is missing`)
  return item.body.slice(0, width * HASH_BYTES)
}

/** The rightmost tiles of the tree of `size` leaves. */
export async function readEdge(store: Store, size: number): Promise<Edge> {
  const levels: number[] = []
  for (let level = 0; limits.entriesPerTile ** level <= size; level++) levels.push(level)
  return Promise.all(
    levels.map(async (level) => {
      const index = Math.floor(size / limits.entriesPerTile ** (level + 1))
      const width = tileWidth(level, index, size)
      const bytes = width > 0 ? await readTile(store, { level, index, width }) : new Uint8Array(0)
      return Array.from({ length: width }, (_, i) => bytes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES))
    }),
  )
}

/** The bytes of a tile or an entry bundle, as C2SP tlog-tiles serves them. @throws Problem `not-found` beyond the log's end */
export async function readLogTile(store: Store, tile: Tile): Promise<Bytes> {
  const { size } = await readHead(store)
  if (!hasTile(tile, size)) throw new Problem('not-found', 'The log has no such tile.')
  const { level, index, width } = tile
  if (level !== 'entries') return readTile(store, { level, index, width })
  return firstEntries(await readBundle(store, index), width)
}

async function readBundle(store: Store, bundle: number): Promise<Bytes> {
  const runs = await store.list(bundleKey(bundle), { limit: limits.entriesPerTile })
  return concat(...runs.map(({ body }) => body))
}

/** The part of a bundle that holds its first entries, each after its length as a uint16. */
function firstEntries(bundle: Bytes, count: number): Bytes {
  let end = 0
  for (let i = 0; i < count; i++) end += 2 + (((bundle[end] as number) << 8) | (bundle[end + 1] as number))
  return bundle.slice(0, end)
}

/** The entries of one bundle from an index on, up to its end or the log's. */
export async function readEntries(store: Store, from: number, size: number): Promise<Bytes[]> {
  const bundle = bundleOf(from)
  const width = tileWidth('entries', bundle, size)
  const entries = decodeBundle(firstEntries(await readBundle(store, bundle), width), width)
  return entries.slice(from % limits.entriesPerTile)
}

export interface ProvenEntry {
  readonly bytes: Bytes
  /** The tree that the proof leads to the root of. */
  readonly size: number
  readonly proof: readonly Bytes[]
}

/** @throws Problem `not-found` beyond the log's end */
export async function readProven(store: Store, index: number): Promise<ProvenEntry> {
  const { size } = await readHead(store)
  if (index >= size) throw new Problem('not-found', `The log has ${size} entries.`)
  const [bytes] = await readEntries(store, index, size)
  const proof = await readProof(store, inclusionSpans(index, size), size)
  return { bytes: bytes as Bytes, size, proof }
}

/** The proof that the tree of `size` leaves, or of fewer than the log has, goes on from that of `oldSize` (RFC 6962 §2.1.2). */
export const readConsistency = (store: Store, oldSize: number, size: number): Promise<readonly Bytes[]> =>
  readProof(store, consistencySpans(oldSize, size), size)

const readProof = (store: Store, spans: readonly Span[], size: number): Promise<Bytes[]> =>
  readSpans(
    spans,
    tileNodeReader(size, (tile) => readTile(store, tile)),
  )
