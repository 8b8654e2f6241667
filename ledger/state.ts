/**
 * How the state's items lie in the store. An item lies under its own keys, but for a lane: that is a row of slots, one
 * for each change, numbered from 1. A redemption is one slot, put where nothing is yet: the one write of a settlement.
 * It holds the entry itself, and is all there ever is of it.
 */
import { concat, fromHex, toHex, type Bytes } from '../protocol/bytes.ts'
import { movementsOf } from '../protocol/arbiter.ts'
import { familyOf, isFixed, lanes } from '../protocol/arbiter/items.ts'
import { redeemedLane } from '../protocol/arbiter/lanes.ts'
import { draft, type Draft, type Key, type Stored, type Touched } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decodeEntry, entryHash, type Entry } from '../protocol/entry.ts'
import { readRedemption } from '../protocol/settlement.ts'
import type { Change, Item, Store } from '../protocol/store.ts'
import { sortable, type Slot } from './places.ts'

/** An item with its version in the store; of a lane, the number of its latest slot. */
export interface Versioned extends Stored {
  readonly version: number
  /** Of a lane: the latest slot that holds it whole. */
  readonly whole?: number
}

/** The time of the entry that touched an item last stands before its body, as a uint64. */
const STAMP_BYTES = 8

function stamp(timeMs: number, body: Bytes): Bytes {
  const bytes = concat(new Uint8Array(STAMP_BYTES), body)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(timeMs))
  return bytes
}

export const unstamp = ({ version, body }: Item): Versioned => ({
  version,
  timeMs: Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0)),
  body: body.slice(STAMP_BYTES),
})

export async function load(store: Store, key: Key): Promise<Versioned | undefined> {
  if (isLane(key)) return loadLane(store, key)
  const item = await store.get(key.pk, key.sk)
  return item && unstamp(item)
}

/** To read with the arbiter's rules; what they change in it goes nowhere. */
export const viewOf = (store: Store): Draft<Versioned> => draft((key) => load(store, key), isFixed)

/** What an entry at this time makes of an item that it touched. */
export function changeOf({ key, before, body }: Touched<Versioned>, timeMs: number): Change {
  if (isLane(key)) return wholeSlot({ ...slotAfter(key, before), timeMs, body })
  return { ...key, expect: before?.version ?? 0, ...(body && { body: stamp(timeMs, body) }) }
}

export const isLane = (key: Pick<Key, 'pk'>): boolean => familyOf(key) === 'lane'

/** Where the next change of a lane goes. */
export const slotAfter = ({ pk }: Pick<Key, 'pk'>, before: Versioned | undefined): Slot => ({
  lane: fromHex(pk.slice('lane/'.length)),
  seq: (before?.version ?? 0) + 1,
})

const slotShape = {
  /** Of a redemption: its entry, the slot that it goes on from, the mark of its pointer (see pending.ts). */
  entry: field.optional(field.bytes()),
  from: field.optional(field.integer()),
  mark: field.optional(field.bytes()),
  /** Else: the lane and the time of the entry that touched it last. */
  lane: field.optional(field.bytes()),
  time: field.optional(field.integer()),
}

const readSlot = ({ body }: Item) => fields(decode(body), slotShape)

/** Whether a slot holds its lane whole. */
export const holdsLane = (slot: Item): boolean => readSlot(slot).lane !== undefined

interface WholeSlot extends Slot {
  readonly timeMs: number
  readonly body: Bytes | undefined
}

const wholeSlot = ({ body, timeMs, ...slot }: WholeSlot): Change => ({
  ...slotKey(slot),
  expect: 0,
  body: encode({ lane: body, time: timeMs }),
})

/** @param from the latest slot that holds the lane whole */
export const redemptionSlot = (slot: Slot & { readonly mark: Bytes }, entry: Bytes, from: number): Change => ({
  ...slotKey(slot),
  expect: 0,
  body: encode({ entry, from, mark: slot.mark }),
})

const slotKey = ({ lane, seq }: Slot): Key => ({ pk: `lane/${toHex(lane)}`, sk: sortable(seq) })

/** The redemption in a slot. */
export interface Redeemed {
  readonly entry: Bytes
  readonly mark: Bytes
}

/** @returns undefined for a slot that is free, null for one that holds no redemption */
export async function readRedeemed(store: Store, slot: Slot): Promise<Redeemed | null | undefined> {
  const { pk, sk } = slotKey(slot)
  const item = await store.get(pk, sk)
  if (!item) return undefined
  const { entry, mark } = readSlot(item)
  return entry && mark ? { entry, mark } : null
}

/** Fills a slot with the lane as it is: whoever decided to put a redemption there will find that it lost. */
export async function fillSlot(store: Store, { lane, seq }: Slot): Promise<void> {
  const { pk } = slotKey({ lane, seq })
  const found = await loadLane(store, { pk })
  if (found?.version === seq - 1) await store.write([wholeSlot({ lane, seq, ...found })])
}

async function loadLane(store: Store, { pk }: Pick<Key, 'pk'>): Promise<Versioned | undefined> {
  const [latest] = await store.list(pk, { reverse: true, limit: 1 })
  if (!latest) return undefined
  const version = Number(latest.sk)
  const { entry, from, lane, time } = readSlot(latest)
  if (lane && time !== undefined) return { version, whole: version, timeMs: time, body: lane }
  if (!entry || from === undefined) throw new Error(`${pk} ${latest.sk} holds no lane`)
  const item = await store.get(pk, sortable(from))
  const whole = item && readSlot(item).lane
  if (!whole) throw new Error(`${pk} ${from} is missing`)
  const redeemed = decodeEntry(entry)
  return { version, whole: from, timeMs: redeemed.time, body: afterRedemption(whole, redeemed, entryHash(entry)) }
}

function afterRedemption(lane: Bytes, entry: Entry, hash: Bytes): Bytes {
  const [envelope] = entry.parts
  if (!envelope) throw new Error('a redemption has no object')
  const accepted = { entry: hash, moves: movementsOf(entry), time: entry.time }
  return lanes.encode(redeemedLane(lanes.decode(lane), readRedemption(envelope), accepted))
}
