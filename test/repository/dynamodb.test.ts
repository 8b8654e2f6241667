/** The repository's own tests, with all that it keeps on DynamoDB: one table, in which each repository has its own keys. */
import { openStore } from '../../infra/store/open.ts'
import type { Item, Store } from '../../protocol/store.ts'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { stores } from './kit.ts'

const table = await openStore(await freshTable(), { createTable: true })
let opened = 0

function within(store: Store, name: string): Store {
  const here = <K extends { readonly pk: string }>(key: K): K => ({ ...key, pk: name + key.pk })
  const bare = (item: Item): Item => ({ ...item, pk: item.pk.slice(name.length) })
  return {
    async get(pk, sk) {
      const item = await store.get(name + pk, sk)
      return item && bare(item)
    },
    list: async (pk, range) => (await store.list(name + pk, range)).map(bare),
    write: (changes) => store.write(changes.map(here)),
    close: () => undefined,
  }
}

stores.open = () => within(table, `${opened++}/`)
await import('./identities.test.ts')
await import('./books.test.ts')
await import('./announcements.test.ts')
await import('./editions.test.ts')
await import('./search.test.ts')
await import('./log.test.ts')
await import('./mirror.test.ts')
// What takes longer runs with STORES=all.
if (process.env['STORES'] === 'all') {
  await import('./attacks.test.ts')
  await import('./chains.test.ts')
  await import('./contents.test.ts')
  await import('./hostile.test.ts')
  await import('./crash.test.ts')
}
