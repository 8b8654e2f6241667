/** Records as JSON in a store's items; money (`bigint`) travels as a decimal string and is named by the reader. */
import { fromUtf8, utf8, type Bytes } from '../protocol/bytes.ts'
import type { Item } from '../protocol/store.ts'

export const encodeRecord = (record: unknown): Bytes =>
  utf8(JSON.stringify(record, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))

/** The record without these members. */
export function without<T extends object, K extends keyof T>(record: T, ...names: readonly K[]): Omit<T, K> {
  const kept = Object.entries(record).filter(([name]) => !names.includes(name as K))
  return Object.fromEntries(kept) as Omit<T, K>
}

/** What this service wrote itself; the type is the writer's word. */
export const decodeRecord = <T>(item: Item): T => JSON.parse(fromUtf8(item.body)) as T
