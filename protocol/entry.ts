/**
 * Entries of a log: what happened, when, and the signed objects that made it happen, whole, so that whoever reads the
 * log can check and replay it. Canonical bencode of {data?, kind, parts: [{b, k, s}…], time}; the bytes are a leaf of
 * the tree.
 */
import type { Bytes } from './bytes.ts'
import { decode, encode, field, fields, type Bencode } from './encoding.ts'
import { limits } from './limits.ts'
import { leafHash } from './merkle.ts'
import { Problem } from './problem.ts'
import type { Envelope } from './signed.ts'

export interface Entry {
  /** Lower-case letters and hyphens; which there are is for the log to say. */
  readonly kind: string
  /** The signed objects, in the order that the kind sets; none for what the log itself states. */
  readonly parts: readonly Envelope[]
  /** The log's clock, in milliseconds. */
  readonly time: number
  /** What the log itself states. */
  readonly data?: Bencode
}

const KIND = /^[a-z](?:[a-z-]*[a-z])?$/
const KIND_BYTES_MAX = 32

/** @throws Problem `too-large` for more than `limits.entryBytes`, what a bundle can hold */
export function encodeEntry({ kind, parts, time, data }: Entry): Bytes {
  const envelopes = parts.map(({ body, key, signature }) => ({ b: body, k: key, s: signature }))
  const bytes = encode({ data, kind, parts: envelopes, time })
  if (bytes.length > limits.entryBytes)
    throw new Problem('too-large', `An entry has at most ${limits.entryBytes} bytes.`)
  return bytes
}

/** Checks the form only, no signature. @throws Problem `bad-encoding`, `too-large` */
export function decodeEntry(bytes: Uint8Array): Entry {
  if (bytes.length > limits.entryBytes)
    throw new Problem('too-large', `An entry has at most ${limits.entryBytes} bytes.`)
  const { parts, ...entry } = fields(decode(bytes), shape)
  if (!KIND.test(entry.kind))
    throw new Problem('bad-encoding', 'The kind of an entry is lower-case letters and hyphens.')
  return { ...entry, parts: parts.map(({ b, k, s }) => ({ body: b, key: k, signature: s })) }
}

/** The leaf hash of the encoded entry (RFC 6962 §2.1): what receipts and proofs name. */
export const entryHash = (bytes: Uint8Array): Bytes => leafHash(bytes)

const shape = {
  data: field.optional(field.any),
  kind: field.text({ maxBytes: KIND_BYTES_MAX }),
  parts: field.list(field.dict({ b: field.bytes(), k: field.bytes(32), s: field.bytes(64) }), {
    max: limits.partsPerEntry,
  }),
  time: field.integer(),
}
