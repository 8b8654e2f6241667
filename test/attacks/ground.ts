/** What a world of services stands on: their addresses, their time and chance. In one process, or on this machine's sockets. */
import { realEnvironment } from '../../infra/environment.ts'
import { listen, type Listening } from '../../infra/serve.ts'
import type { Clock, Transport } from '../../protocol/environment.ts'
import { handClock, type HandClock } from '../agent/hand-clock.ts'

export type Handler = (request: Request, env?: object) => Response | Promise<Response>

/** A request as it left. */
export interface Sent {
  /** Whose host sent it. */
  readonly from: string
  readonly url: URL
  readonly method: string
  readonly headers: Headers
  readonly body: Promise<ArrayBuffer> | undefined
}

export interface Ground<C extends Clock = Clock> {
  readonly clock: C
  /** Every request of a host, those to nowhere too. */
  readonly sent: readonly Sent[]
  transportOf(from: string): Transport
  /** @returns the host's URL, without a trailing slash */
  attach(name: string, handler: Handler): Promise<string>
  close(): Promise<void>
}

/** Hosts are handlers, at `https://<name>.example`; time moves when a test moves it. */
export function inProcess(): Ground<HandClock> {
  const hosts = new Map<string, Handler>()
  const { sent, watched } = createWatch()
  async function transport(request: Request): Promise<Response> {
    const handler = hosts.get(new URL(request.url).host)
    if (!handler) throw new TypeError('connection refused')
    return handler(request)
  }
  return {
    clock: handClock(),
    sent,
    transportOf: (from) => watched(from, transport),
    async attach(name, handler) {
      hosts.set(`${name}.example`, handler)
      return `https://${name}.example`
    },
    close: async () => undefined,
  }
}

/** Hosts are servers on loopback, in the real time. */
export function onSockets(): Ground {
  const { clock, transport } = realEnvironment()
  const servers: Listening[] = []
  const { sent, watched } = createWatch()
  return {
    clock,
    sent,
    transportOf: (from) => watched(from, transport),
    async attach(_, handler) {
      const server = await listen({ fetch: handler, port: 0, hostname: '127.0.0.1' })
      servers.push(server)
      return `http://127.0.0.1:${server.port}`
    },
    async close() {
      await Promise.all(servers.map((server) => server.close()))
    },
  }
}

function createWatch() {
  const sent: Sent[] = []
  const watched =
    (from: string, transport: Transport): Transport =>
    (request) => {
      const { url, method, headers } = request
      sent.push({
        from,
        url: new URL(url),
        method,
        headers,
        body: request.body ? request.clone().arrayBuffer() : undefined,
      })
      return transport(request)
    }
  return { sent, watched }
}
