/**
 * Calls to a ledger or a repository, over the environment's transport. Every call is idempotent (objects are known by
 * their ids), so a lost reply is answered by asking again. What comes back is a stranger's word: its size, its form and
 * the time it takes are limited here, and nothing but a `Problem` leaves.
 */
import type { z } from '@hono/zod-openapi'
import { fromUtf8, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { exchange, type Reply } from '../../protocol/exchange.ts'
import { limits } from '../../protocol/limits.ts'
import { isProblemCode, Problem, PROBLEMS } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeFromJson, verifyEnvelope, type Envelope, type Kind } from '../../protocol/signed.ts'

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** From the root, with its query. */
  readonly path: string
  readonly json?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly upload?: { readonly contentType: string; readonly bytes: Bytes }
  /** The client's unless given. */
  readonly replyBytes?: number
  /** `limits.callTimeoutMs` unless given; `limits.uploadTimeoutMs` with an upload. */
  readonly timeoutMs?: number
  /** `limits.callAttempts` unless given. */
  readonly attempts?: number
}

export interface HttpClient {
  /** @throws Problem the other side's own (4xx with a known code); `too-large` for what does not even reach it; else `peer-failed` */
  json<T>(call: Call, shape: z.ZodType<T>): Promise<T>
  bytes(call: Call): Promise<Bytes>
}

/** Parts of replies. */
export const money = wire.money.transform(BigInt)
/** A signed object of one kind, its signature verified. */
export const signed = (kind: Kind): z.ZodType<Envelope> =>
  wire.envelope.transform((json) => {
    const envelope = envelopeFromJson(json, kind)
    verifyEnvelope(kind, envelope)
    return envelope
  })

const PROBLEM_TEXT = 500
const [TOO_LARGE] = PROBLEMS['too-large']
const RFC9457_MEMBERS = new Set(['type', 'title', 'status', 'detail', 'instance', 'code'])

/** @param url of the service, without a trailing slash @param replyBytes of an answer at the most */
export function createHttpClient(environment: Environment, url: string, replyBytes = limits.replyBytes): HttpClient {
  const { clock, random } = environment

  const unreachable = (error: unknown): Problem =>
    error instanceof Problem ? error : new Problem('peer-failed', `${url} could not be reached.`)

  async function bytes(call: Call): Promise<Bytes> {
    const reply = await send(call)
    if (reply.status < 200 || reply.status > 299) throw problemIn(reply, url, sentBytes(call))
    return reply.body
  }

  async function json<T>(call: Call, shape: z.ZodType<T>): Promise<T> {
    const document = parseJson(await bytes(call))
    try {
      return shape.parse(document)
    } catch {
      throw new Problem('peer-failed', `The answer of ${url} is malformed.`)
    }
  }

  async function send(call: Call): Promise<Reply> {
    for (let attempt = 1; ; attempt++) {
      const reply = await exchangeOnce(environment, url, { replyBytes, ...call }).catch(unreachable)
      const settled = !(reply instanceof Error) && reply.status < 500
      if (settled || attempt >= (call.attempts ?? limits.callAttempts)) return orThrow(reply)
      await clock.sleep(Math.max(pauseMs(attempt), waitMs(reply)))
    }
  }

  /** Doubles each time; half of it is random, so that many agents do not come back in step. */
  function pauseMs(attempt: number): number {
    const [jitter = 0] = random.bytes(1)
    return limits.callPauseMs * 2 ** (attempt - 1) * (0.5 + jitter / 512)
  }

  return { json, bytes }
}

/** What a busy service asks for. */
function waitMs(reply: Reply | Problem): number {
  const document = reply instanceof Problem ? undefined : parseJson(reply.body)
  const asked = isRecord(document) ? document['retryAfterMs'] : undefined
  return typeof asked === 'number' ? Math.min(asked, limits.callWaitMs) : 0
}

/** One try: request, reply and its body within the time limit. */
function exchangeOnce(
  environment: Environment,
  url: string,
  call: Call & { readonly replyBytes: number },
): Promise<Reply> {
  const timeoutMs = call.timeoutMs ?? (call.upload ? limits.uploadTimeoutMs : limits.callTimeoutMs)
  const bounds = { timeoutMs, replyBytes: call.replyBytes }
  return exchange(environment, url + call.path, requestOf(call), bounds)
}

function requestOf({ method, upload, json, headers }: Call): Pick<RequestInit, 'method' | 'body' | 'headers'> {
  if (upload) return { method, body: upload.bytes, headers: { ...headers, 'content-type': upload.contentType } }
  if (json === undefined) return { method, ...(headers && { headers }) }
  return { method, body: JSON.stringify(json), headers: { ...headers, 'content-type': 'application/json' } }
}

const sentBytes = ({ upload, json }: Call): number =>
  upload?.bytes.length ?? (json === undefined ? 0 : utf8(JSON.stringify(json)).length)

/** What a refusal says: a code of ours where it is the caller's fault; a fault of theirs is never mistaken for one of ours. */
function problemIn({ status, body }: Reply, url: string, bytes: number): Problem {
  const document = parseJson(body)
  const { code, detail, ...rest } = isRecord(document) ? document : {}
  // What stands before a service, such as AWS Lambda, takes less than the service itself, and gives no reason.
  if (status === TOO_LARGE && !isProblemCode(code) && bytes > 0)
    return new Problem('too-large', `${url} takes no request of ${bytes} bytes.`, { bytes })
  if (!isProblemCode(code) || PROBLEMS[code][0] >= 500 || status >= 500) {
    return new Problem('peer-failed', `${url} answered with status ${status}.`)
  }
  const members = Object.fromEntries(Object.entries(rest).filter(([name]) => !RFC9457_MEMBERS.has(name)))
  const text = typeof detail === 'string' ? detail : PROBLEMS[code][1]
  return new Problem(code, text.slice(0, PROBLEM_TEXT), members)
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** `undefined` for what is not JSON: no shape accepts it. */
function parseJson(body: Bytes): unknown {
  try {
    return JSON.parse(fromUtf8(body))
  } catch {
    return undefined
  }
}

function orThrow(reply: Reply | Problem): Reply {
  if (reply instanceof Problem) throw reply
  return reply
}
