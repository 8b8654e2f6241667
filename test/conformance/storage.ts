/** What every storage driver means by the interface. A driver's own test hands in a harness and runs all of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { FileEntry, FileRef, Storage, WriteRef } from '../../agent/storage/storage.ts'
import { concat } from '../../protocol/bytes.ts'
import { pattern } from '../pattern.ts'

export interface StorageHarness {
  readonly storage: Storage
  /** Another instance over the same place, as after a crash: nothing was closed. */
  reopen(): Promise<Storage>
  /** Puts a file there, or replaces it, as another program would. */
  plant(name: string, bytes: Uint8Array): Promise<void>
  /** Takes a file away, as another program would. */
  uproot(name: string): Promise<void>
  /** Everything that lies there, unfinished writes too. */
  everything(): Promise<readonly string[]>
  dispose(): Promise<void>
}

export function describeStorage(kind: string, open: () => Promise<StorageHarness>): void {
  describe(`${kind} as a storage`, () => {
    let harness: StorageHarness
    let storage: Storage
    beforeEach(async () => {
      harness = await open()
      storage = harness.storage
    })
    afterEach(() => harness.dispose())
    const world: World = {
      get harness() {
        return harness
      },
      get storage() {
        return storage
      },
    }
    describeReads(world)
    describeLists(world)
    describeWrites(world)
    describeCommits(world)
    describeHostility(world)
  })
}

interface World {
  readonly harness: StorageHarness
  readonly storage: Storage
}

const readAll = async (storage: Storage, file: FileRef): Promise<Uint8Array> =>
  storage.read(file, { offset: 0, length: (await storage.stat(file)).size })

async function allFiles(storage: Storage, under?: string): Promise<FileEntry[]> {
  const files: FileEntry[] = []
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await storage.list({ ...(under !== undefined && { under }), ...(cursor !== undefined && { cursor }) })
    files.push(...page.files)
    cursor = page.cursor
  }
  return files
}

const namesOf = async (storage: Storage, under?: string): Promise<string[]> =>
  (await allFiles(storage, under)).map(({ name }) => name).toSorted()

/** Parts as the driver likes them. */
function partsOf(storage: Storage, bytes: Uint8Array): { offset: number; part: Uint8Array }[] {
  const count = Math.ceil(bytes.length / storage.partBytes)
  return Array.from({ length: count }, (_, i) => ({
    offset: i * storage.partBytes,
    part: bytes.subarray(i * storage.partBytes, (i + 1) * storage.partBytes),
  }))
}

async function putAll(storage: Storage, write: WriteRef, bytes: Uint8Array): Promise<void> {
  for (const { offset, part } of partsOf(storage, bytes)) await storage.put(write, offset, part)
}

async function store(storage: Storage, name: string, bytes: Uint8Array): Promise<FileRef & { version: string }> {
  const write = await storage.begin(name, bytes.length)
  await putAll(storage, write, bytes)
  return storage.commit(write)
}

/** As it comes back from a store. */
const thawed = <T>(ref: T): T => JSON.parse(JSON.stringify(ref)) as T

