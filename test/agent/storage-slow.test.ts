import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Environment } from '../../protocol/environment.ts'
import { readAll, store } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { openDriveWorld, type DriveWorld } from './drive-world.ts'
import { openDropboxWorld, type DropboxWorld } from './dropbox-world.ts'
import { slowLine } from './slow-line.ts'

const MiB = 1024 * 1024

describe.each([
  ['Drive', openDriveWorld],
  ['Dropbox', openDropboxWorld],
] as const)('a slow line to %s', (name, openWorld) => {
  let world: DriveWorld | DropboxWorld
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => world.dispose())

  function slow(mostBytes?: number): Environment {
    const environment = slowLine(world.context.environment, mostBytes)
    Object.assign(world.context, { environment })
    return environment
  }

  test('takes a part in minutes, and brings it in minutes', async () => {
    const { clock } = slow()
    const storage = await world.reopen()
    const bytes = pattern(storage.partBytes - 1)
    const fromMs = clock.now()
    const file = await store(storage, 'file', bytes)
    expect(Buffer.from(await readAll(storage, file)).equals(bytes)).toBe(true)
    expect(clock.now() - fromMs).toBeGreaterThan(600_000)
    expect(world.requests('put') + world.requests('read')).toBe(2)
  })

  test('that carries nothing for a minute is given up', async () => {
    await world.plant('file', pattern(MiB))
    slow(MiB / 2)
    const storage = await world.reopen()
    const late = { code: 'storage-unavailable', message: `${name} did not answer in time.` }
    const write = await storage.begin('new', storage.partBytes)
    await expect(storage.put(write, 0, pattern(storage.partBytes))).rejects.toMatchObject(late)
    await expect(storage.read({ name: 'file' }, { offset: 0, length: MiB })).rejects.toMatchObject(late)
  })
})
