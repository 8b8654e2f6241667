import { expect, test } from 'vitest'
import { describeFaults } from '../conformance/storage-faults.ts'
import { describeHuge } from '../conformance/storage-huge.ts'
import { describeStorage } from '../conformance/storage.ts'
import { namesOf, store } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { linkBucket, OWNER_KEY } from './linked-bucket.ts'

describeStorage('a bucket of S3', () => linkBucket())
describeStorage('a folder in a bucket with versions', () => linkBucket({ versioned: true }, { prefix: 'my files/ü' }))
describeFaults('a bucket of S3', () => linkBucket())
describeHuge('a bucket of S3', async () => {
  const world = await linkBucket()
  const bucket = world.server.bucket('drive')
  return { ...world, plantContent: async (name, content) => void bucket.put(name, content, { etag: '"huge"' }) }
})

test('a bucket with versions holds what was written once', async () => {
  const world = await linkBucket({ versioned: true })
  for (const [name, size] of [
    ['file', 1000],
    ['empty', 0],
  ] as const)
    await store(world.storage, name, pattern(size))
  const keys = world.server
    .bucket('drive')
    .all()
    .map(({ key }) => key)
  expect(keys.toSorted()).toEqual(['empty', 'file'])
  await world.dispose()
})

test('who may not remove versions for good writes to a bucket with versions all the same', async () => {
  const { accessKeyId, secretAccessKey } = OWNER_KEY
  const world = await linkBucket({ versioned: true, principals: { [accessKeyId]: { secretAccessKey, erase: [] } } })
  await store(world.storage, 'file', pattern(1000))
  expect(await namesOf(world.storage)).toEqual(['file'])
  const kept = world.server.bucket('drive')
  expect(kept.list().map(({ key }) => key)).toEqual(['file'])
  await world.dispose()
})
