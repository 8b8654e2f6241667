/**
 * Signed requests: RFC 9421 with ed25519, and RFC 9530 for the body. Policy rather than negotiation: the covered
 * components and the parameters are fixed, so a signature can be neither moved to another place nor say less.
 *
 * @example
 * Signature-Input: raincheck=("@method" "@authority" "@path" "@query");created=1700000000;nonce="…";keyid="<hex key>";alg="ed25519";tag="raincheck/<hex id>"
 */
import { parseDictionary, serializeDictionary, serializeInnerList, type InnerList } from 'structured-headers'
import { sha256, sha256Hasher } from '#primitives'
import { equal, fromHex, toHex, utf8, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { verify } from './signature.ts'
import type { Signer } from './signed.ts'

export interface SignRequestOptions {
  readonly signer: Signer
  /** Hex id of the identity that is to accept the request. */
  readonly audience: string
  readonly nowMs: number
  /** 16 to 64 characters of `A-Za-z0-9_-`, never used twice. */
  readonly nonce: string
}

export interface VerifyRequestOptions {
  /** The names, with a port where it is not the default one, under which this service is reached. */
  readonly authorities: readonly string[]
  /** Hex id of the identity that accepts the request. */
  readonly audience: string
  readonly nowMs: number
  /** A longer body is refused as `too-large`; `limits.jsonBytes` unless given. */
  readonly maxBodyBytes?: number
  /** Throws for a key that may not ask, before anything of the body is read. */
  readonly requireKey?: (key: Bytes) => Promise<void>
}

export interface VerifiedRequest {
  /** The signer's public key. */
  readonly key: Bytes
  /** The caller refuses one that it has seen from this key. */
  readonly nonce: string
  readonly createdMs: number
}

/** A component's name and its value, as RFC 9421 §2 derives it. */
export type Component = readonly [name: string, value: string]

const LABEL = 'raincheck'
const ALGORITHM = 'ed25519'
const DIGEST = 'content-digest'
const DERIVED = ['@method', '@authority', '@path', '@query'] as const
const PARAMETERS = ['created', 'nonce', 'keyid', 'alg', 'tag'] as const
const NONCE = /^[\w-]{16,64}$/

/** A copy of the request with `Signature-Input` and `Signature`, and `Content-Digest` when it has a body. */
export async function signRequest(request: Request, options: SignRequestOptions): Promise<Request> {
  const body = new Uint8Array(await request.clone().arrayBuffer())
  const headers = new Headers(request.headers)
  if (body.length > 0) headers.set(DIGEST, serializeDictionary(new Map([['sha-256', [sha256(body), new Map()]]])))
  const components = componentsOf(request, headers)
  const input: InnerList = [
    components.map(([name]) => [name, new Map()]),
    new Map<string, string | number>([
      ['created', Math.floor(options.nowMs / 1000)],
      ['nonce', options.nonce],
      ['keyid', toHex(options.signer.key)],
      ['alg', ALGORITHM],
      ['tag', tagOf(options.audience)],
    ]),
  ]
  const signature = options.signer.sign(utf8(signatureBase(components, input)))
  headers.set('signature-input', serializeDictionary(new Map([[LABEL, input]])))
  headers.set('signature', serializeDictionary(new Map([[LABEL, [signature, new Map()]]])))
  return new Request(request, { headers })
}

/**
 * Checks all but whether the nonce is new, and who the key belongs to unless `requireKey` does. The request's body stays
 * readable; it is read last, so that a stranger cannot make us read.
 * @throws Problem `bad-signature`, `stale-request`, `too-large`, and what `requireKey` throws
 */
export async function verifyRequest(request: Request, options: VerifyRequestOptions): Promise<VerifiedRequest> {
  const { label, input } = findInput(request.headers, tagOf(options.audience))
  const { key, nonce, createdMs } = readParameters(input)
  checkAuthority(request, options.authorities)
  const components = componentsOf(request, request.headers)
  const names = input[0].map(([name, parameters]) => (parameters.size === 0 ? name : undefined))
  if (names.length !== components.length || !components.every(([name], i) => names[i] === name)) {
    refuse(`The signature must cover ${components.map(([name]) => `"${name}"`).join(' ')}, in this order.`)
  }
  const signature = itemBytes(dictionary(request.headers, 'signature'), label)
  if (!verify(signature, utf8(signatureBase(components, input)), key)) refuse('The signature does not verify.')
  checkFresh(createdMs, options.nowMs)
  await options.requireKey?.(key)
  await checkDigest(request, options.maxBodyBytes ?? limits.jsonBytes)
  return { key, nonce, createdMs }
}

/** RFC 9421 §2.5: a line for each component, the last one for the parameters. */
export function signatureBase(components: readonly Component[], input: InnerList): string {
  const lines = components.map(([name, value]) => `"${name}": ${value}`)
  return [...lines, `"@signature-params": ${serializeInnerList(input)}`].join('\n')
}

/** The fixed components (RFC 9421 §2.2), and the digest when the request has one. */
function componentsOf(request: Request, headers: Headers): Component[] {
  const url = new URL(request.url)
  const values = {
    '@method': request.method,
    '@authority': url.host,
    '@path': url.pathname,
    '@query': url.search || '?',
  }
  const digest = headers.get(DIGEST)
  return [
    ...DERIVED.map((name) => [name, values[name]] as const),
    ...(digest === null ? [] : [[DIGEST, digest] as const]),
  ]
}

/** Others may have signed the request too; the tag says which signature is meant for us. */
function findInput(headers: Headers, tag: string): { readonly label: string; readonly input: InnerList } {
  const found: { label: string; input: InnerList }[] = []
  for (const [label, member] of dictionary(headers, 'signature-input')) {
    const [items, parameters] = member
    if (Array.isArray(items) && parameters.get('tag') === tag) found.push({ label, input: [items, parameters] })
  }
  const [only, second] = found
  if (!only || second) return refuse('The request must bear exactly one signature for this audience.')
  return only
}

function readParameters([, parameters]: InnerList): VerifiedRequest {
  const [created, nonce, keyid, alg] = PARAMETERS.map((name) => parameters.get(name))
  if (parameters.size !== PARAMETERS.length || alg !== ALGORITHM) {
    return refuse(`The parameters of a signature are ${PARAMETERS.join(', ')}; alg is "${ALGORITHM}".`)
  }
  if (typeof created !== 'number' || !Number.isInteger(created)) return refuse('"created" must be a time in seconds.')
  if (typeof nonce !== 'string' || !NONCE.test(nonce))
    return refuse('"nonce" must be 16 to 64 characters of base64url.')
  if (typeof keyid !== 'string') return refuse('"keyid" must be the signer’s key in hex.')
  return { key: keyFrom(keyid), nonce, createdMs: created * 1000 }
}

function keyFrom(keyid: string): Bytes {
  try {
    return fromHex(keyid, 32)
  } catch {
    return refuse('"keyid" must be the signer’s key in hex.')
  }
}

/** Names are compared without case and without the default port of the request's scheme (RFC 9421 §2.2.3). */
function checkAuthority(request: Request, authorities: readonly string[]): void {
  const { host, protocol } = new URL(request.url)
  const known = authorities.some((name) => {
    const base = `${protocol}//${name}`
    return URL.canParse(base) && new URL(base).host === host
  })
  if (!known) refuse(`The request is for another authority than ${authorities.join(' or ')}.`)
}

function checkFresh(createdMs: number, nowMs: number): void {
  if (createdMs < nowMs - limits.requestAgeMs) throw new Problem('stale-request', 'The request is too old.')
  if (createdMs > nowMs + limits.clockSkewMs) throw new Problem('stale-request', 'The request is from the future.')
}

/** RFC 9530 §2: of the digests given, the SHA-256 is the one that counts. */
async function checkDigest(request: Request, maxBodyBytes: number): Promise<void> {
  const body = await hashBody(request.clone(), maxBodyBytes)
  if (!request.headers.has(DIGEST)) {
    if (body.bytes > 0) refuse('A request with a body must have a content-digest.')
    return
  }
  if (!equal(itemBytes(dictionary(request.headers, DIGEST), 'sha-256'), body.hash)) {
    refuse('The body does not match its content-digest.')
  }
}

async function hashBody(
  request: Request,
  maxBytes: number,
): Promise<{ readonly bytes: number; readonly hash: Uint8Array }> {
  const hasher = sha256Hasher()
  let bytes = 0
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Problem('too-large', `The body has more than ${maxBytes} bytes.`)
    hasher.update(chunk)
  }
  return { bytes, hash: hasher.digest() }
}

function dictionary(headers: Headers, name: string): ReturnType<typeof parseDictionary> {
  try {
    return parseDictionary(headers.get(name) ?? '')
  } catch {
    return refuse(`The header "${name}" is no dictionary (RFC 9651).`)
  }
}

function itemBytes(members: ReturnType<typeof parseDictionary>, key: string): Bytes {
  const value = members.get(key)?.[0]
  return value instanceof ArrayBuffer ? new Uint8Array(value) : refuse(`"${key}" must be a byte sequence.`)
}

const tagOf = (audience: string): string => `raincheck/${audience}`

function refuse(detail: string): never {
  throw new Problem('bad-signature', detail)
}
