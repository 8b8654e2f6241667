/**
 * The state of a replica, for a function that has no disk of its own: a SQLite file that lies in a bucket between two
 * calls. Of two calls at once, the one that ends last leaves its file: each is the state after so many entries, whole.
 */
import { GetObjectCommand, NoSuchKey, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import type { Store } from '../../protocol/store.ts'
import { openStore } from '../store/open.ts'

export interface ReplicaPlace {
  readonly bucket: string
  readonly key: string
}

/** @throws RangeError unless it is `s3://BUCKET/KEY` */
export function replicaPlace(spec: string): ReplicaPlace {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(spec) ?? []
  if (bucket === undefined || key === undefined)
    throw new RangeError(`A function keeps its replica at s3://BUCKET/KEY, not "${spec}".`)
  return { bucket, key }
}

/** What `work` wrote is put into the bucket once it has ended well. */
export async function withReplica<T>(place: ReplicaPlace, work: (store: Store) => Promise<T>): Promise<T> {
  const client = new S3Client({ forcePathStyle: true })
  const dir = await mkdtemp(join(tmpdir(), 'replica-'))
  const path = join(dir, 'replica.sqlite')
  try {
    await fetchInto(path, client, place)
    const store = await openStore(`sqlite:${path}`, { synchronous: 'normal' })
    const result = await work(store).finally(() => store.close())
    await put(path, client, place)
    return result
  } finally {
    client.destroy()
    await rm(dir, { recursive: true, force: true })
  }
}

async function fetchInto(path: string, client: S3Client, { bucket, key }: ReplicaPlace): Promise<void> {
  const found = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key })).catch((error: unknown) => {
    if (!(error instanceof NoSuchKey)) throw error
    return undefined
  })
  if (!found?.Body) return
  await pipeline(Readable.fromWeb(found.Body.transformToWebStream() as ReadableStream), createWriteStream(path))
}

async function put(path: string, client: S3Client, { bucket, key }: ReplicaPlace): Promise<void> {
  const { size } = await stat(path)
  const body = createReadStream(path)
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ContentLength: size }))
}
