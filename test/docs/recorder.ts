/** Hosts that answer in this process, and what was said to them, as examples. */
import { sha256 } from '#primitives'
import { concat, utf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { handClock, type HandClock } from '../agent/hand-clock.ts'
import { START_MS } from './cast.ts'
import { http, type Example, type Shown } from './example.ts'

type Handler = (request: Request) => Response | Promise<Response>

const SHORT_MS = 10

export interface Recorder {
  readonly clock: HandClock
  readonly environment: Environment
  readonly attach: (host: string, handler: Handler) => void
  /** Sends and keeps the exchange under this name. */
  readonly record: (name: string, request: Request, options?: Pick<Shown, 'without' | 'brief'>) => Promise<Response>
  /** Keeps the next exchange of this method and path, whoever sends it. */
  readonly watch: (name: string, method: string, path: RegExp) => void
  readonly keep: (name: string, example: Example) => void
  readonly examples: ReadonlyMap<string, Example>
}

export function createRecorder(): Recorder {
  const clock = handClock(START_MS)
  const hosts = new Map<string, Handler>()
  const examples = new Map<string, Example>()
  const watched = new Map<string, (request: Request) => boolean>()
  let drawn = 0

  async function answer(request: Request): Promise<Response> {
    const handler = hosts.get(new URL(request.url).host)
    if (!handler) throw new TypeError(`nothing answers at ${request.url}`)
    return handler(request)
  }
  async function transport(request: Request): Promise<Response> {
    const [name] = Array.from(watched).find(([, isIt]) => isIt(request)) ?? []
    if (name === undefined) return answer(request)
    watched.delete(name)
    const sent = request.clone()
    const response = await answer(request)
    keep(name, await http({ request: sent, response }))
    return response
  }
  /** What takes no time to speak of takes none: nobody moves the clock for it. */
  const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    ms <= SHORT_MS ? Promise.resolve() : clock.sleep(ms, signal)
  const random = {
    bytes: (length: number) => concat(sha256(utf8(`chance ${drawn++}`)), new Uint8Array(length)).slice(0, length),
  }
  function keep(name: string, example: Example): void {
    if (examples.has(name)) throw new Error(`two examples are called ${name}`)
    examples.set(name, example)
  }

  return {
    clock,
    environment: { clock: { ...clock, sleep }, random, transport },
    attach: (host, handler) => void hosts.set(host, handler),
    watch(name, method, path) {
      watched.set(name, (request) => request.method === method && path.test(new URL(request.url).pathname))
    },
    async record(name, request, options) {
      const sent = request.clone()
      const response = await answer(request)
      keep(name, await http({ request: sent, response, ...options }))
      return response
    },
    keep,
    examples,
  }
}

export const get = (url: string, headers: Record<string, string> = {}): Request => new Request(url, { headers })

export const send = (method: 'POST' | 'PUT', url: string, body: unknown): Request =>
  new Request(url, { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
