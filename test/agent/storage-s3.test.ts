import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { S3Bucket } from '../../agent/storage/s3-client.ts'
import { createS3Publisher } from '../../agent/storage/s3-publish.ts'
import type { S3Reads } from '../../agent/storage/s3-reads.ts'
import { Problem } from '../../protocol/problem.ts'
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

const SIZE_MOST = 10_000 * 5 * 1024 ** 3

test.each([5 * 1024 ** 4, 40 * 1024 ** 4, SIZE_MOST])(
  'a file of %d bytes is within the parts that S3 takes',
  async (size) => {
    const world = await linkBucket()
    const write = await world.storage.begin('file', size)
    const partBytes = write.partBytes ?? 0
    expect(partBytes).toBeLessThanOrEqual(5 * 1024 ** 3)
    expect(Math.ceil(size / partBytes)).toBeLessThanOrEqual(10_000)
    await expect(world.storage.begin('file', SIZE_MOST + 1)).rejects.toMatchObject({ code: 'too-large' })
    await world.dispose()
  },
)

test.each([5 * 1024 ** 4, SIZE_MOST])(
  'the copy that names a file of %d bytes is in parts that S3 takes',
  async (size) => {
    const parts: { PartNumber: number; CopySourceRange: string }[] = []
    const send = async ({ input }: { input: { PartNumber?: number; CopySourceRange?: string } }) => {
      const { PartNumber, CopySourceRange } = input
      if (PartNumber !== undefined && CopySourceRange !== undefined) parts.push({ PartNumber, CopySourceRange })
      return {}
    }
    const bucket = { client: { send }, bucket: 'b', key: String, call: (action: () => unknown) => action() }
    const reads = { head: async () => undefined }
    const publisher = createS3Publisher(bucket as unknown as S3Bucket, reads as unknown as S3Reads)
    await publisher.publish({ id: 'id', name: 'file', size }, 'nonce', 'key')
    const ranges = parts.toSorted((a, b) => a.PartNumber - b.PartNumber).map(({ CopySourceRange }) => CopySourceRange)
    let end = 0
    for (const [, first, last] of ranges.map((range) => /^bytes=(\d+)-(\d+)$/.exec(range) ?? [])) {
      expect(Number(first)).toBe(end)
      end = Number(last) + 1
      expect(end - Number(first)).toBeLessThanOrEqual(5 * 1024 ** 3)
    }
    expect(end).toBe(size)
    expect(ranges.length).toBeLessThanOrEqual(10_000)
  },
)

test('the copy that names a file is let go of once none of its parts is on its way', async () => {
  let underWay = 0
  let leftAtAbort: number | undefined
  const send = async ({ input, constructor }: { input: { PartNumber?: number }; constructor: { name: string } }) => {
    if (constructor.name === 'AbortMultipartUploadCommand') leftAtAbort = underWay
    if (input.PartNumber === 1) throw new Problem('storage-denied', 'No.')
    if (input.PartNumber === undefined) return {}
    underWay++
    await setImmediate()
    underWay--
    return {}
  }
  const bucket = { client: { send }, bucket: 'b', key: String, call: (action: () => unknown) => action() }
  const reads = { head: async () => undefined }
  const publisher = createS3Publisher(bucket as unknown as S3Bucket, reads as unknown as S3Reads)
  const publishing = publisher.publish({ id: 'id', name: 'file', size: 6 * 1024 ** 3 }, 'nonce', 'key')
  await expect(publishing).rejects.toMatchObject({ code: 'storage-denied' })
  expect(leftAtAbort).toBe(0)
})
