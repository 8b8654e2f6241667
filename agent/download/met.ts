/** What an agent was last told of others: kept for when the repository does not answer. */
import { limits } from '../../protocol/limits.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Met {
  get<T>(name: string): Promise<T | undefined>
  /** What is too large for an item is not kept. */
  keep(name: string, value: unknown): Promise<void>
}

const PK = 'met'

export function createMet(store: Store): Met {
  return {
    async get<T>(name: string) {
      const item = await store.get(PK, name)
      return item && decodeRecord<T>(item)
    },
    async keep(name, value) {
      const body = encodeRecord(value)
      if (body.length <= limits.itemBytes) await store.write([{ pk: PK, sk: name, expect: 'any', body }])
    },
  }
}
