/** Pieces over kept connections on Node, each read straight into its buffer. Entry points choose it over the portable one. */
import { Problem } from '../../protocol/problem.ts'
import { rangeHeader } from '../storage/ranges.ts'
import { openConnection, type Answer, type Connection, type Endpoint, type Exchange } from './piece-connection.ts'
import { checkRange, goodStatus, JSON_TYPE, rejection, type PieceClient, type PieceResponse } from './piece-client.ts'

/** Idle connections kept for a peer, and the peers, those asked last, that they are kept for. */
const IDLE_PER_PEER = 8
const IDLE_PEERS = 64
const NOWHERE = new Uint8Array(0)
const FIELD_VALUE = /^[\t\x20-\x7e]*$/

/** @param pin the address that may be connected to for a URL; refuses what the operator does not allow */
export function pieceClientNode(pin: (url: URL) => Promise<string>): PieceClient {
  const idle = new Map<string, Connection[]>()

  async function connectionTo(url: URL, signal: AbortSignal): Promise<{ connection: Connection; reused: boolean }> {
    const kept = idle.get(url.origin)
    for (let connection = kept?.pop(); connection; connection = kept?.pop()) {
      if (connection.usable) return { connection, reused: true }
    }
    const { aborted, forget } = rejection(signal)
    const address = await Promise.race([pin(url), aborted]).finally(forget)
    return { connection: openConnection(endpointOf(url, address)), reused: false }
  }

  function keep(url: URL, connection: Connection): void {
    if (!connection.usable) return
    const kept = idle.get(url.origin) ?? []
    if (kept.length >= IDLE_PER_PEER) return connection.destroy()
    kept.push(connection)
    idle.delete(url.origin)
    idle.set(url.origin, kept)
    for (const [longestUnasked, connections] of idle) {
      if (idle.size <= IDLE_PEERS) return
      idle.delete(longestUnasked)
      for (const each of connections) each.destroy()
    }
  }

  async function attempt(url: URL, exchange: Exchange, signal: AbortSignal): Promise<Answer> {
    const { connection, reused } = await connectionTo(url, signal)
    let received = false
    const abort = () => connection.destroy()
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      const answer = await connection.ask({
        ...exchange,
        onChunk: (chunk) => {
          received = true
          exchange.onChunk(chunk)
        },
      })
      keep(url, connection)
      return answer
    } catch (error) {
      signal.throwIfAborted()
      // A peer may close an idle connection just as it is used again. Asking once more is safe: a tick is spent once.
      if (reused && !received) return await attempt(url, exchange, signal)
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  return {
    async get({ url: text, headers, into, range, onChunk, signal }) {
      signal.throwIfAborted()
      const url = new URL(text)
      const head = requestHead('GET', url, { ...headers, ...(range && { range: rangeHeader(range) }) })
      const hear = (chunk: Uint8Array): void => onChunk?.(chunk)
      const answer = await attempt(url, { head, into, good: goodStatus(range), onChunk: hear }, signal)
      if (answer.status === 206) checkRange(range, answer.headers)
      return response(answer)
    },
    async post({ url: text, json, signal }) {
      signal.throwIfAborted()
      const url = new URL(text)
      const body = Buffer.from(JSON.stringify(json)).toString('latin1')
      const head = requestHead('POST', url, { ...JSON_TYPE, 'content-length': String(body.length) }) + body
      const answer = await attempt(url, { head, into: NOWHERE, good: undefined, onChunk: () => undefined }, signal)
      return { status: answer.status, document: parse(answer.body) }
    },
  }
}

function endpointOf(url: URL, address: string): Endpoint {
  const secure = url.protocol === 'https:'
  return { secure, servername: url.hostname, address, port: Number(url.port || (secure ? 443 : 80)) }
}

function requestHead(method: 'GET' | 'POST', url: URL, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => {
    if (!FIELD_VALUE.test(value))
      throw new Problem('bad-request', `The header ${name} has characters that HTTP refuses.`)
    return `${name}: ${value}\r\n`
  })
  return `${method} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n${lines.join('')}\r\n`
}

function response({ status, headers, body }: Answer): PieceResponse {
  if (status === 200 || status === 206) return { status, headers, length: body.length }
  return { status, headers, length: 0, problem: parse(body) }
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown
  } catch {
    return undefined
  }
}
