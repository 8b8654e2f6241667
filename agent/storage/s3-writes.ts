/**
 * Unfinished files of a bucket. A write is a multipart upload to a key of its own in `.raincheck-partial/`, since an upload
 * is bound to its key and a name may be taken by the time it ends; the provider then copies the whole under a free name.
 *
 * What a crash means, at each step:
 * - `begin`, before its answer is noted: an upload without parts is left, which holds and costs nothing, and which a
 *   lifecycle rule for unfinished uploads ends.
 * - `put`: the provider has the part or it has not; `written` asks it.
 * - `commit` completes the upload, copies the object under a name that nothing bears (`If-None-Match: *`), removes it from
 *   its own key. Each is done or not, and is found by the write's id in the object's metadata when it is repeated.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type CompletedPart,
  type HeadObjectCommandOutput,
  type Part,
} from '@aws-sdk/client-s3'
import { toHex } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import { fatal, faultOf } from './faults.ts'
import { PARTIAL_FOLDER } from './names.ts'
import { checkPart, merge, rangeHeader } from './ranges.ts'
import { notWhole } from './refusals.ts'
import { unlessMissing, type S3Bucket } from './s3-client.ts'
import { listParts, PART_BYTES_MOST, PARTS_MOST } from './s3-parts.ts'
import { createS3Publisher, WRITE_KEY } from './s3-publish.ts'
import type { S3Reads } from './s3-reads.ts'
import type { ByteRange, CopySource, FileRef, PartChecksum, WriteRef } from './storage.ts'

export interface S3Writes {
  begin(name: string, size: number, pieceLength: number): Promise<WriteRef>
  put(write: WriteRef, offset: number, part: Uint8Array): Promise<void>
  copyFrom(write: WriteRef, offset: number, source: CopySource, range: ByteRange): Promise<PartChecksum>
  written(write: WriteRef): Promise<readonly ByteRange[]>
  commit(write: WriteRef): Promise<FileRef & { readonly version: string }>
  abort(write: WriteRef): Promise<void>
}

export const PART_BYTES = 8 * 1024 * 1024
/** The write's own random id, and the upload's where the file has bytes. */
const WRITE_ID = /^([0-9a-f]{32})(?:\.(.{1,1024}))?$/

interface Upload {
  readonly nonce: string
  /** Where the bytes gather. */
  readonly key: string
  /** Missing for an empty file: an upload has a part of a byte or more. */
  readonly uploadId?: string
}

