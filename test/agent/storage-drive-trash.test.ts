import { afterEach, beforeEach, expect, test } from 'vitest'
import { namesOf, readAll, store } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { openDriveWorld, type DriveWorld } from './drive-world.ts'

let world: DriveWorld
beforeEach(async () => {
  world = await openDriveWorld()
})
afterEach(() => world.dispose())

function trash(name: string): void {
  const found = [...world.server.state.files.values()].find((file) => file.name === name)
  Object.assign(found as object, { trashed: true })
}

test('a file whose folder of unfinished ones goes into the trash meanwhile is finished, and comes out of it', async () => {
  const { storage } = world
  const bytes = pattern(2 * storage.partBytes)
  const write = await storage.begin('film', bytes.length)
  await storage.put(write, 0, bytes.subarray(0, storage.partBytes))
  trash('.raincheck-partial')
  await storage.put(write, storage.partBytes, bytes.subarray(storage.partBytes))
  expect(await (await world.reopen()).written(write)).toEqual([{ offset: 0, length: bytes.length }])
  const file = await storage.commit(write)
  expect(await namesOf(storage)).toEqual(['film'])
  expect(Buffer.from(await readAll(storage, file)).equals(bytes)).toBe(true)
  expect(await store(await world.reopen(), 'next', pattern(3))).toMatchObject({ name: 'next' })
})

test('a whole file that its owner throws into the trash before the commit comes out of it', async () => {
  const write = await world.storage.begin('film', 10)
  await world.storage.put(write, 0, pattern(10))
  trash(write.id)
  const file = await world.storage.commit(write)
  expect(await readAll(world.storage, file)).toEqual(pattern(10))
})

test('a write that is aborted leaves nothing in the trash either', async () => {
  const write = await world.storage.begin('film', 10)
  await world.storage.put(write, 0, pattern(10))
  trash('.raincheck-partial')
  await world.storage.abort(write)
  expect(await world.everything()).toEqual([])
})
