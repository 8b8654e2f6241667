/** A witness of logs. Its state outlives the stack: it may hold proof of a fork, and a key must never be used without it. */
import { CfnOutput, CfnParameter, CustomResource, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Construct } from 'constructs'
import { LambdaService } from './lambda-service.ts'
import { allowForgetting, allowKey, keyParameter } from './parameter-key.ts'
import { allowState, stateTable } from './state-table.ts'
import { Watch } from './watch.ts'

export interface WitnessStackProps extends StackProps {
  readonly code: Code
}

export class WitnessStack extends Stack {
  constructor(scope: Construct, id: string, { code, ...props }: WitnessStackProps) {
    super(scope, id, props)
    const logs = new CfnParameter(this, 'Logs', {
      minLength: 1,
      description: 'Which logs it follows: the text of a C2SP tlog-policy',
    })
    const table = stateTable(this, { keep: true })
    const key = keyParameter(this, 'witness')
    const shared = {
      code,
      environment: {
        WITNESS_STORE: `dynamodb:${table.tableName}`,
        WITNESS_KEY_PARAMETER: key.name,
        WITNESS_NAME: `${this.stackName}.${this.account}.${this.region}.raincheck/witness`,
        WITNESS_LOGS: logs.valueAsString,
      },
      memoryMiB: 256,
      timeout: Duration.seconds(30),
    }
    const front = new LambdaService(this, 'Front', {
      ...shared,
      handler: 'url',
      description: 'Raincheck witness: cosigns checkpoints that go on from all before',
    })
    const setup = new LambdaService(this, 'Setup', {
      ...shared,
      handler: 'setup',
      description: 'Raincheck witness: makes the key, and takes it away with the stack',
    })
    allowState(front, table)
    for (const service of [front, setup]) allowKey(service, key)
    allowForgetting(setup, key)
    new Watch(this, { functions: { Front: front } })
    const made = new CustomResource(this, 'Key', { serviceToken: setup.function.functionArn })
    const url = front.url()
    new CfnOutput(this, 'Url', { value: url, description: 'Where ledgers ask for cosignatures' })
    new CfnOutput(this, 'VerifierKey', {
      value: made.getAttString('VerifierKey'),
      description: 'What ledgers and agents put into their policies',
    })
  }
}
