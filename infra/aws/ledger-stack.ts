/** A ledger of one's own. Its log outlives the stack: others hold claims on what it says. */
import { CfnOutput, CfnParameter, CustomResource, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Construct } from 'constructs'
import { LambdaService } from './lambda-service.ts'
import { allowForgetting, allowKey, keyParameter } from './parameter-key.ts'
import { every } from './schedule.ts'
import { allowState, stateTable } from './state-table.ts'

export interface LedgerStackProps extends StackProps {
  readonly code: Code
  /** Keeps the log when the stack is removed. */
  readonly keep: boolean
}

export class LedgerStack extends Stack {
  readonly url: string

  constructor(scope: Construct, id: string, props: LedgerStackProps) {
    super(scope, id, props)
    const faucet = new CfnParameter(this, 'Faucet', {
      default: '0',
      allowedPattern: '[0-9]{1,18}',
      description: 'Credits that each new account is given; for networks to try out',
    })
    const table = stateTable(this, { keep: props.keep })
    const key = keyParameter(this, 'ledger')
    const shared = {
      code: props.code,
      environment: {
        LEDGER_STORE: `dynamodb:${table.tableName}`,
        LEDGER_KEY_PARAMETER: key.name,
        LEDGER_ORIGIN: `${this.stackName}.${this.account}.${this.region}.raincheck/ledger`,
        LEDGER_FAUCET: faucet.valueAsString,
      },
    }
    const front = new LambdaService(this, 'Front', {
      ...shared,
      handler: 'url',
      description: 'Raincheck ledger: freezes, claims, redeems, releases',
      memoryMiB: 512,
      timeout: Duration.seconds(30),
    })
    const chores = new LambdaService(this, 'Chores', {
      ...shared,
      handler: 'chores',
      description: 'Raincheck ledger: sequences the log and attests it',
      memoryMiB: 512,
      timeout: Duration.minutes(5),
    })
    const setup = new LambdaService(this, 'Setup', {
      ...shared,
      handler: 'setup',
      description: 'Raincheck ledger: makes the key, and takes it away with the stack',
      memoryMiB: 256,
      timeout: Duration.minutes(1),
    })
    for (const service of [front, chores, setup]) {
      allowState(service, table)
      allowKey(service, key)
    }
    allowForgetting(setup, key)
    every(chores, Duration.minutes(1), 'sequence')
    every(chores, Duration.days(1), 'attest')
    new CustomResource(this, 'Key', { serviceToken: setup.function.functionArn })
    this.url = front.url()
    new CfnOutput(this, 'Url', { value: this.url, description: 'LEDGER_URL of agents that settle here' })
  }
}
