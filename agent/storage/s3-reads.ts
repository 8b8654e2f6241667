/** Reads of a bucket: exactly the range that was asked for, of the very version that is pinned. */
import {
  type _Object,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3'
import { nameFault } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { passing } from './faults.ts'
import { PARTIAL_FOLDER, parsePath } from './names.ts'
import { bufferFor, contentRange, isSame, outOfRange, rangeHeader } from './ranges.ts'
import { changed } from './refusals.ts'
import { unlessMissing, type S3Bucket } from './s3-client.ts'
import type { ByteRange, FileEntry, FilePage, FileRef, FileStat, ListQuery } from './storage.ts'

export interface S3Reads {
  head(key: string): Promise<HeadObjectCommandOutput | undefined>
  stat(name: string): Promise<FileStat>
  read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>
  list(query: ListQuery): Promise<FilePage>
  /** Whether anything lies in the folder. */
  hasFolder(name: string): Promise<boolean>
  link(file: FileRef, range: ByteRange, forMs: number): Promise<URL>
}

/** An entity tag without its quotes: another for each content, whoever wrote it. */
export const versionOf = (etag: string | undefined): string => (etag ?? '').replaceAll('"', '')

export function createS3Reads({ client, bucket, key: keyOf, call }: S3Bucket): S3Reads {
  const head = (key: string) =>
    unlessMissing(call(() => client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))))

  async function stat(name: string): Promise<FileStat> {
    const found = await head(keyOf(parsePath(name).join('/')))
    if (!found) throw new Problem('not-found', 'There is no such file in the bucket.')
    return {
      size: found.ContentLength ?? 0,
      version: versionOf(found.ETag),
      ...(found.LastModified && { modifiedMs: found.LastModified.getTime() }),
    }
  }

  async function read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array> {
    const buffer = bufferFor(range, into)
    if (range.length === 0) return readNothing(file, range, buffer)
    if (!Number.isSafeInteger(range.offset + range.length)) outOfRange()
    return call(() => fetchRange(file, range, buffer))
  }

  /** A range of no bytes has no name in HTTP. */
  async function readNothing(
    { name, version }: FileRef,
    { offset }: ByteRange,
    buffer: Uint8Array,
  ): Promise<Uint8Array> {
    const found = await stat(name)
    if (version !== undefined && version !== found.version) throw changed()
    return offset <= found.size ? buffer : outOfRange()
  }

  async function fetchRange({ name, version }: FileRef, range: ByteRange, buffer: Uint8Array): Promise<Uint8Array> {
    const reply = await client.send(
      new GetObjectCommand({
        Bucket: bucket,
        Key: keyOf(parsePath(name).join('/')),
        Range: rangeHeader(range),
        ...(version !== undefined && { IfMatch: `"${version}"` }),
      }),
    )
    const body = reply.Body as AsyncIterable<Uint8Array> & { destroy(): void }
    try {
      checkRange(reply.$metadata.httpStatusCode, reply.ContentRange, range)
      await fill(buffer, body)
    } finally {
      body.destroy()
    }
    return buffer
  }

  async function list({ under, cursor }: ListQuery): Promise<FilePage> {
    const folder = under === undefined ? '' : `${parsePath(under).join('/')}/`
    const page = await call(() =>
      client.send(
        new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: keyOf(folder),
          EncodingType: 'url',
          ...(cursor !== undefined && { StartAfter: keyOf(cursor) }),
        }),
      ),
    )
    const start = keyOf('').length
    const found = (page.Contents ?? []).map((object) => ({ ...object, name: keyIn(object.Key).slice(start) }))
    const shown = found.filter(({ name }) => !name.endsWith('/') && !isPartial(name))
    const files = shown.filter(({ name }) => isName(name)).map(entryOf)
    const refused = shown.flatMap(({ name }) => (isName(name) ? [] : [{ name, problem: 'not-found' as const }]))
    const last = found.at(-1)?.name
    return { files, refused, ...(page.IsTruncated && last !== undefined && { cursor: last }) }
  }

  return {
    head,
    stat,
    read,
    list,
    async hasFolder(name) {
      const prefix = keyOf(`${name}/`)
      const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 })
      return ((await call(() => client.send(command))).KeyCount ?? 0) > 0
    },
    async link({ name }, range, forMs) {
      const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
      const key = keyOf(parsePath(name).join('/'))
      const command = new GetObjectCommand({ Bucket: bucket, Key: key, Range: rangeHeader(range) })
      // The range must come as a header, and is signed: the URL is good for no other.
      const signed = await getSignedUrl(client, command, {
        expiresIn: Math.max(1, Math.floor(forMs / 1000)),
        unhoistableHeaders: new Set(['range']),
        signableHeaders: new Set(['host', 'range']),
      })
      return new URL(signed)
    },
  }
}

/** 206 and the very range: a proxy that ignores ranges, or caches them wrongly, is not believed. */
function checkRange(status: number | undefined, header: string | undefined, range: ByteRange): void {
  const held = contentRange(header)
  if (status !== 206 || held?.total === undefined) throw passing('S3 answered without the range that was asked for.')
  if (held.total < range.offset + range.length) outOfRange()
  if (!isSame(held, range)) throw passing('S3 answered with another range than was asked for.')
}

async function fill(buffer: Uint8Array, body: AsyncIterable<Uint8Array>): Promise<void> {
  let at = 0
  for await (const chunk of body) {
    if (at + chunk.length > buffer.length) throw passing('S3 answered with more than was asked for.')
    buffer.set(chunk, at)
    at += chunk.length
  }
  if (at < buffer.length) throw passing('S3 answered with less than was asked for.')
}

/** As `EncodingType: 'url'` writes it: a key may hold what XML cannot. */
const keyIn = (encoded: string | undefined): string => decodeURIComponent((encoded ?? '').replaceAll('+', ' '))

const isPartial = (name: string): boolean => name.startsWith(`${PARTIAL_FOLDER}/`)

function isName(name: string): boolean {
  try {
    return name.normalize('NFC') === name && parsePath(name).every((part) => nameFault(part) === undefined)
  } catch {
    return false
  }
}

type Listed = Pick<_Object, 'Size' | 'ETag' | 'LastModified'> & { readonly name: string }

const entryOf = ({ name, Size, ETag, LastModified }: Listed): FileEntry => ({
  name,
  size: Size ?? 0,
  version: versionOf(ETag),
  ...(LastModified && { modifiedMs: LastModified.getTime() }),
})
