/** Objects in an S3 bucket. Region, credentials and endpoint are those of the SDK's own variables. */
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import type { ObjectStore } from '../ledger/publisher.ts'
import { Problem } from '../protocol/problem.ts'

const ATTEMPTS = 5

export function objectsInBucket({ bucket, prefix }: { readonly bucket: string; readonly prefix: string }): ObjectStore {
  // By path: a bucket's name need not be a host's.
  const client = new S3Client({ forcePathStyle: true, maxAttempts: ATTEMPTS })
  return {
    async put(path, body, { cacheControl, contentType }) {
      const key = prefix === '' ? path : `${prefix}/${path}`
      const object = { Bucket: bucket, Key: key, Body: body, CacheControl: cacheControl, ContentType: contentType }
      await client.send(new PutObjectCommand(object)).catch((error: unknown) => {
        const name = error instanceof Error ? error.name : 'unknown'
        throw new Problem('storage-unavailable', `The bucket ${bucket} did not take ${key}: ${name}.`)
      })
    },
  }
}
