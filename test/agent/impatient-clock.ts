/** A clock on which pauses pass at once and count in full, while patience with others, 15 s and more, lasts as it says. */
import type { Clock } from '../../protocol/environment.ts'
import { realEnvironment } from '../../infra/environment.ts'

const PATIENCE_MS = 15_000

export function impatientClock(): Clock {
  const { clock } = realEnvironment()
  let aheadMs = 0
  return {
    now: () => clock.now() + aheadMs,
    async sleep(ms, signal) {
      if (ms >= PATIENCE_MS) return clock.sleep(ms, signal)
      signal?.throwIfAborted()
      aheadMs += ms
      await clock.sleep(1, signal)
    },
  }
}
