/** A store under a ledger that tells what it holds, and one that lets requests overtake each other. */
import type fc from 'fast-check'
import type { StateItem } from '../../protocol/arbiter/state-root.ts'
import { isState } from '../../protocol/arbiter/items.ts'
import { keyText, type Key } from '../../protocol/arbiter/view.ts'
import { isLane, load } from '../../ledger/state.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Item, Store } from '../../protocol/store.ts'

export interface WatchedStore extends Store {
  /** Every item there is. */
  dump(): Promise<readonly Item[]>
  /** The items under the state root. */
  state(): Promise<readonly StateItem[]>
}

export function watchedStore(store = openSqlite(':memory:')): WatchedStore {
  const keys = new Map<string, { readonly pk: string; readonly sk: string }>()
  const dump = async (): Promise<readonly Item[]> => {
    const items = await Promise.all([...keys.values()].map(({ pk, sk }) => store.get(pk, sk)))
    return items.filter((item) => item !== undefined)
  }
  return {
    get: (pk, sk) => store.get(pk, sk),
    list: (pk, range) => store.list(pk, range),
    write: async (changes) => {
      for (const change of changes) keys.set(keyText(change), { pk: change.pk, sk: change.sk })
      return store.write(changes)
    },
    close: () => store.close(),
    dump,
    async state() {
      const places = new Map([...keys.values()].filter(isState).map((key) => [keyText(logical(key)), logical(key)]))
      const items = await Promise.all([...places.values()].map(async (key) => ({ key, item: await load(store, key) })))
      return items.flatMap(({ key, item }) => (item ? [{ ...key, body: item.body }] : []))
    },
  }
}

/** A lane lies in several slots. */
const logical = ({ pk, sk }: Key): Key => (isLane({ pk }) ? { pk, sk: '-' } : { pk, sk })

/** Each operation waits for its turn in a schedule that fast-check draws, shrinks and prints. */
export const scheduledStore = (store: Store, scheduler: fc.Scheduler): Store => ({
  get: scheduler.scheduleFunction((pk: string, sk: string) => store.get(pk, sk)),
  list: scheduler.scheduleFunction((pk: string, range: Parameters<Store['list']>[1]) => store.list(pk, range)),
  write: scheduler.scheduleFunction((changes: Parameters<Store['write']>[0]) => store.write(changes)),
  close: () => store.close(),
})
