/** Many items at once: read page by page, written in writes that every store takes. Not atomic as a whole. */
import { limits } from '../protocol/limits.ts'
import type { Change, Item, Store } from '../protocol/store.ts'

/** A missing `body` deletes. Whatever was there is overwritten. */
export type Put = Omit<Change, 'expect'>

const PAGE = 100
/** A DynamoDB transaction holds 4 MiB. */
const WRITE_BYTES = 3 * 1024 * 1024

/** @param prefix of the sort keys; all of them unless given */
export async function* itemsOf(store: Store, pk: string, prefix = ''): AsyncGenerator<Item> {
  for (let after: string | undefined; ;) {
    const items = await store.list(pk, { prefix, limit: PAGE, ...(after !== undefined && { after }) })
    yield* items
    if (items.length < PAGE) return
    after = items.at(-1)?.sk
  }
}

export async function readAll<T>(store: Store, pk: string, read: (item: Item) => T, prefix = ''): Promise<T[]> {
  const all: T[] = []
  for await (const item of itemsOf(store, pk, prefix)) all.push(read(item))
  return all
}

export async function putAll(store: Store, puts: Iterable<Put>): Promise<void> {
  let batch: Change[] = []
  let bytes = 0
  for (const put of puts) {
    const more = put.body?.length ?? 0
    if (batch.length === limits.changesPerWrite || bytes + more > WRITE_BYTES) {
      await store.write(batch)
      batch = []
      bytes = 0
    }
    batch.push({ ...put, expect: 'any' })
    bytes += more
  }
  if (batch.length > 0) await store.write(batch)
}

export async function clearAll(store: Store, pk: string): Promise<void> {
  const keys = await readAll(store, pk, ({ sk }) => sk)
  await putAll(
    store,
    keys.map((sk) => ({ pk, sk })),
  )
}
