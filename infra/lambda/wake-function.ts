/**
 * Starts a durable function for a download; Lambda runs it until it has ended, over many invocations. Few instances ever do:
 * the SDK is loaded by those.
 */
import type { Clock } from '../../protocol/environment.ts'
import { once } from './once.ts'

/** The alias that downloads are woken by. */
export const LIVE = 'live'

/** @param functionName or its ARN, qualified: a durable execution stays with the version that began it */
export function wakeFunction(functionName: string, clock: Clock): (id: string) => Promise<void> {
  const open = once(async () => {
    const { InvokeCommand, LambdaClient } = await import('@aws-sdk/client-lambda')
    return { client: new LambdaClient({}), InvokeCommand }
  })
  return async (id) => {
    const { client, InvokeCommand } = await open()
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
