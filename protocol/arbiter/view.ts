/**
 * What a decision reads and changes. The ledger fills a view from its store, an auditor from memory; the rules see no
 * difference.
 *
 * Every item carries the ledger time of the entry that touched it last. An entry touches all that it read, not only
 * what it changed, and its own time is later than that of everything it touches. So of two entries of which one
 * rests on the other, or would have come out otherwise after the other, the earlier has the earlier time: in order of
 * time the log replays, whatever several processes and their clocks did.
 */
import type { Bytes } from '../bytes.ts'

/** The keys of one item, as in a `Store`. */
export interface Key {
  readonly pk: string
  readonly sk: string
}

/** A rule that rests on an item's absence puts that item, else no later entry could tell. */
export interface View {
  /** Sees what was put and deleted before. */
  get(key: Key): Promise<Bytes | undefined>
  /** An item that was not read before must be new. */
  put(key: Key, body: Bytes): void
  delete(key: Key): Promise<void>
}

/** An item as it lies in the store or in memory. */
export interface Stored {
  /** Ledger time of the entry that touched it last. */
  readonly timeMs: number
  readonly body: Bytes
}

export interface Touched<T extends Stored> {
  readonly key: Key
  /** What was there; undefined when nothing was. */
  readonly before: T | undefined
  /** What is there now: the same bytes when it was only read; undefined when deleted. */
  readonly body: Bytes | undefined
}

/** A view that keeps its changes to itself until they are taken. */
export interface Draft<T extends Stored> extends View {
  /** The earliest time that an entry resting on what was read may have. */
  earliestMs(): number
  /** All items read or changed, but those that were absent and stay so, and those that never change. */
  touched(): readonly Touched<T>[]
}

/** @param isFixed whether an item, once there, never changes: it can be read by many without a trace */
export function draft<T extends Stored>(
  load: (key: Key) => Promise<T | undefined>,
  isFixed: (key: Key) => boolean,
): Draft<T> {
  const items = new Map<string, Touched<T>>()
  const set = (key: Key, body: Bytes | undefined): void => {
    items.set(keyText(key), { key, before: items.get(keyText(key))?.before, body })
  }
  const get = async (key: Key): Promise<Bytes | undefined> => {
    const known = items.get(keyText(key))
    if (known) return known.body
    const before = await load(key)
    items.set(keyText(key), { key, before, body: before?.body })
    return before?.body
  }

  return {
    get,
    put: set,
    async delete(key) {
      await get(key)
      set(key, undefined)
    },
    earliestMs: () =>
      [...items.values()].reduce((latest, { before }) => Math.max(latest, (before?.timeMs ?? -1) + 1), 0),
    touched: () => [...items.values()].filter(({ key, before, body }) => (before ? !isFixed(key) : body !== undefined)),
  }
}

/** No key holds NUL. */
export const keyText = ({ pk, sk }: Key): string => `${pk}\0${sk}`
