/** Buckets, objects and uploads as Amazon S3 keeps them, with its rules about names, sizes, conditions and checksums. */
import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { bytesContent, digestOf, joinContents, type Content } from './s3-content.ts'
import { S3Error } from './s3-errors.ts'

export const ALGORITHMS = ['CRC32', 'SHA1', 'SHA256'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

export interface S3Object {
  readonly key: string
  readonly content: Content
  /** In quotes. */
  readonly etag: string
  readonly versionId: string
  readonly modifiedMs: number
  readonly metadata: Readonly<Record<string, string>>
  readonly checksum?: readonly [Algorithm, string]
  readonly isDeleted?: boolean
}

export interface Part {
  readonly number: number
  readonly content: Content
  readonly etag: string
  readonly checksum?: string
}

export interface Upload {
  readonly id: string
  readonly key: string
  readonly metadata: Readonly<Record<string, string>>
  readonly algorithm: Algorithm | undefined
  readonly parts: Map<number, Part>
}

/** `ifMatch` with its quotes. */
export interface Conditions {
  readonly ifNoneMatch?: string | undefined
  readonly ifMatch?: string | undefined
}

export interface CompletedPart {
  readonly number: number
  readonly etag: string
  readonly checksum: string | undefined
}

export interface Bucket {
  readonly name: string
  readonly versioned: boolean
  /** Every version that lies there, delete markers too. */
  all(): readonly S3Object[]
  /** The latest of each key, without those deleted, by the bytes of the key. */
  list(): readonly S3Object[]
  head(key: string, versionId?: string): S3Object
  put(key: string, content: Content, more?: Partial<Pick<S3Object, 'metadata' | 'checksum' | 'etag'>>): S3Object
  /** @throws S3Error 412, 404 */
  check(key: string, conditions: Conditions): void
  remove(key: string, versionId?: string): void
  readonly uploads: Map<string, Upload>
  begin(key: string, metadata: Upload['metadata'], algorithm?: Algorithm): Upload
  upload(key: string, id: string): Upload
  complete(upload: Upload, parts: readonly CompletedPart[]): S3Object
}

export const PART_BYTES_MIN = 5 * 1024 * 1024
export const PART_BYTES_MAX = 5 * 1024 ** 3
const KEY_BYTES_MAX = 1024

export function createBucket(name: string, nowMs: () => number, versioned = false): Bucket {
  const versions = new Map<string, S3Object[]>()
  const uploads = new Map<string, Upload>()

  const latest = (key: string): S3Object | undefined => {
    const object = versions.get(key)?.at(-1)
    return object?.isDeleted ? undefined : object
  }

  function add(object: S3Object): S3Object {
    versions.set(object.key, versioned ? [...(versions.get(object.key) ?? []), object] : [object])
    return object
  }

  function check(key: string, { ifNoneMatch, ifMatch }: Conditions): void {
    const there = latest(key)
    if (ifNoneMatch !== undefined && ifNoneMatch !== '*') {
      throw new S3Error(501, 'NotImplemented', 'If-None-Match takes * alone.')
    }
    if (ifMatch !== undefined && !there) throw new S3Error(404, 'NoSuchKey', 'The specified key does not exist.')
    const fails = (ifNoneMatch === '*' && there) || (ifMatch !== undefined && there?.etag !== ifMatch)
    if (fails) throw new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions did not hold')
  }

  return {
    name,
    versioned,
    uploads,
    check,
    all: () => [...versions.values()].flat(),
    list: () =>
      Array.from(versions.keys(), latest)
        .filter((object) => object !== undefined)
        .toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key))),
    head(key, versionId) {
      const found =
        versionId === undefined ? latest(key) : versions.get(key)?.find((one) => one.versionId === versionId)
      if (!found) throw new S3Error(404, versionId ? 'NoSuchVersion' : 'NoSuchKey', 'The specified key does not exist.')
      if (found.isDeleted) throw new S3Error(405, 'MethodNotAllowed', 'The version is a delete marker.')
      return found
    },
    put(key, content, more = {}) {
      checkKey(key)
      const etag = more.etag ?? `"${digestOf('md5', content).toString('hex')}"`
      return add({
        key,
        content,
        metadata: {},
        ...more,
        etag,
        versionId: versioned ? newId() : 'null',
        modifiedMs: nowMs(),
      })
    },
    remove(key, versionId) {
      const kept = versions.get(key)
      if (!kept) return
      if (versionId !== undefined) {
        versions.set(
          key,
          kept.filter((one) => one.versionId !== versionId),
        )
      } else if (versioned) {
        add({ ...(kept.at(-1) as S3Object), versionId: newId(), isDeleted: true })
      } else versions.delete(key)
    },
    begin(key, metadata, algorithm) {
      checkKey(key)
      const upload = { id: newId(), key, metadata, algorithm, parts: new Map<number, Part>() }
      uploads.set(upload.id, upload)
      return upload
    },
    upload(key, id) {
      const found = uploads.get(id)
      if (found?.key === key) return found
      throw new S3Error(404, 'NoSuchUpload', 'The specified upload does not exist.')
    },
    complete(upload, listed) {
      const parts = checkParts(upload, listed)
      uploads.delete(upload.id)
      const digest = createHash('md5')
      for (const { etag } of parts) digest.update(Buffer.from(etag.slice(1, -1), 'hex'))
      const { algorithm } = upload
      return this.put(upload.key, joinContents(parts.map(({ content }) => content)), {
        metadata: upload.metadata,
        etag: `"${digest.digest('hex')}-${parts.length}"`,
        ...(algorithm && { checksum: [algorithm, compositeChecksum(algorithm, parts)] as const }),
      })
    },
  }
}

