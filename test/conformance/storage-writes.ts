/** Writing in parts and committing, as every storage means them. */
import { expect, test } from 'vitest'
import type { FileRef } from '../../agent/storage/storage.ts'
import { pattern } from '../pattern.ts'
import { namesOf, partsOf, readAll, store, thawed, type Part, type World } from './storage-world.ts'

export function describeWrites(world: World): void {
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

export function describeCommits(world: World): void {
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
