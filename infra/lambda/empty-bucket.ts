/** What a bucket holds is taken away, as CloudFormation removes no bucket that holds anything. */
import { DeleteObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'

/** May be told again. */
export async function emptyBucket(bucket: string, client = new S3Client({ forcePathStyle: true })): Promise<void> {
  for (;;) {
    const { Contents: objects = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
    if (objects.length === 0) return
    await Promise.all(objects.map(({ Key }) => client.send(new DeleteObjectCommand({ Bucket: bucket, Key }))))
  }
}
