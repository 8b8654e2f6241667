/** A bucket as calls that come again after what passes, and throw Problems for what does not. */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { Problem } from '../../protocol/problem.ts'
import { fatal, passing, unlessNotFound } from './faults.ts'
import type { DriverContext, S3Settings } from './open.ts'
import { createPacer } from './pacer.ts'
import { changed } from './refusals.ts'
import type { LinkSecret } from './secrets.ts'

export interface S3Bucket {
  readonly client: S3Client
  readonly bucket: string
  readonly region: string
  /** The key of a file of the storage, by its path in it. */
  readonly key: (path: string) => string
  /** @throws Problem; 404 is `not-found`, 412 `content-changed`, 416 `range-invalid` */
  readonly call: <T>(action: () => Promise<T>) => Promise<T>
  close(): void
}

const CONNECTIONS = 64
const CONNECT_MS = 10_000
/** A connection on which nothing comes or goes is dead. */
const IDLE_MS = 60_000
const PAUSE_MS = 200
const REGION = 'us-east-1'

export async function openBucket(settings: S3Settings, context: DriverContext): Promise<S3Bucket> {
  const { bucket, prefix } = settings
  const region = settings.region ?? (await defaultRegion())
  const client = new S3Client({
    // Works with every S3, and with bucket names that are no host names.
    forcePathStyle: true,
    // The pacer comes again: it knows of the other instances.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: IDLE_MS,
      httpAgent: { maxSockets: CONNECTIONS, keepAlive: true },
      httpsAgent: { maxSockets: CONNECTIONS, keepAlive: true },
    },
    region,
    ...credentialsIn(await context.secret()),
  })
  const pacer = createPacer(context, { account: `s3/${bucket}`, pauseMs: PAUSE_MS })
  return {
    client,
    bucket,
    region,
    key: (path) => (prefix === undefined ? path : `${prefix}/${path}`),
    call: (action) =>
      pacer.run(() =>
        action().catch((error: unknown) => {
          throw s3Problem(error, bucket)
        }),
      ),
    close() {
      pacer.close()
      client.destroy()
    },
  }
}

/** As the SDK finds it in its own variables; other providers than Amazon need none. */
async function defaultRegion(): Promise<string> {
  const probe = new S3Client({})
  return probe.config
    .region()
    .catch(() => REGION)
    .finally(() => probe.destroy())
}

/** None: the machine's own AWS identity, as the SDK finds it. */
function credentialsIn(secret: LinkSecret | undefined): Pick<S3ClientConfig, 'credentials'> {
  const { accessKeyId, secretAccessKey, sessionToken } = secret ?? {}
  if (accessKeyId === undefined || secretAccessKey === undefined) return {}
  return { credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) } }
}

interface SdkError {
  readonly name?: unknown
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

const FULL = new Set(['QuotaExceeded', 'InsufficientStorage', 'StorageFull', 'XMinioStorageFull'])
const DENIED = new Set([
  'AccessDenied',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'SignatureDoesNotMatch',
  'CredentialsProviderError',
  'NoSuchBucket',
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
])
const NOT_IMPLEMENTED = 501
/** Of a request that broke on its way. */
const BROKEN = new Set(['BadDigest', 'IncompleteBody', 'RequestTimeout', 'XAmzContentSHA256Mismatch'])

/** The provider's own words stay out: they may repeat what was sent. */
function s3Problem(error: unknown, bucket: string): Problem {
  if (error instanceof Problem) return error
  const { name, $metadata, $response } = error as SdkError
  const what = typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : 'no name'
  const status = $metadata?.httpStatusCode
  if (FULL.has(what) || status === 507) return fatal('full', `The bucket ${bucket} is full.`)
  if (DENIED.has(what) || status === 401 || status === 403) {
    return fatal('auth', `The bucket ${bucket} does not let the agent in (${what}).`)
  }
  if (status === 404) return new Problem('not-found', `There is no such file in the bucket ${bucket}.`)
  if (status === 412) return changed()
  if (status === 416) return new Problem('range-invalid', 'The range does not fit the file.')
  const isDown = status !== undefined && status >= 500 && status !== NOT_IMPLEMENTED
  const mayPass = status === undefined || status === 409 || status === 429 || isDown || BROKEN.has(what)
  if (mayPass) return passing(`S3 did not answer (${what}).`, retryAfterMs($response?.headers))
  return fatal('corrupt', `S3 refused the request (${what}).`)
}

function retryAfterMs(headers: Readonly<Record<string, string>> | undefined): number {
  const seconds = Number(headers?.['retry-after'])
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0
}

/** @returns undefined for a file that is not there */
export const unlessMissing = async <T>(found: Promise<T>): Promise<T | undefined> => found.catch(unlessNotFound)
