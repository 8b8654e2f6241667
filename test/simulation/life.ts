/** One life of a service's process. Whatever it waits for when it ends never comes, so nothing of it goes on. */
import type { Environment } from '../../protocol/environment.ts'

export interface Life {
  readonly isOver: boolean
  end(): void
  /** What comes of the work, while the life lasts; after that, nothing ever. */
  during<T>(work: Promise<T>): Promise<T>
}

export function beginLife(): Life {
  let isOver = false

  async function during<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } finally {
      if (isOver) await never()
    }
  }

  return {
    get isOver() {
      return isOver
    },
    end: () => void (isOver = true),
    during,
  }
}

const never = <T>(): Promise<T> => new Promise(() => {})

/** The same functions, each of which comes to nothing once the life is over. */
export function within<T extends object>(life: Life, service: T): T {
  const bounded = Object.entries(service).map(([name, member]) => {
    if (typeof member !== 'function') return [name, member] as const
    const call = (...args: unknown[]): unknown => {
      if (life.isOver) return never()
      const result: unknown = (member as (...args: unknown[]) => unknown)(...args)
      return result instanceof Promise ? life.during(result) : result
    }
    return [name, call] as const
  })
  return Object.fromEntries(bounded) as T
}

export const environmentWithin = (life: Life, { clock, random, transport }: Environment): Environment => ({
  clock: {
    now: () => clock.now(),
    sleep: (ms, signal) => (life.isOver ? never() : life.during(clock.sleep(ms, signal))),
  },
  random,
  transport: (request) => (life.isOver ? never() : life.during(transport(request))),
})
