/** A resource that one of the stack's own functions makes: it is told when the stack comes, and when it goes. */
import { CustomResource, Duration } from 'aws-cdk-lib'
import type { Construct } from 'constructs'
import type { LambdaService } from './lambda-service.ts'

/** Lambda tries an event three times, which for a function of five minutes takes eighteen; nobody waits for an hour. */
const WITHIN = Duration.minutes(20)

export function toldResource(scope: Construct, id: string, { function: told }: LambdaService): CustomResource {
  return new CustomResource(scope, id, { serviceToken: told.functionArn, serviceTimeout: WITHIN })
}
