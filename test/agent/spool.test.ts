import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSpool, type OpenSpool, type Spool } from '../../agent/download/spool.ts'
import { bucketSpool } from '../../infra/lambda/bucket-spool.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { pattern } from '../pattern.ts'
import { startS3, type S3Server } from '../servers/s3.ts'

const KEY = { accessKeyId: 'AKIAAGENT', secretAccessKey: 'the agent’s secret' }
const PIECE_BYTES = 600_000
/** The last is shorter. */
const lengthOf = (piece: number): number => (piece === 9 ? 7 : PIECE_BYTES)
const bytesOf = (piece: number): Uint8Array => pattern(lengthOf(piece)).map((byte) => byte ^ piece)

let s3: S3Server
const before = { ...process.env }
beforeAll(async () => {
  s3 = await startS3({
    buckets: ['pieces'],
    principals: { [KEY.accessKeyId]: { secretAccessKey: KEY.secretAccessKey } },
  })
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: KEY.secretAccessKey,
  })
})
afterAll(async () => {
  process.env = before
  await s3.close()
})

async function keptIn(spool: Spool): Promise<readonly number[]> {
  const pieces: number[] = []
  for await (const { piece, bytes } of spool.load()) {
    expect(bytes).toEqual(bytesOf(piece))
    pieces.push(piece)
  }
  return pieces.toSorted((a, b) => a - b)
}

const store = openSqlite(':memory:')
const KINDS: readonly (readonly [string, OpenSpool])[] = [
  ['in the store', (pk, length) => createSpool(store, pk, length)],
  ['in a bucket', (pk, length) => bucketSpool('pieces')(pk, length)],
]

describe.each(KINDS)('pieces that wait for the rest of their part, %s', (_, open) => {
  test('are there for whoever comes next, until they are dropped', async () => {
    await Promise.all([3, 9, 4].map((piece) => open('download/a', lengthOf).keep(piece, bytesOf(piece))))
    await open('download/a', lengthOf).keep(4, bytesOf(4))
    expect(await keptIn(open('download/a', lengthOf))).toEqual([3, 4, 9])
    await open('download/a', lengthOf).drop([3, 9, 100])
    expect(await keptIn(open('download/a', lengthOf))).toEqual([4])
  })

  test('are those of their download or stretch alone, and whole', async () => {
    await open('download/b/1', lengthOf).keep(1, bytesOf(1))
    await open('download/b', lengthOf).keep(2, bytesOf(2))
    await open('download/b', lengthOf).keep(5, bytesOf(5).subarray(1))
    expect(await keptIn(open('download/b', lengthOf))).toEqual([2])
    expect(await keptIn(open('download/b/1', lengthOf))).toEqual([1])
  })
})

test('a bucket that does not answer is a problem, and says nothing of the account', async () => {
  await expect(bucketSpool('another')('download/a', lengthOf).keep(1, bytesOf(1))).rejects.toMatchObject({
    code: 'store-unavailable',
    message: expect.not.stringContaining('AKIA'),
  })
})
