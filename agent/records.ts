/** Records as JSON in a store's items; money travels as a decimal string, as JSON has no `bigint`. */
import { fromUtf8, utf8, type Bytes } from '../protocol/bytes.ts'
import type { Item } from '../protocol/store.ts'

/** The type, with nothing in place of a `bigint`. */
type InJson<T> = T extends bigint ? never : T extends object ? { readonly [K in keyof T]: InJson<T[K]> } : T

export const encodeRecord = <T>(record: T & InJson<T>): Bytes => utf8(JSON.stringify(record))

/** The record without these members. */
export function without<T extends object, K extends keyof T>(record: T, ...names: readonly K[]): Omit<T, K> {
  const kept = Object.entries(record).filter(([name]) => !names.includes(name as K))
  return Object.fromEntries(kept) as Omit<T, K>
}

/** What this service wrote itself; the type is the writer's word. */
export const decodeRecord = <T>(item: Item): T => JSON.parse(fromUtf8(item.body)) as T
