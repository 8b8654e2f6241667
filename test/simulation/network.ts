/** Messages between simulated hosts: delayed, lost (the request or its answer), delivered twice, and so out of order. */
import type { Transport } from '../../protocol/environment.ts'
import type { Chance, Scheduler } from './scheduler.ts'

export interface Weather {
  /** Least and most one-way delay, in ms. */
  readonly delayMs: readonly [number, number]
  /** Share of requests lost on the way there, and of answers lost on the way back. */
  readonly lost: number
  /** Share of requests delivered twice. */
  readonly twice: number
}

export type Handler = (request: Request) => Response | Promise<Response>

export interface SimulatedNetwork {
  /** `handler` undefined: the host is down, and connections are refused. */
  attach(host: string, handler: Handler | undefined): void
  readonly transport: Transport
  setWeather(weather: Weather): void
}

export const CALM: Weather = { delayMs: [1, 5], lost: 0, twice: 0 }

export function createNetwork(scheduler: Scheduler, chance: Chance): SimulatedNetwork {
  const hosts = new Map<string, Handler>()
  let weather = CALM

  const travel = () => {
    const [least, most] = weather.delayMs
    return scheduler.sleep(least + chance.fraction() * (most - least))
  }

  async function deliver(request: Request): Promise<Response> {
    await travel()
    const handler = hosts.get(new URL(request.url).host)
    if (!handler) throw new TypeError('connection refused')
    const response = await handler(request)
    const answer = new Response(await response.arrayBuffer(), response)
    await travel()
    // A host that went down while it answered took the answer with it.
    if (hosts.get(new URL(request.url).host) !== handler) throw new TypeError('connection reset')
    return answer
  }

  return {
    attach(host, handler) {
      if (handler) hosts.set(host, handler)
      else hosts.delete(host)
    },
    setWeather: (next) => void (weather = next),
    async transport(request) {
      if (chance.fraction() < weather.lost) {
        await travel()
        throw new TypeError('the request was lost')
      }
      const copy = chance.fraction() < weather.twice ? request.clone() : undefined
      const answer = deliver(request)
      if (copy) void deliver(copy).catch(() => undefined)
      const response = await answer
      if (chance.fraction() < weather.lost) throw new TypeError('the answer was lost')
      return response
    },
  }
}
