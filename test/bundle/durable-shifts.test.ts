import { LocalDurableTestRunner, OperationType } from '@aws/durable-execution-sdk-js-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { durableShifts, type ShiftEnd } from '../../infra/lambda/durable-shifts.ts'

const clock = { now: () => 1_000_000 }

beforeAll(() => LocalDurableTestRunner.setupTestEnvironment({ skipTime: true }))
afterAll(() => LocalDurableTestRunner.teardownTestEnvironment())

async function run(work: (id: string) => Promise<ShiftEnd>) {
  const runner = new LocalDurableTestRunner({ handlerFunction: durableShifts(work, clock) })
  const execution = await runner.run({ payload: { id: 'download' } })
  const pauses = execution.getOperations().filter((one) => one.getType() === OperationType.WAIT)
  const waits = pauses.map((one) => one.getWaitDetails()?.waitSeconds)
  return { execution, waits }
}

describe('a durable download', () => {
  it('never runs a finished shift again, and waits without computing', async () => {
    const ends: ShiftEnd[] = [{ isOver: false }, { isOver: false, untilMs: clock.now() + 300_000 }, { isOver: true }]
    const worked: string[] = []
    const { execution, waits } = await run(async (id) => {
      worked.push(id)
      return ends[worked.length - 1] ?? { isOver: true }
    })
    expect(execution.getStatus()).toBe('SUCCEEDED')
    // Each wait ended an invocation, and the handler began anew: the shifts before it were not worked again.
    expect(execution.getInvocations().length).toBe(3)
    expect(worked).toEqual(['download', 'download', 'download'])
    expect(waits).toEqual([1, 300])
  })

  it('looks once more at what another has, and leaves it to one that is alive', async () => {
    const ends: ShiftEnd[] = [
      { isOver: false, isTaken: true, untilMs: clock.now() + 10_000 },
      { isOver: false },
      { isOver: false, isTaken: true, untilMs: clock.now() + 8_000 },
      { isOver: false, isTaken: true, untilMs: clock.now() + 9_000 },
    ]
    let shifts = 0
    const { execution, waits } = await run(async () => ends[shifts++] ?? { isOver: true })
    expect(execution.getStatus()).toBe('SUCCEEDED')
    expect([shifts, waits]).toEqual([4, [10, 1, 8]])
  })

  it('runs a shift again that failed, and no other', async () => {
    let shifts = 0
    const { execution } = await run(async () => {
      shifts++
      if (shifts === 2) throw new Error('the store does not answer')
      return { isOver: shifts === 3 }
    })
    expect(execution.getStatus()).toBe('SUCCEEDED')
    expect(shifts).toBe(3)
  })

  it('does not sleep through a long wait: the chores begin it anew', async () => {
    let shifts = 0
    const { execution, waits } = await run(async () => ({ isOver: ++shifts === 2, untilMs: clock.now() + 300_001 }))
    expect(execution.getStatus()).toBe('SUCCEEDED')
    expect([shifts, waits]).toEqual([1, []])
  })
})
