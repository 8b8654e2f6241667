/** A transport for calls to strangers: it connects to the very address that was judged, whatever the name says by then. */
import { Agent as HttpAgent, request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import { Readable } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import type { ReadableStream as NodeStream } from 'node:stream/web'
import type { Transport } from '../protocol/environment.ts'

/** Statuses of replies that never have a body (fetch standard, "null body status"). */
const BODILESS = new Set([204, 205, 304])

/** @param pin the address to connect to for a URL; what it throws, the call throws */
export function pinnedTransport(pin: (url: URL) => Promise<string>): Transport {
  return async (request) => {
    const url = new URL(request.url)
    const address = await pin(url)
    const body = request.body ? new Uint8Array(await request.arrayBuffer()) : undefined
    return responseOf(await exchange(url, optionsFor(url, address, request), body))
  }
}

/** An agent's transport: the services that its operator chose are called as they are, everyone else as judged. */
export function guardedTransport(
  chosen: readonly string[],
  pin: (url: URL) => Promise<string>,
  open: Transport,
): Transport {
  const origins = new Set(chosen.map((url) => new URL(url).origin))
  const pinned = pinnedTransport(pin)
  return (request) => (origins.has(new URL(request.url).origin) ? open : pinned)(request)
}

/** A kept connection leads to the address that was judged when it was opened. */
const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) }

/** The name stays for `Host` and for TLS; only its resolution is replaced. A name that is an address resolves to itself. */
function optionsFor(url: URL, address: string, { method, headers, signal }: Request): RequestOptions {
  const family = isIP(address)
  return {
    ...urlToHttpOptions(url),
    method,
    headers: Object.fromEntries(headers),
    signal,
    lookup: (_hostname, { all }, callback) =>
      all ? callback(null, [{ address, family }]) : callback(null, address, family),
  }
}

async function exchange(url: URL, options: RequestOptions, body: Uint8Array | undefined): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const send = url.protocol === 'https:' ? requestHttps : requestHttp
  const agent = url.protocol === 'https:' ? agents.https : agents.http
  send({ ...options, agent })
    .once('response', resolve)
    .once('error', reject)
    .end(body)
  return await promise
}

function responseOf(message: IncomingMessage): Response {
  const status = message.statusCode ?? 502
  const headers = new Headers()
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    headers.append(message.rawHeaders[i] ?? '', message.rawHeaders[i + 1] ?? '')
  }
  if (BODILESS.has(status)) message.resume()
  const body = BODILESS.has(status) ? null : (Readable.toWeb(message) as NodeStream<Uint8Array>)
  return new Response(body as BodyInit | null, { status, headers })
}
