import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Storage } from '../../agent/storage/storage.ts'
import type { LinkSecret } from '../../agent/storage/secrets.ts'
import { nextReset } from '../../agent/storage/drive-errors.ts'
import { Problem } from '../../protocol/problem.ts'
import { allFiles, namesOf, partsOf, readAll, store, type Part } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { DRIVE_FILE_SCOPE } from '../servers/drive.ts'
import { FOLDER } from '../servers/drive-state.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { openDriveWorld, type DriveWorld } from './drive-world.ts'

const MiB = 1024 * 1024
const MINUTE_MS = 60_000

let world: DriveWorld
beforeEach(async () => {
  world = await openDriveWorld()
})
afterEach(() => world.dispose())

const readFile = (): Promise<unknown> =>
  world.storage.read({ name: 'file' }, { offset: 0, length: 10 }).catch((error: unknown) => error)

const isParked = (outcome: unknown): boolean => outcome instanceof Problem && outcome.code === 'storage-parked'

async function begun(
  parts: number,
): Promise<{ bytes: Uint8Array; parts: Part[]; write: Awaited<ReturnType<Storage['begin']>> }> {
  const bytes = pattern(parts * world.storage.partBytes - 4321)
  return { bytes, parts: partsOf(world.storage, bytes), write: await world.storage.begin('file', bytes.length) }
}

async function finish({ bytes, parts, write }: Awaited<ReturnType<typeof begun>>, from = 0): Promise<void> {
  for (const { offset, part } of parts.slice(from)) await world.storage.put(write, offset, part)
  const file = await world.storage.commit(write)
  expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
  expect(await world.everything()).toEqual(['file'])
}

describe('an upload to Drive', () => {
  test('believes a 308 that says less than was sent, and sends the rest again', async () => {
    const upload = await begun(3)
    world.faults.next('put', { kind: 'forget-bytes', bytes: 3 * MiB })
    await finish(upload)
    expect(world.requests('put')).toBeGreaterThan(3)
  })

  test('says so when Drive has lost what an earlier part brought, and goes on from what is there', async () => {
    const upload = await begun(3)
    await world.storage.put(upload.write, 0, (upload.parts[0] as Part).part)
    world.faults.next('put', { kind: 'forget-bytes', bytes: 9 * MiB })
    const { offset, part } = upload.parts[1] as Part
    await expect(world.storage.put(upload.write, offset, part)).rejects.toMatchObject({ members: { fatal: 'gone' } })
    const [held] = await world.storage.written(upload.write)
    expect(held?.length).toBeLessThan(world.storage.partBytes)
    await finish(upload)
  })

  test('begins anew once Drive has forgotten the session', async () => {
    const upload = await begun(3)
    await world.storage.put(upload.write, 0, (upload.parts[0] as Part).part)
    world.faults.next('put', { kind: 'refuse', why: 'session-gone' })
    const { offset, part } = upload.parts[1] as Part
    await expect(world.storage.put(upload.write, offset, part)).rejects.toMatchObject({ members: { fatal: 'gone' } })
    expect(await world.storage.written(upload.write)).toEqual([])
    await expect(world.storage.put(upload.write, offset, part)).rejects.toMatchObject({ members: { fatal: 'gone' } })
    await finish(upload)
  })

  test('that is whole is found by its id when the session is forgotten', async () => {
    const upload = await begun(1)
    await world.storage.put(upload.write, 0, upload.bytes)
    const after = await world.reopen()
    world.faults.next('written', { kind: 'refuse', why: 'session-gone' })
    expect(await after.written(upload.write)).toEqual([{ offset: 0, length: upload.bytes.length }])
    await finish(upload)
  })

  test('refuses a part that does not begin where the last one ended', async () => {
    const upload = await begun(3)
    const { offset, part } = upload.parts[2] as Part
    await expect(world.storage.put(upload.write, offset, part)).rejects.toMatchObject({ code: 'not-found' })
    await finish(upload)
  })

  test('goes on when the token runs out in the middle of a part', async () => {
    const upload = await begun(2)
    world.faults.next('put', { kind: 'refuse', why: 'token-expired' })
    await finish(upload)
    expect(world.requests('token')).toBe(2)
  })

  test('by two instances at once, the same parts from both, is whole once', async () => {
    const upload = await begun(3)
    const other = await world.reopen()
    for (const { offset, part } of upload.parts) {
      await Promise.all([world.storage.put(upload.write, offset, part), other.put(upload.write, offset, part)])
    }
    await finish(upload)
  })

  test('makes each folder once, whoever makes it, though a search does not find it yet', async () => {
    world.server.state.lagSearch(true)
    const other = await world.reopen()
    await Promise.all([store(world.storage, 'a/b/one', pattern(3)), store(other, 'a/b/two', pattern(3))])
    world.server.state.lagSearch(false)
    const folders = [...world.server.state.files.values()].filter(({ mimeType }) => mimeType === FOLDER)
    expect(folders.map(({ name }) => name).toSorted()).toEqual([
      '.raincheck-partial',
      'My Drive',
      'Raincheck',
      'a',
      'b',
    ])
    expect(await namesOf(world.storage)).toEqual(['a/b/one', 'a/b/two'])
  })

  test('does not begin where it would not fit', async () => {
    world.server.state.setLimit(1000)
    await expect(world.storage.begin('file', 1001)).rejects.toMatchObject({ code: 'storage-full' })
    expect(await world.everything()).toEqual([])
  })
})

