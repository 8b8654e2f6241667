import { expect, test } from 'vitest'
import { openStore } from '../../infra/store/open.ts'
import { describeStore } from '../conformance/store.ts'
import { scratch } from '../local/scratch.ts'

describeStore('SQLite', (folder) => `sqlite:${folder}/store.sqlite`)

const folder = scratch()

test('a request that outlives the store is told that it does not answer', async () => {
  const store = await openStore(`sqlite:${folder()}/store.sqlite`)
  store.close()
  const change = { pk: 'a', sk: 'b', expect: 0, body: new Uint8Array(1) } as const
  for (const late of [() => store.get('a', 'b'), () => store.list('a', { limit: 1 }), () => store.write([change])])
    await expect(late()).rejects.toMatchObject({ code: 'store-unavailable' })
})
