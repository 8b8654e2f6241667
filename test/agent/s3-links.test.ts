import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Storage } from '../../agent/storage/storage.ts'
import { pattern } from '../pattern.ts'
import { linkBucket, type LinkedBucket } from './linked-bucket.ts'

const BYTES = 100_000
const RANGE = { offset: 1000, length: 5000 }

let nowMs = Date.now()
let bucket: LinkedBucket
let link: NonNullable<Storage['link']>
beforeAll(async () => {
  bucket = await linkBucket({ now: () => nowMs })
  await bucket.plant('a film.bin', pattern(BYTES))
  link = bucket.storage.link?.bind(bucket.storage) as typeof link
})
afterAll(() => bucket.dispose())

const make = (forMs = 60_000): Promise<URL> => link({ name: 'a film.bin' }, RANGE, forMs)
const get = (url: URL, range?: string) => fetch(url, { headers: range === undefined ? {} : { range } })

test('a link gives its range, and nothing of the owner’s keys', async () => {
  const url = await make()
  const reply = await get(url, 'bytes=1000-5999')
  expect([reply.status, reply.headers.get('content-range')]).toEqual([206, `bytes 1000-5999/${BYTES}`])
  expect(new Uint8Array(await reply.arrayBuffer())).toEqual(pattern(BYTES).subarray(1000, 6000))
  expect(url.href).not.toContain('secret')
})

test.each([
  ['widened', 'bytes=1000-6000'],
  ['moved', 'bytes=0-4999'],
  ['open', 'bytes=1000-'],
  ['of several ranges', 'bytes=1000-5999,0-10'],
  ['without a range', undefined],
])('a link that is %s is refused', async (_, range) => {
  const reply = await get(await make(), range)
  expect(reply.status).toBe(403)
  expect(await reply.text()).not.toContain(pattern(BYTES).subarray(0, 8).toString())
})

test('a link to another file, or altered in any part, is refused', async () => {
  await bucket.plant('other', pattern(BYTES, 2))
  const url = await make()
  const other = new URL(url)
  other.pathname = '/drive/other'
  const longer = new URL(url)
  longer.searchParams.set('X-Amz-Expires', '604800')
  for (const altered of [other, longer]) expect((await get(altered, 'bytes=1000-5999')).status).toBe(403)
})

test('a link is refused once its time is over, replayed or not', async () => {
  // Links are signed by the clock of the SDK, which has gone on since.
  nowMs = Date.now()
  const url = await make(60_000)
  expect((await get(url, 'bytes=1000-5999')).status).toBe(206)
  const before = nowMs
  nowMs += 70_000
  expect((await get(url, 'bytes=1000-5999')).status).toBe(403)
  nowMs = before
})

test('a copy inside the provider brings the checksum of the part, and its bytes', async () => {
  const partBytes = 8 * 1024 ** 2
  const bytes = pattern(partBytes + 1000)
  await bucket.plant('source', bytes)
  const { version } = await bucket.storage.stat({ name: 'source' })
  const source = bucket.storage.place?.({ name: 'source', version })
  if (!source || !bucket.storage.copyFrom) throw new Error('no copies')
  const write = await bucket.storage.begin('copy', bytes.length, partBytes)
  const before = { ...bucket.server.traffic }
  for (const [offset, length] of [
    [0, partBytes],
    [partBytes, 1000],
  ] as const) {
    const { sha1 } = await bucket.storage.copyFrom(write, offset, source, { offset, length })
    const digest = await crypto.subtle.digest('SHA-1', Uint8Array.from(bytes.subarray(offset, offset + length)))
    expect(sha1).toEqual(new Uint8Array(digest))
  }
  await bucket.storage.commit(write)
  expect(bucket.server.traffic).toEqual(before)
  const copied = bucket.server.bucket('drive').head('copy').content.read(0, bytes.length)
  expect(Buffer.from(copied).equals(bytes)).toBe(true)
  const stale = { ...source, version: 'another' }
  const other = await bucket.storage.begin('copy', bytes.length, partBytes)
  const outcome = bucket.storage.copyFrom(other, 0, stale, { offset: 0, length: partBytes })
  await expect(outcome).rejects.toMatchObject({ code: 'content-changed' })
})
