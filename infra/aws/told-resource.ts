/**
 * A resource that one of the stack's own functions makes: it is told when the stack comes, and when it goes. The function is
 * tried again where it fails, also at what it does on a schedule.
 */
import { CustomResource, Duration } from 'aws-cdk-lib'
import type { Construct } from 'constructs'
import type { LambdaService } from './lambda-service.ts'

/** Lambda tries an event three times, which for a function of five minutes takes eighteen. Later nobody waits for it. */
const WITHIN = Duration.minutes(20)

export function toldResource(scope: Construct, id: string, { function: told }: LambdaService): CustomResource {
  told.configureAsyncInvoke({ maxEventAge: WITHIN })
  return new CustomResource(scope, id, { serviceToken: told.functionArn, serviceTimeout: WITHIN })
}
