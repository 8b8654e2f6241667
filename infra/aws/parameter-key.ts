/** The parameter that holds a service's key. CloudFormation cannot make a SecureString, so the service makes it itself. */
import type { Stack } from 'aws-cdk-lib'
import type { LambdaService } from './lambda-service.ts'

export interface ParameterKey {
  readonly name: string
  readonly arn: string
}

export function keyParameter(stack: Stack, service: string): ParameterKey {
  const name = `/raincheck/${stack.stackName}/${service}-key`
  return { name, arn: stack.formatArn({ service: 'ssm', resource: 'parameter', resourceName: name.slice(1) }) }
}

export function allowKey(service: LambdaService, { arn }: ParameterKey): void {
  service.allow(['ssm:GetParameter'], [arn])
}

/** For the one that is told when the stack comes and goes. */
export function allowMaking(service: LambdaService, { arn }: ParameterKey): void {
  service.allow(['ssm:PutParameter', 'ssm:DeleteParameter'], [arn])
}
