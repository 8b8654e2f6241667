/**
 * A bucket of S3, or a folder in one, as a storage. A version is the entity tag. Everything is asked of the provider: an
 * instance that dies leaves nothing behind that another one needs.
 */
import { DeleteObjectCommand, HeadBucketCommand } from '@aws-sdk/client-s3'
import { utf8 } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import { freeName, parsePath } from './names.ts'
import type { DriverContext, S3Settings } from './open.ts'
import { checkSize } from './ranges.ts'
import { changed, noFolder } from './refusals.ts'
import { openBucket, unlessMissing, type S3Bucket } from './s3-client.ts'
import { PART_BYTES_MOST, PARTS_MOST } from './s3-parts.ts'
import { copyPlace } from './s3-publish.ts'
import { createS3Reads, type S3Reads } from './s3-reads.ts'
import { createS3Writes, PART_BYTES } from './s3-writes.ts'
import type { FileRef, Storage } from './storage.ts'

const KEY_BYTES_MOST = 1024
/** Other S3s may take less. */
const SIZE_MOST = PARTS_MOST * PART_BYTES_MOST

/** @throws Problem `storage-denied` */
export async function openS3(settings: S3Settings, context: DriverContext): Promise<Storage> {
  const s3 = await openBucket(settings, context)
  const reads = createS3Reads(s3)
  const writes = createS3Writes(s3, reads, context.environment.random)
  return {
    writes: 'any-order',
    partBytes: PART_BYTES,
    wholeParts: true,
    list: async (query = {}) => reads.list(query),
    stat: (file) => reads.stat(file.name),
    read: (file, range, into) => reads.read(file, range, into),
    async begin(name, size, pieceLength = PART_BYTES) {
      const path = parsePath(name.normalize('NFC'))
      checkSize(size)
      if (size > SIZE_MOST) throw new Problem('too-large', 'S3 takes files of 48.8 TiB at most.')
      await checkKey(path, s3, reads)
      return writes.begin(path.join('/'), size, pieceLength)
    },
    put: (write, offset, part) => writes.put(write, offset, part),
    written: async (write) => writes.written(write),
    commit: (write) => writes.commit(write),
    abort: (write) => writes.abort(write),
    remove: (file) => remove(file, s3, reads),
    async freeFolder(name, taken = () => false) {
      const isTaken = async (candidate: string): Promise<boolean> =>
        taken(candidate) || (await reads.head(s3.key(candidate))) !== undefined || reads.hasFolder(candidate)
      return freeName(parsePath(name).join('/'), isTaken)
    },
    /** A bucket has no end; the answer shows that it is there. */
    async quota() {
      await s3.call(() => s3.client.send(new HeadBucketCommand({ Bucket: s3.bucket })))
      return undefined
    },
    async site() {
      const { host } = await reads.link({ name: 'any' }, { offset: 0, length: 1 }, 1000)
      return { provider: 's3', region: s3.region, hosts: [host], lends: settings.lends === true }
    },
    link: (file, range, forMs) => reads.link(file, range, forMs),
    place: ({ name, version = '' }) => ({
      provider: 's3',
      place: copyPlace(s3.bucket, s3.key(parsePath(name).join('/'))),
      version,
    }),
    copyFrom: (write, offset, source, range) => writes.copyFrom(write, offset, source, range),
    close: async () => s3.close(),
  }
}

/** Found now rather than at the commit, when every piece is paid. */
async function checkKey(path: readonly string[], s3: S3Bucket, reads: S3Reads): Promise<void> {
  if (utf8(s3.key(path.join('/'))).length > KEY_BYTES_MOST) {
    throw new Problem('bad-request', 'The name is too long for the bucket.')
  }
  const parents = path.slice(1).map((_, depth) => path.slice(0, depth + 1))
  const heads = await Promise.all(parents.map((parent) => reads.head(s3.key(parent.join('/')))))
  const file = heads.findIndex((head) => head !== undefined)
  if (file < 0) return
  throw noFolder(path[file] as string)
}

/** The condition is looked at here too: not every S3 knows it for removals. */
async function remove({ name, version }: FileRef, s3: S3Bucket, reads: S3Reads): Promise<void> {
  const found = await unlessMissing(reads.stat(name))
  if (!found) return
  if (version !== undefined && found.version !== version) throw changed()
  const command = new DeleteObjectCommand({ Bucket: s3.bucket, Key: s3.key(name), IfMatch: `"${found.version}"` })
  await unlessMissing(s3.call(() => s3.client.send(command)))
}
