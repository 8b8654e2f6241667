/** Starts a durable function for a download; Lambda runs it until it has ended, over many invocations. */
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import type { Clock } from '../../protocol/environment.ts'

/** The alias that downloads are woken by. */
export const LIVE = 'live'

/** @param functionName or its ARN, qualified: a durable execution stays with the version that began it */
export function wakeFunction(
  functionName: string,
  clock: Clock,
  client = new LambdaClient({}),
): (id: string) => Promise<void> {
  return async (id) => {
    const command = new InvokeCommand({
      FunctionName: functionName,
      InvocationType: 'Event',
      // A name stands for one execution: one that is over does not start again.
      DurableExecutionName: `${id}-${clock.now().toString(36)}`,
      Payload: JSON.stringify({ id }),
    })
    await client.send(command)
  }
}
