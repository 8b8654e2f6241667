/** The operations of Amazon S3's API that an agent may use, by the published reference. */
import { createHash } from 'node:crypto'
import { bytesContent, sliceContent, type Content, type Keep } from './s3-content.ts'
import { readElements, S3Error, xmlDocument, type Xml } from './s3-errors.ts'
import type { S3Request } from './s3-request.ts'
import { uriEncode } from './s3-signature.ts'
import {
  ALGORITHMS,
  checksumOf,
  PART_BYTES_MAX,
  type Algorithm,
  type Bucket,
  type Part,
  type S3Object,
} from './s3-state.ts'

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Content
}

/** To erase is to remove a version for good, which in a bucket with versions no simple removal does. */
export type Access = 'read' | 'write' | 'erase'

/** A bucket that the one who asks may use so. @throws S3Error 403, 404 */
export type BucketFor = (name: string, access: Access) => Bucket

export interface Operations {
  run(request: S3Request, bucketFor: BucketFor): Reply
}

type Handler = (request: S3Request, bucketFor: BucketFor) => Reply

const CHECKSUM_XML = { CRC32: 'ChecksumCRC32', SHA1: 'ChecksumSHA1', SHA256: 'ChecksumSHA256' } as const
const COPY_BYTES_MAX = 5 * 1024 ** 3
/** "You can copy a range only if the source object is greater than 5 MB." */
const RANGE_COPY_ABOVE = 5 * 1024 ** 2
const PAGE = 1000

export function createOperations(keep: Keep): Operations {
  const putObject: Handler = (request, bucketFor) => {
    const bucket = bucketFor(request.bucket, 'write')
    bucket.check(request.key, conditionsOf(request))
    const etag = `"${checksumMd5(request.body)}"`
    const checksum = request.checksum && { checksum: request.checksum }
    const object = bucket.put(request.key, keep(request.body), { metadata: metadataOf(request), etag, ...checksum })
    return { status: 200, headers: { etag: object.etag, ...versionHeader(bucket, object) } }
  }

  const copyObject: Handler = (request, bucketFor) => {
    const { object } = sourceOf(request, bucketFor)
    const bucket = bucketFor(request.bucket, 'write')
    if (object.content.size > COPY_BYTES_MAX) {
      throw new S3Error(400, 'InvalidRequest', 'The specified copy source is larger than the maximum allowable size')
    }
    bucket.check(request.key, conditionsOf(request))
    const { content, metadata, etag } = object
    const made = bucket.put(request.key, content, { metadata, etag })
    return xml('CopyObjectResult', { ETag: made.etag, LastModified: new Date(made.modifiedMs).toISOString() })
  }

  const uploadPart: Handler = (request, bucketFor) => {
    const upload = bucketFor(request.bucket, 'write').upload(request.key, request.query.get('uploadId') ?? '')
    const { algorithm } = upload
    if (algorithm && algorithm !== 'CRC32' && request.checksum?.[0] !== algorithm) {
      throw new S3Error(400, 'InvalidRequest', `Checksum Type mismatch occurred, expected checksum Type: ${algorithm}`)
    }
    const etag = `"${checksumMd5(request.body)}"`
    const checksum = request.checksum && { checksum: request.checksum[1] }
    addPart(upload.parts, {
      number: partNumberOf(request),
      content: keep(request.body),
      etag,
      ...checksum,
    })
    return { status: 200, headers: { etag, ...checksumHeader(request.checksum) } }
  }

  const uploadPartCopy: Handler = (request, bucketFor) => {
    const upload = bucketFor(request.bucket, 'write').upload(request.key, request.query.get('uploadId') ?? '')
    const { object, range } = sourceOf(request, bucketFor)
    const content = sliceContent(object.content, range.first, range.last + 1 - range.first)
    if (content.size > PART_BYTES_MAX) throw new S3Error(400, 'InvalidRequest', 'The copied part is too large.')
    const etag = `"${checksumMd5(Buffer.from(`${object.etag} ${range.first} ${range.last}`))}"`
    const checksum = upload.algorithm && checksumOf(upload.algorithm, content)
    addPart(upload.parts, { number: partNumberOf(request), content, etag, ...(checksum && { checksum }) })
    return xml('CopyPartResult', {
      ETag: etag,
      LastModified: new Date(object.modifiedMs).toISOString(),
      ...(upload.algorithm && { [CHECKSUM_XML[upload.algorithm]]: checksum }),
    })
  }

  const handlers: Readonly<Record<string, Handler>> = {
    putObject,
    copyObject,
    uploadPart,
    uploadPartCopy,
    headBucket: ({ bucket }, bucketFor) => (bucketFor(bucket, 'read'), { status: 200 }),
    listObjects,
    getObject,
    deleteObject,
    createUpload,
    listParts,
    completeUpload,
    abortUpload,
  }
  return { run: (request, bucketFor) => (handlers[operationOf(request)] as Handler)(request, bucketFor) }
}

