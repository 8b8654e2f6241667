/** Work in shifts as a Lambda durable function: each shift a step that is checkpointed, each short pause a wait that costs nothing. */
import { withDurableExecution, type DurableContext } from '@aws/durable-execution-sdk-js'
import type { Clock } from '../../protocol/environment.ts'

export interface ShiftEnd {
  readonly isOver: boolean
  /** When it is worth going on, in milliseconds; at once when missing. */
  readonly untilMs?: number
  /** Another works on it, or was killed at it: by `untilMs` that shows. */
  readonly isTaken?: true
}

/** A wait ends the invocation, so that the next shift has the function's whole time. */
const PAUSE_SECONDS = 1
/**
 * What has to wait longer is begun anew by the chores: an execution that sleeps for hours keeps its code, and its stack
 * from being removed.
 */
const WAIT_MOST_SECONDS = 5 * 60
/** An execution may have 3,000 operations, and a shift is two: one step, one wait. */
const SHIFTS_MOST = 1000

/** What a finished shift did is in the store: one that is run again, after a crash, goes on from there. */
export const durableShifts = (work: (id: string) => Promise<ShiftEnd>, clock: Pick<Clock, 'now'>) =>
  withDurableExecution(async ({ id }: { readonly id: string }, context: DurableContext) => {
    let wasTaken = false
    for (let shift = 1; shift <= SHIFTS_MOST; shift++) {
      const { isOver, isTaken, waitSeconds } = await context.step(`shift ${shift}`, async () => {
        const { isOver, isTaken = false, untilMs } = await work(id)
        const waitSeconds = untilMs === undefined ? 0 : Math.ceil((untilMs - clock.now()) / 1000)
        return { isOver, isTaken, waitSeconds }
      })
      // Who has it after that time as well is alive: one worker is enough.
      if (isOver || (isTaken && wasTaken) || waitSeconds > WAIT_MOST_SECONDS) return
      wasTaken = isTaken
      await context.wait(`after shift ${shift}`, { seconds: Math.max(PAUSE_SECONDS, waitSeconds) })
    }
  })
