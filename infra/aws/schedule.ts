/** Work that comes around: a rule that calls a function with a task. */
import { Duration } from 'aws-cdk-lib'
import { Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets'
import type { LambdaService } from './lambda-service.ts'

/** What a function has only on schedules is not done late: it comes around again, and an outage must not pile it up. */
export function neverLate({ function: scheduled }: LambdaService): void {
  scheduled.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1) })
}

export function every(service: LambdaService, interval: Duration, task: string): Rule {
  const rule = new Rule(service, `Every-${task}`, { schedule: Schedule.rate(interval) })
  rule.addTarget(
    new LambdaFunction(service.function, { event: RuleTargetInput.fromObject({ task }), retryAttempts: 0 }),
  )
  return rule
}
