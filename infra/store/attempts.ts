/** Asking a store over the network until it answers: pauses that grow, a bound on it all, and what a lost answer means. */
import type { Bytes } from '../../protocol/bytes.ts'
import type { Clock, Random } from '../../protocol/environment.ts'

/** `busy`: refused for now, and nothing was done. `lost`: it may have been done. `final`: there is no use in asking again. */
export type Failure = 'busy' | 'lost' | 'final'

/** @param wasLost whether an earlier try may have been done, or may be done yet */
export type Try<T> = (wasLost: boolean) => Promise<T>

/** No try begins after so long, unless told: whoever waits for a service has not given up by then. */
const BUDGET_MS = 8_000
/** The bound for a clock that is set back. */
const TRIES = 12
const FIRST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 1_000

export interface Patience {
  readonly clock: Clock
  readonly random: Random
  readonly budgetMs?: number | undefined
}

/** @throws what the last try threw */
export async function attempt<T>(
  { budgetMs = BUDGET_MS, clock, random }: Patience,
  failureOf: (error: unknown) => Failure,
  ask: Try<T>,
): Promise<T> {
  const deadlineMs = clock.now() + budgetMs
  let wasLost = false
  for (let tries = 1; ; tries++) {
    try {
      return await ask(wasLost)
    } catch (error) {
      const failure = failureOf(error)
      if (failure === 'final' || tries === TRIES || clock.now() >= deadlineMs) throw error
      wasLost ||= failure === 'lost'
    }
    await clock.sleep(pauseMs(tries, random.bytes(1)))
  }
}

/** Anything up to a time that doubles: those who met once do not meet again. */
const pauseMs = (tries: number, random: Bytes): number =>
  (Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS) * (random[0] as number)) / 255
