/** A bucket of S3, or a folder in one, as a storage. */
import type { DriverContext, S3Settings } from './open.ts'
import type { Storage } from './storage.ts'

export async function openS3(settings: S3Settings, context: DriverContext): Promise<Storage> {
  throw new Error(`${settings.bucket} ${context.link ?? ''}`)
}
