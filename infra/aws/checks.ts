/** What every stack is held to when it is synthesized; each exception has its reason beside it. */
import { Validations, type App, type Stack } from 'aws-cdk-lib'
import { AwsSolutionsChecks } from 'cdk-nag'

/** Makes the library's own findings errors. */
export const STRICT_CONTEXT = { '@aws-cdk/core:validateAgainstDefaultRules': true } as const

export function check(app: App): void {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
}

export interface Exception {
  readonly rule: string
  readonly reason: string
}

export function except(stack: Stack, exceptions: readonly Exception[]): void {
  Validations.of(stack).acknowledge(...exceptions.map(({ rule, reason }) => ({ id: rule, reason })))
}
