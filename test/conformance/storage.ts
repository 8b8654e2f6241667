/** What every storage driver means by the interface. A driver's own test hands in a harness and runs all of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pattern } from '../pattern.ts'
import { describeLists, describeReads } from './storage-reads.ts'
import type { StorageHarness, World } from './storage-world.ts'
import { describeCommits, describeWrites } from './storage-writes.ts'

export function describeStorage(kind: string, open: () => Promise<StorageHarness>): void {
  describe(`${kind} as a storage`, () => {
    let harness: StorageHarness
    beforeEach(async () => {
      harness = await open()
    })
    afterEach(() => harness.dispose())
    const world: World = {
      get harness() {
        return harness
      },
      get storage() {
        return harness.storage
      },
    }
    describeReads(world)
    describeLists(world)
    describeWrites(world)
    describeCommits(world)
    describeHostility(world)
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
