/** A hono app on a Node server. */
import { createServer, STATUS_CODES, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener, RequestError } from '@hono/node-server'
import { Problem, problemOf } from '../protocol/problem.ts'

export interface Listening {
  readonly port: number
  /** Lets requests under way end, for a second at most. */
  close(): Promise<void>
}

export interface ListenOptions {
  /** A hono app's. */
  readonly fetch: (request: Request, env?: object) => Response | Promise<Response>
  /** 0 for any free one. */
  readonly port: number
  readonly hostname: string
}

const GRACE_MS = 1_000
const SWEEP_MS = 10
/** Longer than a client keeps an idle connection, so that it is the client who closes it. */
const KEEP_ALIVE_MS = 75_000

/** @throws Problem `conflict` when the port is taken, RangeError for what is no port */
export async function listen({ fetch, port, hostname }: ListenOptions): Promise<Listening> {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new RangeError('PORT takes a number from 0 to 65535')
  const atWork = new Set<Promise<Response>>()
  /** An answer whose reader has gone is still worked on: what it uses must not be closed under it. */
  const noted: ListenOptions['fetch'] = (request, env) => {
    const answering = fetch(request, env)
    if (!(answering instanceof Promise)) return answering
    atWork.add(answering)
    return answering.finally(() => atWork.delete(answering))
  }
  const answer = getRequestListener(noted, { errorHandler: refuseRequest })
  const listener = inTurn((incoming, outgoing) => void answer(incoming, outgoing))
  const server = createServer({ requireHostHeader: false }, listener)
  // What it expects may be left unheard (RFC 9110 §10.1.1).
  server.on('checkExpectation', listener)
  server.on('clientError', refuseBytes)
  server.keepAliveTimeout = KEEP_ALIVE_MS
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(describe(error, port)))
    server.listen(port, hostname, resolve)
  })
  return { port: (server.address() as AddressInfo).port, close: () => close(server, atWork) }
}

/**
 * One request of a connection after the other (RFC 9112 §9.3.2), of which one may wait: whoever asks on and reads nothing
 * keeps neither the others waiting nor what their answers lie in.
 */
function inTurn(answer: RequestListener): RequestListener {
  const waiting = new WeakSet<Socket>()
  return (incoming, outgoing) => {
    const { socket } = incoming
    if (outgoing.socket) return answer(incoming, outgoing)
    if (waiting.has(socket)) return void socket.destroy()
    waiting.add(socket)
    outgoing.once('socket', () => {
      waiting.delete(socket)
      if (!socket.destroyed) answer(incoming, outgoing)
    })
  }
}

function describe(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code === 'EADDRINUSE') return new Problem('conflict', `Port ${port} is taken: choose another.`)
  if (error.code === 'EACCES') return new Problem('forbidden', `Port ${port} may not be used by this user.`)
  return error
}

const PROBLEM_TYPE = 'application/problem+json'

/** HTTP, but nothing that an app can be asked: of no host, for example. */
function refuseRequest(error: unknown): Response {
  const problem = error instanceof RequestError ? new Problem('bad-request', `${error.message}.`) : problemOf(error)
  return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'content-type': PROBLEM_TYPE } })
}

/** Not even HTTP, or too much of it. */
function refuseBytes({ code, message }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || code === 'ECONNRESET') return void socket.destroy()
  const isLarge = code?.endsWith('_OVERFLOW') ?? false
  const problem = new Problem(isLarge ? 'too-large' : 'bad-request', `${message}.`)
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** A connection whose last request ends meanwhile would stay open, as its client may ask for more: it is swept. */
async function close(server: Server, atWork: ReadonlySet<Promise<unknown>>): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  const force = setTimeout(() => {
    server.closeAllConnections()
    resolve()
  }, GRACE_MS)
  await new Promise((closed) => server.close(closed))
  clearInterval(sweep)
  await Promise.race([Promise.allSettled(atWork), over])
  clearTimeout(force)
}
