/** A CloudFormation custom resource: what a stack has done when it is made and when it goes, by one of its own functions. */
import { z } from 'zod'
import type { Transport } from '../../protocol/environment.ts'

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

/** Answered in any case: CloudFormation waits an hour for a function that does not. */
export function customResource(
  transport: Transport,
  { arrive, leave }: Duties,
  onFault: (error: unknown) => void,
): (event: unknown) => Promise<void> {
  return async (event) => {
    const asked = eventShape.parse(event)
    const { StackId, RequestId, LogicalResourceId } = asked
    const resource = {
      PhysicalResourceId: asked.PhysicalResourceId ?? LogicalResourceId,
      StackId,
      RequestId,
      LogicalResourceId,
    }
    const outcome = await (asked.RequestType === 'Delete' ? leave().then(() => ({})) : arrive()).then(
      (Data) => ({ Status: 'SUCCESS', Data, NoEcho: true }),
      (error: unknown) => {
        onFault(error)
        return { Status: 'FAILED', Reason: 'See the log of the setup function.' }
      },
    )
    const body = JSON.stringify({ ...resource, ...outcome })
    // A presigned link to S3 takes no content type but the one it was signed with: none.
    const request = new Request(asked.ResponseURL, { method: 'PUT', body, headers: { 'content-type': '' } })
    await transport(request)
  }
}
