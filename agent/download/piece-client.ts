/** How a piece crosses the network into a buffer that is there already. This one works over any transport; a host may bring a faster one. */
import { fromUtf8 } from '../../protocol/bytes.ts'
import type { Transport } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { readBody } from '../../protocol/exchange.ts'
import { contentRange, isSame, rangeHeader } from '../storage/ranges.ts'
import type { ByteRange } from '../storage/storage.ts'

export interface PieceRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** As long as the piece: a body of any other length is refused. */
  readonly into: Uint8Array
  /** Of a file elsewhere: asked for as a range, and taken as 206 with that very Content-Range alone. */
  readonly range?: ByteRange
  /** Told of each run of bytes, in order, as it lies in `into`. */
  readonly onChunk?: (chunk: Uint8Array) => void
  readonly signal: AbortSignal
}

export interface PieceResponse {
  readonly status: number
  readonly headers: Headers
  /** Bytes put into `into`: all of it for 200 (206 of a range), else 0. */
  readonly length: number
  /** The piece lies in the storage already: the provider copied it, and its checksum is right. */
  readonly copied?: boolean
  /** What came with another status, where it is JSON: a stranger's word. */
  readonly problem?: unknown
}

/** What is said to a seller between its pieces. */
export interface PieceMessage {
  readonly url: string
  readonly json: unknown
  readonly signal: AbortSignal
}

/** `document` is a stranger's word, up to 64 KiB; undefined for what is not JSON. */
export interface PieceAnswer {
  readonly status: number
  readonly document: unknown
}

export interface PieceClient {
  /** @throws Problem `peer-failed` for a broken transfer or a wrong length; the signal's reason when it aborts */
  get(request: PieceRequest): Promise<PieceResponse>
  /** Says something that may arrive twice. @throws as `get` */
  post(message: PieceMessage): Promise<PieceAnswer>
}

/** Redirects are answers like any other: none is followed. */
export function pieceClientOver(transport: Transport): PieceClient {
  async function exchange<T>(
    { url, signal }: { readonly url: string; readonly signal: AbortSignal },
    init: Pick<RequestInit, 'method' | 'headers' | 'body'>,
    take: (response: Response, aborted: Promise<never>) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted()
    const { aborted, forget } = rejection(signal)
    try {
      const request = new Request(url, { ...init, signal, redirect: 'manual' })
      return await take(await Promise.race([transport(request), aborted]), aborted)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof Problem ? error : new Problem('peer-failed', 'The transfer of the piece broke off.')
    } finally {
      forget()
    }
  }

  return {
    get(request) {
      const { into, range, onChunk } = request
      const headers = { ...request.headers, ...(range && { range: rangeHeader(range) }) }
      return exchange(request, { headers }, async (response, aborted) => {
        if (response.status === goodStatus(range)) {
          checkRange(range, response.headers)
          const length = await fill(response, into, onChunk, aborted)
          return { status: response.status, headers: response.headers, length }
        }
        const problem = await Promise.race([document(response), aborted])
        return { status: response.status, headers: response.headers, length: 0, problem }
      })
    },
    post(message) {
      const init = { method: 'POST', headers: JSON_TYPE, body: JSON.stringify(message.json) }
      return exchange(message, init, async (response, aborted) => ({
        status: response.status,
        document: await Promise.race([document(response), aborted]),
      }))
    },
  }
}

export const JSON_TYPE = { 'content-type': 'application/json' } as const

export const goodStatus = (range: ByteRange | undefined): 200 | 206 => (range ? 206 : 200)

/** @throws Problem `peer-failed` unless it is the range that was asked for */
export function checkRange(range: ByteRange | undefined, headers: Headers): void {
  if (!range || isSame(contentRange(headers.get('content-range')), range)) return
  throw new Problem('peer-failed', 'The link answered with another range than was asked for.')
}

/** What does not know of signals, as a transport may not, races with this. */
export function rejection(signal: AbortSignal): { readonly aborted: Promise<never>; readonly forget: () => void } {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  aborted.catch(() => undefined)
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return { aborted, forget: () => signal.removeEventListener('abort', abort) }
}

async function fill(
  response: Response,
  into: Uint8Array,
  onChunk: ((chunk: Uint8Array) => void) | undefined,
  aborted: Promise<never>,
): Promise<number> {
  const said = response.headers.get('content-length')
  if (said !== null && said !== String(into.length)) return refuse(response, into.length, said)
  let length = 0
  for await (const chunk of chunksOf(response, aborted)) {
    if (length + chunk.length > into.length) return refuse(response, into.length, 'more')
    into.set(chunk, length)
    onChunk?.(into.subarray(length, length + chunk.length))
    length += chunk.length
  }
  return length === into.length ? length : refuse(response, into.length, String(length))
}

async function document(response: Response): Promise<unknown> {
  try {
    return JSON.parse(fromUtf8(await readBody(response, limits.jsonBytes))) as unknown
  } catch {
    return undefined
  }
}

/** Leaving the loop, for whatever reason, ends the transfer. */
async function* chunksOf(response: Response, aborted: Promise<never>): AsyncGenerator<Uint8Array> {
  if (!response.body) return
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader()
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), aborted])
      if (done) return
      yield value
    }
  } finally {
    reader.cancel().catch(() => undefined)
  }
}

function refuse(response: Response, expected: number, got: string): never {
  response.body?.cancel().catch(() => undefined)
  throw new Problem('peer-failed', `The piece has ${expected} bytes, the answer ${got}.`)
}
