/**
 * Time and chance of a simulated world. Nothing happens but what a seeded queue of wake-ups makes happen: the same seed
 * gives the same run, to the byte.
 */
import { createHash } from 'node:crypto'
import type { Bytes } from '../../protocol/bytes.ts'
import type { Clock, Random } from '../../protocol/environment.ts'

interface WakeUp {
  readonly atMs: number
  readonly order: number
  readonly wake: () => void
}

export interface Scheduler extends Clock {
  /** Runs wake-ups in order of time until `done` says so; false when `untilMs` or the last wake-up came first. */
  run(done: () => boolean, untilMs: number): Promise<boolean>
  /** Told after every wake-up, when all that it set going has come to rest. */
  onStep(listener: () => void): void
}

/** Turns of the event loop that let promises and streams come to rest; no real I/O takes part in a simulation. */
const REST_TURNS = 2

export function createScheduler(startMs: number): Scheduler {
  let nowMs = startMs
  let order = 0
  const queue: WakeUp[] = []
  const listeners: (() => void)[] = []

  function push(wakeUp: WakeUp): void {
    let at = queue.length
    queue.push(wakeUp)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(wakeUp, queue[parent] as WakeUp)) break
      queue[at] = queue[parent] as WakeUp
      at = parent
    }
    queue[at] = wakeUp
  }

  function pop(): WakeUp | undefined {
    const first = queue[0]
    const last = queue.pop()
    if (!first || !last || queue.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= queue.length) break
      if (child + 1 < queue.length && before(queue[child + 1] as WakeUp, queue[child] as WakeUp)) child += 1
      if (!before(queue[child] as WakeUp, last)) break
      queue[at] = queue[child] as WakeUp
      at = child
    }
    queue[at] = last
    return first
  }

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason as Error)
      signal?.addEventListener('abort', abort, { once: true })
      const wake = () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      push({ atMs: nowMs + Math.max(0, ms), order: order++, wake })
    })
  }

  async function run(done: () => boolean, untilMs: number): Promise<boolean> {
    await rest()
    while (!done()) {
      const next = pop()
      if (!next || next.atMs > untilMs) {
        if (next) push(next)
        nowMs = Math.max(nowMs, untilMs)
        return false
      }
      nowMs = Math.max(nowMs, next.atMs)
      next.wake()
      await rest()
      for (const listener of listeners) listener()
    }
    return true
  }

  return { now: () => nowMs, sleep, run, onStep: (listener) => void listeners.push(listener) }
}

const before = (a: WakeUp, b: WakeUp): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

async function rest(): Promise<void> {
  for (let turn = 0; turn < REST_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export interface Chance extends Random {
  /** From 0 (inclusive) to 1. */
  fraction(): number
  /** From 0 to `below` - 1. */
  integer(below: number): number
  pick<T>(from: readonly T[]): T
  /** A stream of its own, so that one part drawing more does not change another's. */
  fork(name: string): Chance
}

/** SHA-256 in counter mode over the seed. */
export function createChance(seed: string): Chance {
  let counter = 0
  let pool = Buffer.alloc(0)

  function bytes(length: number): Bytes {
    while (pool.length < length) {
      pool = Buffer.concat([pool, createHash('sha256').update(`${seed}/${counter++}`).digest()])
    }
    const drawn = new Uint8Array(pool.subarray(0, length))
    pool = pool.subarray(length)
    return drawn
  }
  const fraction = () => Buffer.from(bytes(6)).readUIntBE(0, 6) / 2 ** 48
  const integer = (below: number) => Math.floor(fraction() * below)
  return {
    bytes,
    fraction,
    integer,
    pick: <T>(from: readonly T[]) => from[integer(from.length)] as T,
    fork: (name) => createChance(`${seed}/${name}`),
  }
}
