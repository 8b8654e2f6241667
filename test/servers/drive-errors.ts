/** Errors as Google's APIs word them (Drive API, "Resolve errors"). */
import type { ServerFault } from '../conformance/storage-world.ts'
import { jsonReply, Refused, type Reply } from './provider-server.ts'

type Refusal = Extract<ServerFault, { kind: 'refuse' }>

export function errorReply(code: number, reason: string, message: string, headers = {}): Reply {
  const domain = /Limit|quota/i.test(reason) ? 'usageLimits' : 'global'
  return jsonReply(code, { error: { code, message, errors: [{ domain, reason, message }] } }, headers)
}

export function driveError(code: number, reason: string, message: string): never {
  throw new Refused(errorReply(code, reason, message))
}

const REFUSALS: Readonly<Record<Refusal['why'], readonly [number, string, string]>> = {
  busy: [503, 'backendError', 'Backend Error'],
  rate: [403, 'userRateLimitExceeded', 'User Rate Limit Exceeded'],
  'daily-cap': [403, 'dailyLimitExceeded', 'Daily Limit Exceeded'],
  'token-expired': [401, 'authError', 'Invalid Credentials'],
  denied: [403, 'insufficientFilePermissions', 'The user does not have sufficient permissions for this file.'],
  full: [403, 'storageQuotaExceeded', "The user's Drive storage quota has been exceeded."],
  'session-gone': [404, 'notFound', 'Upload session not found.'],
}

/** A rate is told with 429 where the reply says how long to wait. */
export function refusalReply({ why, retryAfterS }: Refusal): Reply {
  const [code, reason, message] = REFUSALS[why]
  if (retryAfterS === undefined) return errorReply(code, reason, message)
  const headers = { 'retry-after': String(retryAfterS) }
  if (why === 'rate') return errorReply(429, 'rateLimitExceeded', 'Rate Limit Exceeded', headers)
  return errorReply(code, reason, message, headers)
}
