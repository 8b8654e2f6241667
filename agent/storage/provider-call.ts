/**
 * Requests to a provider, as its SDK and our own calls send them: authorised, renewed once when the token has run out,
 * limited in time, paced; what is refused becomes a Problem. Nothing of a request or a reply gets into an error.
 */
import type { Clock, Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import { passing } from './faults.ts'
import type { Access } from './oauth.ts'
import type { Pacer } from './pacer.ts'
import { contentRange, isSame, outOfRange } from './ranges.ts'
import type { ByteRange } from './storage.ts'

/** In the shape of `fetch`, as SDKs take it. */
export type Send = (url: string | URL, init?: SendInit) => Promise<Response>

export interface SendInit {
  readonly method?: string | undefined
  readonly headers?: HeadersInit | undefined
  /** Sent again as it is when the token had run out. */
  readonly body?: BodyInit | null | undefined
  readonly signal?: AbortSignal | null | undefined
}

export interface ProviderCalls {
  /** @throws Problem unless the status is good */
  readonly send: Send
  /** A request in its turn, tried again where that helps. */
  readonly paced: <T>(action: (signal: AbortSignal) => Promise<T>, options?: PacedOptions) => Promise<T>
}

export interface PacedOptions {
  readonly units?: number
  /** From the beginning, or from when the last bytes of a part moved. */
  readonly timeoutMs?: number
}

export interface ProviderCallsOptions {
  readonly environment: Environment
  /** For people, such as `Drive`. */
  readonly name: string
  readonly access: Access
  readonly pacer: Pacer
  /** Statuses that are answers too; 2xx always are. */
  readonly alsoGood?: readonly number[]
  readonly problemIn: (refusal: ProviderRefusal) => Problem
  /** Told of every answer that is good. */
  readonly onGood?: (url: string) => void
}

export interface ProviderRefusal {
  /** May hold what is secret: never part of a Problem. */
  readonly url: string
  readonly status: number
  readonly headers: Headers
  /** As JSON; undefined for what is none. */
  readonly body: unknown
  readonly nowMs: number
}

const TIMEOUT_MS = 15_000
/** For bytes: a part may take as long as its line needs, and is given up once none of it has come or gone for so long. */
export const IDLE_MS = 60_000
/** For what a provider does with a whole file by itself. */
export const SLOW_MS = 120_000
/** Of a body that is sent: what goes in one go. */
const CHUNK_BYTES = 256 * 1024
const REFUSAL_BYTES = 64 * 1024

export function createProviderCalls(options: ProviderCallsOptions): ProviderCalls {
  const { environment, name, access, pacer, problemIn, onGood, alsoGood = [] } = options
  const { clock, transport } = environment

  async function exchange(url: string | URL, init: SendInit, token: string): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${token}`)
    const { method = 'GET', signal = null } = init
    const request = new Request(url, { method, headers, ...bodyOf(init, headers), signal, redirect: 'manual' })
    return transport(request).catch((error: unknown) => {
      if (error instanceof Problem) throw error
      throw passing(`${name} could not be reached.`)
    })
  }

  async function send(url: string | URL, init: SendInit = {}): Promise<Response> {
    const token = await access.token()
    let response = await exchange(url, init, token)
    if (response.status === 401) {
      await response.body?.cancel()
      response = await exchange(url, init, await access.renew(token))
    }
    if (response.ok || alsoGood.includes(response.status)) {
      onGood?.(String(url))
      return response
    }
    const { status, headers } = response
    throw problemIn({ url: String(url), status, headers, body: await jsonIn(response), nowMs: clock.now() })
  }

  return {
    send,
    paced: (action, { units = 1, timeoutMs = TIMEOUT_MS } = {}) =>
      pacer.run(() => within(clock, name, timeoutMs, action).catch(rethrowProblem(name)), units),
  }
}

/** Bytes are sent from where they lie: `Request` would copy them, a part of a file each time. */
function bodyOf({ body = null, signal }: SendInit, headers: Headers): RequestInit & { readonly duplex?: 'half' } {
  if (!(body instanceof Uint8Array) || body.length === 0) return { body }
  headers.set('content-length', String(body.length))
  let at = 0
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      moved(signal)
      controller.enqueue(body.subarray(at, (at += CHUNK_BYTES)))
      if (at >= body.length) controller.close()
    },
  })
  return { body: stream, duplex: 'half' }
}

/** SDKs wrap what their `fetch` throws. */
function rethrowProblem(name: string): (error: unknown) => never {
  return (error) => {
    for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof Problem) throw cause
    throw passing(`${name} answered with what makes no sense.`)
  }
}

async function jsonIn(response: Response): Promise<unknown> {
  try {
    return JSON.parse((await response.text()).slice(0, REFUSAL_BYTES))
  } catch {
    return undefined
  }
}

/** Made once: an abort without a reason makes a new error, with its stack, for every call. */
const OVER = new Error('The call is over.')

/** When bytes of a call moved last, by its signal: that alone do SDKs hand on to their `fetch`. */
const moves = new WeakMap<AbortSignal, { lastMs: number; readonly clock: Clock }>()

/** The call's time begins anew. */
function moved(signal: AbortSignal | null | undefined): void {
  const call = signal && moves.get(signal)
  if (call) call.lastMs = call.clock.now()
}

/** @throws Problem `storage-unavailable` when it takes longer, and no bytes move meanwhile */
export async function within<T>(
  clock: Clock,
  name: string,
  timeoutMs: number,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController()
  const call = { lastMs: clock.now(), clock }
  moves.set(abort.signal, call)
  async function late(): Promise<never> {
    for (let leftMs = timeoutMs; leftMs > 0; leftMs = call.lastMs + timeoutMs - clock.now()) {
      await clock.sleep(leftMs, abort.signal)
    }
    throw passing(`${name} did not answer in time.`)
  }
  const lateness = late()
  try {
    return await Promise.race([action(abort.signal), lateness])
  } finally {
    lateness.catch(() => undefined)
    abort.abort(OVER)
  }
}

/** Seconds, or a date (RFC 9110 §10.2.3). @returns 0 where nothing is said */
export function retryAfterMs(headers: Headers, nowMs: number): number {
  const text = headers.get('retry-after')
  if (text === null) return 0
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs
  return Number.isFinite(ms) ? Math.max(0, ms) : 0
}

/** Demands the very range and reads it to its end. @throws Problem `range-invalid` beyond the end, `storage-unavailable` for anything else */
export async function readRange(
  name: string,
  response: Response,
  range: ByteRange,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const held = contentRange(response.headers.get('content-range'))
  if (response.status !== 206 || !isSame(held, range)) {
    await response.body?.cancel()
    if (held?.total !== undefined && held.total < range.offset + range.length) outOfRange()
    throw passing(`${name} answered with another range than was asked for.`)
  }
  const filled = await fill(response, into, signal).catch(() => -1)
  if (filled !== range.length) throw passing(`${name} answered with another number of bytes than was asked for.`)
}

/** @returns how many bytes came; those beyond the buffer count and are not kept */
async function fill(response: Response, into: Uint8Array, signal: AbortSignal): Promise<number> {
  let at = 0
  if (!response.body) return at
  for await (const chunk of response.body as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>) {
    moved(signal)
    if (at + chunk.length <= into.length) into.set(chunk, at)
    at += chunk.length
    if (at > into.length) break
  }
  return at
}
