/**
 * What a provider's refusal means for whoever waits, said in a Problem's members so that no layer above knows a vendor:
 * - `retryAfterMs`: it may pass; again after so long (0: the caller's own backoff),
 * - `parkUntil`: an allowance is used up; nothing moves before that time (milliseconds since 1970),
 * - `fatal`: it does not pass by itself, and asking again is useless.
 * A Problem without any of them is an answer (`not-found`, `content-changed`…), and is handed on at once.
 */
import { Problem, type ProblemCode } from '../../protocol/problem.ts'

/** Whose turn it is then: the owner links anew, makes room, says what the file is; a file that is gone or wrong stays so. */
export type FatalCause = 'auth' | 'full' | 'abuse' | 'gone' | 'corrupt'

export type Fault =
  | { readonly kind: 'retry'; readonly afterMs: number }
  | { readonly kind: 'park'; readonly untilMs: number }
  | { readonly kind: 'fatal'; readonly cause: FatalCause }

const CODES: Readonly<Record<FatalCause, ProblemCode>> = {
  auth: 'storage-denied',
  full: 'storage-full',
  abuse: 'storage-denied',
  gone: 'not-found',
  corrupt: 'storage-unavailable',
}

/** Busy, away, a fault of the provider's. @param retryAfterMs as the provider said, if it did */
export const passing = (detail: string, retryAfterMs = 0): Problem =>
  new Problem('storage-unavailable', detail, { retryAfterMs })

/** @param parkUntil milliseconds since 1970 */
export const parked = (detail: string, parkUntil: number): Problem =>
  new Problem('storage-parked', detail, { parkUntil })

export const fatal = (cause: FatalCause, detail: string): Problem => new Problem(CODES[cause], detail, { fatal: cause })

/** For a `catch` where nothing may be there. */
export function unlessNotFound(error: unknown): undefined {
  if (!(error instanceof Problem && error.code === 'not-found')) throw error
  return undefined
}

/** The provider no longer has what was put of a file: `written` says what is left, and the rest is put again. */
export function isForgotten(error: unknown): boolean {
  const fault = faultOf(error)
  return fault?.kind === 'fatal' && fault.cause === 'gone'
}

/** @returns undefined for an answer */
export function faultOf(error: unknown): Fault | undefined {
  if (!(error instanceof Problem)) return undefined
  const { retryAfterMs, parkUntil, fatal: cause } = error.members
  if (typeof cause === 'string') return { kind: 'fatal', cause: cause as FatalCause }
  if (typeof parkUntil === 'number') return { kind: 'park', untilMs: parkUntil }
  return typeof retryAfterMs === 'number' ? { kind: 'retry', afterMs: retryAfterMs } : undefined
}