describe('a read from Drive', () => {
  test('notices a file that changed while it was read', async () => {
    await world.plant('file', pattern(5000))
    const { version } = await world.storage.stat({ name: 'file' })
    const { transport } = world.context.environment
    const meddling = {
      ...world.context.environment,
      async transport(request: Request) {
        const response = await transport(request)
        if (request.url.includes('alt=media')) await world.plant('file', pattern(5000, 2))
        return response
      },
    }
    Object.assign(world.context, { environment: meddling })
    const storage = await world.open()
    const read = storage.read({ name: 'file', version }, { offset: 0, length: 5000 })
    await expect(read).rejects.toMatchObject({ code: 'content-changed' })
  })

  test('by id answers of that file alone, whatever bears its name', async () => {
    const parent = await store(world.storage, 'keep/file', pattern(10)).then(
      () => world.find('keep/file')?.parents[0] as string,
    )
    const twin = world.server.state.create({ name: 'file', parents: [parent], content: bytesContent(pattern(10, 2)) })
    const files = await allFiles(world.storage)
    expect(files.map(({ name }) => name)).toEqual(['keep/file', 'keep/file'])
    const read = await Promise.all(files.map((file) => world.storage.read(file, { offset: 0, length: 10 })))
    expect(read).toEqual([pattern(10), pattern(10, 2)])
    expect(await world.storage.read({ name: 'keep/file' }, { offset: 0, length: 10 })).toEqual(pattern(10))
    await world.storage.remove(files[1] as { name: string })
    expect(world.server.state.files.has(twin.id)).toBe(false)
    expect(await world.storage.read({ name: 'keep/file' }, { offset: 0, length: 10 })).toEqual(pattern(10))
  })

  test('refuses what Drive takes for malware', async () => {
    await world.plant('file', pattern(10))
    Object.assign(world.find('file') as object, { isAbusive: true })
    const read = world.storage.read({ name: 'file' }, { offset: 0, length: 10 })
    await expect(read).rejects.toMatchObject({ code: 'storage-denied', members: { fatal: 'abuse' } })
  })
})

