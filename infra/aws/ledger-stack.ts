/** A ledger of one's own. Its log outlives the stack, unless it is one to try out: others hold claims on what it says. */
import { Aws, CfnOutput, CfnParameter, Duration, Fn, Stack, type CfnParameterProps, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import type { Bucket } from 'aws-cdk-lib/aws-s3'
import { Construct } from 'constructs'
import { allowObjects, keptBucket } from './kept-bucket.ts'
import { LambdaService } from './lambda-service.ts'
import { allowKey, allowMaking, keyParameter } from './parameter-key.ts'
import { every, neverLate } from './schedule.ts'
import { allowState, stateTable } from './state-table.ts'
import { toldResource } from './told-resource.ts'
import { Watch } from './watch.ts'
import { addWitness, type Witness } from './witness-stack.ts'

export interface LedgerStackProps extends StackProps {
  readonly code: Code
  /** Keeps the log when the stack is removed, which takes a step more: the key goes. */
  readonly keep: boolean
  /** Of a witness of its own, to try out: one that counts is somebody else's. */
  readonly witnessCode?: Code
}

const NO_ROUND = 'No round of chores for five minutes: what is accepted waits until somebody asks for the log.'
const LATE = 'An entry waits for the log for more than three minutes: receipts break their merge delay.'

export class LedgerStack extends Stack {
  readonly url: string
  /** What agents may demand of its checkpoints (C2SP tlog-policy), where it has a witness of its own. */
  readonly witnessed: string | undefined

  constructor(scope: Construct, id: string, props: LedgerStackProps) {
    super(scope, id, { ...props, terminationProtection: props.keep })
    const { code, keep, witnessCode } = props
    const policy = policyParameters(this)
    const table = stateTable(this, { keep })
    const tiles = tilesBucket(this, keep)
    const key = keyParameter(this, 'ledger')
    const environment = {
      LEDGER_STORE: `dynamodb:${table.tableName}`,
      LEDGER_KEY_PARAMETER: key.name,
      LEDGER_ORIGIN: `${Aws.STACK_NAME}.${this.account}.${this.region}.raincheck/ledger`,
      ...policy,
    }
    const setup = new LambdaService(this, 'Setup', {
      code,
      // What is to try out leaves nothing: a bucket goes only when it is empty.
      environment: { ...environment, ...(!keep && { LEDGER_BUCKET_TO_EMPTY: tiles.bucketName }) },
      handler: 'setup',
      description: 'Raincheck ledger: makes the key, and takes it away with the stack',
      memoryMiB: 256,
      timeout: Duration.minutes(keep ? 1 : 5),
    })
    const made = toldResource(this, 'Key', setup)
    const log = `log ${made.getAttString('VerifierKey')}`
    const witness = witnessCode && ownWitness(this, witnessCode, log)
    const witnesses =
      witness?.line ??
      parameter(this, 'Witnesses', {
        description: 'Who is asked to cosign, with URLs: the text of a C2SP tlog-policy; nobody when empty',
      })
    this.witnessed = witness?.policy
    const shared = { code, environment: { ...environment, LEDGER_WITNESSES: witnesses } }
    const front = new LambdaService(this, 'Front', {
      ...shared,
      handler: 'url',
      description: 'Raincheck ledger: freezes, claims, redeems, releases',
      memoryMiB: 512,
      timeout: Duration.seconds(30),
    })
    const chores = new LambdaService(this, 'Chores', {
      ...shared,
      environment: { ...shared.environment, ...inBucket(tiles) },
      handler: 'chores',
      description: 'Raincheck ledger: sequences the log, has it witnessed, attests it',
      memoryMiB: 512,
      timeout: Duration.minutes(5),
    })
    for (const service of [front, chores, setup]) {
      allowState(service, table)
      allowKey(service, key)
    }
    allowMaking(setup, key)
    allowTiles(chores, tiles, ['s3:PutObject', 's3:GetObject'])
    if (!keep) allowTiles(setup, tiles, ['s3:DeleteObject'])
    const stays = keep ? '; it stays' : ''
    new CfnOutput(this, 'Tiles', { value: tiles.bucketName, description: `The log as plain objects${stays}` })
    for (const [task, interval] of Object.entries({ sequence: Duration.minutes(1), attest: Duration.days(1) })) {
      // So it goes first: nothing is put into a bucket that was emptied.
      every(chores, interval, task).node.addDependency(made)
    }
    neverLate(chores)
    new Watch(this, {
      functions: { Front: front, Chores: chores, ...(witness && { Witness: witness.front }) },
      rounds: { of: chores, within: Duration.minutes(5), otherwise: NO_ROUND },
      waits: { most: Duration.minutes(3), says: LATE },
    })
    this.url = front.url()
    new CfnOutput(this, 'Url', { value: this.url, description: 'LEDGER_URL of agents that settle here' })
  }
}

/** In one line: infra/lambda/policy-setting.ts. */
const lines = (...all: string[]): string => Fn.join(' ; ', all)

interface OwnWitness extends Witness {
  /** What names it in a policy, which it suffices for. */
  readonly line: string
  /** The same with the log. */
  readonly policy: string
}

function ownWitness(stack: Stack, code: Code, log: string): OwnWitness {
  const scope = new Construct(stack, 'Witness')
  const witness = addWitness(scope, { code, keep: false, logs: lines(log, 'quorum none') })
  const line = lines(`witness W1 ${witness.verifierKey} ${witness.url}`, 'quorum W1')
  const policy = lines(log, line)
  const description = 'What agents may demand of its log: their parameter of this name'
  new CfnOutput(stack, 'Witnesses', { value: policy, description })
  return { ...witness, line, policy }
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

function allowTiles(service: LambdaService, tiles: Bucket, actions: string[]): void {
  allowObjects(service, tiles, actions, 'The objects of the one bucket: a log has ever more of them.')
  // Else what is not there would look like what may not be read.
  service.allow(['s3:ListBucket'], [tiles.bucketArn])
}

const tilesBucket = (stack: Stack, keep: boolean): Bucket =>
  keptBucket(stack, 'Objects', 'The ledger alone writes to it, what anyone may read; its log says what.', keep)
