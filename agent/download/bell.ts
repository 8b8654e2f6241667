/** Wakes whoever waits for a change. */
export interface Bell {
  ring(): void
  /** Resolves at the next ring; at once if it rang since it last resolved for somebody. */
  next(): Promise<void>
}

export function createBell(): Bell {
  let rung = Promise.withResolvers<void>()
  return {
    ring: () => rung.resolve(),
    async next() {
      await rung.promise
      rung = Promise.withResolvers()
    },
  }
}
