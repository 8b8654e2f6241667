import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { auditLog } from '../../agent/cli/audit.ts'
import { sourceInFolder } from '../../agent/cli/log-source.ts'
import { launchUrl } from '../../infra/aws/launch-url.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { openNote, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { genesis } from '../../protocol/identity.ts'
import { parseLogPolicy, requireWitnessed } from '../../protocol/log-policy.ts'
import { envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { CREDENTIALS, REGION } from './account.ts'
import { ALARMS } from './cost.ts'
import { openCloud, readTemplate, type Cloud, type Resource, type Template } from './cloud.ts'
import { makeTemplateOnce, synthesizeOnce } from './synth-once.ts'
import { zippedBytes } from './synth.ts'

type Properties = Readonly<Record<string, unknown>>
interface Statement {
  readonly Effect: string
  readonly Action: string | readonly string[]
  readonly Resource: unknown
}

let outdir: string
let single: { readonly text: string; readonly template: Template }
let templates: readonly (readonly [name: string, template: Template])[]

/** Any finding of AWS Solutions or of the library's own rules fails here. */
beforeAll(async () => {
  outdir = await synthesizeOnce()
  single = await makeTemplateOnce()
  const stacks = readdirSync(outdir).flatMap((file) => /^(.*)\.template\.json$/.exec(file)?.[1] ?? [])
  templates = [...stacks.map((name) => [name, readTemplate(outdir, name)] as const), ['the one file', single.template]]
}, 180_000)

const resources = (): [where: string, resource: Resource][] =>
  templates.flatMap(([name, { Resources }]) =>
    Object.entries(Resources).map(([id, resource]): [string, Resource] => [`${name}/${id}`, resource]),
  )
const ofType = (type: string): [where: string, properties: Properties][] =>
  resources().flatMap(([where, { Type, Properties: properties }]) => (Type === type ? [[where, properties]] : []))

const allStatements = (): { readonly where: string; readonly statement: Statement }[] =>
  [...ofType('AWS::IAM::Policy'), ...ofType('AWS::IAM::ManagedPolicy')].flatMap(([where, { PolicyDocument }]) =>
    (PolicyDocument as { Statement: readonly Statement[] }).Statement.map((statement) => ({ where, statement })),
  )

/** What costs by the hour, or needs what does. */
const HOURLY =
  /^AWS::(?:EC2|ECS|EKS|RDS|ElasticLoadBalancing.*|ElastiCache|OpenSearch.*|Redshift|MSK|NAT.*|KMS|SecretsManager)::/

describe('every stack', () => {
  it('has nothing that is billed by the hour, nor a key or a secret that is billed by the month', () => {
    expect(resources().filter(([, { Type }]) => HOURLY.test(Type))).toEqual([])
    for (const [where, { BillingMode }] of ofType('AWS::DynamoDB::GlobalTable')) {
      expect([where, BillingMode]).toEqual([where, 'PAY_PER_REQUEST'])
    }
    for (const [where, properties] of ofType('AWS::Lambda::Function')) {
      expect([where, properties['ReservedConcurrentExecutions']]).toEqual([where, undefined])
    }
  })

  it('goes by the name that it is given, which need not be that of its template', () => {
    for (const [name, { Resources }] of templates) {
      // What one stack hands to another goes by the name of its template: the CDK’s way.
      const own = JSON.stringify(Resources, (key, value: unknown) => (key === 'Fn::ImportValue' ? undefined : value))
      expect([name, own.match(/raincheck-(?:agent|ledger|repository|witness|network)[\w-]*/g)]).toEqual([name, null])
    }
  })

  it('allows no action and no resource by a wildcard, but the objects of one bucket and the executions of one function', () => {
    const statements = allStatements()
    expect(statements.length).toBeGreaterThan(10)
    for (const { where, statement } of statements.filter(({ statement: { Effect } }) => Effect === 'Allow')) {
      expect([where, [statement.Action].flat().filter((action) => action.includes('*'))]).toEqual([where, []])
      const wide = [statement.Resource].flat().filter((resource) => JSON.stringify(resource).includes('*'))
      for (const resource of wide) {
        const [start, end] = (resource as { 'Fn::Join': [string, [{ 'Fn::GetAtt': [string, string] }, string]] })[
          'Fn::Join'
        ][1]
        expect([where, start['Fn::GetAtt'][1], ['/*', ':*'].includes(end)]).toEqual([where, 'Arn', true])
      }
    }
    expect(ofType('AWS::IAM::Role').filter(([, role]) => role['ManagedPolicyArns'] !== undefined)).toEqual([])
  })

  it('allows of tables and buckets what the code asks of them', () => {
    const actions = allStatements().flatMap(({ statement }) => [statement.Action].flat())
    expect([...new Set(actions)].filter((action) => /^(?:dynamodb|s3):/.test(action)).toSorted()).toEqual([
      'dynamodb:BatchGetItem',
      'dynamodb:DeleteItem',
      'dynamodb:GetItem',
      'dynamodb:PutItem',
      'dynamodb:Query',
      'dynamodb:UpdateItem',
      's3:AbortMultipartUpload',
      's3:DeleteObject',
      's3:GetObject',
      's3:ListBucket',
      's3:ListMultipartUploadParts',
      's3:PutObject',
    ])
  })

  it('lets none make a key or take it away but who is told that the stack comes or goes', () => {
    const makers = ofType('AWS::IAM::Policy').filter(([, policy]) =>
      /"ssm:(?:Put|Delete)Parameter"/.test(JSON.stringify(policy)),
    )
    expect(makers.map(([where]) => where.replace(/Role.*/, '')).toSorted()).toEqual([
      'raincheck-agent/Main',
      'raincheck-ledger/Setup',
      'raincheck-network-ledger/Setup',
      'raincheck-network-ledger/WitnessSetup',
      'raincheck-network-neighbour/Main',
      'raincheck-network-you/Main',
      'raincheck-witness/Setup',
      'the one file/Main',
    ])
  })

  it('gives each function a role of its own, on nodejs24.x', () => {
    const roles = ofType('AWS::Lambda::Function').map(([where, { Role, Runtime }]) => {
      expect([where, Runtime]).toEqual([where, 'nodejs24.x'])
      return `${where.split('/')[0]} ${JSON.stringify(Role)}`
    })
    expect(new Set(roles).size).toBe(roles.length)
  })

  it('streams at its URL, which anyone may call under both permissions', () => {
    for (const [where, url] of ofType('AWS::Lambda::Url')) {
      expect([where, url]).toMatchObject([where, { AuthType: 'NONE', InvokeMode: 'RESPONSE_STREAM' }])
    }
    for (const [name] of templates) {
      const urls = ofType('AWS::Lambda::Url').filter(([where]) => where.startsWith(`${name}/`))
      // A ledger to try out has its witness beside it.
      expect([name, urls.length]).toEqual([name, name === 'raincheck-network-ledger' ? 2 : 1])
      const open = ofType('AWS::Lambda::Permission').filter(
        ([where, { Principal }]) => where.startsWith(`${name}/`) && Principal === '*',
      )
      for (const [, { TargetFunctionArn: target }] of urls) {
        const actions = open.filter(([, { FunctionName }]) => JSON.stringify(FunctionName) === JSON.stringify(target))
        expect([name, actions.map(([, { Action }]) => String(Action)).toSorted()]).toEqual([
          name,
          ['lambda:InvokeFunction', 'lambda:InvokeFunctionUrl'],
        ])
      }
    }
  })

  it('can bring its state back to any second, and keeps what others rest on', () => {
    for (const [where, { Replicas }] of ofType('AWS::DynamoDB::GlobalTable')) {
      const [replica] = Replicas as { PointInTimeRecoverySpecification?: object }[]
      const recovery = replica?.PointInTimeRecoverySpecification
      expect([where, recovery]).toMatchObject([where, { PointInTimeRecoveryEnabled: true }])
    }
    // DynamoDB deletes none that is protected, also where a first deployment has failed.
    const isProtected = /"DeletionProtectionEnabled":true/
    for (const [where, resource] of resources().filter(([, one]) => isProtected.test(JSON.stringify(one))))
      expect([where, resource.DeletionPolicy]).toEqual([where, 'Retain'])
    const kept = resources().filter(([, { DeletionPolicy = 'Delete' }]) => DeletionPolicy !== 'Delete')
    expect(kept.map(([where, { Type }]) => `${where.split('/')[0]}: ${Type}`).toSorted()).toEqual([
      'raincheck-agent: AWS::S3::Bucket',
      'raincheck-ledger: AWS::DynamoDB::GlobalTable',
      'raincheck-ledger: AWS::S3::Bucket',
      'raincheck-network-neighbour: AWS::S3::Bucket',
      'raincheck-network-you: AWS::S3::Bucket',
      'raincheck-witness: AWS::DynamoDB::GlobalTable',
      'the one file: AWS::S3::Bucket',
    ])
  })

  it('is removed in two steps where its key is what others rest on', () => {
    const { artifacts } = JSON.parse(readFileSync(join(outdir, 'manifest.json'), 'utf8')) as {
      artifacts: Record<string, { properties?: { terminationProtection?: boolean } }>
    }
    const isProtected = ([, one]: [string, (typeof artifacts)[string]]) =>
      one.properties?.terminationProtection === true
    const names = Object.entries(artifacts).filter(isProtected)
    expect(names.map(([name]) => name).toSorted()).toEqual(['raincheck-ledger', 'raincheck-witness'])
  })

  it('waits for what its functions make as long as Lambda may try it, and not for an hour', () => {
    for (const [where, { ServiceTimeout: seconds, ServiceToken }] of ofType('AWS::CloudFormation::CustomResource')) {
      const told = (ServiceToken as { 'Fn::GetAtt': [string] })['Fn::GetAtt'][0]
      const [, { Timeout = 0 } = {}] =
        ofType('AWS::Lambda::Function').find(([name]) => name === where.replace(/[^/]+$/, told)) ?? []
      // Three times, with pauses of one and two minutes.
      expect([where, Number(seconds) >= 3 * Number(Timeout) + 3 * 60, seconds]).toEqual([where, true, '1200'])
    }
  })

  it('does late what a stack is told, while that is waited for, and not what comes around again', () => {
    const configured = new Map(
      ofType('AWS::Lambda::EventInvokeConfig').map(
        ([where, { MaximumRetryAttempts: tries = 2, MaximumEventAgeInSeconds: s }]) => [
          where.replace(/EventInvokeConfig.*/, ''),
          [tries, s],
        ],
      ),
    )
    for (const [where] of ofType('AWS::Lambda::Function')) {
      const name = where.replace(/Function.*/, '')
      const limits = name.endsWith('Chores') ? [0, 60] : [2, 1200]
      // A worker is woken by its alias, and goes on whenever there is room for it.
      const isAsked = /(?:Front|Download)$/.test(name)
      expect([name, configured.get(`${name}Function`)]).toEqual([name, isAsked ? undefined : limits])
    }
  })

  it('makes alarms, a budget and a dashboard only where they are asked for, and as many as COST.md says', () => {
    const watching = resources().filter(([, { Type }]) => /^AWS::(?:CloudWatch|SNS|Budgets)::/.test(Type))
    const kinds = new Set(watching.map(([, { Type, Condition }]) => `${Type} ${Condition}`))
    expect([...kinds].toSorted()).toEqual([
      'AWS::Budgets::Budget HasAlerts',
      'AWS::CloudWatch::Alarm HasAlerts',
      'AWS::CloudWatch::Dashboard HasDashboard',
      'AWS::SNS::Subscription HasAlerts',
      'AWS::SNS::Topic HasAlerts',
      'AWS::SNS::TopicPolicy HasAlerts',
    ])
    for (const [stack, most] of Object.entries(ALARMS)) {
      const alarms = ofType('AWS::CloudWatch::Alarm').filter(([where]) => where.startsWith(`raincheck-${stack}/`))
      const looksAt = alarms.map(([, { Metrics = [{}] }]) =>
        (Metrics as { Expression?: string }[]).filter((one) => !one.Expression),
      )
      expect([stack, looksAt.flat().length]).toEqual([stack, most])
      for (const [where, { AlarmActions }] of alarms)
        expect([where, AlarmActions]).toEqual([where, [expect.anything()]])
    }
  })

  it('ends uploads that were left for a year, keeps buckets private, and logs for a month', () => {
    for (const [where, bucket] of ofType('AWS::S3::Bucket')) {
      const { LifecycleConfiguration, PublicAccessBlockConfiguration } = bucket
      const rules = (LifecycleConfiguration as { Rules: object[] }).Rules
      expect([where, rules]).toMatchObject([where, [{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 365 } }]])
      const isPrivate = Object.values(PublicAccessBlockConfiguration as object).every((value) => value === true)
      expect([where, isPrivate]).toEqual([where, true])
    }
    for (const [where, { RetentionInDays }] of ofType('AWS::Logs::LogGroup')) {
      expect([where, RetentionInDays]).toEqual([where, 30])
    }
  })
})

