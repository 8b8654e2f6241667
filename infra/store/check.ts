/** What every store refuses before it touches anything, so that all of them refuse the same. */
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Range } from '../../protocol/store.ts'

/**
 * A body or a key may have come from outside: those are problems. The rest would be a bug of the caller's.
 * @throws Problem `too-large` for a body over `limits.itemBytes` or a key over `limits.keyBytes`
 * @throws RangeError for no changes, more than `limits.changesPerWrite`, or two of the same item
 */
export function checkChanges(changes: readonly Change[]): void {
  if (changes.length === 0 || changes.length > limits.changesPerWrite) {
    throw new RangeError(`A write has 1 to ${limits.changesPerWrite} changes, not ${changes.length}.`)
  }
  const seen = new Set<string>()
  for (const change of changes) {
    checkChange(change)
    seen.add(`${change.pk}\0${change.sk}`)
  }
  if (seen.size < changes.length) throw new RangeError('A write changes each item once.')
}

function checkChange({ pk, sk, expect, body }: Change): void {
  checkKey(pk)
  checkKey(sk)
  if (expect !== 'any' && (!Number.isSafeInteger(expect) || expect < 0)) {
    throw new RangeError('An expected version is a whole number from 0.')
  }
  if (body && body.length > limits.itemBytes) {
    throw new Problem('too-large', `An item holds at most ${limits.itemBytes} bytes.`)
  }
}

/**
 * Keys are well-formed Unicode (a lone surrogate would be stored as another key) without NUL, which leaves `key + NUL`
 * free to mean "the next possible key".
 * @throws Problem `too-large` | `bad-encoding`
 */
export function checkKey(key: string): void {
  if (Buffer.byteLength(key) > limits.keyBytes) {
    throw new Problem('too-large', `A key has at most ${limits.keyBytes} bytes of UTF-8.`)
  }
  if (!key.isWellFormed() || key.includes('\0')) {
    throw new Problem('bad-encoding', 'A key is well-formed text without NUL.')
  }
}

/** @throws RangeError unless the limit is a whole number from 1 */
export function checkRange({ limit }: Range): void {
  if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError('A list has a limit of at least 1.')
}
