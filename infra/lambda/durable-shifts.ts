/** Work in shifts as a Lambda durable function: each shift a step that is checkpointed, each pause a wait that costs nothing. */
import { withDurableExecution, type DurableContext } from '@aws/durable-execution-sdk-js'
import type { Clock } from '../../protocol/environment.ts'

export interface ShiftEnd {
  readonly isOver: boolean
  /** When it is worth going on, in milliseconds; at once when missing. */
  readonly untilMs?: number
}

/** A wait ends the invocation, so that the next shift has the function's whole time. */
const PAUSE_SECONDS = 1

/** What a finished shift did is in the store: one that is run again, after a crash, goes on from there. */
export const durableShifts = (work: (id: string) => Promise<ShiftEnd>, clock: Pick<Clock, 'now'>) =>
  withDurableExecution(async ({ id }: { readonly id: string }, context: DurableContext) => {
    for (let shift = 1; ; shift++) {
      const { isOver, waitSeconds } = await context.step(`shift ${shift}`, async () => {
        const { isOver, untilMs } = await work(id)
        const waitSeconds = untilMs === undefined ? 0 : Math.ceil((untilMs - clock.now()) / 1000)
        return { isOver, waitSeconds }
      })
      if (isOver) return
      await context.wait(`after shift ${shift}`, { seconds: Math.max(PAUSE_SECONDS, waitSeconds) })
    }
  })
