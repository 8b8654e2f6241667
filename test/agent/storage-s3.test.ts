import { describeFaults } from '../conformance/storage-faults.ts'
import { describeStorage } from '../conformance/storage.ts'
import { linkBucket } from './linked-bucket.ts'

describeStorage('a bucket of S3', () => linkBucket())
describeStorage('a folder in a bucket with versions', () => linkBucket({ versioned: true }, { prefix: 'my files/ü' }))
describeFaults('a bucket of S3', () => linkBucket())
