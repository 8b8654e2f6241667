import { describeFaults } from '../conformance/storage-faults.ts'
import { describeHuge } from '../conformance/storage-huge.ts'
import { describeStorage } from '../conformance/storage.ts'
import { linkBucket } from './linked-bucket.ts'

describeStorage('a bucket of S3', () => linkBucket())
describeStorage('a folder in a bucket with versions', () => linkBucket({ versioned: true }, { prefix: 'my files/ü' }))
describeFaults('a bucket of S3', () => linkBucket())
describeHuge('a bucket of S3', async () => {
  const world = await linkBucket()
  const bucket = world.server.bucket('drive')
  return { ...world, plantContent: async (name, content) => void bucket.put(name, content, { etag: '"huge"' }) }
})
