/** The real world: wall clock, the system's randomness, `fetch`. Entry points hand it in. */
import { randomBytes } from 'node:crypto'
import type { Clock, Environment, Random, Transport } from '../protocol/environment.ts'

/** The longest delay a Node timer takes; a longer sleep is slept in parts. */
const TIMER_MS = 2 ** 31 - 1

export interface EnvironmentOptions {
  /** Default: `fetch`. Either way no redirect is followed. */
  readonly transport?: Transport
  /** Sleepers do not keep the process alive: for servers, whose sockets do. */
  readonly unref?: boolean
}

export function realEnvironment({ transport = fetchTransport, unref = false }: EnvironmentOptions = {}): Environment {
  return { clock: realClock(unref), random: realRandom, transport }
}

const realRandom: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) }

const fetchTransport: Transport = async (request) => await fetch(request, { redirect: 'manual' })

function realClock(unref: boolean): Clock {
  const pause = async (ms: number, signal?: AbortSignal): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    if (unref) timer.unref()
    const abort = () => reject(signal?.reason as Error)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }
  return {
    now: () => Date.now(),
    async sleep(ms, signal) {
      signal?.throwIfAborted()
      let left = ms
      for (; left > TIMER_MS; left -= TIMER_MS) await pause(TIMER_MS, signal)
      await pause(Math.max(0, left), signal)
    },
  }
}
