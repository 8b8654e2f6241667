/**
 * A small S3 over HTTP, as strict as Amazon's and with faults by script. It stands for a provider that a test cannot reach.
 * What it does not know it refuses with NotImplemented or MethodNotAllowed, so that nothing passes here and fails there.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Faults, ServerFault, Step } from '../conformance/storage-world.ts'
import { createFaults } from './faults.ts'
import { bytesContent, type Keep } from './s3-content.ts'
import { S3Error, xmlDocument } from './s3-errors.ts'
import { createOperations, operationOf, type Access, type Reply } from './s3-operations.ts'
import { acceptRequest, rawRequest, type RawRequest, type S3Request } from './s3-request.ts'
import { createBucket, type Bucket } from './s3-state.ts'
import { drained, spoil } from './spoiled-reply.ts'

/** An AWS principal: the buckets that it may read, write, and remove versions of; all unless named. */
export interface Principal {
  readonly secretAccessKey: string
  readonly read?: readonly string[]
  readonly write?: readonly string[]
  readonly erase?: readonly string[]
}

export interface S3Options {
  readonly buckets: readonly string[]
  /** By access key id. */
  readonly principals: Readonly<Record<string, Principal>>
  readonly now?: () => number
  readonly keep?: Keep
  readonly versioned?: boolean
}

export interface S3Server {
  readonly url: string
  readonly faults: Faults
  bucket(name: string): Bucket
  requests(step?: Step): number
  /** Bytes of object content that went in and out. */
  readonly traffic: { in: number; out: number }
  close(): Promise<void>
}

const STEPS: Readonly<Record<string, Step>> = {
  listObjects: 'list',
  headBucket: 'stat',
  getObject: 'read',
  createUpload: 'begin',
  putObject: 'put',
  uploadPart: 'put',
  uploadPartCopy: 'put',
  listParts: 'written',
  completeUpload: 'commit',
  copyObject: 'commit',
  abortUpload: 'abort',
  deleteObject: 'abort',
}

const REFUSALS: Readonly<Record<Extract<ServerFault, { kind: 'refuse' }>['why'], readonly [number, string]>> = {
  busy: [500, 'InternalError'],
  rate: [503, 'SlowDown'],
  'daily-cap': [503, 'SlowDown'],
  'token-expired': [400, 'ExpiredToken'],
  denied: [403, 'AccessDenied'],
  full: [403, 'QuotaExceeded'],
  'session-gone': [404, 'NoSuchUpload'],
}

export async function startS3(options: S3Options): Promise<S3Server> {
  const { now = () => Date.now(), principals, keep = bytesContent, versioned = false } = options
  const buckets = new Map(options.buckets.map((name) => [name, createBucket(name, now, versioned)]))
  const operations = createOperations(keep)
  const faults = createFaults()
  const counts = new Map<Step, number>()
  const traffic = { in: 0, out: 0 }

  const bucketFor = (accessKeyId: string) => (name: string, access: Access) => {
    const allowed = principals[accessKeyId]?.[access]
    if (allowed && !allowed.includes(name)) throw new S3Error(403, 'AccessDenied', 'Access Denied')
    const found = buckets.get(name)
    if (!found) throw new S3Error(404, 'NoSuchBucket', 'The specified bucket does not exist')
    return found
  }

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const raw = rawRequest(incoming)
    const step = stepOf(raw)
    counts.set(step, (counts.get(step) ?? 0) + 1)
    const fault = faults.take(step)
    if (fault?.kind === 'reset-request') return resetAfter(incoming, fault.afterBytes)
    const sent = await bodyOf(incoming)
    const reply = attempt(() => {
      if (fault?.kind === 'refuse') throw refusalOf(fault)
      const { range: _, ...rest } = raw.headers
      const request = acceptRequest(raw, sent, (id) => principals[id]?.secretAccessKey, now())
      const seen: S3Request = fault?.kind === 'ignore-range' ? { ...request, headers: rest } : request
      if (step === 'put') traffic.in += request.body.length
      return operations.run(seen, bucketFor(request.accessKeyId))
    })
    if (fault?.kind === 'drop-reply') return void incoming.socket.destroy()
    const counted = await send(raw.method, reply, outgoing, fault)
    if (step === 'read') traffic.out += counted
  }

  const server = createServer((incoming, outgoing) => {
    answer(incoming, outgoing).catch(() => incoming.socket.destroy())
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    bucket: (name) => buckets.get(name) as Bucket,
    requests: (step) => (step ? (counts.get(step) ?? 0) : [...counts.values()].reduce((sum, count) => sum + count, 0)),
    traffic,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function stepOf(raw: RawRequest): Step {
  const key = decodeURIComponent(raw.rawPath.split('/').slice(2).join('/'))
  const operation = attemptName(() => operationOf({ ...raw, key, query: new Map(raw.query) }))
  return raw.method === 'HEAD' ? 'stat' : (STEPS[operation] ?? 'stat')
}

function attemptName(name: () => string): string {
  try {
    return name()
  } catch {
    return ''
  }
}

function attempt(work: () => Reply): Reply {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    const { status, code, message, headers } = error
    const body = bytesContent(Buffer.from(xmlDocument('Error', { Code: code, Message: message, RequestId: '1' })))
    return { status, headers: { 'content-type': 'application/xml', ...headers }, body }
  }
}

function refusalOf({ why, retryAfterS }: Extract<ServerFault, { kind: 'refuse' }>): S3Error {
  const [status, code] = REFUSALS[why]
  return new S3Error(
    status,
    code,
    'By script.',
    retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) },
  )
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function resetAfter(incoming: IncomingMessage, afterBytes: number): void {
  let seen = 0
  incoming.on('data', (chunk: Buffer) => {
    seen += chunk.length
    if (seen >= afterBytes) incoming.socket.resetAndDestroy()
  })
  incoming.on('end', () => incoming.socket.resetAndDestroy())
}

const CHUNK = 1024 * 1024

/** @returns the bytes of the body that were sent */
async function send(method: string, reply: Reply, outgoing: ServerResponse, fault?: ServerFault): Promise<number> {
  const { status, headers, body } = spoil(reply, fault)
  const size = body?.size ?? 0
  outgoing.writeHead(status, { 'x-amz-request-id': '1', ...headers, ...(status !== 204 && { 'content-length': size }) })
  if (method === 'HEAD' || !body) return (void outgoing.end(), 0)
  const most = fault?.kind === 'reset-reply' ? Math.min(size, fault.afterBytes) : size
  for (let at = 0; at < most; at += CHUNK) {
    const more = outgoing.write(body.read(at, Math.min(CHUNK, most - at)))
    if (!more && !outgoing.destroyed) await drained(outgoing)
  }
  if (fault?.kind === 'reset-reply') outgoing.socket?.destroy()
  else outgoing.end()
  return most
}
