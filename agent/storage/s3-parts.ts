/** The parts of an upload as the provider has them. */
import { ListPartsCommand, type Part } from '@aws-sdk/client-s3'
import type { S3Bucket } from './s3-client.ts'

/** "Amazon S3 multipart upload limits": so many parts, of so many bytes. A file thus has 48.8 TiB at most. */
export const PARTS_MOST = 10_000
export const PART_BYTES_MOST = 5 * 1024 ** 3

/** In order. @throws Problem `not-found` when the upload is over */
export async function listParts({ client, bucket, call }: S3Bucket, key: string, uploadId: string): Promise<Part[]> {
  const parts: Part[] = []
  for (let marker: string | undefined, more = true; more;) {
    const after = marker === undefined ? {} : { PartNumberMarker: marker }
    const command = new ListPartsCommand({ Bucket: bucket, Key: key, UploadId: uploadId, ...after })
    const page = await call(() => client.send(command))
    parts.push(...(page.Parts ?? []))
    more = page.IsTruncated === true
    marker = page.NextPartNumberMarker
  }
  return parts
}
