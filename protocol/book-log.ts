/**
 * What stands in a repository's log: every book head and every operation that it took, in the order in which it took
 * them, and the ids that it pruned itself. Kinds `book` (parts: the head, then the delegation and the base where the data
 * says so), `identity` (parts: the operations), `prune` (data: the id, for each reader to follow or not).
 */
import type { Bytes } from './bytes.ts'
import { field, fields } from './encoding.ts'
import { decodeEntry, encodeEntry } from './entry.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import type { Envelope } from './signed.ts'
import type { SignedHead } from './vouch.ts'

export type LogRecord =
  | { readonly kind: 'book'; readonly book: SignedHead; readonly time: number }
  | { readonly kind: 'identity'; readonly operations: readonly Envelope[]; readonly time: number }
  | { readonly kind: 'prune'; readonly subject: Bytes; readonly time: number }

const flag = field.integer({ max: 1 })
const bookData = { base: flag, delegation: flag }
const pruneData = { subject: field.bytes(32) }

export const bookEntry = ({ head, delegation, base }: SignedHead, time: number): Bytes =>
  encodeEntry({
    kind: 'book',
    parts: [head, delegation, base].filter((part) => part !== undefined),
    time,
    data: { base: base ? 1n : 0n, delegation: delegation ? 1n : 0n },
  })

/** As many entries as the operations need. */
export function identityEntries(operations: readonly Envelope[], time: number): Bytes[] {
  const entries: Bytes[] = []
  for (let at = 0; at < operations.length; at += limits.partsPerEntry) {
    entries.push(encodeEntry({ kind: 'identity', parts: operations.slice(at, at + limits.partsPerEntry), time }))
  }
  return entries
}

export const pruneEntry = (subject: Bytes, time: number): Bytes =>
  encodeEntry({ kind: 'prune', parts: [], time, data: { subject } })

/**
 * The form only: signatures are for the readers of what it says. Undefined for a kind that is not known.
 * @throws Problem `bad-encoding`, `too-large`
 */
export function readRecord(bytes: Uint8Array): LogRecord | undefined {
  const { kind, parts, time, data } = decodeEntry(bytes)
  if (kind === 'identity') return { kind, operations: parts, time }
  if (kind === 'prune') return { kind, time, ...fields(data ?? {}, pruneData) }
  if (kind !== 'book') return undefined
  const said = fields(data ?? {}, bookData)
  const [head, ...others] = parts
  if (!head || others.length !== said.base + said.delegation)
    throw new Problem('bad-encoding', 'The entry does not hold the signed objects that it names.')
  const delegation = said.delegation === 1 ? others[0] : undefined
  const base = said.base === 1 ? others.at(-1) : undefined
  return { kind, time, book: { head, ...(delegation && { delegation }), ...(base && { base }) } }
}