export function operationOf({
  method,
  key,
  query,
  headers,
}: Pick<S3Request, 'method' | 'key' | 'query' | 'headers'>): string {
  const isCopy = headers['x-amz-copy-source'] !== undefined
  const isPart = query.has('uploadId')
  const name = {
    GET: key === '' ? (query.get('list-type') === '2' ? 'listObjects' : undefined) : isPart ? 'listParts' : 'getObject',
    HEAD: key === '' ? 'headBucket' : 'getObject',
    PUT: isPart ? (isCopy ? 'uploadPartCopy' : 'uploadPart') : isCopy ? 'copyObject' : 'putObject',
    POST: query.has('uploads') ? 'createUpload' : isPart ? 'completeUpload' : undefined,
    DELETE: isPart ? 'abortUpload' : 'deleteObject',
  }[method]
  if (name === undefined || (key === '' && !['listObjects', 'headBucket'].includes(name))) {
    throw new S3Error(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.')
  }
  return name
}

const listObjects: Handler = ({ bucket: name, query }, bucketFor) => {
  const bucket = bucketFor(name, 'read')
  const prefix = query.get('prefix') ?? ''
  const token = query.get('continuation-token')
  const after = token === undefined ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString()
  const most = Math.min(PAGE, Number(query.get('max-keys') ?? PAGE))
  const encode = query.get('encoding-type') === 'url' ? (key: string) => uriEncode(key).replaceAll('%2F', '/') : String
  const isAfter = (key: string): boolean => Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0
  const found = bucket.list().filter(({ key }) => key.startsWith(prefix) && (after === '' || isAfter(key)))
  const page = found.slice(0, most)
  const isTruncated = found.length > page.length
  return xml('ListBucketResult', {
    Name: bucket.name,
    Prefix: encode(prefix),
    KeyCount: page.length,
    MaxKeys: most,
    IsTruncated: isTruncated,
    NextContinuationToken: isTruncated ? Buffer.from(page.at(-1)?.key ?? '').toString('base64url') : undefined,
    Contents: page.map(({ key, etag, content, modifiedMs }) => ({
      Key: encode(key),
      LastModified: new Date(modifiedMs).toISOString(),
      ETag: etag,
      Size: content.size,
      StorageClass: 'STANDARD',
    })),
  })
}

const getObject: Handler = (request, bucketFor) => {
  const { headers, query, key } = request
  const bucket = bucketFor(request.bucket, 'read')
  const object = bucket.head(key, query.get('versionId'))
  if (headers['if-match'] !== undefined && headers['if-match'] !== object.etag) {
    throw new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions did not hold')
  }
  const { size } = object.content
  const meta = Object.entries(object.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])
  const common = {
    etag: object.etag,
    'last-modified': new Date(object.modifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
    ...versionHeader(bucket, object),
    ...(Object.fromEntries(meta) as Record<string, string>),
  }
  const range = rangeIn(headers['range'], size)
  if (!range) return { status: 200, headers: common, body: object.content }
  const { first, last } = range
  const contentRange = `bytes ${first}-${last}/${size}`
  const body = sliceContent(object.content, first, last + 1 - first)
  return { status: 206, headers: { ...common, 'content-range': contentRange }, body }
}

/** RFC 9110 §14.1.2; a range of another unit or more than one is ignored. */
function rangeIn(header: string | undefined, size: number): { first: number; last: number } | undefined {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined
  const first = from === '' ? Math.max(0, size - Number(to)) : Number(from)
  const last = from === '' || to === '' ? size - 1 : Math.min(size - 1, Number(to))
  if (to !== '' && from !== '' && Number(to) < first) return undefined
  if (first < size && first <= last) return { first, last }
  throw new S3Error(416, 'InvalidRange', 'The requested range is not satisfiable', {
    'content-range': `bytes */${size}`,
  })
}

const deleteObject: Handler = (request, bucketFor) => {
  const versionId = request.query.get('versionId')
  const bucket = bucketFor(request.bucket, versionId === undefined ? 'write' : 'erase')
  if (versionId !== undefined && !bucket.versioned && versionId !== 'null') {
    throw new S3Error(400, 'InvalidArgument', 'Invalid version id specified')
  }
  bucket.check(request.key, { ifMatch: request.headers['if-match'] })
  bucket.remove(request.key, versionId)
  return { status: 204 }
}

const createUpload: Handler = (request, bucketFor) => {
  const bucket = bucketFor(request.bucket, 'write')
  const algorithm = request.headers['x-amz-checksum-algorithm']
  if (algorithm !== undefined && !ALGORITHMS.includes(algorithm as Algorithm)) {
    throw new S3Error(400, 'InvalidRequest', 'Checksum algorithm provided is unsupported.')
  }
  const { id } = bucket.begin(request.key, metadataOf(request), algorithm as Algorithm | undefined)
  return xml('InitiateMultipartUploadResult', { Bucket: bucket.name, Key: request.key, UploadId: id })
}

const listParts: Handler = (request, bucketFor) => {
  const upload = bucketFor(request.bucket, 'write').upload(request.key, request.query.get('uploadId') ?? '')
  const after = Number(request.query.get('part-number-marker') ?? 0)
  const most = Math.min(PAGE, Number(request.query.get('max-parts') ?? PAGE))
  const parts = [...upload.parts.values()]
    .filter(({ number }) => number > after)
    .toSorted((a, b) => a.number - b.number)
  const page = parts.slice(0, most)
  return xml('ListPartsResult', {
    Bucket: request.bucket,
    Key: request.key,
    UploadId: upload.id,
    ChecksumAlgorithm: upload.algorithm,
    PartNumberMarker: after,
    NextPartNumberMarker: page.at(-1)?.number,
    MaxParts: most,
    IsTruncated: parts.length > page.length,
    Part: page.map(({ number, etag, content, checksum }) => ({
      PartNumber: number,
      ETag: etag,
      Size: content.size,
      ...(upload.algorithm && checksum !== undefined && { [CHECKSUM_XML[upload.algorithm]]: checksum }),
    })),
  })
}

const completeUpload: Handler = (request, bucketFor) => {
  const bucket = bucketFor(request.bucket, 'write')
  const upload = bucket.upload(request.key, request.query.get('uploadId') ?? '')
  bucket.check(request.key, conditionsOf(request))
  const listed = readElements(request.body.toString(), 'CompleteMultipartUpload', 'Part').map((part) => ({
    number: Number(part['PartNumber']),
    etag: part['ETag'] ?? '',
    checksum: upload.algorithm && part[CHECKSUM_XML[upload.algorithm]],
  }))
  const object = bucket.complete(upload, listed)
  return xml('CompleteMultipartUploadResult', { Bucket: bucket.name, Key: object.key, ETag: object.etag })
}

const abortUpload: Handler = (request, bucketFor) => {
  const bucket = bucketFor(request.bucket, 'write')
  const { id } = bucket.upload(request.key, request.query.get('uploadId') ?? '')
  bucket.uploads.delete(id)
  return { status: 204 }
}

function sourceOf({ headers }: S3Request, bucketFor: BucketFor) {
  const [path = '', search = ''] = (headers['x-amz-copy-source'] ?? '').split('?', 2)
  const [name = '', ...key] = decodeURIComponent(path).replace(/^\//, '').split('/')
  const version = /^versionId=(.+)$/.exec(search)?.[1]
  const object = bucketFor(name, 'read').head(key.join('/'), version)
  const { size } = object.content
  const wanted = headers['x-amz-copy-source-if-match']
  if (wanted !== undefined && wanted.replaceAll('"', '') !== object.etag.replaceAll('"', '')) {
    throw new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions did not hold')
  }
  const given = headers['x-amz-copy-source-range']
  if (given === undefined) return { object, range: { first: 0, last: size - 1 } }
  if (size <= RANGE_COPY_ABOVE) {
    throw new S3Error(400, 'InvalidRequest', 'The specified copy source is not supported as a byte-range copy source')
  }
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(given) ?? []
  if (first === undefined || Number(last) < Number(first) || Number(last) >= size) {
    throw new S3Error(400, 'InvalidArgument', 'The x-amz-copy-source-range value must be within the source object.')
  }
  return { object, range: { first: Number(first), last: Number(last) } }
}

const conditionsOf = ({ headers }: S3Request) => ({
  ifNoneMatch: headers['if-none-match'],
  ifMatch: headers['if-match'],
})

const metadataOf = ({ headers }: S3Request): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith('x-amz-meta-') ? [[name.slice(11), value]] : [],
    ),
  )

function partNumberOf({ query }: S3Request): number {
  const number = Number(query.get('partNumber'))
  if (Number.isInteger(number) && number >= 1 && number <= 10_000) return number
  throw new S3Error(400, 'InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive')
}

const addPart = (parts: Map<number, Part>, part: Part): void => void parts.set(part.number, part)

/** A bucket that has never had versions says nothing of them. */
const versionHeader = ({ versioned }: Bucket, { versionId }: S3Object): Record<string, string> =>
  versioned ? { 'x-amz-version-id': versionId } : {}

const checksumHeader = (checksum: S3Request['checksum']): Record<string, string> =>
  checksum ? { [`x-amz-checksum-${checksum[0].toLowerCase()}`]: checksum[1] } : {}

const checksumMd5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex')

const xml = (root: string, content: Xml): Reply => ({
  status: 200,
  headers: { 'content-type': 'application/xml' },
  body: bytesContent(Buffer.from(xmlDocument(root, content))),
})
