/** Who works when: so many at once, the others in order of arrival. */
export interface Turns {
  /** @returns what the work does; undefined when the signal aborted before its turn came */
  take<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined>
  /** Whether somebody waits for a turn. */
  areAwaited(): boolean
}

export function createTurns(most: number): Turns {
  const waiting = new Set<() => void>()
  let free = most

  /** @returns false when it was aborted first */
  async function turn(signal: AbortSignal): Promise<boolean> {
    // One that is aborted already tells nobody so.
    if (signal.aborted) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const begin = (): void => resolve(true)
    const leave = (): void => resolve(!waiting.delete(begin))
    waiting.add(begin)
    signal.addEventListener('abort', leave, { once: true })
    return promise.finally(() => signal.removeEventListener('abort', leave))
  }

  function pass(): void {
    const [next] = waiting
    if (!next) return void free++
    waiting.delete(next)
    next()
  }

  return {
    async take(signal, work) {
      if (free > 0) free--
      else if (!(await turn(signal))) return undefined
      try {
        return signal.aborted ? undefined : await work()
      } finally {
        pass()
      }
    },
    areAwaited: () => waiting.size > 0,
  }
}