describe('Drive’s allowance', () => {
  test('that is used up for the day parks the account until it is given anew, for every instance', async () => {
    await world.plant('file', pattern(10))
    world.faults.next('read', { kind: 'refuse', why: 'daily-cap' })
    const other = await world.reopen()
    const until = nextReset(world.context.environment.clock.now())
    const parked = { code: 'storage-parked', members: { parkUntil: until }, message: 'Drive’s daily cap is reached.' }
    const read = (storage: Storage) => storage.read({ name: 'file' }, { offset: 0, length: 10 })
    await expect(read(world.storage)).rejects.toMatchObject(parked)
    const asked = world.requests()
    await expect(read(world.storage)).rejects.toMatchObject(parked)
    await expect(read(other)).rejects.toMatchObject(parked)
    expect(world.requests()).toBe(asked)
  })

  test('that is refused for minutes, whatever is asked, is taken for a cap', async () => {
    await world.plant('file', pattern(10))
    world.faults.next('read', { kind: 'refuse', why: 'rate' }, 1000)
    const { clock } = world.context.environment
    const fromMs = clock.now()
    const outcomes: unknown[] = []
    while (clock.now() - fromMs < 10 * MINUTE_MS && !outcomes.some(isParked)) outcomes.push(await readFile())
    expect(outcomes.at(-1)).toMatchObject({ code: 'storage-parked' })
    expect(clock.now() - fromMs).toBeGreaterThan(2 * MINUTE_MS)
    expect(clock.now() - fromMs).toBeLessThan(5 * MINUTE_MS)
  })

  test('that refuses each of many reads once, all at once, is waited for', async () => {
    await world.plant('file', pattern(40))
    const { version } = await world.storage.stat({ name: 'file' })
    const { transport } = world.context.environment
    const refused = new Set<string>()
    const all = Promise.withResolvers<void>()
    const refusing = async (request: Request): Promise<Response> => {
      const range = request.headers.get('range')
      if (range === null || refused.has(range)) return transport(request)
      if (refused.add(range).size === 40) all.resolve()
      await all.promise
      return Response.json({ error: { code: 403, errors: [{ reason: 'userRateLimitExceeded' }] } }, { status: 403 })
    }
    Object.assign(world.context, { environment: { ...world.context.environment, transport: refusing } })
    const storage = await world.open()
    const offsets = [...Array(40).keys()]
    const read = await Promise.all(
      offsets.map((offset) => storage.read({ name: 'file', version }, { offset, length: 1 })),
    )
    expect(Buffer.concat(read)).toEqual(Buffer.from(pattern(40)))
    expect(refused.size).toBe(40)
    expect(await storage.quota()).toMatchObject({ used: 40 })
  })

  test('that is refused now and then, hours apart, is no cap', async () => {
    await world.plant('file', pattern(10))
    const { clock } = world.context.environment
    for (let i = 0; i < 4; i++) {
      world.faults.next('read', { kind: 'refuse', why: 'rate' }, 5)
      expect(await readFile()).toMatchObject({ code: 'storage-unavailable' })
      for (let pause = 0; pause < 60; pause++) await clock.sleep(14_000)
    }
  })

  test('of one file is that file’s alone, and Drive is asked again once it is given anew', async () => {
    await world.plant('file', pattern(10))
    await world.plant('other', pattern(10))
    Object.assign(world.find('file') as object, { isCapped: true })
    const { environment } = world.context
    let aheadMs = 0
    const clock = { ...environment.clock, now: () => environment.clock.now() + aheadMs }
    Object.assign(world.context, { environment: { ...environment, clock } })
    const storage = await world.open()
    const read = (name: string) => storage.read({ name }, { offset: 0, length: 10 })
    const until = nextReset(clock.now())
    await expect(read('file')).rejects.toMatchObject({ code: 'storage-parked', members: { parkUntil: until } })
    const asked = world.requests('read')
    await expect(read('file')).rejects.toMatchObject({ code: 'storage-parked', members: { parkUntil: until } })
    expect(world.requests('read')).toBe(asked)
    expect(await read('other')).toEqual(pattern(10))
    expect(await store(storage, 'new', pattern(1))).toMatchObject({ name: 'new' })
    Object.assign(world.find('file') as object, { isCapped: false })
    aheadMs = until - clock.now()
    expect(await read('file')).toEqual(pattern(10))
  })

  test('begins anew at eight in the morning, UTC', () => {
    const day = Date.UTC(2026, 10, 21)
    expect(nextReset(day + 1000)).toBe(day + 8 * 3_600_000)
    expect(nextReset(day + 8 * 3_600_000)).toBe(day + 32 * 3_600_000)
  })
})

describe('a token for Drive', () => {
  test('that cannot be renewed is fatal at once, whatever is asked', async () => {
    world.server.oauth.withdraw()
    const denied = { code: 'storage-denied', members: { fatal: 'auth' } }
    await expect(world.storage.stat({ name: 'file' })).rejects.toMatchObject(denied)
    expect(world.requests('token')).toBe(1)
    await expect(world.storage.begin('file', 1)).rejects.toMatchObject(denied)
  })

  test('is renewed once for many requests that need it', async () => {
    await world.plant('file', pattern(10))
    const reads = Array.from({ length: 20 }, () => world.storage.read({ name: 'file' }, { offset: 0, length: 10 }))
    await Promise.all(reads)
    expect(world.requests('token')).toBe(1)
  })

  test('is kept when Google gives another in its place', async () => {
    const before = world.secret
    world.server.oauth.rotate()
    await world.storage.quota()
    expect(world.secret?.['refreshToken']).not.toBe(before?.['refreshToken'])
    expect(world.secret?.['clientSecret']).toBe(before?.['clientSecret'])
    await (await world.reopen()).quota()
  })

  test('is kept though the link’s record changes at the same time, and not over a newer one', async () => {
    let refusals = 3
    Object.assign(world.context, {
      async renewSecret(secret: LinkSecret) {
        if (refusals-- > 0) return false
        world.secret = secret
        return true
      },
    })
    const before = world.secret?.['refreshToken']
    const storage = await world.open()
    world.server.oauth.rotate()
    await storage.quota()
    expect(world.secret?.['refreshToken']).not.toBe(before)
    const newer = world.server.oauth.grant(DRIVE_FILE_SCOPE)
    Object.assign(world.context, {
      async renewSecret() {
        world.secret = { ...world.secret, ...newer }
        return false
      },
    })
    world.server.oauth.rotate()
    await (await world.open()).quota()
    expect(world.secret?.['refreshToken']).toBe(newer.refreshToken)
    await (await world.open()).quota()
  })

  test('waits out a token endpoint that is busy', async () => {
    world.faults.next('token', { kind: 'refuse', why: 'busy' }, 2)
    expect(await world.storage.quota()).toMatchObject({ used: 0 })
  })
})

