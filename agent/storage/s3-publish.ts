/** How a finished file of a bucket gets its name: whole, at once, and never one that is taken. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  UploadPartCopyCommand,
  type CompletedPart,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3'
import { Problem } from '../../protocol/problem.ts'
import { allAtRest } from '../at-rest.ts'
import { numberedPaths, takeName } from './names.ts'
import { rangeHeader } from './ranges.ts'
import { unlessMissing, type S3Bucket } from './s3-client.ts'
import { PARTS_MOST } from './s3-parts.ts'
import { versionOf, type S3Reads } from './s3-reads.ts'
import type { FileRef, WriteRef } from './storage.ts'

/** In the metadata of an object: the write that made it, by which a repeated commit knows its file. */
export const WRITE_KEY = 'raincheck-write'
/** A commit that was done lies under one of the first names, unless somebody moved it. */
const NUMBERS_TO_FIND = 100
const LOOKS_AT_ONCE = 8
/** What one request copies. */
const COPY_MOST = 5 * 1024 ** 3
const MIB = 1024 ** 2
const COPY_PART = 512 * MIB
const COPIES_AT_ONCE = 8

/** Who took the name has left it since; the next one is as good. */
const NOBODY: Pick<HeadObjectCommandOutput, 'Metadata' | 'ETag'> = {}

type Named = FileRef & { readonly version: string }

interface Target {
  readonly Bucket: string
  readonly Key: string
  readonly UploadId: string | undefined
}

export interface S3Publisher {
  /** @param key where the whole lies @throws Problem `not-found` when it was published meanwhile */
  publish(write: WriteRef, nonce: string, key: string): Promise<Named>
  /** Where a commit that was cut short, or its answer lost, has put the file. */
  find(name: string, nonce: string): Promise<Named | undefined>
}

export function createS3Publisher({ client, bucket, key: keyOf, call }: S3Bucket, reads: S3Reads): S3Publisher {
  const sourceOf = (key: string): string => copyPlace(bucket, key)

  const publish = (write: WriteRef, nonce: string, key: string): Promise<Named> =>
    takeName(write.name, async (name) => {
      const there = await reads.head(keyOf(name))
      const taken = there ?? (await copyUnlessTaken(write, nonce, key, keyOf(name)))
      if (taken !== undefined && taken.Metadata?.[WRITE_KEY] !== nonce) return undefined
      return { name, version: versionOf((taken ?? (await reads.head(keyOf(name))))?.ETag) }
    })

  /** @returns what bears the name, if anything did */
  async function copyUnlessTaken(
    write: WriteRef,
    nonce: string,
    from: string,
    to: string,
  ): Promise<typeof NOBODY | undefined> {
    try {
      if (write.size <= COPY_MOST) await copyAtOnce(from, to)
      else await copyInParts(write.size, nonce, from, to)
      return undefined
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'content-changed')) throw error
      return (await reads.head(to)) ?? NOBODY
    }
  }

  async function copyAtOnce(from: string, to: string): Promise<void> {
    const target = { Bucket: bucket, Key: to, IfNoneMatch: '*' }
    await call(() => client.send(new CopyObjectCommand({ ...target, CopySource: sourceOf(from) })))
  }

  async function copyInParts(size: number, nonce: string, from: string, to: string): Promise<void> {
    const target = { Bucket: bucket, Key: to }
    const create = new CreateMultipartUploadCommand({ ...target, Metadata: { [WRITE_KEY]: nonce } })
    const { UploadId } = await call(() => client.send(create))
    try {
      const Parts = await copyParts(size, from, { ...target, UploadId })
      const conditions = { IfNoneMatch: '*', MultipartUpload: { Parts } }
      await call(() => client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, ...conditions })))
    } catch (error) {
      await unlessMissing(call(() => client.send(new AbortMultipartUploadCommand({ ...target, UploadId }))))
      throw error
    }
  }

  async function copyParts(size: number, from: string, upload: Target): Promise<CompletedPart[]> {
    const partBytes = Math.max(COPY_PART, Math.ceil(size / PARTS_MOST / MIB) * MIB)
    const count = Math.ceil(size / partBytes)
    const parts: CompletedPart[] = []
    async function copyPart(number: number): Promise<void> {
      const offset = (number - 1) * partBytes
      const CopySourceRange = rangeHeader({ offset, length: Math.min(partBytes, size - offset) })
      const source = { CopySource: sourceOf(from), CopySourceRange, PartNumber: number }
      const { CopyPartResult } = await call(() => client.send(new UploadPartCopyCommand({ ...upload, ...source })))
      parts[number - 1] = { PartNumber: number, ETag: CopyPartResult?.ETag }
    }
    for (let first = 1; first <= count; first += COPIES_AT_ONCE) {
      const numbers = Array.from({ length: Math.min(COPIES_AT_ONCE, count - first + 1) }, (_, i) => first + i)
      await allAtRest(numbers.map(copyPart))
    }
    return parts
  }

  async function find(name: string, nonce: string): Promise<Named | undefined> {
    const names = [...numberedPaths(name, NUMBERS_TO_FIND)]
    for (let at = 0; at < names.length; at += LOOKS_AT_ONCE) {
      const some = names.slice(at, at + LOOKS_AT_ONCE)
      const heads = await Promise.all(some.map((one) => reads.head(keyOf(one))))
      const found = heads.findIndex((head) => head?.Metadata?.[WRITE_KEY] === nonce)
      if (found >= 0) return { name: some[found] as string, version: versionOf(heads[found]?.ETag) }
      if (heads.every((head) => head === undefined)) return undefined
    }
    return undefined
  }

  return { publish, find }
}

/** As `x-amz-copy-source` names an object. */
export const copyPlace = (bucket: string, key: string): string =>
  `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`
