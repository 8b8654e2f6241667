import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../infra/store/open.ts'
import { utf8 } from '../../protocol/bytes.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-open-'))
})
afterAll(async () => await rm(folder, { recursive: true }))

test('opens a store in memory, each its own', async () => {
  const [one, other] = [await openStore('sqlite::memory:'), await openStore('sqlite::memory:')]
  await one.write([{ pk: 'p', sk: 'a', expect: 0, body: utf8('1') }])
  expect(await other.get('p', 'a')).toBeUndefined()
})

test.each(['', 'sqlite', 'sqlite:', ':x', 'redis:x', '/some/path', 'dynamodb', 'dynamodb:'])(
  'says what it expected instead of "%s"',
  async (spec) => {
    await expect(openStore(spec)).rejects.toThrow(`A store is named sqlite:PATH or dynamodb:TABLE, not "${spec}".`)
  },
)

test.each(['/proc/none/store', '/dev/null/store'])('says which file it cannot open: %s', async (path) => {
  await expect(openStore(`sqlite:${path}`)).rejects.toThrow(`The store ${path} cannot be opened:`)
})

test('is unavailable, and writes nothing, while another process keeps the file to itself', async () => {
  const path = join(folder, 'busy')
  const store = await openStore(`sqlite:${path}`, { busyTimeoutMs: 1 })
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const change = { pk: 'p', sk: 'a', expect: 0, body: utf8('1') } as const
  await expect(store.write([change])).rejects.toMatchObject({ code: 'store-unavailable' })
  expect(await store.get('p', 'a')).toBeUndefined()
  other.exec('ROLLBACK')
  expect(await store.write([change])).toBe(true)
})

test.each(['full', 'normal'] as const)('acknowledges writes with synchronous %s', async (synchronous) => {
  const store = await openStore(`sqlite:${join(folder, synchronous)}`, { synchronous })
  expect(await store.write([{ pk: 'p', sk: 'a', expect: 0, body: utf8('1') }])).toBe(true)
})
