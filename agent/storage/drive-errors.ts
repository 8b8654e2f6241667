/** What Drive's refusals mean (Drive API, "Resolve errors"; the reasons of Google's `usageLimits`). */
import { Problem } from '../../protocol/problem.ts'
import { fatal, parked, passing } from './faults.ts'
import { retryAfterMs, type ProviderRefusal } from './provider-call.ts'

const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS
/** Midnight in California, where Google's days begin; an hour late in summer. */
const RESET_MS = 8 * HOUR_MS
/** Rates are counted by the minute. A row of refusals this long is a cap: Drive says the same when the day's upload is used up. */
const ROW_MS = 3 * 60 * 1000

const CAPS = new Set(['dailyLimitExceeded', 'quotaExceeded', 'uploadQuotaExceeded'])
/** "The download quota for this file has been exceeded": other files are served. Older replies say the second. */
const FILE_CAPS = new Set(['downloadQuotaExceeded', 'quotaExceeded'])
const RATES = new Set(['rateLimitExceeded', 'userRateLimitExceeded', 'sharingRateLimitExceeded'])
const FULL = new Set(['storageQuotaExceeded', 'teamDriveFileLimitExceeded', 'numChildrenInNonRootLimitExceeded'])
const GONE = new Set([404, 410])

/** No fault, which would park the account: whoever reads the file parks it. */
export class FileCapped extends Problem {
  readonly untilMs: number

  constructor(untilMs: number) {
    super('storage-parked', 'Drive’s downloads of this file are used up for the day.')
    this.untilMs = untilMs
  }
}

export interface DriveErrors {
  problemIn(refusal: ProviderRefusal): Problem
  /** An answer ends the row of rate limits on requests of its kind. */
  answered(url: string): void
}

export function createDriveErrors(): DriveErrors {
  const rows = new Map<string, { readonly fromMs: number; readonly lastMs: number }>()

  /** Many at once may be refused in one second: it is time that counts. After a long silence a row begins anew. */
  function rate({ url, headers, nowMs }: ProviderRefusal): Problem {
    const row = rows.get(kindOf(url))
    const fromMs = row && nowMs - row.lastMs < ROW_MS ? row.fromMs : nowMs
    rows.set(kindOf(url), { fromMs, lastMs: nowMs })
    if (nowMs - fromMs < ROW_MS) return passing('Drive asks for a pause.', retryAfterMs(headers, nowMs))
    rows.delete(kindOf(url))
    return parked('Drive answers nothing for now, as when a daily cap is reached.', nowMs + HOUR_MS)
  }

  return {
    answered: (url) => void rows.delete(kindOf(url)),
    problemIn(refusal) {
      const { status, nowMs } = refusal
      const reason = reasonIn(refusal.body)
      if (status === 401) return fatal('auth', 'Drive no longer lets the agent in: link it again.')
      if (RATES.has(reason)) return rate(refusal)
      if (FILE_CAPS.has(reason) && isDownload(refusal.url)) return new FileCapped(nextReset(nowMs))
      if (CAPS.has(reason)) return parked('Drive’s daily cap is reached.', nextReset(nowMs))
      if (FULL.has(reason)) return fatal('full', 'The Drive is full.')
      if (reason === 'cannotDownloadAbusiveFile') return fatal('abuse', 'Drive takes the file for malware or spam.')
      if (GONE.has(status) || reason === 'fileNotDownloadable')
        return new Problem('not-found', 'There is no such file in the Drive.')
      if (status === 403) return fatal('auth', 'Drive does not let the agent do this.')
      if (status === 416) return new Problem('range-invalid', 'The range does not fit the file.')
      if (isAway(status)) return passing('Drive is busy.', retryAfterMs(refusal.headers, nowMs))
      return new Problem('storage-unavailable', `Drive refused the request (status ${status}).`)
    },
  }
}

const isAway = (status: number): boolean => status === 408 || status === 429 || status >= 500

const isDownload = (url: string): boolean => kindOf(url) === 'alt=media'

/** A cap on bytes of one way leaves the others as they are. */
const kindOf = (url: string): string => /\/upload\/|alt=media/.exec(url)?.[0] ?? ''

export const nextReset = (nowMs: number): number => Math.floor((nowMs - RESET_MS) / DAY_MS + 1) * DAY_MS + RESET_MS

/** `error.errors[0].reason`: a word, or nothing. */
function reasonIn(body: unknown): string {
  const { error } = (body ?? {}) as { error?: { errors?: { 0?: { reason?: unknown } } } }
  const reason = error?.errors?.[0]?.reason
  return typeof reason === 'string' ? reason : ''
}
