/** Items of a store, many at once: read page by page, written in writes that every store takes. Not atomic as a whole. */
import { utf8 } from './bytes.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import type { Change, Item, Range, Store } from './store.ts'

/** A missing `body` deletes. Whatever was there is overwritten. */
export type Put = Omit<Change, 'expect'>

export type ItemRange = Omit<Range, 'limit'>

export interface Decision<T> {
  /** Conditional on what was read; none when there is nothing to do. */
  readonly changes: readonly Change[]
  readonly result: T
}

const PAGE = 250
const TRIES = 64

export async function* itemsOf(store: Store, pk: string, range: ItemRange = {}): AsyncGenerator<Item> {
  for (let next = range; ;) {
    const items = await store.list(pk, { ...next, limit: PAGE })
    yield* items
    const last = items.at(-1)
    if (!last || items.length < PAGE) return
    next = { ...range, after: last.sk }
  }
}

export async function readAll<T>(store: Store, pk: string, read: (item: Item) => T, range?: ItemRange): Promise<T[]> {
  const all: T[] = []
  for await (const item of itemsOf(store, pk, range)) all.push(read(item))
  return all
}

export async function putAll(store: Store, puts: Iterable<Put>): Promise<void> {
  let batch: Change[] = []
  let bytes = 0
  for (const put of puts) {
    const more = bytesOf(put)
    if (batch.length === limits.changesPerWrite || (batch.length > 0 && bytes + more > limits.writeBytes)) {
      await store.write(batch)
      batch = []
      bytes = 0
    }
    batch.push({ ...put, expect: 'any' })
    bytes += more
  }
  if (batch.length > 0) await store.write(batch)
}

/** As a store counts them. */
const bytesOf = ({ pk, sk, body }: Put): number => utf8(pk).length + utf8(sk).length + (body?.length ?? 0)

/** @param prefix of the sort keys; all of them unless given */
export async function removeAll(store: Store, pk: string, prefix = ''): Promise<void> {
  const keys = await readAll(store, pk, ({ sk }) => ({ pk, sk }), { prefix })
  await putAll(store, keys)
}

/**
 * One write that goes by what was read: decided again from the start when another write came between.
 * @throws Problem `store-unavailable` when others kept coming between
 */
export async function decideAndWrite<T>(store: Store, decide: () => Promise<Decision<T>>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const { changes, result } = await decide()
    if (changes.length === 0 || (await store.write(changes))) return result
  }
  throw new Problem('store-unavailable', 'Too many others write the same: try again.')
}
