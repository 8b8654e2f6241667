/** A witness of logs. Its state outlives the stack: it may hold proof of a fork, and a key must never be used without it. */
import { Aws, CfnOutput, CfnParameter, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Construct } from 'constructs'
import { LambdaService } from './lambda-service.ts'
import { allowKey, allowMaking, keyParameter } from './parameter-key.ts'
import { allowState, stateTable } from './state-table.ts'
import { toldResource } from './told-resource.ts'
import { Watch } from './watch.ts'

export interface WitnessStackProps extends StackProps {
  readonly code: Code
}

export class WitnessStack extends Stack {
  constructor(scope: Construct, id: string, { code, ...props }: WitnessStackProps) {
    super(scope, id, { ...props, terminationProtection: true })
    const logs = new CfnParameter(this, 'Logs', {
      minLength: 1,
      description: 'Which logs it follows: the text of a C2SP tlog-policy',
    })
    const { front, url, verifierKey } = addWitness(this, { code, keep: true, logs: logs.valueAsString })
    new Watch(this, { functions: { Front: front } })
    new CfnOutput(this, 'Url', { value: url, description: 'Where ledgers ask for cosignatures' })
    new CfnOutput(this, 'VerifierKey', {
      value: verifierKey,
      description: 'What ledgers and agents put into their policies',
    })
  }
}

export interface Witness {
  readonly front: LambdaService
  /** Without a slash at its end. */
  readonly url: string
  readonly verifierKey: string
}

export interface WitnessProps {
  readonly code: Code
  /** Its state outlives the stack. */
  readonly keep: boolean
  /** Which logs it follows (C2SP tlog-policy). */
  readonly logs: string
}

/** Its key is made before it is told of logs: what names a log may need to know the witness. */
export function addWitness(scope: Construct, { code, keep, logs }: WitnessProps): Witness {
  const stack = Stack.of(scope)
  const table = stateTable(scope, { keep })
  const key = keyParameter(stack, 'witness')
  const environment = {
    WITNESS_KEY_PARAMETER: key.name,
    WITNESS_NAME: `${Aws.STACK_NAME}.${stack.account}.${stack.region}.raincheck/witness`,
  }
  const shared = { code, memoryMiB: 256, timeout: Duration.seconds(30) }
  const front = new LambdaService(scope, 'Front', {
    ...shared,
    environment: { ...environment, WITNESS_STORE: `dynamodb:${table.tableName}`, WITNESS_LOGS: logs },
    handler: 'url',
    description: 'Raincheck witness: cosigns checkpoints that go on from all before',
  })
  const setup = new LambdaService(scope, 'Setup', {
    ...shared,
    environment,
    handler: 'setup',
    description: 'Raincheck witness: makes the key, and takes it away with the stack',
  })
  allowState(front, table)
  for (const service of [front, setup]) allowKey(service, key)
  allowMaking(setup, key)
  const made = toldResource(scope, 'Key', setup)
  return { front, url: front.url(), verifierKey: made.getAttString('VerifierKey') }
}
