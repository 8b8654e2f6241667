/** Work in the background: at once when woken, but no more often than it may be. */
import { expect, test } from 'vitest'
import { createLoop } from '../../ledger/loop.ts'
import type { Clock } from '../../protocol/environment.ts'
import { testClock } from './kit.ts'

/** What was slept for, in order. A pause, which a wake-up ends, goes on until then. */
function sleeping(pauseMs: number): { readonly clock: Clock; readonly slept: number[] } {
  const clock = testClock()
  const slept: number[] = []
  return {
    slept,
    clock: {
      ...clock,
      async sleep(ms, signal) {
        slept.push(ms)
        if (ms === pauseMs) await new Promise((resolve) => signal?.addEventListener('abort', resolve))
        await clock.sleep(ms, signal)
      },
    },
  }
}

test('a loop that was woken rests before it works again, and one that was not pauses besides', async () => {
  const { clock, slept } = sleeping(1000)
  let works = 0
  const work = async () => {
    works++
    if (works < 3) loop.wake()
  }
  const loop = createLoop({ clock, pauseMs: 1000, restMs: 200, work, onFault: () => {} })
  loop.start()
  await expect.poll(() => slept).toEqual([200, 200, 200, 1000])
  expect(works).toBe(3)
  loop.wake()
  await expect.poll(() => works).toBe(4)
  await loop.stop()
})
