import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Loan, Storage } from '../../agent/storage/storage.ts'
import { findSource } from '../../agent/share/source.ts'
import { namesOf, partsOf, readAll, store, type Part } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { openDropboxWorld, type DropboxWorld } from './dropbox-world.ts'

const MiB = 1024 * 1024

let world: DropboxWorld
beforeEach(async () => {
  world = await openDropboxWorld()
})
afterEach(() => world.dispose())

interface Upload {
  readonly bytes: Uint8Array
  readonly parts: readonly Part[]
  readonly write: Awaited<ReturnType<Storage['begin']>>
}

async function begun(parts: number, short = 4321): Promise<Upload> {
  const bytes = pattern(parts * world.storage.partBytes - short)
  return { bytes, parts: partsOf(world.storage, bytes), write: await world.storage.begin('file', bytes.length) }
}

async function put({ parts, write }: Upload, ...which: readonly number[]): Promise<void> {
  for (const index of which) {
    const { offset, part } = parts[index] as Part
    await world.storage.put(write, offset, part)
  }
}

async function finish({ bytes, write }: Upload): Promise<void> {
  const file = await world.storage.commit(write)
  expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
  expect(await world.everything()).toEqual(['file'])
}

describe('an upload to Dropbox', () => {
  test.each([
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [2, 0, 1],
  ])('takes its parts in the order %i, %i, %i', async (...order) => {
    const upload = await begun(3)
    await put(upload, ...order)
    await finish(upload)
  })

  test.each([0, 4 * MiB, 8 * MiB - 1])('of whole blocks or not, in parts or one, is whole: %i short', async (short) => {
    for (const parts of [1, 2]) {
      const upload = await begun(parts, short)
      await put(upload, ...upload.parts.keys())
      await finish(upload)
      await world.storage.remove({ name: 'file' })
    }
  })

  test('keeps an early end aside, where nobody sees it, and takes it away with the commit or the abort', async () => {
    const upload = await begun(3)
    await put(upload, 2)
    expect(await world.everything()).toEqual([`.raincheck-partial/${upload.write.id}`])
    expect(await world.storage.list()).toEqual({ files: [], refused: [] })
    expect(await world.storage.written(upload.write)).toEqual([
      { offset: upload.parts[2]?.offset, length: upload.parts[2]?.part.length },
    ])
    const other = await begun(3)
    await put(other, 2)
    await world.storage.abort(other.write)
    await put(upload, 0, 1)
    await finish(upload)
  })

  test('refuses what is no part', async () => {
    const { write } = await begun(3)
    for (const [offset, length] of [
      [1, MiB],
      [0, MiB],
      [MiB, world.storage.partBytes],
    ] as const) {
      await expect(world.storage.put(write, offset, pattern(length))).rejects.toMatchObject({ code: 'range-invalid' })
    }
    expect(await world.storage.written(write)).toEqual([])
  })

  test.each(['put', 'commit'] as const)('begins anew once Dropbox has forgotten the session: at %s', async (step) => {
    const upload = await begun(3)
    await put(upload, 0, 1)
    if (step === 'commit') await put(upload, 2)
    world.faults.next(step, { kind: 'refuse', why: 'session-gone' })
    const work = step === 'put' ? put(upload, 2) : world.storage.commit(upload.write)
    await expect(work).rejects.toMatchObject({ members: { fatal: 'gone' } })
    expect(await world.storage.written(upload.write)).toEqual([])
    await expect(world.storage.commit(upload.write)).rejects.toMatchObject({ code: 'conflict' })
    await put(upload, 2, 1, 0)
    await finish(upload)
  })

  test('goes on when the token runs out in the middle of a part', async () => {
    const upload = await begun(2)
    world.faults.next('put', { kind: 'refuse', why: 'token-expired' })
    await put(upload, 1, 0)
    await finish(upload)
    expect(world.requests('token')).toBe(2)
  })

  test('by two instances at once, the same parts from both, is whole once', async () => {
    const upload = await begun(3)
    const other = await world.reopen()
    for (const { offset, part } of upload.parts) {
      await Promise.all([world.storage.put(upload.write, offset, part), other.put(upload.write, offset, part)])
    }
    const files = await Promise.all([world.storage.commit(upload.write), other.commit(upload.write)])
    expect(files[0]).toEqual(files[1])
    await finish(upload)
  })

  test('that was altered on its way is refused by its hash, and sent again', async () => {
    const { transport } = world.context.environment
    let left = 1
    const altering = async (request: Request): Promise<Response> => {
      if (!request.url.endsWith('/append_v2') || left-- <= 0) return transport(request)
      const bytes = new Uint8Array(await request.arrayBuffer())
      bytes[7] = (bytes[7] as number) ^ 1
      return transport(new Request(request.url, { method: 'POST', headers: request.headers, body: bytes }))
    }
    Object.assign(world.context, { environment: { ...world.context.environment, transport: altering } })
    const storage = await world.open()
    const bytes = pattern(world.storage.partBytes + 5)
    const file = await store(storage, 'file', bytes)
    expect(left).toBeLessThan(0)
    expect(Buffer.from(await readAll(storage, file)).equals(bytes)).toBe(true)
  })

  test('of an empty file whose reply is lost makes one file', async () => {
    const write = await world.storage.begin('empty', 0)
    world.faults.next('put', { kind: 'drop-reply' })
    expect(await world.storage.commit(write)).toMatchObject({ name: 'empty' })
    expect(await world.everything()).toEqual(['empty'])
  })

  test('does not begin where it would not fit', async () => {
    world.server.state.allocated = 1000
    await expect(world.storage.begin('file', 1001)).rejects.toMatchObject({ code: 'storage-full' })
  })

  test.each([
    [
      { used: 900, allocated: 1000, memberMost: 0, limit: 'off' },
      { total: 1000, used: 900 },
    ],
    [
      { used: 900, allocated: 9000, memberMost: 200, limit: 'stop_sync' },
      { total: 200, used: 100 },
    ],
    [
      { used: 900, allocated: 950, memberMost: 200, limit: 'stop_sync' },
      { total: 950, used: 900 },
    ],
    [
      { used: 900, allocated: 9000, memberMost: 200, limit: 'alert_only' },
      { total: 9000, used: 900 },
    ],
  ] as const)('of a team’s member begins where the team has room, and the member: %o', async (team, quota) => {
    await world.plant('file', pattern(100))
    world.server.state.team = team
    expect(await world.storage.quota()).toEqual(quota)
    const left = quota.total - quota.used
    await expect(world.storage.begin('new', left + 1)).rejects.toMatchObject({ code: 'storage-full' })
    await world.storage.begin('new', left)
  })

  test('that finds the Dropbox full at its end can be committed once there is room', async () => {
    const upload = await begun(1)
    await put(upload, 0)
    world.faults.next('commit', { kind: 'refuse', why: 'full' })
    await expect(world.storage.commit(upload.write)).rejects.toMatchObject({ code: 'storage-full' })
    await finish(upload)
  })
})