const newId = (): string => randomBytes(24).toString('base64url')

function checkKey(key: string): void {
  const { length } = Buffer.from(key)
  if (length > KEY_BYTES_MAX) throw new S3Error(400, 'KeyTooLongError', 'Your key is too long')
  if (length === 0) throw new S3Error(400, 'InvalidArgument', 'A key is needed.')
}

function checkParts(upload: Upload, listed: readonly CompletedPart[]): readonly Part[] {
  if (listed.length === 0) throw new S3Error(400, 'MalformedXML', 'You must specify at least one part')
  const parts = listed.map(({ number, etag, checksum }, i) => {
    if (i > 0 && number <= (listed[i - 1] as CompletedPart).number) {
      throw new S3Error(400, 'InvalidPartOrder', 'The list of parts was not in ascending order.')
    }
    if (upload.algorithm && upload.algorithm !== 'CRC32' && checksum === undefined) {
      const text = 'The complete request must include the checksum for each part.'
      throw new S3Error(400, 'InvalidRequest', text)
    }
    const part = upload.parts.get(number)
    const isSame = part?.etag.replaceAll('"', '') === etag.replaceAll('"', '')
    if (part && isSame && (checksum === undefined || checksum === part.checksum)) return part
    throw new S3Error(400, 'InvalidPart', 'One or more of the specified parts could not be found.')
  })
  if (parts.slice(0, -1).some(({ content }) => content.size < PART_BYTES_MIN)) {
    throw new S3Error(400, 'EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed object size.')
  }
  return parts
}

/** Base64, as it is sent and answered. */
export function checksumOf(algorithm: Algorithm, content: Content): string {
  if (algorithm !== 'CRC32') return digestOf(algorithm === 'SHA1' ? 'sha1' : 'sha256', content).toString('base64')
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(content.read(0, content.size)))
  return sum.toString('base64')
}

/** "Checksums of multipart uploads": over the checksums of the parts, and their number. */
function compositeChecksum(algorithm: Algorithm, parts: readonly Part[]): string {
  const sums = Buffer.concat(parts.map(({ checksum = '' }) => Buffer.from(checksum, 'base64')))
  return `${checksumOf(algorithm, bytesContent(sums))}-${parts.length}`
}
