/**
 * Where a service keeps its state: versioned items under a partition key and a sort key, and one atomic, conditional
 * write. Small enough for DynamoDB and SQLite to mean the same by it; `test/conformance/store.ts` says what that is.
 */
import type { Bytes } from './bytes.ts'

export interface Item {
  readonly pk: string
  /** Items of one `pk` are listed in the bytewise order of the UTF-8 of `sk`. */
  readonly sk: string
  /** 1 for a new item, one more after each write. */
  readonly version: number
  /** At most `limits.itemBytes`. */
  readonly body: Bytes
}

/** `expect`: the version that must be there, 0 for "no such item", `'any'` for no condition. A missing `body` deletes. */
export interface Change {
  readonly pk: string
  readonly sk: string
  readonly expect: number | 'any'
  readonly body?: Bytes
}

export interface Range {
  /** Only sort keys that start with this. */
  readonly prefix?: string
  /** Only sort keys after this one (before it, when `reverse`). */
  readonly after?: string
  readonly reverse?: boolean
  readonly limit: number
}

export interface Store {
  /** The latest acknowledged write is seen. */
  get(pk: string, sk: string): Promise<Item | undefined>
  list(pk: string, range: Range): Promise<readonly Item[]>
  /**
   * All of the changes (1 to `limits.changesPerWrite`, each of another item, `limits.writeBytes` in all) or none.
   * @returns false when a condition did not hold; nothing was written then
   * @throws Problem `store-unavailable` when it is not known whether it was written
   */
  write(changes: readonly Change[]): Promise<boolean>
  close(): void
}
