/** One request to the S3 server, read and checked: who asks, for what, with which body. */
import type { IncomingMessage } from 'node:http'
import { bytesContent, digestOf, type Content } from './s3-content.ts'
import { S3Error } from './s3-errors.ts'
import { verifySignature } from './s3-signature.ts'
import { ALGORITHMS, checksumOf, type Algorithm } from './s3-state.ts'

export interface S3Request {
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly query: ReadonlyMap<string, string>
  readonly headers: Readonly<Record<string, string>>
  readonly accessKeyId: string
  /** Decoded. */
  readonly body: Buffer
  /** The one that came with the body, which it matches. */
  readonly checksum?: readonly [Algorithm, string]
}

export interface RawRequest {
  readonly method: string
  readonly rawPath: string
  readonly query: readonly (readonly [string, string])[]
  readonly headers: Readonly<Record<string, string>>
}

export function rawRequest(incoming: IncomingMessage): RawRequest {
  const [rawPath = '/', search = ''] = (incoming.url ?? '/').split('?', 2)
  const query = search
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name = '', ...value] = pair.split('=')
      return [decodeURIComponent(name), decodeURIComponent(value.join('='))] as const
    })
  const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)] as const)
  return { method: incoming.method ?? 'GET', rawPath, query, headers: Object.fromEntries(headers) }
}

export function acceptRequest(
  raw: RawRequest,
  sent: Buffer,
  secretOf: (accessKeyId: string) => string | undefined,
  nowMs: number,
): S3Request {
  const { accessKeyId, payload } = verifySignature(raw, secretOf, nowMs)
  const [, bucket = '', ...key] = raw.rawPath.split('/')
  const { headers } = raw
  const { body, trailers } = payload.startsWith('STREAMING-')
    ? unchunk(payload, headers, sent)
    : { body: sent, trailers: {} }
  if (/^[0-9a-f]{64}$/.test(payload) && digestOf('sha256', bytesContent(sent)).toString('hex') !== payload) {
    throw new S3Error(400, 'XAmzContentSHA256Mismatch', "The provided 'x-amz-content-sha256' header does not match")
  }
  const md5 = headers['content-md5']
  if (md5 !== undefined && digestOf('md5', bytesContent(body)).toString('base64') !== md5) {
    throw new S3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.')
  }
  const checksum = checksumIn({ ...headers, ...trailers }, bytesContent(body))
  return {
    method: raw.method,
    bucket: decodeURIComponent(bucket),
    key: decodeURIComponent(key.join('/')),
    query: new Map(raw.query),
    headers,
    accessKeyId,
    body,
    ...(checksum && { checksum }),
  }
}

function checksumIn(headers: Readonly<Record<string, string>>, body: Content): S3Request['checksum'] {
  const sums = ALGORITHMS.flatMap((algorithm) => {
    const given = headers[`x-amz-checksum-${algorithm.toLowerCase()}`]
    return given === undefined ? [] : [[algorithm, given] as const]
  })
  if (sums.length > 1) throw new S3Error(400, 'InvalidRequest', 'Expecting a single x-amz-checksum- header')
  const [sum] = sums
  if (sum && checksumOf(sum[0], body) !== sum[1]) {
    throw new S3Error(400, 'BadDigest', `The ${sum[0]} you specified did not match the calculated checksum.`)
  }
  return sum
}

/** aws-chunked ("Signature Calculations: Transferring a Payload in Multiple Chunks"), unsigned, with a trailer. */
function unchunk(payload: string, headers: Readonly<Record<string, string>>, sent: Buffer) {
  if (payload !== 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') {
    throw new S3Error(501, 'NotImplemented', `${payload} is not implemented here.`)
  }
  const incomplete = new S3Error(400, 'IncompleteBody', 'The request body terminated unexpectedly')
  const chunks: Buffer[] = []
  let at = 0
  for (;;) {
    const end = sent.indexOf('\r\n', at)
    const [, hex] = /^([0-9a-fA-F]+)$/.exec(end < 0 ? '' : sent.toString('latin1', at, end)) ?? []
    if (hex === undefined) throw incomplete
    const length = parseInt(hex, 16)
    at = end + 2
    if (length === 0) break
    chunks.push(sent.subarray(at, at + length))
    at += length
    if (sent.toString('latin1', at, at + 2) !== '\r\n') throw incomplete
    at += 2
  }
  const lines = sent
    .toString('latin1', at)
    .split('\r\n')
    .filter((line) => line !== '')
  const trailers = Object.fromEntries(
    lines.map((line) => {
      const [name = '', ...value] = line.split(':')
      return [name.trim().toLowerCase(), value.join(':').trim()]
    }),
  )
  const announced = headers['x-amz-trailer']
  if (announced !== undefined && trailers[announced.toLowerCase()] === undefined) {
    throw new S3Error(400, 'MalformedTrailerError', 'The request contained trailing data that was not well-formed')
  }
  const body = Buffer.concat(chunks)
  if (body.length !== Number(headers['x-amz-decoded-content-length'])) throw incomplete
  return { body, trailers }
}
