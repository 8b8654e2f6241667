import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { faultText } from '../../infra/service-process.ts'
import { openStore } from '../../infra/store/open.ts'
import { storeProblem } from '../../infra/store/sqlite.ts'
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

test('a disk that is full is named, in one line', () => {
  const database = new DatabaseSync(':memory:')
  database.exec('CREATE TABLE t (x); PRAGMA max_page_count = 2')
  const problem = (() => {
    try {
      return database.exec('INSERT INTO t VALUES (zeroblob(100000))')
    } catch (error) {
      return storeProblem(error)
    }
  })()
  expect(problem).toMatchObject({ code: 'store-unavailable' })
  expect(faultText(problem)).toBe('The disk of the store is full.')
})
