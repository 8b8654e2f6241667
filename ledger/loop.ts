/** Work in the background: again and again, at once when told, later when idle or after a failure. */
import type { Clock } from '../protocol/environment.ts'

export interface Loop {
  start(): void
  /** There is something to do now. */
  wake(): void
  /** Resolves when the work under way has ended. */
  stop(): Promise<void>
}

export interface LoopOptions {
  readonly clock: Clock
  readonly pauseMs: number
  /** Also when woken, the work is not done again before so long; at once unless given. */
  readonly restMs?: number
  readonly work: () => Promise<void>
  /** Told of failures; the work is tried again after the pause. */
  readonly onFault: (error: unknown) => void
}

export function createLoop({ clock, pauseMs, restMs, work, onFault }: LoopOptions): Loop {
  let life = new AbortController()
  let pause: AbortController | undefined
  let isWoken = false
  let running: Promise<void> | undefined

  async function run(isOver: AbortSignal): Promise<void> {
    while (!isOver.aborted) {
      isWoken = false
      await work().catch(onFault)
      if (restMs !== undefined) await clock.sleep(restMs, isOver).catch(() => {})
      if (isWoken) continue
      pause = new AbortController()
      const interrupted = AbortSignal.any([isOver, pause.signal])
      await clock.sleep(pauseMs, interrupted).catch(() => {})
      pause = undefined
    }
  }

  return {
    start() {
      if (running) return
      life = new AbortController()
      running = run(life.signal)
    },
    wake() {
      isWoken = true
      pause?.abort()
    },
    async stop() {
      life.abort()
      await running
      running = undefined
    },
  }
}
