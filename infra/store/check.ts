/** What every store refuses before it touches anything, so that all of them refuse the same. */
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Range } from '../../protocol/store.ts'

/**
 * A body or a key may have come from outside: those are problems. The rest would be a bug of the caller's.
 * @throws Problem `too-large` for a body over `limits.itemBytes`, a key over `limits.keyBytes` or all of them over
 * `limits.writeBytes`
 * @throws RangeError for no changes, more than `limits.changesPerWrite`, or two of the same item
 */
export function checkChanges(changes: readonly Change[]): void {
  if (changes.length === 0 || changes.length > limits.changesPerWrite) {
    throw new RangeError(`A write has 1 to ${limits.changesPerWrite} changes, not ${changes.length}.`)
  }
  const seen = new Set<string>()
  let bytes = 0
  for (const change of changes) {
    bytes += checkChange(change)
    seen.add(`${change.pk}\0${change.sk}`)
  }
  if (seen.size < changes.length) throw new RangeError('A write changes each item once.')
  if (bytes > limits.writeBytes) throw new Problem('too-large', `A write holds at most ${limits.writeBytes} bytes.`)
}

/** @returns its size in bytes */
function checkChange({ pk, sk, expect, body }: Change): number {
  const keyBytes = checkKey(pk) + checkKey(sk)
  if (expect !== 'any' && (!Number.isSafeInteger(expect) || expect < 0)) {
    throw new RangeError('An expected version is a whole number from 0.')
  }
  if (body && body.length > limits.itemBytes) {
    throw new Problem('too-large', `An item holds at most ${limits.itemBytes} bytes.`)
  }
  return keyBytes + (body?.length ?? 0)
}

/**
 * Keys are well-formed Unicode (a lone surrogate would be stored as another key) without NUL, which leaves `key + NUL`
 * free to mean "the next possible key".
 * @returns its size in bytes
 * @throws Problem `too-large` | `bad-encoding`
 */
export function checkKey(key: string): number {
  const bytes = Buffer.byteLength(key)
  if (bytes > limits.keyBytes) {
    throw new Problem('too-large', `A key has at most ${limits.keyBytes} bytes of UTF-8.`)
  }
  if (!key.isWellFormed() || key.includes('\0')) {
    throw new Problem('bad-encoding', 'A key is well-formed text without NUL.')
  }
  return bytes
}

/**
 * @throws RangeError unless the limit is a whole number from 1
 * @throws Problem for a prefix or a place in the list that could not be part of a key
 */
export function checkRange({ prefix, after, limit }: Range): void {
  if (prefix !== undefined) checkKey(prefix)
  if (after !== undefined) checkKey(after)
  if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError('A list has a limit of at least 1.')
}