function describeReads(world: World): void {
  test('reads exactly the range that was asked for', async () => {
    const bytes = pattern(100_000)
    await world.harness.plant('file', bytes)
    const { version, size } = await world.storage.stat({ name: 'file' })
    expect(size).toBe(bytes.length)
    for (const [offset, length] of [
      [0, 100_000],
      [0, 1],
      [99_999, 1],
      [12_345, 54_321],
      [100_000, 0],
      [0, 0],
    ] as const) {
      const read = await world.storage.read({ name: 'file', version }, { offset, length })
      expect(Buffer.from(read).equals(bytes.subarray(offset, offset + length))).toBe(true)
    }
  })

  test('reads into the buffer that was given', async () => {
    await world.harness.plant('file', pattern(5000))
    const { version } = await world.storage.stat({ name: 'file' })
    const buffer = new Uint8Array(1002)
    const into = buffer.subarray(1, 1001)
    expect(await world.storage.read({ name: 'file', version }, { offset: 4000, length: 1000 }, into)).toBe(into)
    expect(buffer).toEqual(concat(Uint8Array.of(0), pattern(5000).subarray(4000), Uint8Array.of(0)))
  })

  test('refuses a range beyond the end and never answers short', async () => {
    await world.harness.plant('file', pattern(10))
    const { version } = await world.storage.stat({ name: 'file' })
    for (const [offset, length] of [
      [0, 11],
      [10, 1],
      [5, 6],
      [11, 0],
      [-1, 2],
      [0, -1],
      [0.5, 1],
      [2 ** 53, 1],
    ] as const) {
      const outcome = world.storage.read({ name: 'file', version }, { offset, length })
      await expect(outcome, `${offset}+${length}`).rejects.toMatchObject({ code: 'range-invalid' })
    }
  })

  test('serves many reads at once', async () => {
    const bytes = pattern(64 * 1024)
    await world.harness.plant('file', bytes)
    const { version } = await world.storage.stat({ name: 'file' })
    const reads = Array.from({ length: 64 }, (_, i) =>
      world.storage.read({ name: 'file', version }, { offset: i * 1024, length: 1024 }),
    )
    expect(Buffer.concat(await Promise.all(reads)).equals(bytes)).toBe(true)
  })

  test('answers content-changed once the pinned file was replaced, shrunk, grown or taken away', async () => {
    const changes: Record<string, () => Promise<void>> = {
      'same size': () => world.harness.plant('file', pattern(5000, 2)),
      shorter: () => world.harness.plant('file', pattern(10)),
      longer: () => world.harness.plant('file', pattern(9000)),
      empty: () => world.harness.plant('file', new Uint8Array(0)),
    }
    for (const [what, change] of Object.entries(changes)) {
      await world.harness.plant('file', pattern(5000))
      const { version } = await world.storage.stat({ name: 'file' })
      await change()
      const outcome = world.storage.read({ name: 'file', version }, { offset: 0, length: 5000 })
      expect([what, await outcome.catch((error: unknown) => error)]).toMatchObject([what, { code: 'content-changed' }])
    }
  })

  test('knows a missing file from a folder and from a file that is there', async () => {
    await world.harness.plant('folder/file', pattern(10))
    await expect(world.storage.stat({ name: 'nothing' })).rejects.toMatchObject({ code: 'not-found' })
    await expect(world.storage.stat({ name: 'folder' })).rejects.toMatchObject({ code: 'not-found' })
    await expect(world.storage.stat({ name: 'folder/file/below' })).rejects.toMatchObject({ code: 'not-found' })
    const outcome = world.storage.read({ name: 'nothing' }, { offset: 0, length: 1 })
    await expect(outcome).rejects.toMatchObject({ code: 'not-found' })
    await expect(world.storage.stat({ name: 'folder/file' })).resolves.toMatchObject({ size: 10 })
  })

  test('removes a file, once or twice, and only the version that is meant', async () => {
    const file = await store(world.storage, 'folder/file', pattern(10))
    const other = { ...file, version: 'another' }
    await expect(world.storage.remove(other)).rejects.toMatchObject({ code: 'content-changed' })
    await world.storage.remove(file)
    await world.storage.remove(file)
    expect(await namesOf(world.storage)).toEqual([])
  })
}

