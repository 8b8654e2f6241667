/**
 * Keeps a ledger from promising what its log may not hold: an entry within the merge delay. While what was accepted a while
 * ago still waits, nothing more is accepted, so that the sequencer can catch up.
 *
 * What waits too long when it is looked up first may have waited for this very process, asleep with its machine: it counts
 * when it still waits at the next look.
 *
 * A process looks up what it accepted itself, now and then one thing that should be in the log by now: that costs a read a
 * second at the most, and only its own clock counts.
 */
import type { Clock } from '../protocol/environment.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'

/** Asks the store whether something waits yet. */
export type IsWaiting = () => Promise<boolean>

export interface Lag {
  /** Something was accepted now. */
  readonly note: (isWaiting: IsWaiting) => void
  /** @throws Problem `ledger-busy` while the log lags behind, `store-unavailable` */
  readonly check: () => Promise<void>
}

/** How often something is noted, and how often one such thing is looked up. */
const PAUSE_MS = 1000

export function createLag(clock: Clock): Lag {
  /** The oldest first. */
  const noted: { readonly isWaiting: IsWaiting; readonly atMs: number; wasLate?: true }[] = []
  let looking: Promise<void> | undefined
  let lookedMs: number | undefined
  let isBehind = false

  const since = (ms: number): number => Math.abs(clock.now() - ms)

  async function look(): Promise<void> {
    for (let oldest = noted[0]; oldest && since(oldest.atMs) >= limits.holdBackMs; oldest = noted[0]) {
      if (await oldest.isWaiting()) {
        isBehind ||= oldest.wasLate === true
        oldest.wasLate = true
        return
      }
      isBehind = false
      noted.shift()
    }
  }

  return {
    note(isWaiting) {
      const latest = noted.at(-1)
      if (!latest || since(latest.atMs) >= PAUSE_MS) noted.push({ isWaiting, atMs: clock.now() })
    },
    async check() {
      if (lookedMs === undefined || since(lookedMs) >= PAUSE_MS) {
        lookedMs = clock.now()
        looking = look().finally(() => (looking = undefined))
      }
      await looking
      if (isBehind)
        throw new Problem('ledger-busy', 'The log lags behind what was accepted. Try again.', {
          retryAfterMs: PAUSE_MS,
        })
    },
  }
}
