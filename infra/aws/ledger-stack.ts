/** A ledger of one's own. Its log outlives the stack: others hold claims on what it says. */
import {
  CfnOutput,
  CfnParameter,
  CustomResource,
  Duration,
  Stack,
  type CfnParameterProps,
  type StackProps,
} from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Bucket } from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { allowObjects, keptBucket } from './kept-bucket.ts'
import { LambdaService } from './lambda-service.ts'
import { allowForgetting, allowKey, keyParameter } from './parameter-key.ts'
import { every } from './schedule.ts'
import { allowState, stateTable } from './state-table.ts'
import { Watch } from './watch.ts'

export interface LedgerStackProps extends StackProps {
  readonly code: Code
  /** Keeps the log when the stack is removed, and puts it into a bucket as well. */
  readonly keep: boolean
}

export class LedgerStack extends Stack {
  readonly url: string

  constructor(scope: Construct, id: string, props: LedgerStackProps) {
    super(scope, id, props)
    const policy = policyParameters(this)
    const witnesses = parameter(this, 'Witnesses', {
      description: 'Who is asked to cosign, with URLs: the text of a C2SP tlog-policy; nobody when empty',
    })
    const table = stateTable(this, { keep: props.keep })
    const tiles = props.keep ? tilesBucket(this) : undefined
    const key = keyParameter(this, 'ledger')
    const shared = {
      code: props.code,
      environment: {
        LEDGER_STORE: `dynamodb:${table.tableName}`,
        LEDGER_KEY_PARAMETER: key.name,
        LEDGER_ORIGIN: `${this.stackName}.${this.account}.${this.region}.raincheck/ledger`,
        LEDGER_WITNESSES: witnesses,
        ...policy,
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
      environment: { ...shared.environment, ...(tiles && inBucket(tiles)) },
      handler: 'chores',
      description: 'Raincheck ledger: sequences the log, has it witnessed, attests it',
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
    if (tiles) {
      const why = 'The objects of the one bucket: a log has ever more of them.'
      allowObjects(chores, tiles, ['s3:PutObject', 's3:GetObject'], why)
      // Else what is not there would look like what may not be read.
      chores.allow(['s3:ListBucket'], [tiles.bucketArn])
      new CfnOutput(this, 'Tiles', { value: tiles.bucketName, description: 'The log as plain objects; it stays' })
    }
    every(chores, Duration.minutes(1), 'sequence')
    every(chores, Duration.days(1), 'attest')
    new Watch(this, {
      functions: { Front: front, Chores: chores },
      rounds: {
        of: chores,
        within: Duration.minutes(5),
        otherwise: 'No round of chores for five minutes: what is accepted waits until somebody asks for the log.',
      },
      waits: {
        most: Duration.minutes(3),
        says: 'An entry waits for the log for more than three minutes: receipts break their merge delay.',
      },
    })
    new CustomResource(this, 'Key', { serviceToken: setup.function.functionArn })
    this.url = front.url()
    new CfnOutput(this, 'Url', { value: this.url, description: 'LEDGER_URL of agents that settle here' })
  }
}

const parameter = (stack: Stack, id: string, own: CfnParameterProps): string =>
  new CfnParameter(stack, id, { default: '', ...own }).valueAsString

/** What counts for a new log only, by the variable that says it. */
function policyParameters(stack: Stack): Record<string, string> {
  const credits = (id: string, usual: string, description: string): string =>
    parameter(stack, id, { default: usual, allowedPattern: '[0-9]{1,18}', description })
  const keys = (id: string, allowedPattern: string, description: string): string =>
    parameter(stack, id, { allowedPattern, description: `${description}; 64 hex digits each, for a new log` })
  const one = '([0-9a-f]{64})?'
  return {
    LEDGER_FAUCET: credits('Faucet', '0', 'Credits that each new account is given; for networks to try out'),
    LEDGER_UNIT_PRICE: credits('UnitPrice', '1', 'Credits announced for a unit until a price changes it'),
    LEDGER_LOG_SHARDS: parameter(stack, 'LogShards', {
      default: '1',
      allowedPattern: '[1-9]|1[0-6]',
      description: 'How many shards a new log is in; 1 unless it has to take hundreds of entries a second',
    }),
    LEDGER_ISSUER: keys('Issuer', one, 'Public key of who sells credits'),
    LEDGER_FEDERATION: keys('Federation', '([0-9a-f]{64}(,[0-9a-f]{64}){0,14})?', 'Public keys that decide'),
    LEDGER_AUTHORITY: keys('Authority', one, 'Public key of who admits accounts'),
  }
}

/** The log, and beside it the state that the chores replay it with. */
const inBucket = ({ bucketName }: Bucket): Record<string, string> => ({
  LEDGER_TILES: `s3://${bucketName}`,
  LEDGER_REPLICA: `s3://${bucketName}/replica.sqlite`,
})

const tilesBucket = (stack: Stack): Bucket =>
  keptBucket(stack, 'Objects', 'The ledger alone writes to it, what anyone may read; its log says what.')
