import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bytesContent } from '../servers/s3-content.ts'
import { startS3, type S3Server } from '../servers/s3.ts'
import { pattern } from '../pattern.ts'
import * as shapes from './shapes.ts'
import { openTown } from './town.ts'

const KEY = { accessKeyId: 'AKIATOWN', secretAccessKey: 'the town’s secret' }
const BYTES = 30_000_000

let s3: S3Server
beforeAll(async () => {
  const principals = { [KEY.accessKeyId]: { secretAccessKey: KEY.secretAccessKey } }
  s3 = await startS3({ buckets: ['yours', 'theirs'], principals })
  process.env['AWS_ENDPOINT_URL_S3'] = s3.url
  process.env['AWS_ACCESS_KEY_ID'] = KEY.accessKeyId
  process.env['AWS_SECRET_ACCESS_KEY'] = KEY.secretAccessKey
})
afterAll(() => s3.close())

const { you, neighbour } = openTown()

const stored = (bucket: string, key: string): Uint8Array => {
  const { content } = s3.bucket(bucket).head(key)
  return content.read(0, content.size)
}

test('links a bucket, or a folder in one, once; and says what is missing', async () => {
  const link = shapes.link.parse(await you.ask('link', 's3', '--bucket', 'yours', '--prefix', '/mine/'))
  expect(link).toEqual({ name: 's3', kind: 's3', place: 'yours/mine' })
  expect(await you.ask('link', 's3', '--bucket', 'yours', '--prefix', 'mine')).toMatchObject({ name: 's3' })
  expect(await neighbour.ask('link', 's3', '--bucket', 'theirs', '--lends')).toMatchObject({ name: 's3' })
  expect(await you.raincheck('link', 's3')).toMatchObject({ code: 2, out: '' })
  expect(await you.raincheck('link', 's3', '--bucket', 'nothing-here')).toMatchObject({ code: 3, out: '' })
})

test('copies a file between one’s own links: through the agent, and inside the provider', async () => {
  const bytes = await you.put('a folder/notes ü.bin', 20_000_001)
  const asked = ['copy', 'folder:a folder/notes ü.bin', 's3']
  expect(await you.ask(...asked)).toMatchObject({ state: 'done', to: { link: 's3', path: 'notes ü.bin' } })
  expect(Buffer.from(stored('yours', 'mine/notes ü.bin')).equals(bytes)).toBe(true)
  await you.ask('link', 's3', '--bucket', 'theirs', '--name', 'other')
  const before = { ...s3.traffic }
  const there = ['copy', 's3:notes ü.bin', 'other:copies/of it.bin']
  expect(await you.ask(...there)).toMatchObject({ state: 'done', bytes: 20_000_001, done: 20_000_001 })
  expect(Buffer.from(stored('theirs', 'copies/of it.bin')).equals(bytes)).toBe(true)
  expect(s3.traffic).toEqual(before)
  expect(await you.ask('copy', 'other:copies/of it.bin', 'folder')).toMatchObject({ to: { path: 'of it.bin' } })
  expect(await readFile(join(you.files, 'of it.bin'))).toEqual(Buffer.from(bytes))
  s3.bucket('theirs').remove('copies/of it.bin')
  expect(await you.raincheck('copy', 'folder', 's3')).toMatchObject({ code: 2, out: '' })
  expect(await you.raincheck('copy', 'folder:', 's3')).toMatchObject({ code: 2, out: '' })
  expect(await you.raincheck('uncopy', 'holiday.bin')).toMatchObject({ code: 2, out: '' })
  expect(await you.raincheck('copy', 'folder:nothing', 's3')).toMatchObject({ code: 3, out: '' })
  expect(await you.raincheck('copy', 's3:notes ü.bin', 'nowhere')).toMatchObject({ code: 3, out: '' })
})

test('copies a folder between one’s own links, into a folder of its own', async () => {
  const files = [await you.put('album/one.bin', 10_000_000), await you.put('album/cd 2/ü.bin', 5)]
  const made = await you.ask('copy', 'folder:album', 's3')
  expect(made).toMatchObject({ state: 'done', folder: true, files: 2, bytes: 10_000_005, to: { path: 'album' } })
  expect(await you.ask('copy', 's3:album', 'other:kept/album')).toMatchObject({ to: { path: 'kept/album' } })
  expect(await you.ask('copy', 's3:album', 'folder')).toMatchObject({ to: { path: 'album (2)' } })
  for (const [i, path] of ['one.bin', 'cd 2/ü.bin'].entries()) {
    expect(Buffer.from(stored('theirs', `kept/album/${path}`)).equals(files[i] as Uint8Array)).toBe(true)
    expect(await readFile(join(you.files, 'album (2)', path))).toEqual(Buffer.from(files[i] as Uint8Array))
    s3.bucket('theirs').remove(`kept/album/${path}`)
    s3.bucket('yours').remove(`mine/album/${path}`)
  }
})

test('ends a copy that is under way, and leaves nothing of it', async () => {
  await you.put('long.bin', 1_000_000)
  // Each try that it has for the one part.
  s3.faults.next('put', { kind: 'refuse', why: 'busy' }, 5)
  const interrupt = new AbortController()
  const onErr = () => interrupt.abort(new Error('interrupted'))
  const io = { signal: interrupt.signal, isTerminal: true, onErr }
  const { code, err } = await you.with(io)('copy', 'folder:long.bin', 's3')
  expect(code).toBe(130)
  const [, id = ''] = /raincheck uncopy ([0-9a-f]{16})/.exec(err) ?? []
  expect(await you.ask('uncopy', id)).toMatchObject({ id, state: 'cancelled' })
  expect([s3.faults.left, s3.bucket('yours').uploads.size]).toEqual([0, 0])
  expect(await you.ask('uncopy', id)).toMatchObject({ state: 'cancelled' })
  const done = await you.ask('copy', 'folder:long.bin', 's3')
  expect(await you.raincheck('uncopy', String(done['id']))).toMatchObject({ code: 1, out: '' })
  expect(await you.raincheck('uncopy', '0'.repeat(16))).toMatchObject({ code: 3, out: '' })
  s3.bucket('yours').remove('mine/long.bin')
})

test('buys a file from one bucket into another, a tick a piece', async () => {
  const bytes = pattern(BYTES)
  s3.bucket('theirs').put('films/film.bin', bytesContent(bytes))
  const asked = ['share', 'films/film.bin', '--link', 's3', '--price', '2']
  // Among friends pieces are paid on credit. To strangers each is sent sealed, which only an agent can do.
  await you.ask('vouch', neighbour.id(), '--credit', '8')
  await neighbour.ask('vouch', you.id(), '--credit', '8')
  const share = shapes.share.parse(await neighbour.ask(...asked))
  const before = { ...s3.traffic }
  const download = shapes.download.parse(await you.ask('get', share.infoHash, '--link', 's3', '--wait'))
  expect(download).toMatchObject({ state: 'done', file: 'film.bin', paid: String(2 * share.pieces) })
  expect(Buffer.from(stored('yours', 'mine/film.bin')).equals(bytes)).toBe(true)
  expect(
    s3
      .bucket('yours')
      .list()
      .map(({ key }) => key),
  ).toEqual(['mine/film.bin', 'mine/notes ü.bin'])
  expect(s3.bucket('yours').uploads.size).toBe(0)
  // By links but for the last few, which cost less so: what leaves the bucket is the seller's to pay for either way.
  expect(s3.traffic.out - before.out).toBe(BYTES)
  expect(await neighbour.ask('usage')).toMatchObject({ served: BYTES })
})
