/** Waits on the owner's own machine for their browser to come back from a provider's page (RFC 8252 §7.3). */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Problem } from '../../protocol/problem.ts'

export interface Loopback {
  /** `http://127.0.0.1:PORT/` */
  readonly redirectUri: string
  /**
   * @param state of the question: another's answer is not taken
   * @returns the code
   * @throws Problem `storage-denied` when the owner did not allow it, what the signal says when it is aborted
   */
  code(state: string, signal: AbortSignal): Promise<string>
  close(): void
}

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  connection: 'close',
}
const page = (text: string): string =>
  `<!doctype html><meta charset="utf-8"><title>Raincheck</title><p>${text} You can close this page.</p>\n`

/** @param port 0 for any that is free */
export async function openLoopback(port: number): Promise<Loopback> {
  const server = createServer()
  await listening(server, port)
  return {
    redirectUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    code: (state, signal) => answer(server, state, signal),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function listening(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(new Problem('conflict', `Port ${port} is taken: choose another with --port.`)))
    server.listen(port, '127.0.0.1', resolve)
  })
}

function answer(server: Server, state: string, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  server.on('request', ({ method, url = '/' }, outgoing) => {
    const { pathname, searchParams } = new URL(url, 'http://127.0.0.1')
    const code = searchParams.get('code')
    const isOurs = method === 'GET' && pathname === '/' && searchParams.get('state') === state
    const text = code === null ? 'Not allowed.' : 'Allowed: the command goes on.'
    outgoing.writeHead(isOurs ? 200 : 404, HEADERS).end(page(isOurs ? text : 'Nobody waits for this.'))
    if (isOurs && code !== null) resolve(code)
    else if (isOurs) reject(new Problem('storage-denied', 'The provider says that it was not allowed.'))
  })
  return promise
}
