/** What Dropbox's refusals mean (API v2, "Errors" and each route's own). */
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { fatal, passing } from './faults.ts'
import { retryAfterMs, type ProviderRefusal } from './provider-call.ts'

/** With the tags of the error, by which the driver knows what to do next. They stay out of replies. */
class DropboxRefusal extends Problem {
  readonly tags: ReadonlySet<string>

  constructor({ code, message, members }: Problem, tags: ReadonlySet<string>) {
    super(code, message, members)
    this.tags = tags
  }
}

/** Whether a route refused with one of these tags. */
export const isTagged = (error: unknown, ...tags: readonly string[]): boolean =>
  error instanceof DropboxRefusal && tags.some((tag) => error.tags.has(tag))

const RATES = ['too_many_requests', 'too_many_write_operations']
const ANSWERS: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  conflict: ['conflict', 'Something in the Dropbox bears that name.'],
  not_found: ['not-found', 'There is no such file in the Dropbox.'],
  not_file: ['not-found', 'There is no such file in the Dropbox.'],
  unsupported_file: ['not-found', 'There is no such file in the Dropbox.'],
  not_folder: ['not-found', 'There is no such folder in the Dropbox.'],
  // No file bears a name that Dropbox does not take.
  malformed_path: ['not-found', 'There is no such file in the Dropbox: it does not take the name.'],
  disallowed_name: ['bad-request', 'Dropbox does not take the name.'],
  too_large: ['too-large', 'The file is too large for Dropbox.'],
}

export function dropboxProblem(refusal: ProviderRefusal): Problem {
  const tags = new Set(tagsIn((refusal.body as { error?: unknown } | undefined)?.error))
  return new DropboxRefusal(meaning(refusal, tags), tags)
}

function meaning({ status, headers, body, nowMs }: ProviderRefusal, tags: ReadonlySet<string>): Problem {
  const has = (...names: readonly string[]): boolean => names.some((name) => tags.has(name))
  if (status === 401) return fatal('auth', 'Dropbox no longer lets the agent in: link it again.')
  if (status === 429 || has(...RATES)) return passing('Dropbox asks for a pause.', pauseMs(headers, body, nowMs))
  if (status === 408 || status >= 500) return passing('Dropbox is busy.', retryAfterMs(headers, nowMs))
  if (has('insufficient_space', 'insufficient_quota')) return fatal('full', 'The Dropbox is full.')
  if (has('restricted_content')) return fatal('abuse', 'Dropbox does not hand the file out.')
  if (has('content_hash_mismatch')) return passing('Bytes were altered on their way to Dropbox.')
  if (status === 416) return new Problem('range-invalid', 'The range does not fit the file.')
  if (has('invalid_copy_reference')) return fatal('auth', 'Dropbox does not take the copy reference.')
  if (status === 403 || has('no_write_permission', 'no_permission', 'access_denied'))
    return fatal('auth', 'Dropbox does not let the agent do this.')
  const answer = Object.entries(ANSWERS).find(([tag]) => tags.has(tag))?.[1]
  if (answer) return new Problem(...answer)
  return new Problem('storage-unavailable', `Dropbox refused the request (status ${status}).`)
}

/** In the header, and in the body as well. */
function pauseMs(headers: Headers, body: unknown, nowMs: number): number {
  const { error } = (body ?? {}) as { error?: { retry_after?: unknown } }
  const said = retryAfterMs(headers, nowMs)
  return said === 0 && typeof error?.retry_after === 'number' ? error.retry_after * 1000 : said
}

const DEPTH_MOST = 8

/** `.tag`s of a union and of what it holds. */
function tagsIn(error: unknown, depth = 0): readonly string[] {
  if (typeof error !== 'object' || error === null || depth > DEPTH_MOST) return []
  return Object.entries(error).flatMap(([name, value]) =>
    name === '.tag' && typeof value === 'string' ? [value] : tagsIn(value, depth + 1),
  )
}
