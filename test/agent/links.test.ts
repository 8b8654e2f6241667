import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLinks, type Links } from '../../agent/storage/links.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Environment } from '../../protocol/environment.ts'
import { handClock } from './hand-clock.ts'

const environment: Environment = {
  clock: handClock(),
  random: { bytes: (length) => new Uint8Array(randomBytes(length)) },
  transport: () => Promise.reject(new Error('no network')),
}

let base: string
let store: ReturnType<typeof openSqlite>
let links: Links
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'raincheck-links-'))
  for (const name of ['one', 'two', 'three']) await mkdir(join(base, name))
  await writeFile(join(base, 'file'), 'x')
  store = openSqlite(':memory:')
  links = createLinks({ store, environment })
})
afterEach(async () => {
  await links.close()
  await rm(base, { recursive: true, force: true })
})

const at = (name: string) => ({ path: join(base, name) })

test('links folders, names them, and opens the first unless told otherwise', async () => {
  expect(await links.add('folder', at('one'))).toMatchObject({ name: 'folder', kind: 'folder' })
  expect(await links.add('folder', at('two'))).toMatchObject({ name: 'folder-2' })
  expect(await links.add('folder', { ...at('three'), name: 'a-photos' })).toMatchObject({ name: 'a-photos' })
  expect((await links.list()).map(({ name }) => name)).toEqual(['folder', 'folder-2', 'a-photos'])
  expect((await links.open()).name).toBe('folder')
  expect((await links.open('a-photos')).name).toBe('a-photos')
  const [{ quota } = {}] = await links.list()
  expect(quota?.total).toBeGreaterThan(0)
})

test('opens a link once, and anew after a restart', async () => {
  await links.add('folder', at('one'))
  const [first, second] = await Promise.all([links.open(), links.open()])
  expect(first.storage).toBe(second.storage)
  const restarted = createLinks({ store, environment })
  const { storage } = await restarted.open()
  await writeFile(join(base, 'one/file'), 'hello')
  expect((await storage.list()).files.map(({ name }) => name)).toEqual(['file'])
})

test('answers the same folder with the link that is there', async () => {
  const { name, kind } = await links.add('folder', at('one'))
  // Others use the disk meanwhile.
  expect(await links.add('folder', at('one'))).toMatchObject({ name, kind })
  expect(await links.list()).toHaveLength(1)
})

test('refuses what is no folder, a taken name and a name that is none', async () => {
  await links.add('folder', { ...at('one'), name: 'mine' })
  const refused = [
    [{ path: join(base, 'nothing') }, 'not-found'],
    [{ path: join(base, 'file') }, 'not-found'],
    [{ path: 'relative' }, 'bad-request'],
    [{ ...at('two'), name: 'mine' }, 'conflict'],
    [{ ...at('two'), name: '../x' }, 'bad-request'],
    [{ ...at('two'), name: '' }, 'bad-request'],
  ] as const
  for (const [options, code] of refused) await expect(links.add('folder', options)).rejects.toMatchObject({ code })
  expect(await links.list()).toHaveLength(1)
})

test('unlinks without touching the folder', async () => {
  await links.add('folder', at('one'))
  await links.add('folder', at('two'))
  await writeFile(join(base, 'one/file'), 'x')
  await links.remove('folder')
  await expect(links.remove('folder')).rejects.toMatchObject({ code: 'not-found' })
  await expect(links.open('folder')).rejects.toMatchObject({ code: 'not-found' })
  expect((await links.open()).name).toBe('folder-2')
  expect(await links.add('folder', at('one'))).toMatchObject({ name: 'folder' })
  expect((await (await links.open('folder')).storage.list()).files).toHaveLength(1)
})

test('lists a folder that is gone, and says so when it is opened', async () => {
  await links.add('folder', at('one'))
  await links.close()
  await rm(join(base, 'one'), { recursive: true })
  expect(await links.list()).toMatchObject([{ name: 'folder', kind: 'folder', reason: 'storage-unavailable' }])
  await expect(links.open()).rejects.toMatchObject({ code: 'storage-unavailable' })
  await mkdir(join(base, 'one'))
  await expect(links.open()).resolves.toMatchObject({ name: 'folder' })
})

test('says that nothing is linked yet', async () => {
  expect(await links.list()).toEqual([])
  await expect(links.open()).rejects.toMatchObject({ code: 'not-found' })
})
