/** A CloudFormation custom resource: what a stack has done when it is made and when it goes, by one of its own functions. */
import { z } from 'zod'
import type { Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import { SettingError } from '../service-process.ts'
import type { Invocation } from './function-url.ts'

export interface Duties {
  /** At the first deployment and at each update. @returns the resource's attributes */
  readonly arrive: () => Promise<Readonly<Record<string, string>>>
  /** When the stack is removed. */
  readonly leave: () => Promise<void>
}

const eventShape = z.object({
  RequestType: z.enum(['Create', 'Update', 'Delete']),
  ResponseURL: z.string(),
  StackId: z.string(),
  RequestId: z.string(),
  LogicalResourceId: z.string(),
  PhysicalResourceId: z.string().optional(),
})

type Asked = z.infer<typeof eventShape>

/** What is left of the function's time to answer in. */
const ANSWER_MS = 20_000

/**
 * Answered while the function has time, since CloudFormation waits for one that is not. What was not done by then is gone on
 * with when the resource is told again. An answer that is not taken is thrown: Lambda tries the event again.
 */
export function customResource(
  { clock, transport }: Pick<Environment, 'clock' | 'transport'>,
  { arrive, leave }: Duties,
  onFault: (error: unknown) => void,
): (event: unknown, invocation: Invocation) => Promise<void> {
  async function outcome({ RequestType: type }: Asked): Promise<object> {
    try {
      const Data = type === 'Delete' ? await leave().then(() => ({})) : await arrive()
      return { Status: 'SUCCESS', Data, NoEcho: true }
    } catch (error) {
      onFault(error)
      return failed(`${reasonOf(error)} (The log of the function says more, while it is there.)`)
    }
  }

  async function late({ RequestType: type }: Asked, invocation: Invocation, signal: AbortSignal): Promise<object> {
    await clock.sleep(invocation.getRemainingTimeInMillis() - ANSWER_MS, signal)
    return failed(type === 'Delete' ? LATE_TO_LEAVE : LATE_TO_ARRIVE)
  }

  return async (event, invocation) => {
    const asked = eventShape.parse(event)
    const { StackId, RequestId, LogicalResourceId } = asked
    const PhysicalResourceId = asked.PhysicalResourceId ?? LogicalResourceId
    const done = new AbortController()
    const answer = await Promise.race([outcome(asked), late(asked, invocation, done.signal)])
    done.abort()
    const body = JSON.stringify({ PhysicalResourceId, StackId, RequestId, LogicalResourceId, ...answer })
    // A presigned link to S3 takes no content type but the one it was signed with: none.
    const request = new Request(asked.ResponseURL, { method: 'PUT', body, headers: { 'content-type': '' } })
    const { ok, status } = await transport(request)
    if (!ok) throw new Error(`CloudFormation did not take the answer: ${status}.`)
  }
}

const LATE_TO_LEAVE = 'It takes longer: delete the stack again, and it goes on.'
const LATE_TO_ARRIVE = 'It takes longer than its function has.'

/** Of a response of 4096 bytes at most. */
const REASON_CHARACTERS = 1000

/** What others say, such as an SDK, may hold more than whoever sees the stack should read: of that, the name. */
function reasonOf(error: unknown): string {
  if (error instanceof Problem) return `${error.code}: ${error.message}`.slice(0, REASON_CHARACTERS)
  if (error instanceof SettingError) return error.message.slice(0, REASON_CHARACTERS)
  return error instanceof Error ? error.name : 'Error'
}

const failed = (Reason: string) => ({ Status: 'FAILED', Reason })