describe('the agent', () => {
  it('fits into 1.2 MB when it is zipped', () => {
    const { files } = JSON.parse(readFileSync(join(outdir, 'raincheck-agent.assets.json'), 'utf8')) as {
      files: Record<string, { source: { path: string; packaging: string } }>
    }
    const folders = Object.values(files).filter(({ source }) => source.packaging === 'zip')
    expect(folders).toHaveLength(1)
    const folder = join(outdir, folders[0]?.source.path ?? '')
    expect(readdirSync(folder)).toContain('index.js')
    expect(zippedBytes(folder)).toBeLessThan(1_200_000)
  })

  it('is launched from one file: no asset, no bootstrap, well under the limit of 1 MiB', () => {
    expect(Buffer.byteLength(single.text)).toBeLessThan(1_000_000)
    expect(single.text).not.toMatch(/cdk-hnb659fds|BootstrapVersion|S3Key/)
    expect(Object.keys(single.template.Parameters ?? {}).toSorted()).toEqual([
      'AlertEmail',
      'Dashboard',
      'LedgerUrl',
      'MonthlyBudget',
      'RepositoryUrl',
      'RepositoryWitnesses',
      'SellModes',
      'StakeMost',
      'Witnesses',
    ])
    expect(Object.keys(single.template.Outputs ?? {}).toSorted()).toEqual(['Bucket', 'ClaimSecret', 'Url'])
  })

  it('may be there twice: each has a key of its own, which goes with it alone', async () => {
    const names = ['mine', 'ours']
    const cloud = await openCloud(outdir, names)
    const services = { LedgerUrl: 'http://127.0.0.1:1', RepositoryUrl: 'http://127.0.0.1:1' }
    const [mine, ours] = await Promise.all(names.map((name) => cloud.deploy(name, services, single.template)))
    const keys = () => cloud.inventory().filter((name) => name.startsWith('parameter'))
    expect(keys().toSorted()).toEqual(names.map((name) => `parameter /raincheck/${name}/agent-key`))
    expect(mine?.outputs['ClaimSecret']).not.toBe(ours?.outputs['ClaimSecret'])
    await mine?.remove()
    expect(keys()).toEqual(['parameter /raincheck/ours/agent-key'])
    await cloud.close()
  })

  it('has a link that opens the console with the template and no secret in it', () => {
    const url = new URL(
      launchUrl('https://bucket.s3.amazonaws.com/raincheck agent.json', 'raincheck-agent', 'eu-central-1'),
    )
    expect([url.origin, url.pathname, url.search]).toEqual([
      'https://console.aws.amazon.com',
      '/cloudformation/home',
      '?region=eu-central-1',
    ])
    const [page, query] = url.hash.split('?')
    expect(page).toBe('#/stacks/quickcreate')
    expect(Object.fromEntries(new URLSearchParams(query))).toEqual({
      templateURL: 'https://bucket.s3.amazonaws.com/raincheck agent.json',
      stackName: 'raincheck-agent',
    })
  })
})