describe('names in Dropbox', () => {
  test('that differ in case alone are one name: the second gets a number', async () => {
    expect(await store(world.storage, 'Photos/Cat.jpg', pattern(1))).toMatchObject({ name: 'Photos/Cat.jpg' })
    expect(await store(world.storage, 'photos/cat.jpg', pattern(2))).toMatchObject({ name: 'Photos/cat (2).jpg' })
    expect(await namesOf(world.storage)).toEqual(['Photos/Cat.jpg', 'Photos/cat (2).jpg'])
    expect(await readAll(world.storage, { name: 'PHOTOS/CAT.JPG' })).toEqual(pattern(1))
    expect(await world.storage.freeFolder('PHOTOS')).toBe('PHOTOS (2)')
  })

  test.each([
    ['film ', 'film_'],
    ['album  /a film', 'album__/a film'],
    ['.DS_Store', '_.DS_Store'],
    ['album/Desktop.ini', 'album/_Desktop.ini'],
    ['.dropbox/Thumbs.db ', '_.dropbox/Thumbs.db_'],
  ])('that Dropbox refuses, such as %j, are given as %j, and numbered where that is taken', async (name, given) => {
    expect(await store(world.storage, name, pattern(5))).toMatchObject({ name: given })
    const second = await store(world.storage, name, pattern(5, 2))
    expect(second.name).toMatch(/ \(2\)/)
    expect(await readAll(world.storage, { name: given })).toEqual(pattern(5))
    expect(await readAll(world.storage, second)).toEqual(pattern(5, 2))
  })

  test('of a folder that Dropbox refuses become those of one that it takes', async () => {
    expect(await world.storage.freeFolder('album ')).toBe('album_')
    await store(world.storage, 'album /film', pattern(5))
    expect(await world.storage.freeFolder('album ')).toBe('album_ (2)')
    expect(await namesOf(world.storage, 'album_')).toEqual(['album_/film'])
  })

  test.each([
    ['album 🦀/a crab 🦀.jpg', 'album _/a crab _.jpg'],
    ['🦀/~$notes.docx', '_/__notes.docx'],
    ['🦀/plain', '_/plain'],
  ])('that Dropbox refuses against its own word are given in plain letters: %j as %j', async (name, given) => {
    world.server.state.refuses = /🦀/u
    const write = await world.storage.begin(name, 10)
    await world.storage.put(write, 0, pattern(10))
    const file = await world.storage.commit(write)
    expect(file).toMatchObject({ name: given })
    expect(await (await world.reopen()).commit(write)).toEqual(file)
    expect(await readAll(world.storage, file)).toEqual(pattern(10))
    expect(await world.everything()).toEqual([given])
  })

  test('that Dropbox takes for none are names of files that are not there', async () => {
    await expect(world.storage.stat({ name: 'film ' })).rejects.toMatchObject({ code: 'not-found' })
    expect(await world.storage.list({ under: 'album ' })).toEqual({ files: [], refused: [] })
    await world.storage.remove({ name: 'film ' })
  })

  test('of the folder that holds unfinished files are refused, however they are spelt', async () => {
    for (const name of ['.raincheck-partial/x', '.RAINCHECK-partial/x'])
      await expect(world.storage.stat({ name })).rejects.toMatchObject({ code: 'path-outside' })
  })

  test('of a folder of the owner’s choice are the storage’s own', async () => {
    const deep = await world.open({ folder: 'Films/2026' })
    expect(await deep.list()).toEqual({ files: [], refused: [] })
    expect(await store(deep, 'a/film', pattern(5))).toMatchObject({ name: 'a/film' })
    expect(await namesOf(deep)).toEqual(['a/film'])
    expect(await namesOf(world.storage)).toEqual(['Films/2026/a/film'])
  })
})

