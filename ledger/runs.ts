/**
 * The entries of the log, in runs as they were sequenced. A redemption lies in the slot of its lane for good, and the
 * run names that; any other entry lies in the run itself.
 *
 * A sequencer that was replaced may leave a run that is no part of the log. Those that are lead on from one to the next
 * from the start of a bundle to the size of the head; any other is passed over, and overwritten when the log gets there.
 */
import type { Bytes } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields, type Field, type Fields } from '../protocol/encoding.ts'
import { readAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import type { Item, Store } from '../protocol/store.ts'
import { slotShape, sortable, type Slot } from './places.ts'
import { readRedeemed } from './state.ts'

const slotField = field.dict(slotShape)
/** An entry's bytes, or the slot that holds it. */
export type Place = Bytes | Slot
const placeField: Field<Place> = {
  read: (value, path) => (value instanceof Uint8Array ? value : slotField.read(value, path)),
}

const runShape = {
  /** For each entry what `accountMarks` makes of it. */
  accounts: field.list(field.bytes()),
  entries: field.list(placeField),
  /** Leaf hashes, 32 bytes each. */
  hashes: field.bytes(),
  /** Where they waited. */
  taken: field.list(field.dict({ pk: field.text(), sk: field.text() })),
}
/** Entries that follow each other, within one bundle. */
export type Run = Fields<typeof runShape>

/** With the index of its first entry. */
export interface PlacedRun extends Run {
  readonly first: number
}

export const bundleOf = (index: number): number => Math.floor(index / limits.entriesPerTile)

const bundleKey = (bundle: number): string => `entries/${sortable(bundle)}`

export const runKey = (first: number): Key => ({ pk: bundleKey(bundleOf(first)), sk: sortable(first) })

export const encodeRun = (run: Run): Bytes => encode(run)

const decodeRun = ({ sk, body }: Item): PlacedRun => ({ first: Number(sk), ...fields(decode(body), runShape) })

/** The runs of a bundle in a log of `size` entries. */
export async function readRuns(store: Store, bundle: number, size: number): Promise<PlacedRun[]> {
  const runs: PlacedRun[] = []
  let next = bundle * limits.entriesPerTile
  const end = Math.min(next + limits.entriesPerTile, size)
  for (const item of await readAll(store, bundleKey(bundle), (found) => found)) {
    if (next >= end || Number(item.sk) !== next) continue
    const run = decodeRun(item)
    runs.push(run)
    next += run.entries.length
  }
  if (next < end) throw new Error(`entry ${next} is missing`)
  return runs
}

/** The bytes of an entry. */
export async function readPlace(store: Store, place: Place): Promise<Bytes> {
  if (place instanceof Uint8Array) return place
  const redeemed = await readRedeemed(store, place)
  if (!redeemed) throw new Error('a redemption of the log is missing')
  return redeemed.entry
}