describe('the ledger, the repository and their witness', () => {
  const stacks = ['raincheck-ledger', 'raincheck-repository', 'raincheck-witness']
  const names = ['ada', 'ben', 'eve']
  const federation = names.map((name) => toHex(signerFrom(sha256(utf8(name))).key))
  let cloud: Cloud
  let dir: string
  beforeAll(async () => {
    cloud = await openCloud(outdir, stacks)
    dir = await mkdtemp(join(tmpdir(), 'raincheck-tiles-'))
  })
  afterAll(async () => {
    await cloud.close()
    await rm(dir, { recursive: true, force: true })
  })

  it('cosign what the other two publish; the ledger’s log lies in the bucket too and can be audited there', async () => {
    const bootstrap = { BootstrapVersion: '21' }
    const repository = await cloud.deploy('raincheck-repository', bootstrap)
    const { Url: repositoryUrl = '' } = repository.outputs
    const there = (await (await fetch(`${repositoryUrl}/v1/repository`)).json()) as { vkey: string }
    const policy = { Faucet: '1000', UnitPrice: '3', Federation: federation.join(',') }
    const ledger = await cloud.deploy('raincheck-ledger', { ...bootstrap, ...policy })
    const { Url: url = '' } = ledger.outputs
    const { vkey, ...info } = (await (await fetch(`${url}/v1/ledger`)).json()) as { vkey: string }
    expect(info).toMatchObject({ unitPrice: '3', faucet: '1000', federation: { keys: federation, majority: 2 } })

    const witness = await cloud.deploy('raincheck-witness', {
      ...bootstrap,
      Logs: `log ${vkey}\nlog ${there.vkey}\nquorum none\n`,
    })
    const { Url: witnessUrl, VerifierKey: witnessKey } = witness.outputs
    const witnesses = `witness W1 ${witnessKey} ${witnessUrl}\nquorum W1\n`
    ledger.update({ Witnesses: witnesses })
    repository.update({ Witnesses: `witness W1 ${witnessKey} ${witnessUrl} ; quorum W1` })
    for (const name of names) {
      const identity = envelopeToJson(genesis([signerFrom(sha256(utf8(name)))], Date.now()))
      const post = (at: string, json: object) =>
        fetch(at, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) })
      expect((await post(`${url}/v1/accounts`, { identity })).status).toBe(201)
      expect((await post(`${repositoryUrl}/v1/identities`, { operations: [identity] })).status).toBe(201)
    }
    const audit = { policy: parseLogPolicy(witnesses), nowMs: Date.now() }
    const seen = openNote(await (await fetch(`${url}/checkpoint`)).text(), [parseVerifierKey(vkey)])
    expect(requireWitnessed(seen, audit.policy, audit.nowMs)).toMatchObject({ size: 1 + names.length })
    const told = openNote(await (await fetch(`${repositoryUrl}/checkpoint`)).text(), [parseVerifierKey(there.vkey)])
    expect(requireWitnessed(told, audit.policy, Date.now())).toMatchObject({ size: names.length })

    // The second time from the state that the first has left in the bucket.
    for (const tasks of ['sequence', 'attest', 'sequence', 'attest']) await ledger.tick(tasks)
    await copyBucket(cloud, ledger.outputs['Tiles'] ?? '', dir)
    expect(await auditLog(sourceInFolder(dir), parseVerifierKey(vkey), audit)).toMatchObject({
      ok: true,
      size: 2 + names.length,
      witnesses: [parseVerifierKey(witnessKey ?? '', 'cosignature').name],
    })

    expect(await readFile(join(dir, 'replica.sqlite'), 'latin1')).toMatch(/^SQLite format 3/)

    // What comes late finds no key, and makes none.
    const keys = () => cloud.inventory().filter((name) => name.startsWith('parameter'))
    await ledger.remove(async () => {
      for (const task of ['sequence', 'attest']) await ledger.tick(task)
      expect((await fetch(`${url}/checkpoint`)).status).toBe(503)
      expect(keys()).toEqual(['parameter /raincheck/raincheck-witness/witness-key'])
    })
    await repository.remove()
    await witness.remove(async () => {
      expect((await fetch(`${witnessUrl}/`)).status).toBe(503)
      expect(keys()).toEqual([])
    })
    expect(cloud.inventory().map((name) => name.replace(/State.*/, 'State'))).toEqual([
      'table raincheck-ledger-State',
      'table raincheck-witness-State',
      'bucket raincheck-ledger-files',
    ])
  }, 120_000)
})

async function copyBucket({ s3Url }: Cloud, bucket: string, dir: string): Promise<void> {
  const client = new S3Client({ endpoint: s3Url, region: REGION, forcePathStyle: true, credentials: CREDENTIALS })
  const { Contents: objects = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
  for (const { Key: key = '' } of objects) {
    const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
    await mkdir(dirname(join(dir, key)), { recursive: true })
    await writeFile(join(dir, key), (await body?.transformToByteArray()) ?? '')
  }
  client.destroy()
}