function describeLists(world: World): void {
  test('lists every file of every folder, with what it takes to read it', async () => {
    const names = ['a', 'b/c', 'b/d/e', 'ümläut/深い/ファイル', 'z']
    for (const [i, name] of names.entries()) await world.harness.plant(name, pattern(i + 1))
    const files = await allFiles(world.storage)
    expect(files.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
    for (const file of files) {
      const bytes = await world.storage.read(file, { offset: 0, length: file.size })
      expect(bytes).toEqual(pattern(names.indexOf(file.name) + 1))
      expect(await world.storage.stat({ name: file.name })).toMatchObject({ size: file.size, version: file.version })
    }
  })

  test('lists the files of one folder alone', async () => {
    for (const name of ['b', 'b c/x', 'a/b/c', 'a/b/d/e', 'a/bb/f', 'b/x']) {
      if (name !== 'b') await world.harness.plant(name, pattern(1))
    }
    expect(await namesOf(world.storage, 'a/b')).toEqual(['a/b/c', 'a/b/d/e'])
    expect(await namesOf(world.storage, 'b')).toEqual(['b/x'])
    expect(await namesOf(world.storage, 'nothing')).toEqual([])
    expect(await namesOf(world.storage, 'b/x')).toEqual([])
  })

  test('lists an empty storage, and nothing of an unfinished write', async () => {
    expect(await world.storage.list()).toEqual({ files: [], refused: [] })
    const write = await world.storage.begin('file', 10)
    await world.storage.put(write, 0, pattern(10))
    expect(await world.storage.list()).toEqual({ files: [], refused: [] })
  })
}

function describeWrites(world: World): void {
  test('stores a file of several parts under its name', async () => {
    const bytes = pattern(2 * world.storage.partBytes + 4321)
    const file = await store(world.storage, 'a folder/ünd/file.bin', bytes)
    expect(file.name).toBe('a folder/ünd/file.bin')
    expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
    expect(await namesOf(world.storage)).toEqual(['a folder/ünd/file.bin'])
  })

  test('stores an empty file', async () => {
    const file = await store(world.storage, 'folder/empty', new Uint8Array(0))
    expect(await world.storage.stat(file)).toMatchObject({ size: 0 })
  })

  test('keeps names in NFC', async () => {
    const file = await store(world.storage, 'u\u0308', pattern(3))
    expect(file.name).toBe('\u00fc')
    expect(await namesOf(world.storage)).toEqual(['\u00fc'])
  })

  test('takes parts in the order that it promises to take', async () => {
    const bytes = pattern(3 * world.storage.partBytes + 17)
    const write = await world.storage.begin('file', bytes.length)
    const parts = partsOf(world.storage, bytes)
    if (world.storage.writes === 'any-order') {
      await Promise.all(parts.toReversed().map(({ offset, part }) => world.storage.put(write, offset, part)))
    } else for (const { offset, part } of parts) await world.storage.put(write, offset, part)
    const file = await world.storage.commit(write)
    expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
  })

  test('takes the same part twice', async () => {
    const bytes = pattern(world.storage.partBytes + 17)
    const write = await world.storage.begin('file', bytes.length)
    for (const { offset, part } of partsOf(world.storage, bytes)) {
      await world.storage.put(write, offset, part)
      await world.storage.put(write, offset, part)
    }
    const file = await world.storage.commit(write)
    expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
  })

  test('tells after a crash what was put, and goes on from there', async () => {
    const bytes = pattern(3 * world.storage.partBytes + 17)
    const write = await world.storage.begin('folder/file', bytes.length)
    const [first, second, ...rest] = partsOf(world.storage, bytes) as [Part, Part, ...Part[]]
    expect(await world.storage.written(write)).toEqual([])
    await world.storage.put(write, first.offset, first.part)
    await world.storage.put(write, second.offset, second.part)
    const after = await world.harness.reopen()
    expect(await after.written(thawed(write))).toEqual([{ offset: 0, length: 2 * after.partBytes }])
    for (const { offset, part } of rest) await after.put(thawed(write), offset, part)
    expect(await after.written(write)).toEqual([{ offset: 0, length: bytes.length }])
    const file = await after.commit(thawed(write))
    expect(Buffer.from(await readAll(after, file)).equals(bytes)).toBe(true)
    await after.close()
  })

  test('keeps two writes of one name apart', async () => {
    const [one, two] = [await world.storage.begin('file', 10), await world.storage.begin('file', 20)]
    await world.storage.put(one, 0, pattern(10, 1))
    await world.storage.put(two, 0, pattern(20, 2))
    const files = [await world.storage.commit(one), await world.storage.commit(two)]
    expect(files.map(({ name }) => name)).toEqual(['file', 'file (2)'])
    expect(await readAll(world.storage, files[0] as FileRef)).toEqual(pattern(10, 1))
    expect(await readAll(world.storage, files[1] as FileRef)).toEqual(pattern(20, 2))
  })

  test('refuses a part beyond the size', async () => {
    const write = await world.storage.begin('file', 10)
    for (const offset of [1, 10, 11, -1, 2 ** 53]) {
      await expect(world.storage.put(write, offset, pattern(10))).rejects.toMatchObject({ code: 'range-invalid' })
    }
    expect(await world.storage.written(write)).toEqual([])
  })

  test('refuses a size that is no whole number', async () => {
    for (const size of [-1, 0.5, Number.NaN, Infinity]) {
      await expect(world.storage.begin('file', size)).rejects.toMatchObject({ code: 'bad-request' })
    }
    expect(await world.harness.everything()).toEqual([])
  })

  test('leaves nothing of a write that was aborted', async () => {
    const write = await world.storage.begin('folder/sub/file', world.storage.partBytes * 2)
    await world.storage.put(write, 0, pattern(world.storage.partBytes))
    await world.storage.abort(write)
    await world.storage.abort(write)
    expect(await world.harness.everything()).toEqual([])
    await expect(world.storage.put(write, 0, pattern(world.storage.partBytes))).rejects.toMatchObject({
      code: 'not-found',
    })
    await expect(world.storage.written(write)).rejects.toMatchObject({ code: 'not-found' })
    await expect(world.storage.commit(write)).rejects.toMatchObject({ code: 'not-found' })
    expect(await world.harness.everything()).toEqual([])
  })
}

interface Part {
  readonly offset: number
  readonly part: Uint8Array
}

function describeCommits(world: World): void {
  test('does not commit while bytes are missing', async () => {
    const bytes = pattern(world.storage.partBytes + 1)
    const write = await world.storage.begin('file', bytes.length)
    await expect(world.storage.commit(write)).rejects.toMatchObject({ code: 'conflict' })
    await world.storage.put(write, 0, bytes.subarray(0, world.storage.partBytes))
    await expect(world.storage.commit(write)).rejects.toMatchObject({ code: 'conflict' })
    expect(await namesOf(world.storage)).toEqual([])
    await world.storage.put(write, world.storage.partBytes, bytes.subarray(world.storage.partBytes))
    expect(await world.storage.commit(write)).toMatchObject({ name: 'file' })
  })

  test('commits once, however often it is asked', async () => {
    const write = await world.storage.begin('folder/file.txt', 10)
    await world.storage.put(write, 0, pattern(10))
    const file = await world.storage.commit(write)
    const after = await world.harness.reopen()
    expect(await after.commit(thawed(write))).toEqual(file)
    expect(await after.written(thawed(write))).toEqual([{ offset: 0, length: 10 }])
    await after.abort(thawed(write))
    await after.close()
    expect(await world.harness.everything()).toEqual(['folder/file.txt'])
    expect(await world.storage.read(file, { offset: 0, length: 10 })).toEqual(pattern(10))
  })

  test('never overwrites: a taken name is numbered before its extension', async () => {
    await world.harness.plant('folder/photo.tar.gz', pattern(1))
    await world.harness.plant('.hidden', pattern(1))
    await world.harness.plant('plain', pattern(1))
    expect(await store(world.storage, 'folder/photo.tar.gz', pattern(5, 2))).toMatchObject({
      name: 'folder/photo.tar (2).gz',
    })
    expect(await store(world.storage, 'folder/photo.tar.gz', pattern(5, 3))).toMatchObject({
      name: 'folder/photo.tar (3).gz',
    })
    expect(await store(world.storage, '.hidden', pattern(5, 4))).toMatchObject({ name: '.hidden (2)' })
    expect(await store(world.storage, 'plain', pattern(5, 5))).toMatchObject({ name: 'plain (2)' })
    expect(await readAll(world.storage, { name: 'folder/photo.tar.gz' })).toEqual(pattern(1))
    expect(await readAll(world.storage, { name: 'folder/photo.tar (3).gz' })).toEqual(pattern(5, 3))
  })

  test('never overwrites a file that came while it was written', async () => {
    const write = await world.storage.begin('file', 3)
    await world.storage.put(write, 0, pattern(3))
    await world.harness.plant('file', pattern(7, 2))
    expect(await world.storage.commit(write)).toMatchObject({ name: 'file (2)' })
    expect(await readAll(world.storage, { name: 'file' })).toEqual(pattern(7, 2))
  })

  test('numbers within the length that a name may have', async () => {
    const name = `${'é'.repeat(125)}.jpg`
    await world.harness.plant(name, pattern(1))
    const file = await store(world.storage, name, pattern(2))
    expect(file.name).toMatch(/^é+ \(2\)\.jpg$/)
    expect(await readAll(world.storage, file)).toEqual(pattern(2))
  })

  test('finds a folder that nothing bears the name of', async () => {
    expect(await world.storage.freeFolder('Album 1.0')).toBe('Album 1.0')
    await world.harness.plant('Album 1.0/track', pattern(1))
    expect(await world.storage.freeFolder('Album 1.0')).toBe('Album 1.0 (2)')
    expect(await world.storage.freeFolder('Album 1.0', (name) => name === 'Album 1.0 (2)')).toBe('Album 1.0 (3)')
  })

  test('refuses at once what could not be committed: a folder that is a file', async () => {
    await world.harness.plant('file', pattern(1))
    await expect(world.storage.begin('file/below/it', 1)).rejects.toMatchObject({ code: 'conflict' })
    expect(await world.harness.everything()).toEqual(['file'])
  })
}

const HOSTILE = [
  '',
  '.',
  '..',
  '../file',
  'a/../../file',
  'a/./b',
  '/etc/passwd',
  '/',
  'a//b',
  'a/',
  'a\\..\\b',
  'a\u0000b',
  'a\nb',
  'x'.repeat(256),
  `${'d/'.repeat(40)}f`,
  '\ud800',
]

function describeHostility(world: World): void {
  test.each(HOSTILE)('refuses the name %j everywhere', async (name) => {
    const outcomes = [
      world.storage.stat({ name }),
      world.storage.read({ name }, { offset: 0, length: 0 }),
      world.storage.begin(name, 1),
      world.storage.remove({ name }),
      world.storage.list({ under: name }),
      world.storage.freeFolder(name),
    ]
    for (const outcome of await Promise.allSettled(outcomes)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'path-outside' } })
    }
    expect(await world.harness.everything()).toEqual([])
  })

  test('refuses a write of another storage', async () => {
    for (const id of ['', '../../file', 'x', `${'0'.repeat(32)}-1`]) {
      const write = { id, name: 'file', size: 1 }
      await expect(world.storage.put(write, 0, pattern(1))).rejects.toMatchObject({ code: 'not-found' })
      await expect(world.storage.written(write)).rejects.toMatchObject({ code: 'not-found' })
      await expect(world.storage.commit(write)).rejects.toMatchObject({ code: 'not-found' })
      await world.storage.abort(write)
    }
    expect(await world.harness.everything()).toEqual([])
  })

  test('tells its room, where it knows', async () => {
    const quota = await world.storage.quota()
    if (quota?.used !== undefined) expect(quota.used).toBeGreaterThanOrEqual(0)
    if (quota?.total !== undefined) expect(quota.total).toBeGreaterThanOrEqual(quota.used ?? 0)
  })
}
