/**
 * What waits to be sequenced: the entries of commands, each in the write that took effect, and pointers to redemptions,
 * which lie in the slots of their lanes (state.ts).
 *
 * A pointer is written before its redemption, those of one moment together in one write: so it costs a fraction of a
 * write, and there is no redemption that the sequencer would not find. It carries a mark that the redemption repeats: a
 * pointer whose slot is taken by something else points to nothing, and a redemption is taken for no other pointer.
 */
import { concat, equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { keys } from '../protocol/arbiter/items.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields, type Fields } from '../protocol/encoding.ts'
import { readAll, type ItemRange } from '../protocol/items.ts'
import type { Change, Item, Store } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { slotShape, sortable, type Slot } from './places.ts'

/** To a redemption that is, or will be, or would have been in a slot. */
export interface Pointer extends Slot {
  /** 8 bytes. */
  readonly mark: Bytes
}

export const MARK_BYTES = 8

const commandShape = { entry: field.bytes(), lanes: field.list(field.dict(slotShape)) }
/** An entry that waits, with the slots that it took itself: it comes after what lies in those before. */
export type WaitingCommand = Fields<typeof commandShape>

/** One partition, in order of time, which respects what rests on what. */
const COMMANDS = 'pending'
/** Several, as every settlement passes here: DynamoDB writes 1,000 units a second in one. In each, in order of time. */
const PARTITIONS = ['0', '1', '2', '3'].map((partition) => `pointers/${partition}`)

/** @param round that is open, where the log is in shards: what was read before the decision is of it, or of one before */
export const commandChange = (timeMs: number, hash: Bytes, waiting: WaitingCommand, round?: number): Change => ({
  pk: COMMANDS,
  sk: `${labelOf(round)}${sortable(timeMs)}/${toHex(hash)}`,
  expect: 0,
  body: encode(waiting),
})

const labelOf = (round: number | undefined): string => (round === undefined ? '' : `${sortable(round)}/`)

/** What waits of rounds before this one. */
const before = (round: number | undefined): ItemRange =>
  round === undefined ? {} : { after: sortable(round), reverse: true }

/** A body and where it lies. */
export interface Waits<T> {
  readonly key: Key
  readonly version: number
  readonly value: T
}

const waits = <T>({ pk, sk, version, body }: Item, read: (body: Bytes) => T): Waits<T> => ({
  key: { pk, sk },
  version,
  value: read(body),
})

/** The earliest first; read from the latest, so whatever was written while it was read, what one rests on is there too. */
export async function readCommands(store: Store, round?: number): Promise<Waits<WaitingCommand>[]> {
  const range = { ...before(round), reverse: true }
  return (await readAll(store, COMMANDS, (item) => waits(item, decodeCommand), range)).toReversed()
}

const decodeCommand = (body: Bytes): WaitingCommand => fields(decode(body), commandShape)

export async function readPointers(store: Store, round?: number): Promise<Waits<Pointer[]>[]> {
  const read = (pk: string) => readAll(store, pk, (item) => waits(item, decodePointers), before(round))
  return (await Promise.all(PARTITIONS.map(read))).flat()
}

/** Whether anything does. */
export async function isWaiting(store: Store): Promise<boolean> {
  const found = await Promise.all([COMMANDS, ...PARTITIONS].map((pk) => store.list(pk, { limit: 1 })))
  return found.some((items) => items.length > 0)
}

/** The earliest command, and of each partition of pointers one, which may be any. */
export async function readFirst(
  store: Store,
): Promise<{ readonly command: WaitingCommand | undefined; readonly pointers: readonly Pointer[] }> {
  const first = async (pk: string): Promise<Item | undefined> => (await store.list(pk, { limit: 1 }))[0]
  const [command, ...groups] = await Promise.all([COMMANDS, ...PARTITIONS].map(first))
  const pointers = groups.flatMap((group) => (group ? decodePointers(group.body).slice(0, 1) : []))
  return { command: command && decodeCommand(command.body), pointers }
}

/** Whether a pointer waits yet in the group that it was put into. */
export async function isPending(store: Store, { pk, sk }: Key, { mark }: Pointer): Promise<boolean> {
  const item = await store.get(pk, sk)
  return item !== undefined && decodePointers(item.body).some((pointer) => equal(pointer.mark, mark))
}

/** Takes pointers off a group: they were followed, or point to nothing. */
export async function dropPointers(
  store: Store,
  { pk, sk }: Key,
  isDone: (pointer: Pointer) => boolean,
): Promise<void> {
  for (;;) {
    const item = await store.get(pk, sk)
    if (!item) return
    const pointers = decodePointers(item.body)
    const rest = pointers.filter((pointer) => !isDone(pointer))
    if (rest.length === pointers.length) return
    const body = rest.length > 0 && { body: encodePointers(rest) }
    if (await store.write([{ pk, sk, expect: item.version, ...body }])) return
  }
}

/** In bytes: the lane, the slot as a uint32, the mark. */
const POINTER_BYTES = 32 + 4 + MARK_BYTES

const encodePointers = (pointers: readonly Pointer[]): Bytes =>
  concat(
    ...pointers.flatMap(({ lane, mark, seq }) => {
      const number = new Uint8Array(4)
      new DataView(number.buffer).setUint32(0, seq)
      return [lane, number, mark]
    }),
  )

function decodePointers(bytes: Bytes): Pointer[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return Array.from({ length: bytes.length / POINTER_BYTES }, (_, i) => {
    const at = i * POINTER_BYTES
    return {
      lane: bytes.slice(at, at + 32),
      seq: view.getUint32(at + 32),
      mark: bytes.slice(at + 36, at + POINTER_BYTES),
    }
  })
}

/** How long a group waits for others at the most, and how many it takes. */
const GATHER_MS = 8
const GROUP_MAX = 1024

interface Group {
  readonly pointers: Pointer[]
  readonly written: Promise<Pointed>
}

/** Where a group waits. */
export interface Pointed extends Key {
  /** Whether the store holds a ledger yet: a table may be another than what was read of it before. */
  readonly isOfLedger: boolean
}

/** Those whose pointer may come at any moment: a redemption is decided, or one is written after which the next comes. */
export interface Company {
  /** One comes in. @returns to be called when it has handed over its pointer, or has none */
  readonly enter: () => () => void
  /** Resolves when all have left who are in it now. */
  readonly left: () => Promise<unknown>
}

export function createCompany(): Company {
  const present = new Set<Promise<void>>()
  return {
    enter() {
      const { promise, resolve } = Promise.withResolvers<void>()
      present.add(promise)
      return () => {
        present.delete(promise)
        resolve()
      }
    },
    left: () => Promise.all(present),
  }
}

/**
 * Writes pointers down: those that come while a write is under way go into the next together, which waits for those in
 * company, but not for long.
 * @returns takes a pointer, and resolves to its group
 * @throws Problem `store-unavailable`: it may be there or not, and points to nothing
 */
export function createPointing(
  { environment: { clock, random }, openRound, store }: LedgerContext,
  company: Company,
): (pointer: Pointer) => Promise<Pointed> {
  let groups = 0
  let last: Promise<unknown> = Promise.resolve()
  let open: Group | undefined

  async function write(pointers: readonly Pointer[]): Promise<Key> {
    const pk = PARTITIONS[groups++ % PARTITIONS.length] as string
    const body = encodePointers(pointers)
    const label = labelOf(await openRound?.()) + sortable(clock.now())
    for (;;) {
      const key = { pk, sk: `${label}/${toHex(random.bytes(MARK_BYTES))}` }
      if (await store.write([{ ...key, expect: 0, body }])) return key
    }
  }

  async function put(pointers: readonly Pointer[]): Promise<Pointed> {
    const [key, policy] = await Promise.all([write(pointers), store.get(keys.policy.pk, keys.policy.sk)])
    return { ...key, isOfLedger: policy !== undefined }
  }

  async function gather(): Promise<void> {
    const isOver = new AbortController()
    await Promise.race([company.left(), clock.sleep(GATHER_MS, isOver.signal).catch(() => {})])
    isOver.abort()
  }

  function begin(): Group {
    const pointers: Pointer[] = []
    const written = last.then(async () => {
      await gather()
      if (open?.pointers === pointers) open = undefined
      return put(pointers)
    })
    last = written.catch(() => {})
    return { pointers, written }
  }

  return (pointer) => {
    if (!open || open.pointers.length === GROUP_MAX) open = begin()
    open.pointers.push(pointer)
    return open.written
  }
}