export function createS3Writes(s3: S3Bucket, reads: S3Reads, random: Random): S3Writes {
  const { client, bucket, call } = s3
  const publisher = createS3Publisher(s3, reads)
  const keyOf = (nonce: string): string => s3.key(`${PARTIAL_FOLDER}/${nonce}`)

  function uploadOf({ id }: WriteRef): Upload {
    const [, nonce, uploadId] = WRITE_ID.exec(id) ?? []
    if (nonce === undefined) return gone()
    return { nonce, key: keyOf(nonce), ...(uploadId !== undefined && { uploadId }) }
  }

  async function begin(name: string, size: number, pieceLength: number): Promise<WriteRef> {
    const nonce = toHex(random.bytes(16))
    const target = { Bucket: bucket, Key: keyOf(nonce), Metadata: { [WRITE_KEY]: nonce } }
    const write = { name, size, partBytes: partBytesFor(size, pieceLength) }
    if (size === 0) {
      await call(() => client.send(new PutObjectCommand({ ...target, Body: new Uint8Array(0) })))
      return { id: nonce, ...write }
    }
    // With parts of one piece, a part's SHA-1 is the piece's hash in BitTorrent v1.
    const create = new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: 'SHA1' })
    const { UploadId = '' } = await call(() => client.send(create))
    return { id: `${nonce}.${UploadId}`, ...write }
  }

  async function put(write: WriteRef, offset: number, part: Uint8Array): Promise<void> {
    const { key, uploadId } = uploadOf(write)
    checkPart(write.size, offset, part)
    if (part.length === 0) return
    const place = partAt(write, offset, part.length)
    await call(() =>
      client.send(
        new UploadPartCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId ?? gone(),
          ...place,
          Body: part,
          ChecksumAlgorithm: 'SHA1',
        }),
      ),
    )
  }

  async function copyFrom(
    write: WriteRef,
    offset: number,
    { place, version }: CopySource,
    range: ByteRange,
  ): Promise<PartChecksum> {
    const { key, uploadId } = uploadOf(write)
    // S3 gives no range of an object of 5 MB or less, even where that is all of it.
    const isAllOfIt = range.offset === 0 && range.length === write.size
    const { CopyPartResult } = await call(() =>
      client.send(
        new UploadPartCopyCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId ?? gone(),
          ...partAt(write, offset, range.length),
          CopySource: place,
          CopySourceIfMatch: `"${version}"`,
          ...(!isAllOfIt && { CopySourceRange: rangeHeader(range) }),
        }),
      ),
    )
    const { ChecksumSHA1: sum } = CopyPartResult ?? {}
    return sum === undefined ? {} : { sha1: new Uint8Array(Buffer.from(sum, 'base64')) }
  }

  /** Undefined when the upload is over: completed, or aborted. */
  async function partsOf(write: WriteRef, { key, uploadId }: Upload): Promise<readonly Part[] | undefined> {
    if (uploadId === undefined) return undefined
    const parts = await unlessMissing(listParts(s3, key, uploadId))
    return parts?.filter(({ PartNumber = 0, Size }) => Size === lengthOf(write, PartNumber))
  }

  async function isWhole(write: WriteRef, upload: Upload): Promise<boolean> {
    return ((await reads.head(upload.key)) ?? (await publisher.find(write.name, upload.nonce))) !== undefined
  }

  async function written(write: WriteRef): Promise<readonly ByteRange[]> {
    const upload = uploadOf(write)
    const parts = await partsOf(write, upload)
    if (parts) return merge(parts.map(({ PartNumber = 0 }) => rangeOf(write, PartNumber)))
    return (await isWhole(write, upload)) ? merge([{ offset: 0, length: write.size }]) : gone()
  }

  async function complete(write: WriteRef, upload: Upload, parts: readonly Part[]): Promise<void> {
    if (parts.length !== countOf(write)) throw notWhole()
    const { key, uploadId } = upload
    const command = new CompleteMultipartUploadCommand({
      Bucket: bucket,
      Key: key,
      UploadId: uploadId,
      MultipartUpload: { Parts: parts.map(completedOf) },
    })
    // It is over, too, when the answer to the try before was lost.
    await unlessMissing(call(() => client.send(command)))
  }

  async function commit(write: WriteRef): Promise<FileRef & { readonly version: string }> {
    const upload = uploadOf(write)
    const parts = await partsOf(write, upload)
    if (parts) await complete(write, upload, parts)
    const { nonce, key } = upload
    const staged = await reads.head(key)
    const published = staged && (await unlessMissing(publisher.publish(write, nonce, key)))
    const file = published ?? (await publisher.find(write.name, nonce)) ?? gone()
    if (staged) await erase(key, staged)
    return file
  }

  /** For good: a bucket that keeps versions only hides what is removed without naming one, and would hold all twice. */
  async function erase(key: string, { VersionId }: HeadObjectCommandOutput): Promise<void> {
    const target = { Bucket: bucket, Key: key }
    const remove = (version: { VersionId?: string }): Promise<unknown> =>
      unlessMissing(call(() => client.send(new DeleteObjectCommand({ ...target, ...version }))))
    if (VersionId === undefined) return void (await remove({}))
    await remove({ VersionId }).catch((error: unknown) => {
      // It takes a permission of its own, and some who name versions cannot do it.
      if (faultOf(error)?.kind !== 'fatal') throw error
      return remove({})
    })
  }

  return {
    begin,
    put,
    copyFrom,
    written,
    commit,
    async abort(write) {
      if (!WRITE_ID.test(write.id)) return
      const { key, uploadId } = uploadOf(write)
      const target = { Bucket: bucket, Key: key }
      if (uploadId !== undefined) {
        const command = new AbortMultipartUploadCommand({ ...target, UploadId: uploadId })
        await unlessMissing(call(() => client.send(command)))
      }
      const staged = await reads.head(key)
      if (staged) await erase(key, staged)
    },
  }
}

/** Large enough for the piece, and for the file to have no more parts than an upload may. */
function partBytesFor(size: number, pieceLength: number): number {
  let partBytes = Math.max(PART_BYTES, pieceLength)
  while (partBytes * PARTS_MOST < size) partBytes *= 2
  return Math.min(partBytes, PART_BYTES_MOST)
}

const partBytesOf = ({ partBytes = PART_BYTES }: WriteRef): number => partBytes
const countOf = (write: WriteRef): number => Math.ceil(write.size / partBytesOf(write))
const lengthOf = (write: WriteRef, number: number): number =>
  Math.min(partBytesOf(write), write.size - (number - 1) * partBytesOf(write))
const rangeOf = (write: WriteRef, number: number): ByteRange => ({
  offset: (number - 1) * partBytesOf(write),
  length: lengthOf(write, number),
})

/** @throws Problem `range-invalid` for what is no part */
function partAt(write: WriteRef, offset: number, length: number): { PartNumber: number } {
  const number = offset / partBytesOf(write) + 1
  if (Number.isInteger(number) && length === lengthOf(write, number)) return { PartNumber: number }
  throw new Problem('range-invalid', `A part of this file has ${partBytesOf(write)} bytes.`)
}

function completedOf({ PartNumber, ETag, ChecksumSHA1 }: Part): CompletedPart {
  if (PartNumber === undefined || ETag === undefined) throw fatal('corrupt', 'S3 listed a part without its number.')
  return { PartNumber, ETag, ...(ChecksumSHA1 !== undefined && { ChecksumSHA1 }) }
}

function gone(): never {
  throw new Problem('not-found', 'This write was aborted, or is not of this bucket.')
}
