/** A bucket of the test server in a test's hands, opened as a storage. */
import { setTimeout } from 'node:timers/promises'
import { PARTIAL_FOLDER } from '../../agent/storage/names.ts'
import type { DriverContext, S3Settings } from '../../agent/storage/open.ts'
import { PROVIDER_HOSTS } from '../../agent/storage/providers.ts'
import { openS3 } from '../../agent/storage/s3.ts'
import { createSecrets } from '../../agent/storage/secrets.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Clock } from '../../protocol/environment.ts'
import type { CloudHarness } from '../conformance/storage-world.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { startS3, type S3Options, type S3Server } from '../servers/s3.ts'
import { random } from './linked-folder.ts'

export const OWNER_KEY = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'the owner’s secret' }

/** Real time, but for pauses: those last a thousandth, and it is later after them. */
export function hastyClock(): Clock {
  let aheadMs = 0
  const now = (): number => Date.now() + aheadMs
  return {
    now,
    async sleep(ms, signal) {
      const untilMs = now() + ms
      await setTimeout(ms / 1000, undefined, signal ? { signal } : {})
      aheadMs += Math.max(0, untilMs - now())
    },
  }
}

export interface LinkedBucket extends CloudHarness {
  readonly server: S3Server
  readonly settings: S3Settings
}

/** A driver's world over the server at `url`. */
export function driverContext(secret: Readonly<Record<string, string>> = OWNER_KEY): DriverContext {
  return {
    environment: { clock: hastyClock(), random, transport: () => Promise.reject(new Error('unused')) },
    store: openSqlite(':memory:'),
    hosts: PROVIDER_HOSTS,
    secret: () => Promise.resolve(secret),
    renewSecret: () => Promise.resolve(true),
    secrets: createSecrets(random.bytes(32), random),
  }
}

export async function linkBucket(
  options: Partial<S3Options> = {},
  settings: Partial<S3Settings> = {},
): Promise<LinkedBucket> {
  const { accessKeyId, secretAccessKey } = OWNER_KEY
  const server = await startS3({ buckets: ['drive'], principals: { [accessKeyId]: { secretAccessKey } }, ...options })
  process.env['AWS_ENDPOINT_URL_S3'] = server.url
  const { bucket, prefix, region } = { bucket: 'drive', prefix: undefined, region: undefined, ...settings }
  const opened: Storage[] = []
  async function open(): Promise<Storage> {
    const storage = await openS3({ bucket, prefix, region }, driverContext())
    opened.push(storage)
    return storage
  }
  const start = prefix === undefined ? '' : `${prefix}/`
  const kept = server.bucket(bucket)
  /** The driver's own, of which every version counts: each takes room. */
  const isOwn = ({ key }: { key: string }): boolean => key.startsWith(`${start}${PARTIAL_FOLDER}/`)
  const keysOf = (found: Iterable<{ key: string }>): string[] => Array.from(found, ({ key }) => key)
  return {
    server,
    settings: { bucket, prefix, region },
    storage: await open(),
    faults: server.faults,
    requests: (step) => server.requests(step),
    reopen: open,
    plant: async (name, bytes) => void kept.put(start + name, bytesContent(bytes)),
    uproot: async (name) => kept.remove(start + name),
    everything: async () =>
      [
        ...keysOf(kept.list().filter((object) => !isOwn(object))),
        ...keysOf(kept.all().filter(isOwn)),
        ...keysOf(kept.uploads.values()).map((key) => `upload of ${key}`),
      ]
        .map((key) => key.replace(start, ''))
        .toSorted(),
    async dispose() {
      await Promise.all(opened.map((storage) => storage.close()))
      await server.close()
    },
  }
}
