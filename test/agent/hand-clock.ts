/** A clock that stands still until the test moves it. */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../protocol/environment.ts'

export interface HandClock extends Clock {
  advance(ms: number): void
  /** Moves on to the next sleeper, again and again, until the promise settles. */
  until<T>(promise: Promise<T>): Promise<T>
}

export const START_MS = Date.UTC(2030, 0, 1)

export function handClock(startMs = START_MS): HandClock {
  let nowMs = startMs
  const sleepers = new Map<symbol, { readonly atMs: number; readonly wake: () => void }>()

  function advance(ms: number): void {
    nowMs += ms
    for (const [id, { atMs, wake }] of sleepers) {
      if (atMs > nowMs) continue
      sleepers.delete(id)
      wake()
    }
  }

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    const id = Symbol('sleeper')
    return new Promise((wake, reject) => {
      sleepers.set(id, { atMs: nowMs + ms, wake })
      signal?.addEventListener('abort', () => sleepers.delete(id) && reject(signal.reason as Error), { once: true })
    })
  }

  async function until<T>(promise: Promise<T>): Promise<T> {
    const state = { settled: false }
    const mark = () => (state.settled = true)
    promise.then(mark, mark)
    while (!state.settled) {
      await setImmediate()
      if (state.settled) break
      const next = Math.min(...Array.from(sleepers.values(), ({ atMs }) => atMs))
      if (Number.isFinite(next)) advance(next - nowMs)
    }
    return promise
  }

  // A clock counts whole milliseconds, however finely one may sleep.
  return { now: () => Math.floor(nowMs), sleep, advance, until }
}
