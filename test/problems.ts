/** What tests say of problems. */
import { expect } from 'vitest'
import { Problem } from '../protocol/problem.ts'

/** Matches a problem of that code. */
export const coded = (code: string): unknown => expect.objectContaining({ code })

/** The code that the work fails with; `done` when it does not. */
export const codeOf = (work: Promise<unknown>): Promise<string | undefined> =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  )

/** `undefined` where a problem is thrown. Anything else that is thrown fails the test. */
export function orProblem<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    return undefined
  }
}
