/**
 * Sessions: a broker's word that a key's holder is of a circle, for five minutes at most. It is bound to the key: whoever
 * shows it signs the request with that key, so that a stolen one is worth nothing. Body: {by, circle, expires, holder,
 * issued, member, nonce}.
 */
import { fromBase64url, toBase64url, type Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { checkKey } from './signature.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** `inner`: every session is shown to the broker. `bubble`: members take each other's by the broker's signature alone. */
export type CircleKind = 'inner' | 'bubble'
export const CIRCLE_KINDS = ['inner', 'bubble'] as const satisfies readonly CircleKind[]

export interface SessionTerms {
  /** The id of the owner whose circle it is, 32 bytes. */
  readonly by: Bytes
  /** A name of 1 to 63 of `a-z`, `0-9` and, within, `-`. */
  readonly circle: string
  /** Milliseconds; at most `limits.sessionMs` after `issued`. */
  readonly expires: number
  /** The public key that signs requests, 32 bytes. */
  readonly holder: Bytes
  /** Milliseconds. */
  readonly issued: number
  /** The id of the owner that the key acts for, 32 bytes. */
  readonly member: Bytes
  /** 16 bytes. */
  readonly nonce: Bytes
}

export type Session = Signed<SessionTerms>

/** The header that carries a session: body, key and signature, base64url each, with points between. */
export const SESSION_HEADER = 'raincheck-session'

const CIRCLE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

export const isCircleName = (name: string): boolean => CIRCLE.test(name)

const shape = {
  by: field.bytes(32),
  circle: field.text({ maxBytes: 63 }),
  expires: field.integer(),
  holder: field.bytes(32),
  issued: field.integer(),
  member: field.bytes(32),
  nonce: field.bytes(16),
}

export const grantSession = (terms: SessionTerms, signer: Signer): Envelope => seal('session', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseSession(envelope: Envelope): Session {
  const session = openEnvelope('session', envelope, shape)
  checkKey(session.holder)
  if (!isCircleName(session.circle)) throw new Problem('bad-encoding', 'This is no name of a circle.')
  const lifeMs = session.expires - session.issued
  if (lifeMs <= 0 || lifeMs > limits.sessionMs) {
    throw new Problem('bad-encoding', `A session lasts up to ${limits.sessionMs} ms.`)
  }
  return session
}

export const formatSession = ({ body, key, signature }: Envelope): string =>
  [body, key, signature].map(toBase64url).join('.')

/** The form only. @throws Problem `bad-request`, `bad-encoding`, `too-large` */
export function readSession(text: string): Envelope {
  if (text.length > limits.paymentHeaderBytes) throw new Problem('too-large', 'This is longer than any session.')
  const [body, key, signature, more] = text.split('.')
  if (body === undefined || key === undefined || signature === undefined || more !== undefined) {
    throw new Problem('bad-request', 'A session is body.key.signature, base64url each.')
  }
  const envelope = {
    body: fromBase64url(body),
    key: fromBase64url(key, 32),
    signature: fromBase64url(signature, 64),
  }
  checkKey(envelope.key)
  return envelope
}

/** @throws Problem `expired`, `stale-request` for one of the future */
export function requireTime({ issued, expires }: Session, nowMs: number): void {
  if (nowMs >= expires) throw new Problem('expired', 'The session is over.')
  if (issued > nowMs + limits.clockSkewMs) throw new Problem('stale-request', 'The session is from the future.')
}
