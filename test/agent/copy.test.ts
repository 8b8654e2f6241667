import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copyFile, type CopyTask } from '../../agent/copy/copy-file.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { Problem } from '../../protocol/problem.ts'
import { readAll } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { sparseContent } from '../servers/s3-content.ts'
import { linkBucket, type LinkedBucket } from './linked-bucket.ts'
import { linkFolder, type LinkedFolder } from './linked-folder.ts'

const GIB = 1024 ** 3

let bucket: LinkedBucket
let folder: LinkedFolder
beforeEach(async () => {
  bucket = await linkBucket({ buckets: ['drive'] })
  folder = await linkFolder()
})
afterEach(async () => {
  await bucket.dispose()
  await folder.close()
})

async function taskOf(source: Storage, target: Storage, name: string, more: Partial<CopyTask> = {}): Promise<CopyTask> {
  const { size, version } = await source.stat({ name })
  const write = await target.begin(`copy of ${name}`, size)
  const { signal } = new AbortController()
  return { source, target, file: { name, version }, write, signal, onProgress: () => undefined, ...more }
}

describe('a copy', () => {
  test('goes on where the target says, after any stop', async () => {
    const bytes = pattern(5 * folder.storage.partBytes + 17)
    await bucket.plant('file', bytes)
    const task = await taskOf(bucket.storage, folder.storage, 'file')
    let made
    let stops = 0
    for (; !made; stops++) {
      const stop = new AbortController()
      let seen = -1
      const onProgress = (done: number): void => {
        if (seen >= 0 && done > seen && done < bytes.length) stop.abort()
        seen = done
      }
      made = await copyFile({ ...task, signal: stop.signal, onProgress })
    }
    expect(stops).toBeGreaterThan(1)
    expect(Buffer.from(await folder.storage.read(made, { offset: 0, length: bytes.length })).equals(bytes)).toBe(true)
    expect(bucket.server.traffic.out).toBe(bytes.length)
  })

  test('fails once no part of it is on its way any more', async () => {
    await bucket.plant('file', pattern(2 * folder.storage.partBytes))
    const second = Promise.withResolvers<void>()
    let hasLanded = false
    const target: Storage = {
      ...folder.storage,
      async put(write, offset, bytes) {
        if (offset === 0) {
          await second.promise
          throw new Problem('storage-full', 'The folder is full.')
        }
        second.resolve()
        await setImmediate()
        await folder.storage.put(write, offset, bytes)
        hasLanded = true
      },
    }
    const task = await taskOf(bucket.storage, target, 'file')
    await expect(copyFile(task)).rejects.toMatchObject({ code: 'storage-full' })
    expect(hasLanded).toBe(true)
  })

  test('of a file that changes meanwhile is refused', async () => {
    await bucket.plant('file', pattern(1000))
    const task = await taskOf(bucket.storage, folder.storage, 'file')
    await bucket.plant('file', pattern(1000, 2))
    await expect(copyFile(task)).rejects.toMatchObject({ code: 'content-changed' })
  })

  test('of an empty file is an empty file', async () => {
    await bucket.plant('file', new Uint8Array(0))
    const made = await copyFile(await taskOf(bucket.storage, folder.storage, 'file'))
    expect(made && (await folder.storage.stat(made)).size).toBe(0)
  })

  test('inside S3 is of the whole where a range of it would be refused, and of ranges where it would not', async () => {
    for (const size of [1, 5 * 1024 ** 2, bucket.storage.partBytes + 1]) {
      const bytes = pattern(size)
      await bucket.plant('file', bytes)
      const { out } = bucket.server.traffic
      const made = await copyFile(await taskOf(bucket.storage, bucket.storage, 'file'))
      expect(bucket.server.traffic.out).toBe(out)
      expect(made && Buffer.from(await readAll(bucket.storage, made)).equals(bytes)).toBe(true)
    }
  })

  test('inside a provider that does not let one account read the other’s goes through the agent', async () => {
    await bucket.plant('file', pattern(1000))
    const target = bucket.storage
    const shut: Storage = {
      ...target,
      place: () => ({ provider: 's3', place: 'nobody/knows', version: 'x' }),
      read: (...args) => target.read(...args),
    }
    const made = await copyFile(await taskOf(shut, target, 'file'))
    expect(made && (await target.stat(made)).size).toBe(1000)
  })
})

describe('a file of 50 GiB', () => {
  test('is read anywhere, and copied inside the provider, in little memory', async () => {
    bucket.server.bucket('drive').put('huge', sparseContent(50 * GIB), { etag: '"huge"' })
    const { size } = await bucket.storage.stat({ name: 'huge' })
    expect(size).toBe(50 * GIB)
    const offset = 49 * GIB
    const read = await bucket.storage.read({ name: 'huge', version: 'huge' }, { offset, length: 1024 })
    expect(Buffer.from(read).readBigUInt64BE()).toBe(BigInt(offset))
    const write = await bucket.storage.begin('copy', size, 64 * 1024 ** 2)
    expect(Math.ceil(size / (write.partBytes ?? 1))).toBeLessThanOrEqual(10_000)
    await bucket.storage.abort(write)
  })
})
