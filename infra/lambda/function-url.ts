/**
 * A hono app behind a Lambda function URL with response streaming (payload format 2.0). The request is built here, since
 * what a stranger sends must get an answer of the app: also what `Request` itself refuses, such as a GET with a body.
 */
import { pipeline } from 'node:stream/promises'
import type { Writable } from 'node:stream'
import { Problem, problemOf } from '../../protocol/problem.ts'
import type { LogLines } from './log-lines.ts'

/** What the runtime adds to the global scope of a function. */
export interface LambdaStreaming {
  streamifyResponse<E>(handler: UrlHandler<E>): UrlHandler<E>
  readonly HttpResponseStream: { from(stream: Writable, metadata: ResponseMetadata): Writable }
}

export type UrlHandler<E> = (event: E, stream: Writable, invocation: Invocation) => Promise<void>

/** What the runtime tells of an event besides. */
export interface Invocation {
  getRemainingTimeInMillis(): number
}

export interface ResponseMetadata {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly cookies: readonly string[]
}

export interface UrlEvent {
  readonly rawPath: string
  readonly rawQueryString: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly requestContext: {
    readonly domainName: string
    readonly http: { readonly method: string; readonly sourceIp: string }
  }
  readonly body?: string
  readonly isBase64Encoded: boolean
}

export type AppFetch = (request: Request, env?: object) => Response | Promise<Response>

/** @param open the app, made when the first event comes: what fails then is answered, and tried again with the next */
export const functionUrl = (
  open: (event: UrlEvent) => Promise<AppFetch>,
  streaming: LambdaStreaming,
  log: LogLines,
): UrlHandler<UrlEvent> => streaming.streamifyResponse(urlHandler(open, streaming, log))

/** The same for a function that is called for other reasons too. */
export const urlHandler =
  (open: (event: UrlEvent) => Promise<AppFetch>, streaming: LambdaStreaming, log: LogLines): UrlHandler<UrlEvent> =>
  async (event, stream) => {
    const answered = log.begin({ method: event.requestContext.http.method, path: event.rawPath })
    const response = await answer(open, event, log)
    answered(response.status)
    const out = streaming.HttpResponseStream.from(stream, metadataOf(response))
    // An empty body must still be ended: the runtime sends the head with the first write.
    if (response.body) await pipeline(response.body, out)
    else out.end('')
  }

/** Why is for whoever reads the log: what AWS says names the account. */
const NO_ANSWER = 'The service cannot answer now.'

async function answer(open: (event: UrlEvent) => Promise<AppFetch>, event: UrlEvent, log: LogLines): Promise<Response> {
  try {
    const app = await open(event)
    return await app(requestOf(event), { event })
  } catch (error) {
    const problem = problemOf(error)
    if (problem.status < 500) return refusal(problem)
    log.fault(error)
    return refusal(new Problem(problem.code, NO_ANSWER))
  }
}

/** The host is what Lambda saw, not what the client wrote. @throws Problem `bad-request` */
function requestOf({ rawPath, rawQueryString, headers, requestContext, body, isBase64Encoded }: UrlEvent): Request {
  const query = rawQueryString === '' ? '' : `?${rawQueryString}`
  const { method } = requestContext.http
  const sent = body === undefined ? undefined : Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8')
  try {
    return new Request(`https://${requestContext.domainName}${rawPath}${query}`, {
      method,
      headers: Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ...(sent && { body: sent }),
    })
  } catch (error) {
    throw new Problem('bad-request', `This is no request: ${error instanceof Error ? error.message : 'its form'}.`)
  }
}

function refusal(problem: Problem): Response {
  const headers = { 'content-type': 'application/problem+json' }
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}

function metadataOf({ status, headers }: Response): ResponseMetadata {
  const fields = [...headers].filter(([name]) => name !== 'set-cookie')
  return { statusCode: status, headers: Object.fromEntries(fields), cookies: headers.getSetCookie() }
}
