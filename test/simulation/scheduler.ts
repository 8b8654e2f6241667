/**
 * The time of a simulated world. Nothing happens but what a queue of wake-ups makes happen, one after the other, each
 * once all that the one before set going has come to rest: the same wake-ups give the same run.
 */
import type { Clock } from '../../protocol/environment.ts'

interface WakeUp {
  readonly atMs: number
  readonly order: number
  wake: (() => void) | undefined
  /** Takes its listener off the signal. */
  readonly forget: () => void
}

export interface Scheduler extends Clock {
  /** Wake-ups so far. */
  readonly steps: number
  /** Runs wake-ups in order of time until `done` says so; false when `untilMs` or the last wake-up came first. */
  run(done: () => boolean, untilMs: number): Promise<boolean>
  /** The time goes on by so much at once, as when a machine sleeps; what was due meanwhile comes next. */
  leap(ms: number): void
  /** The time, but for that which passed in leaps: nobody could do anything in it. */
  awakeMs(): number
  /** Nobody is woken any more, and nothing is held for those who sleep. */
  end(): void
  /** Told after every wake-up, when all that it set going has come to rest. */
  onStep(listener: () => void): void
}

/** Between two milliseconds that a clock shows there is room for any order of events. */
export function createScheduler(startMs: number): Scheduler {
  let nowMs = startMs
  let order = 0
  let steps = 0
  let leaptMs = 0
  const queue = createQueue()
  const listeners: (() => void)[] = []

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    return new Promise((resolve, reject) => {
      const abort = () => {
        wakeUp.wake = undefined
        reject(signal?.reason as Error)
      }
      const forget = () => signal?.removeEventListener('abort', abort)
      const wake = () => {
        forget()
        resolve()
      }
      const wakeUp: WakeUp = { atMs: nowMs + Math.max(0, ms), order: order++, wake, forget }
      signal?.addEventListener('abort', abort, { once: true })
      queue.push(wakeUp)
    })
  }

  async function run(done: () => boolean, untilMs: number): Promise<boolean> {
    await rest()
    while (!done()) {
      const next = queue.first()
      if (!next || next.atMs > untilMs) {
        nowMs = Math.max(nowMs, untilMs)
        return false
      }
      queue.pop()
      if (next.wake) await step(next)
    }
    return true
  }

  async function step({ atMs, wake }: WakeUp): Promise<void> {
    nowMs = Math.max(nowMs, atMs)
    steps++
    wake?.()
    await rest()
    for (const listener of listeners) listener()
  }

  return {
    get steps() {
      return steps
    },
    now: () => Math.floor(nowMs),
    sleep,
    run,
    awakeMs: () => Math.floor(nowMs - leaptMs),
    leap(ms) {
      nowMs += ms
      leaptMs += ms
    },
    end: () => queue.clear(),
    onStep: (listener) => void listeners.push(listener),
  }
}

/** A binary heap; wake-ups of one time come in the order in which they were asked for. */
function createQueue() {
  const heap: WakeUp[] = []
  const at = (index: number) => heap[index] as WakeUp

  function push(wakeUp: WakeUp): void {
    let place = heap.push(wakeUp) - 1
    for (let parent = (place - 1) >> 1; place > 0 && before(wakeUp, at(parent)); parent = (place - 1) >> 1) {
      heap[place] = at(parent)
      place = parent
    }
    heap[place] = wakeUp
  }

  function pop(): void {
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let place = 0
    for (let child = lesserChild(0); child < heap.length && before(at(child), last); child = lesserChild(child)) {
      heap[place] = at(child)
      place = child
    }
    heap[place] = last
  }

  function lesserChild(parent: number): number {
    const left = 2 * parent + 1
    return left + 1 < heap.length && before(at(left + 1), at(left)) ? left + 1 : left
  }

  function clear(): void {
    for (const { forget } of heap) forget()
    heap.length = 0
  }

  return { push, pop, clear, first: () => heap[0] }
}

const before = (a: WakeUp, b: WakeUp): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

/** A turn of the event loop ends when no promise can go on; no real I/O takes part in a simulation. */
const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Promises that failed with nobody to hear it, from now on until the returned function is called. */
export function watchRejections(listener: (reason: unknown) => void): () => void {
  process.on('unhandledRejection', listener)
  return () => void process.off('unhandledRejection', listener)
}
