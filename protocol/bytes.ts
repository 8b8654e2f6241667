/** Byte strings and their text forms. JSON carries ids and hashes as lower-case hex, all other bytes as base64url (RFC 4648 §5, no padding). */
import { decodeBase64, decodeHex, encodeBase64url, encodeHex } from '#primitives'
import { Problem } from './problem.ts'

export type Bytes = Uint8Array<ArrayBuffer>

const HEX = /^(?:[0-9a-f]{2})*$/
const BASE64URL = /^[A-Za-z0-9_-]*$/
const text = new TextEncoder()
const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export const utf8 = (value: string): Bytes => text.encode(value)

/** @throws Problem `bad-encoding` unless the bytes are well-formed UTF-8 */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return strictText.decode(bytes)
  } catch {
    throw new Problem('bad-encoding', 'The text is not UTF-8.')
  }
}

export const toHex = (bytes: Uint8Array): string => encodeHex(bytes)

/**
 * @param member that the text is of, for the problem
 * @throws Problem `bad-encoding` unless the text is lower-case hex, of `length` bytes where given
 */
export function fromHex(value: string, length?: number, member?: string): Bytes {
  if (!HEX.test(value)) throw malformed('Expected lower-case hex.', member)
  return exactly(decodeHex(value), length, member)
}

export const toBase64url = (bytes: Uint8Array): string => encodeBase64url(bytes)

/**
 * @param member that the text is of, for the problem
 * @throws Problem `bad-encoding` unless the text is canonical unpadded base64url, of `length` bytes where given
 */
export function fromBase64url(value: string, length?: number, member?: string): Bytes {
  if (!BASE64URL.test(value)) throw malformed('Expected base64url without padding.', member)
  const bytes = decodeBase64(value)
  if (toBase64url(bytes) !== value) throw malformed('The base64url text is not canonical.', member)
  return exactly(bytes, length, member)
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Bytewise order, a prefix first: the order of bencode's dictionary keys (BEP 3). */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number)
  return a.length - b.length
}

function exactly(bytes: Bytes, length?: number, member?: string): Bytes {
  if (length !== undefined && bytes.length !== length) {
    throw malformed(`Expected ${length} bytes, got ${bytes.length}.`, member)
  }
  return bytes
}

const malformed = (detail: string, member?: string): Problem =>
  member === undefined
    ? new Problem('bad-encoding', detail)
    : new Problem('bad-encoding', `${member}: ${detail}`, { field: member })
