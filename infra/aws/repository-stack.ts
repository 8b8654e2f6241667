/** A trust repository of one's own. */
import { CfnOutput, CfnParameter, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Construct } from 'constructs'
import { LambdaService } from './lambda-service.ts'
import { every, neverLate } from './schedule.ts'
import { allowState, stateTable } from './state-table.ts'
import { Watch } from './watch.ts'

export interface RepositoryStackProps extends StackProps {
  readonly code: Code
}

const SWEEP = Duration.minutes(15)

export class RepositoryStack extends Stack {
  readonly url: string

  constructor(scope: Construct, id: string, props: RepositoryStackProps) {
    super(scope, id, props)
    const { code } = props
    const table = stateTable(this, { keep: false })
    const witnesses = new CfnParameter(this, 'Witnesses', {
      default: '',
      description: 'Who is asked to cosign, with URLs: the text of a C2SP tlog-policy; nobody when empty',
    })
    const environment = {
      REPOSITORY_STORE: `dynamodb:${table.tableName}`,
      REPOSITORY_WITNESSES: witnesses.valueAsString,
    }
    const front = new LambdaService(this, 'Front', {
      code,
      handler: 'url',
      description: 'Raincheck repository: who vouches for whom, who holds what',
      environment,
      memoryMiB: 512,
      timeout: Duration.seconds(30),
    })
    const chores = new LambdaService(this, 'Chores', {
      code,
      handler: 'chores',
      description: 'Raincheck repository: takes away what is over',
      environment,
      memoryMiB: 256,
      timeout: Duration.minutes(5),
    })
    for (const service of [front, chores]) allowState(service, table)
    every(chores, SWEEP, 'sweep')
    neverLate(chores)
    new Watch(this, { functions: { Front: front, Chores: chores } })
    this.url = front.url()
    new CfnOutput(this, 'Url', { value: this.url, description: 'REPOSITORY_URL of agents that meet here' })
  }
}
