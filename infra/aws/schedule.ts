/** Work that comes around: a rule that calls a function with a task. */
import type { Duration } from 'aws-cdk-lib'
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets'
import type { LambdaService } from './lambda-service.ts'

export function every(service: LambdaService, interval: Duration, task: string): Rule {
  const rule = new Rule(service, `Every-${task}`, { schedule: Schedule.rate(interval) })
  rule.addTarget(
    new LambdaFunction(service.function, { event: RuleTargetInput.fromObject({ task }), retryAttempts: 0 }),
  )
  return rule
}
