/**
 * Signed objects: a canonical bencode body, who signed it, the signature. What is signed is `raincheck/<kind>/v1` NUL
 * body; the object's id is the SHA-256 of the same bytes, so it does not depend on the signature.
 */
import { ed25519PublicKey, ed25519Sign, sha256 } from '#primitives'
import { concat, fromBase64url, toBase64url, utf8, type Bytes } from './bytes.ts'
import { decode, encode, fields, type Encodable, type Fields, type Shape } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { checkKey, verify, verifyAside } from './signature.ts'

export type Kind =
  | 'identity'
  | 'delegation'
  | 'declaration'
  | 'commitment'
  | 'claim'
  | 'redemption'
  | 'release'
  | 'transfer'
  | 'membership'
  | 'price'
  | 'peer'
  | 'buy'
  | 'sell'
  | 'lock'
  | 'mint'
  | 'refund'
  | 'signoff'
  | 'label'
  | 'dispute'
  | 'receipt'
  | 'announcement'
  | 'book'
  | 'notice'
  | 'edition'
  | 'session'
  | 'usage'

/** The received bytes are kept whole: `body` is never encoded anew. */
export interface Envelope {
  readonly body: Bytes
  /** The signer's public key, 32 bytes. */
  readonly key: Bytes
  /** 64 bytes. */
  readonly signature: Bytes
}

/** base64url each. */
export interface EnvelopeJson {
  readonly body: string
  readonly key: string
  readonly signature: string
}

export interface Signer {
  /** Public, 32 bytes. */
  readonly key: Bytes
  sign(message: Uint8Array): Bytes
}

/** @param secret the 32-byte seed of RFC 8032 §5.1.5 */
export function signerFrom(secret: Bytes): Signer {
  const kept = Uint8Array.from(secret)
  return { key: ed25519PublicKey(kept), sign: (message) => ed25519Sign(message, kept) }
}

export function seal(kind: Kind, value: Encodable, signer: Signer): Envelope {
  const body = encode(value)
  return { body, key: signer.key, signature: signer.sign(signedBytes(kind, body)) }
}

/** 32 bytes. */
export const objectId = (kind: Kind, body: Uint8Array): Bytes => sha256(signedBytes(kind, body))

/** @throws Problem `bad-signature` */
export function verifyEnvelope(kind: Kind, envelope: Envelope): void {
  if (verified.get(envelope) === kind) return
  if (!verify(envelope.signature, signedBytes(kind, envelope.body), envelope.key)) {
    throw new Problem('bad-signature', `The signature of the ${kind} does not verify.`)
  }
  verified.set(envelope, kind)
}

/** As what an envelope was verified: a client, a rule and a store each open what passes through them. */
const verified = new WeakMap<Envelope, Kind>()

/** Verifies beside this thread what will be opened soon: it costs no time then. What does not verify is found out there. */
export async function verifyAhead(kind: Kind, envelope: Envelope): Promise<void> {
  const isValid = await verifyAside(envelope.signature, signedBytes(kind, envelope.body), envelope.key)
  if (isValid) verified.set(envelope, kind)
}

/** An object's fields, under which id it goes and which key signed it. */
export type Signed<T> = T & { readonly id: Bytes; readonly key: Bytes }

/** The object in an envelope. @throws Problem `bad-signature`, `bad-encoding` unless the body has exactly this shape */
export function openEnvelope<S extends Shape>(kind: Kind, envelope: Envelope, shape: S): Signed<Fields<S>> {
  verifyEnvelope(kind, envelope)
  return readEnvelope(kind, envelope, shape)
}

/** The object in an envelope whose signature was verified before. @throws Problem `bad-encoding` */
export function readEnvelope<S extends Shape>(kind: Kind, envelope: Envelope, shape: S): Signed<Fields<S>> {
  const object = fields(decode(envelope.body), shape)
  return { ...object, id: objectId(kind, envelope.body), key: envelope.key }
}

export const envelopeToJson = (envelope: Envelope): EnvelopeJson => ({
  body: toBase64url(envelope.body),
  key: toBase64url(envelope.key),
  signature: toBase64url(envelope.signature),
})

/**
 * Checks the form only; the signature is for `verifyEnvelope`. A body may have `limits.signedBytes`, a book's `limits.bookBytes`.
 * @throws Problem `bad-request` unless it has exactly the three texts, `too-large`, `bad-encoding`
 */
export function envelopeFromJson(value: unknown, kind?: Kind): Envelope {
  if (!isEnvelopeJson(value)) {
    throw new Problem('bad-request', 'A signed object is {"body", "key", "signature"}, base64url each.')
  }
  const most = kind === 'book' ? limits.bookBytes : limits.signedBytes
  if (value.body.length > Math.ceil((most * 4) / 3)) {
    throw new Problem('too-large', `The body of a signed object has at most ${most} bytes.`)
  }
  const envelope = {
    body: fromBase64url(value.body, undefined, 'body'),
    key: fromBase64url(value.key, 32, 'key'),
    signature: fromBase64url(value.signature, 64, 'signature'),
  }
  checkKey(envelope.key)
  return envelope
}

function isEnvelopeJson(value: unknown): value is EnvelopeJson {
  if (typeof value !== 'object' || value === null) return false
  const members = Object.entries(value)
  return (
    members.length === 3 &&
    ENVELOPE_MEMBERS.every((name) => members.some(([key, text]) => key === name && typeof text === 'string'))
  )
}

const ENVELOPE_MEMBERS = ['body', 'key', 'signature'] as const

const signedBytes = (kind: Kind, body: Uint8Array): Bytes => concat(utf8(`raincheck/${kind}/v1\0`), body)
