/**
 * AWS Signature Version 4 as S3 verifies it: in the Authorization header, or in the query of a presigned URL
 * ("Authenticating Requests: Using the Authorization Header / Query Parameters", Amazon S3 API Reference).
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { S3Error } from './s3-errors.ts'

export interface SignedRequest {
  readonly method: string
  /** As sent. */
  readonly rawPath: string
  readonly query: readonly (readonly [name: string, value: string])[]
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Verified {
  readonly accessKeyId: string
  /** `UNSIGNED-PAYLOAD`, a `STREAMING-…` name, or the SHA-256 of the body in hex. */
  readonly payload: string
}

const ALGORITHM = 'AWS4-HMAC-SHA256'
const SKEW_MS = 15 * 60_000
const WEEK_S = 604_800

const sha256Hex = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** RFC 3986's unreserved characters stay; everything else is escaped in upper case. */
export const uriEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

interface Terms {
  readonly credential: string
  readonly signedHeaders: string
  readonly signature: string
  readonly amzDate: string
  readonly payload: string
  readonly presigned: boolean
}

/** @param secretOf the secret key of an access key id, if there is such */
export function verifySignature(
  request: SignedRequest,
  secretOf: (accessKeyId: string) => string | undefined,
  nowMs: number,
): Verified {
  const terms = termsOf(request, nowMs)
  const [accessKeyId = '', day = '', region = '', service = '', end = ''] = terms.credential.split('/')
  if (service !== 's3' || end !== 'aws4_request' || day !== terms.amzDate.slice(0, 8)) {
    throw new S3Error(400, 'AuthorizationHeaderMalformed', 'The credential scope is wrong.')
  }
  const secret = secretOf(accessKeyId)
  if (secret === undefined) throw new S3Error(403, 'InvalidAccessKeyId', 'The access key id does not exist.')
  const names = terms.signedHeaders.split(';')
  checkSignedHeaders(request, names)
  const scope = `${day}/${region}/${service}/${end}`
  const toSign = [ALGORITHM, terms.amzDate, scope, sha256Hex(canonicalRequest(request, terms, names))].join('\n')
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), service), end)
  const expected = hmac(key, toSign)
  const given = Buffer.from(terms.signature, 'hex')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new S3Error(403, 'SignatureDoesNotMatch', 'The signature does not match the request.')
  }
  return { accessKeyId, payload: terms.payload }
}

function termsOf(request: SignedRequest, nowMs: number): Terms {
  const query = new Map(request.query)
  const presigned = query.has('X-Amz-Signature')
  const terms = presigned ? queryTerms(query) : headerTerms(request.headers)
  const sentMs = parseAmzDate(terms.amzDate)
  if (presigned) {
    const expires = Number(query.get('X-Amz-Expires'))
    if (!Number.isInteger(expires) || expires < 1 || expires > WEEK_S) {
      throw new S3Error(400, 'AuthorizationQueryParametersError', 'X-Amz-Expires must be 1 to 604800.')
    }
    if (nowMs > sentMs + expires * 1000) throw new S3Error(403, 'AccessDenied', 'Request has expired')
    if (sentMs > nowMs + SKEW_MS) throw new S3Error(403, 'AccessDenied', 'Request is not valid yet')
  } else if (Math.abs(nowMs - sentMs) > SKEW_MS) {
    throw new S3Error(403, 'RequestTimeTooSkewed', 'The difference between the request time and ours is too large.')
  }
  return { ...terms, presigned }
}

function queryTerms(query: ReadonlyMap<string, string>): Omit<Terms, 'presigned'> {
  if (query.get('X-Amz-Algorithm') !== ALGORITHM) {
    throw new S3Error(400, 'AuthorizationQueryParametersError', 'X-Amz-Algorithm is not supported.')
  }
  return {
    credential: query.get('X-Amz-Credential') ?? '',
    signedHeaders: query.get('X-Amz-SignedHeaders') ?? '',
    signature: query.get('X-Amz-Signature') ?? '',
    amzDate: query.get('X-Amz-Date') ?? '',
    payload: 'UNSIGNED-PAYLOAD',
  }
}

function headerTerms(headers: SignedRequest['headers']): Omit<Terms, 'presigned'> {
  const { authorization = '' } = headers
  if (authorization === '') throw new S3Error(403, 'AccessDenied', 'Access Denied')
  const parts = /^AWS4-HMAC-SHA256 Credential=([^, ]+), ?SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})$/.exec(
    authorization,
  )
  const [, credential, signedHeaders, signature] = parts ?? []
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw new S3Error(400, 'AuthorizationHeaderMalformed', 'The authorization header is malformed.')
  }
  const payload = headers['x-amz-content-sha256']
  if (payload === undefined) throw new S3Error(400, 'InvalidRequest', 'Missing required header: x-amz-content-sha256')
  return { credential, signedHeaders, signature, amzDate: headers['x-amz-date'] ?? '', payload }
}

/** `host` and every `x-amz-*` header that is sent must be signed. */
function checkSignedHeaders({ headers }: SignedRequest, names: readonly string[]): void {
  const sorted = names.toSorted((a, b) => (a < b ? -1 : 1))
  const unsigned = Object.keys(headers).filter((name) => name.startsWith('x-amz-') && !names.includes(name))
  if (!names.includes('host') || unsigned.length > 0) {
    throw new S3Error(403, 'AccessDenied', 'There were headers present in the request which were not signed')
  }
  if (names.join() !== sorted.join()) throw new S3Error(403, 'SignatureDoesNotMatch', 'SignedHeaders is not sorted.')
}

function canonicalRequest(request: SignedRequest, { payload }: Terms, names: readonly string[]): string {
  const path = decodeURIComponent(request.rawPath).split('/').map(uriEncode).join('/')
  const query = request.query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
    .toSorted((a, b) => (a < b ? -1 : 1))
  const headers = names.map((name) => `${name}:${(request.headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`)
  return [request.method, path, query.join('&'), headers.join(''), names.join(';'), payload].join('\n')
}

function parseAmzDate(text: string): number {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? []
  if (y === undefined) throw new S3Error(403, 'AccessDenied', 'AWS authentication requires a valid Date.')
  return Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(mi), Number(s))
}
