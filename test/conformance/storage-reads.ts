/** Reading, listing and removing, as every storage means them. */
import { expect, test } from 'vitest'
import { concat } from '../../protocol/bytes.ts'
import { pattern } from '../pattern.ts'
import { allFiles, namesOf, store, type World } from './storage-world.ts'

export function describeReads(world: World): void {
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

  test('answers content-changed once the pinned file was replaced, shrunk or grown', async () => {
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

  test('answers not-found once the pinned file was taken away, and goes on when it is back', async () => {
    await world.harness.plant('file', pattern(5000))
    const { version } = await world.storage.stat({ name: 'file' })
    await world.harness.uproot('file')
    const read = (pinned?: string): Promise<Uint8Array> =>
      world.storage.read({ name: 'file', ...(pinned && { version: pinned }) }, { offset: 0, length: 5000 })
    await expect(read(version)).rejects.toMatchObject({ code: 'not-found' })
    await expect(read()).rejects.toMatchObject({ code: 'not-found' })
    await world.harness.plant('file', pattern(5000, 2))
    await expect(read(version)).rejects.toMatchObject({ code: 'content-changed' })
    expect(await read()).toEqual(pattern(5000, 2))
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

export function describeLists(world: World): void {
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
