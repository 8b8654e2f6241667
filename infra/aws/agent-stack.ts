/** One owner's agent in the owner's own account. */
import { CfnOutput, CfnParameter, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import type { Code } from 'aws-cdk-lib/aws-lambda'
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { Bucket } from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { LIVE } from '../lambda/wake-function.ts'
import { LANE_MODES } from '../../protocol/commitment.ts'
import { except, logicalId } from './checks.ts'
import { allowObjects, keptBucket } from './kept-bucket.ts'
import { LambdaService, type LambdaServiceProps } from './lambda-service.ts'
import { allowKey, allowMaking, keyParameter } from './parameter-key.ts'
import { every } from './schedule.ts'
import { allowState, stateTable } from './state-table.ts'
import { toldResource } from './told-resource.ts'
import { Watch } from './watch.ts'

export interface AgentStackProps extends StackProps {
  readonly code: Code
  /** Parameters of the stack unless given. */
  readonly services?: Services
}

/** Where an agent settles and meets, and whose cosignatures it demands of the one and the other (C2SP tlog-policy). */
interface Services {
  readonly ledgerUrl: string
  readonly repositoryUrl: string
  readonly witnesses?: string
  readonly repositoryWitnesses?: string
}

const CHORES_MINUTES = 5
/** A function of so much memory has two processors: one receives while the other hashes. */
const DOWNLOAD_MIB = 3008
const MAIN_MIB = 1024

export class AgentStack extends Stack {
  readonly url: string

  constructor(scope: Construct, id: string, props: AgentStackProps) {
    super(scope, id, props)
    const services = props.services ?? this.#serviceParameters()
    const table = stateTable(this, { keep: false })
    const bucket = keptBucket(
      this,
      'Files',
      'One agent alone uses it, and logs what it does; a log of each request would cost more than the requests.',
    )
    const key = keyParameter(this, 'agent')
    const environment = {
      AGENT_STORE: `dynamodb:${table.tableName}`,
      AGENT_KEY_PARAMETER: key.name,
      AGENT_BUCKET: bucket.bucketName,
      LEDGER_URL: services.ledgerUrl,
      REPOSITORY_URL: services.repositoryUrl,
      AGENT_WITNESSES: services.witnesses ?? '',
      AGENT_REPOSITORY_WITNESSES: services.repositoryWitnesses ?? '',
      ...dealingParameters(this),
    }
    const service = (name: string, own: Omit<LambdaServiceProps, 'code'>): LambdaService => {
      const made = new LambdaService(this, name, { ...own, code: props.code })
      allowState(made, table)
      allowKey(made, key)
      return made
    }
    const download = service('Download', {
      handler: 'download',
      description: 'Raincheck agent: works downloads off',
      environment,
      memoryMiB: DOWNLOAD_MIB,
      timeout: Duration.minutes(15),
      durable: { executionTimeout: Duration.days(365), retentionPeriod: Duration.days(1) },
    })
    const live = download.function.addAlias(LIVE)
    allowDurable(download, live.functionArn)
    const main = service('Main', {
      handler: 'main',
      description: 'Raincheck agent: obeys its owner, sells pieces to anyone, keeps house',
      environment: { ...environment, DOWNLOAD_FUNCTION: live.functionArn },
      memoryMiB: MAIN_MIB,
      timeout: Duration.minutes(5),
    })
    for (const handler of [main, download]) allowFiles(handler, bucket)
    main.allow(['lambda:InvokeFunction'], [live.functionArn])
    allowMaking(main, key)
    every(main, Duration.minutes(CHORES_MINUTES), 'chores')
    const says = 'Ticks wait to be redeemed for half an hour: the ledger does not take them, and they expire.'
    const waits = { most: Duration.minutes(30), says }
    new Watch(this, { functions: { Main: main, Download: download }, isCapped: true, waits })
    const claim = toldResource(this, 'Claim', main)
    this.url = main.url()
    new CfnOutput(this, 'Url', { value: this.url, description: 'Your agent: open it and claim it' })
    new CfnOutput(this, 'ClaimSecret', {
      value: claim.getAttString('ClaimSecret'),
      description: 'Shows the agent that you are its owner; good for one claim',
    })
    new CfnOutput(this, 'Bucket', {
      value: bucket.bucketName,
      description: 'Your bucket; it stays when the stack goes',
    })
  }

  #serviceParameters(): Services {
    const parameter = (id: string, description: string): string =>
      new CfnParameter(this, id, {
        description,
        allowedPattern: 'https?://[^/ ]+[^/ ]',
        constraintDescription: 'is a URL without a slash at its end',
      }).valueAsString
    const cosigners = (id: string, service: string): string =>
      new CfnParameter(this, id, {
        default: '',
        description: `Who has to cosign what the ${service} shows: the text of a C2SP tlog-policy; nobody when empty`,
      }).valueAsString
    return {
      ledgerUrl: parameter('LedgerUrl', 'Where your agent settles'),
      repositoryUrl: parameter('RepositoryUrl', 'Where your agent meets others'),
      witnesses: cosigners('Witnesses', 'ledger'),
      repositoryWitnesses: cosigners('RepositoryWitnesses', 'repository'),
    }
  }
}

function dealingParameters(stack: Stack): Record<string, string> {
  const modes = LANE_MODES.join('|')
  const sells = new CfnParameter(stack, 'SellModes', {
    default: LANE_MODES.join(','),
    allowedPattern: `(${modes})(,(${modes}))*`,
    description: 'How your agent sells: modes, with commas between',
  })
  const stakes = new CfnParameter(stack, 'StakeMost', {
    default: '',
    allowedPattern: '[0-9]{0,18}',
    description:
      'Credits that may be at stake with a stranger who sells neither on credit nor sealed; no limit when empty',
  })
  return { SELL_MODES: sells.valueAsString, STAKE_MOST: stakes.valueAsString }
}

function allowFiles(service: LambdaService, bucket: Bucket): void {
  service.allow(['s3:ListBucket'], [bucket.bucketArn])
  const actions = [
    's3:GetObject',
    's3:PutObject',
    's3:DeleteObject',
    's3:AbortMultipartUpload',
    's3:ListMultipartUploadParts',
  ]
  allowObjects(service, bucket, actions, 'Every object of the one bucket, whose names the owner chooses.')
}

/**
 * A durable function keeps its own checkpoints and touches those of no other. Apart from the role's other statements: the
 * function waits for those, and these name the function.
 */
function allowDurable(service: LambdaService, live: string): void {
  const actions = ['lambda:CheckpointDurableExecution', 'lambda:GetDurableExecutionState']
  const statements = [
    new PolicyStatement({ actions, resources: [`${service.function.functionArn}:*`] }),
    // A large download is spread over several workers: one wakes the others.
    new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [live] }),
  ]
  new Policy(service, 'Checkpoints', { roles: [service.role], statements })
  const resource = `<${logicalId(service.function)}.Arn>:*`
  except(service, `IAM5[Resource::${resource}]`, 'The versions and executions of this one function.')
}
