/** Errors as Dropbox words them: a union's tags, nested, with a summary of them. */
import { jsonReply, Refused, type Refusal, type Reply, type ServerRequest } from './provider-server.ts'
import { bytesContent } from './s3-content.ts'

/** @param tags `path`, `conflict`, `file` is an error of the endpoint that is `path`, whose value is a conflict with a file */
export function errorReply(status: number, tags: readonly string[], members: object = {}): Reply {
  const [last = 'other', ...above] = tags.toReversed()
  const error = above.reduce<object>((inner, tag) => ({ '.tag': tag, [tag]: inner }), { '.tag': last, ...members })
  return jsonReply(status, { error_summary: `${tags.join('/')}/..`, error })
}

/** An error of the endpoint. */
export function routeError(...tags: readonly string[]): never {
  throw new Refused(errorReply(409, tags))
}

/** An argument that makes no sense is told in plain text. */
export function badInput(text: string): never {
  const body = bytesContent(Buffer.from(`Error in call to API function: ${text}`))
  throw new Refused({ status: 400, headers: { 'content-type': 'text/plain; charset=utf-8' }, body })
}

function rateReply(retryAfterS: number | undefined): Reply {
  const headers = retryAfterS === undefined ? undefined : { 'retry-after': String(retryAfterS) }
  const error = {
    reason: { '.tag': 'too_many_requests' },
    ...(retryAfterS !== undefined && { retry_after: retryAfterS }),
  }
  return jsonReply(429, { error_summary: 'too_many_requests/..', error }, headers)
}

/** Seconds; the longest that was seen. */
const LONG_PAUSE_S = 300

export function refusalReply({ url: { pathname } }: ServerRequest, { why, retryAfterS }: Refusal): Reply {
  if (why === 'rate') return rateReply(retryAfterS)
  if (why === 'daily-cap') return rateReply(LONG_PAUSE_S)
  if (why === 'token-expired') return errorReply(401, ['expired_access_token'])
  if (why === 'full') return errorReply(409, ['path', 'insufficient_space'])
  if (why === 'session-gone')
    return errorReply(409, pathname.endsWith('/finish') ? ['lookup_failed', 'not_found'] : ['not_found'])
  if (why === 'busy') {
    const after = retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }
    return { status: 503, headers: { 'content-type': 'text/plain', ...after }, body: bytesContent(Buffer.from('busy')) }
  }
  if (pathname !== '/oauth2/token') return errorReply(409, ['path', 'no_write_permission'])
  return jsonReply(400, { error: 'invalid_grant', error_description: 'refresh token is invalid or revoked' })
}
