/**
 * Messages between simulated hosts: delayed, lost (the request or its answer), cut short, delivered twice, and so out of
 * order. A host is a handler under a name; while it is down, connections to it are refused.
 */
import { fromUtf8, type Bytes } from '../../protocol/bytes.ts'
import type { Transport } from '../../protocol/environment.ts'
import type { Chance } from './chance.ts'
import type { Scheduler } from './scheduler.ts'

export interface Weather {
  /** Least and most one-way delay, in ms. */
  readonly delayMs: readonly [number, number]
  /** Share of messages that take up to `lateMs` more. */
  readonly late: number
  readonly lateMs: number
  /** Share of requests lost on the way there, and of answers lost on the way back. */
  readonly lost: number
  /** Share of requests delivered twice. */
  readonly twice: number
  /** Share of answers whose connection breaks in the middle of the body. */
  readonly torn: number
}

export const CALM: Weather = { delayMs: [1, 5], late: 0, lateMs: 0, lost: 0, twice: 0, torn: 0 }

export type Handler = (request: Request) => Response | Promise<Response>

/** A request and what the host answered, whether or not the answer arrived. */
export interface Exchange {
  readonly atMs: number
  readonly from: string
  readonly to: string
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: Bytes
  readonly answer: Answer
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Bytes
}

export type Message = Omit<Exchange, 'answer' | 'atMs'>

export interface SimulatedNetwork {
  attach(host: string, handler: Handler | undefined): void
  /** What is sent to this name goes to any of these hosts that is up. */
  route(name: string, hosts: readonly string[]): void
  /** What this host reaches the others by. @param weather its own, whatever comes over the others */
  transportOf(from: string, weather?: Weather): Transport
  setWeather(weather: Weather): void
  /** Told when a request leaves. */
  onSend(listener: (message: Message) => void): void
  /** Told when a request reaches a host that is up. */
  onDelivery(listener: (message: Message) => void): void
  /** Told when a host answers. */
  onExchange(listener: (exchange: Exchange) => void): void
  /** Told when an answer has come back whole. */
  onArrival(listener: (exchange: Exchange) => void): void
}

export function createNetwork(scheduler: Scheduler, chance: Chance): SimulatedNetwork {
  const hosts = new Map<string, Attached>()
  const routes = new Map<string, readonly string[]>()
  const sent = createTold<Message>()
  const delivered = createTold<Message>()
  const exchanged = createTold<Exchange>()
  const arrived = createTold<Exchange>()
  let prevailing = CALM

  function travel({ delayMs: [least, most], late, lateMs }: Weather): Promise<void> {
    const more = chance.hits(late) ? chance.fraction() * lateMs : 0
    return scheduler.sleep(least + chance.fraction() * (most - least) + more)
  }

  function hostOf(name: string): Attached | undefined {
    const up = (routes.get(name) ?? [name]).filter((one) => hosts.has(one))
    return up.length > 1 ? hosts.get(chance.pick(up)) : hosts.get(up[0] ?? name)
  }

  async function deliver(message: Message, weather: Weather): Promise<Exchange> {
    await travel(weather)
    const host = hostOf(message.to)
    if (!host) throw new TypeError('connection refused')
    delivered.tell(message)
    const answer = await Promise.race([answerOf(host.handler, message), host.isDown])
    // A host that went down while it answered took the answer with it.
    if (!answer) throw new TypeError('connection reset')
    const exchange = { ...message, atMs: scheduler.now(), answer }
    exchanged.tell(exchange)
    await travel(weather)
    return exchange
  }

  async function exchange(message: Message, weather: Weather): Promise<Response> {
    sent.tell(message)
    if (chance.hits(weather.lost)) {
      await travel(weather)
      throw new TypeError('the request was lost')
    }
    const answered = deliver(message, weather)
    if (chance.hits(weather.twice)) void deliver(message, weather).catch(() => undefined)
    const whole = await answered
    if (chance.hits(weather.lost)) throw new TypeError('the answer was lost')
    if (whole.answer.body.length > 1 && chance.hits(weather.torn)) return torn(whole.answer, chance)
    arrived.tell(whole)
    return responseOf(whole.answer)
  }

  return {
    attach(host, handler) {
      hosts.get(host)?.goDown()
      hosts.delete(host)
      if (!handler) return
      const { promise, resolve } = Promise.withResolvers<undefined>()
      hosts.set(host, { handler, isDown: promise, goDown: () => resolve(undefined) })
    },
    route: (name, to) => void routes.set(name, to),
    setWeather: (next) => void (prevailing = next),
    transportOf: (from, weather) => async (request) => exchange(await messageOf(from, request), weather ?? prevailing),
    onSend: sent.listen,
    onDelivery: delivered.listen,
    onExchange: exchanged.listen,
    onArrival: arrived.listen,
  }
}

interface Attached {
  readonly handler: Handler
  readonly isDown: Promise<undefined>
  readonly goDown: () => void
}

async function answerOf(handler: Handler, message: Message): Promise<Answer> {
  const response = await handler(requestOf(message))
  return { status: response.status, headers: response.headers, body: new Uint8Array(await response.arrayBuffer()) }
}

function createTold<T>() {
  const listeners: ((event: T) => void)[] = []
  return {
    listen: (listener: (event: T) => void) => void listeners.push(listener),
    tell: (event: T) => listeners.forEach((listener) => listener(event)),
  }
}

async function messageOf(from: string, request: Request): Promise<Message> {
  const url = new URL(request.url)
  const { method, headers } = request
  return { from, to: url.host, method, url, headers, body: new Uint8Array(await request.arrayBuffer()) }
}

const requestOf = ({ url, method, headers, body }: Message): Request =>
  new Request(url, { method, headers, ...(body.length > 0 && { body }) })

const responseOf = ({ status, headers, body }: Answer): Response =>
  new Response(body.length > 0 ? body : null, { status, headers })

/** The stable code of a problem (RFC 9457), where the answer is one. */
export function codeIn({ status, body }: Answer): string | undefined {
  if (status < 400) return undefined
  try {
    return (JSON.parse(fromUtf8(body)) as { code?: string }).code
  } catch {
    return undefined
  }
}

/** The first part of the body comes, then the connection breaks. */
function torn({ status, headers, body }: Answer, chance: Chance): Response {
  const parts = [body.subarray(0, chance.integer(1, body.length - 1))]
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.shift()
      if (part) controller.enqueue(part)
      else controller.error(new TypeError('connection reset'))
    },
  })
  return new Response(stream, { status, headers })
}