describe('a folder of Drive', () => {
  test('lists what can be no file of a storage as refused', async () => {
    await world.plant('good', pattern(1))
    const parent = world.find('good')?.parents[0] as string
    for (const name of ['a/b', 'line\nbreak']) world.server.state.create({ name, parents: [parent] })
    world.server.state.create({ name: 'text', mimeType: 'application/vnd.google-apps.document', parents: [parent] })
    const page = await world.storage.list()
    expect(page.files.map(({ name }) => name)).toEqual(['good'])
    expect(page.refused).toEqual([
      { name: 'a/b', problem: 'path-outside' },
      { name: 'line\nbreak', problem: 'path-outside' },
      { name: 'text', problem: 'not-found' },
    ])
  })

  test('takes no document of Google’s for a file, though Drive tells its size', async () => {
    await world.plant('photo', pattern(1))
    const parent = world.find('photo')?.parents[0] as string
    const mimeType = 'application/vnd.google-apps.spreadsheet'
    const { id } = world.server.state.create({ name: 'table', mimeType, parents: [parent] })
    for (const file of [{ name: 'table' }, { name: 'table', id }]) {
      await expect(world.storage.stat(file)).rejects.toMatchObject({ code: 'not-found' })
      await expect(world.storage.read(file, { offset: 0, length: 1 })).rejects.toMatchObject({ code: 'not-found' })
      await world.storage.remove(file)
    }
    expect(world.server.state.files.has(id)).toBe(true)
    expect(await store(world.storage, 'table', pattern(1))).toMatchObject({ name: 'table (2)' })
  })

  test('of the owner’s choice, at any depth, is the storage', async () => {
    const deep = await world.open({ folder: 'Films/2026' })
    expect(await deep.list()).toEqual({ files: [], refused: [] })
    await store(deep, 'film', pattern(5))
    expect(await namesOf(deep)).toEqual(['film'])
    expect(await namesOf(world.storage)).toEqual([])
  })

  test('shows nothing that the app did not make or open, with the scope that the agent asks for', async () => {
    await world.plant('ours', pattern(1))
    const parent = world.find('ours')?.parents[0] as string
    world.server.state.create({ name: 'theirs', parents: [parent], ours: false })
    expect(await namesOf(world.storage)).toEqual(['ours'])
  })

  test('throws nothing away that was trashed by its owner, and does not serve it', async () => {
    const file = await store(world.storage, 'file', pattern(10))
    Object.assign(world.find('file') as object, { trashed: true })
    await expect(world.storage.read(file, { offset: 0, length: 10 })).rejects.toMatchObject({ code: 'not-found' })
    await world.storage.remove(file)
    expect(world.server.state.files.has(file.id as string)).toBe(true)
    expect(await store(world.storage, 'file', pattern(3))).toMatchObject({ name: 'file' })
  })
})

test('the address of an upload rests sealed, since whoever knows it can upload', async () => {
  await world.storage.begin('file', 10)
  const items = await world.context.store.list('drive/drive', { limit: 100 })
  const kept = items.map(({ body }) => Buffer.from(body).toString()).join()
  expect(kept).toContain('session')
  expect(kept).not.toContain('upload_id')
})

test('no request goes anywhere but to the hosts that are set, and none shows a token in its address', async () => {
  const addresses: string[] = []
  const { transport } = world.context.environment
  Object.assign(world.context, {
    environment: {
      ...world.context.environment,
      transport: (request: Request) => (addresses.push(request.url), transport(request)),
    },
  })
  const storage = await world.open()
  await readAll(storage, await store(storage, 'a/file', pattern(10)))
  await storage.list()
  expect(addresses.length).toBeGreaterThan(8)
  for (const address of addresses) {
    expect(address.startsWith(`${world.server.url}/`)).toBe(true)
    for (const token of world.server.oauth.issued) expect(address).not.toContain(token)
  }
})