describe('a read from Dropbox', () => {
  test('is of the revision that is pinned, which the reply names', async () => {
    await world.plant('file', pattern(5000))
    const { version } = await world.storage.stat({ name: 'file' })
    await world.plant('file', pattern(5000, 2))
    const read = world.storage.read({ name: 'file', version }, { offset: 0, length: 5000 })
    await expect(read).rejects.toMatchObject({ code: 'content-changed' })
    expect(world.requests('read')).toBe(1)
  })

  test('lists more files than a page holds, each once', async () => {
    for (let i = 0; i < 2500; i++) world.server.state.write(`/folder ${i % 7}/${i}`, bytesContent(new Uint8Array(0)))
    const names = await namesOf(world.storage)
    expect(names).toHaveLength(2500)
    expect(new Set(names).size).toBe(2500)
  })

  test('lists anew when Dropbox no longer knows the page, and says so', async () => {
    for (let i = 0; i < 2500; i++) world.server.state.write(`/folder/${i}`, bytesContent(new Uint8Array(0)))
    const { cursor = '' } = await world.storage.list({ under: 'folder' })
    world.server.reset()
    const page = await world.storage.list({ under: 'folder', cursor })
    expect(page).toMatchObject({ isAnew: true })
    expect(page.files[0]?.name).toBe('folder/0')
    const rest = await world.storage.list({ under: 'folder', cursor: page.cursor as string })
    expect(rest.files).toHaveLength(1000)
  })

  test('finds each file of a folder once, though Dropbox loses the page in the middle', async () => {
    for (let i = 0; i < 2500; i++) world.server.state.write(`/folder/${i}`, bytesContent(new Uint8Array(1)))
    const { transport } = world.context.environment
    let pages = 0
    const losing = async (request: Request): Promise<Response> => {
      if (request.url.endsWith('/list_folder/continue') && ++pages === 2) world.server.reset()
      return transport(request)
    }
    Object.assign(world.context, { environment: { ...world.context.environment, transport: losing } })
    expect(await findSource(await world.open(), 'folder')).toMatchObject({ bytes: 2500 })
  })

  test('lists what has no bytes as refused, and nothing that has no path', async () => {
    for (const name of ['file', 'notes.paper', 'elsewhere']) await world.plant(name, pattern(5))
    Object.assign(world.server.state.get('/notes.paper') as object, { isDocument: true })
    Object.assign(world.server.state.get('/elsewhere') as object, { isUnmounted: true })
    const page = await world.storage.list()
    expect(page.files.map(({ name }) => name)).toEqual(['file'])
    expect(page.refused).toEqual([{ name: 'notes.paper', problem: 'not-found' }])
    await expect(world.storage.stat({ name: 'notes.paper' })).rejects.toMatchObject({ code: 'not-found' })
    await world.storage.remove({ name: 'notes.paper' })
    expect(await store(world.storage, 'notes.paper', pattern(1))).toMatchObject({ name: 'notes (2).paper' })
    await expect(world.storage.begin('notes.paper/below', 1)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('never asks for a link to the whole file', () => {
    expect('link' in world.storage).toBe(false)
  })
})

describe('Dropbox’s allowance', () => {
  test('that asks for minutes parks the account, for every instance', async () => {
    await world.plant('file', pattern(10))
    world.faults.next('read', { kind: 'refuse', why: 'daily-cap' })
    const other = await world.reopen()
    const read = (storage: Storage) => storage.read({ name: 'file' }, { offset: 0, length: 10 })
    await expect(read(world.storage)).rejects.toMatchObject({ code: 'storage-parked' })
    const asked = world.requests()
    await expect(read(other)).rejects.toMatchObject({ code: 'storage-parked' })
    expect(world.requests()).toBe(asked)
  })
})

describe('a token for Dropbox', () => {
  test('that cannot be renewed is fatal at once', async () => {
    world.server.oauth.withdraw()
    await expect(world.storage.quota()).rejects.toMatchObject({ code: 'storage-denied', members: { fatal: 'auth' } })
    expect(world.requests('token')).toBe(1)
  })

  test('that lacks a scope is fatal at once', async () => {
    world.secret = world.server.oauth.grant('files.metadata.read')
    await expect(world.storage.quota()).rejects.toMatchObject({ code: 'storage-denied', members: { fatal: 'auth' } })
  })
})

test('a copy reference that Dropbox does not let the agent save is a loan that is denied', async () => {
  await world.plant('file', pattern(10))
  const { version } = await world.storage.stat({ name: 'file' })
  const loan = await world.storage.lend?.({ name: 'file', version })
  const { transport } = world.context.environment
  const refusing = async (request: Request): Promise<Response> =>
    request.url.endsWith('/copy_reference/save')
      ? Response.json({ error_summary: 'no_permission/', error: { '.tag': 'no_permission' } }, { status: 409 })
      : transport(request)
  Object.assign(world.context, { environment: { ...world.context.environment, transport: refusing } })
  const storage = await world.open()
  const write = await storage.begin('copy', 10)
  await expect(storage.copyWhole?.(write, loan as Loan)).rejects.toMatchObject({ code: 'storage-denied' })
})

test('no request goes anywhere but to the hosts that are set', async () => {
  const addresses: string[] = []
  const { transport } = world.context.environment
  const noting = (request: Request): Promise<Response> => {
    addresses.push(request.url)
    return transport(request)
  }
  Object.assign(world.context, { environment: { ...world.context.environment, transport: noting } })
  const storage = await world.open()
  await readAll(storage, await store(storage, 'a/file', pattern(10)))
  await storage.list()
  expect(addresses.length).toBeGreaterThan(6)
  for (const address of addresses) expect(address.startsWith(`${world.server.url}/`)).toBe(true)
})
