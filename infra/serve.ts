/** A hono app on a Node server. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Problem } from '../protocol/problem.ts'

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

/** @throws Problem `conflict` when the port is taken */
export async function listen({ fetch, port, hostname }: ListenOptions): Promise<Listening> {
  const server = createAdaptorServer({ fetch }) as Server
  server.keepAliveTimeout = KEEP_ALIVE_MS
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(describe(error, port)))
    server.listen(port, hostname, resolve)
  })
  return { port: (server.address() as AddressInfo).port, close: () => close(server) }
}

function describe(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code === 'EADDRINUSE') return new Problem('conflict', `Port ${port} is taken: choose another.`)
  if (error.code === 'EACCES') return new Problem('forbidden', `Port ${port} may not be used by this user.`)
  return error
}

/** A connection whose last request ends meanwhile would stay open, as its client may ask for more: it is swept. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
    const force = setTimeout(() => server.closeAllConnections(), GRACE_MS)
    server.close(() => {
      clearInterval(sweep)
      clearTimeout(force)
      resolve()
    })
  })
}
