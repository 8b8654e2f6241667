/** The parameter that holds a service's key. CloudFormation cannot make a SecureString, so the service makes it itself. */
import { Aws, type Stack } from 'aws-cdk-lib'
import type { LambdaService } from './lambda-service.ts'

export interface ParameterKey {
  readonly name: string
  readonly arn: string
}

/** By the name that the stack is given when it is made: one template may be there more than once. */
export function keyParameter(stack: Stack, service: string): ParameterKey {
  const name = `/raincheck/${Aws.STACK_NAME}/${service}-key`
  return { name, arn: stack.formatArn({ service: 'ssm', resource: 'parameter', resourceName: name.slice(1) }) }
}

export function allowKey(service: LambdaService, { arn }: ParameterKey): void {
  service.allow(['ssm:GetParameter'], [arn])
}

/** For the one that is told when the stack comes and goes. */
export function allowMaking(service: LambdaService, { arn }: ParameterKey): void {
  service.allow(['ssm:PutParameter', 'ssm:DeleteParameter'], [arn])
}
