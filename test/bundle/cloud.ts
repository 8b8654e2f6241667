/**
 * What the synthesized templates say comes to be on this machine: tables, buckets, functions from their bundles, each
 * instance a process of its own. There is no TLS here, and loopback must be allowed; all else is as in the template.
 */
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ACCOUNT, CREDENTIALS, openAccount, REGION, type Account, type AccountOptions } from './account.ts'
import { hostFunction, type Bounds, type Fate, type FunctionHost } from './function-host.ts'
import { resolve, type Values } from './intrinsics.ts'

export interface Deployed {
  readonly outputs: Readonly<Record<string, string>>
  /** Runs what the stack's schedules run, by the task's name. */
  tick(task: string): Promise<void>
  /** Deploys it again, with other parameters: what it holds stays, and the code, so that no function has a new version. */
  update(parameters: Readonly<Record<string, string>>): void
  /**
   * Takes away what the template does not keep. What its custom resources are told, they are told twice.
   * @param meanwhile when they have done it, and the functions are still there
   */
  remove(meanwhile?: () => Promise<void>): Promise<void>
}

export interface Cloud extends Pick<Account, 'log' | 's3Url' | 's3Faults' | 'functions' | 'bounds'> {
  /** @param template of its own, where the stack is not among the synthesized */
  deploy(stack: string, parameters?: Readonly<Record<string, string>>, template?: Template): Promise<Deployed>
  /** What is there now: tables, buckets, parameters. */
  inventory(): readonly string[]
  close(): Promise<void>
}

type Properties = Readonly<Record<string, unknown>>

export interface Resource {
  readonly Type: string
  readonly Properties: Properties
  readonly DeletionPolicy?: string
  readonly Condition?: string
}

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>
  readonly Parameters?: Readonly<Record<string, { readonly Default?: string }>>
  readonly Outputs?: Readonly<Record<string, { readonly Value: unknown; readonly Export?: { readonly Name: string } }>>
}

export const STEADY: Fate = {
  after: () => false,
  midway: () => undefined,
  atWork: () => undefined,
  twice: () => false,
}

export const readTemplate = (outdir: string, stack: string): Template =>
  JSON.parse(readFileSync(join(outdir, `${stack}.template.json`), 'utf8')) as Template

export async function openCloud(
  outdir: string,
  stacks: readonly string[],
  options: Partial<AccountOptions> = {},
): Promise<Cloud> {
  const account = await openAccount(stacks.map(bucketName), { fate: STEADY, ...options })
  const hosts: FunctionHost[] = []
  return {
    log: account.log,
    s3Url: account.s3Url,
    s3Faults: account.s3Faults,
    functions: account.functions,
    bounds: account.bounds,
    deploy: (stack, parameters = {}, template = readTemplate(outdir, stack)) =>
      deploy({ account, outdir, stack, hosts, template }, parameters),
    inventory: () => [
      ...Array.from(account.tables.names, (name) => `table ${name}`),
      ...Array.from(account.buckets, (name) => `bucket ${name}`),
      ...account.parameters().map((name) => `parameter ${name}`),
    ],
    async close() {
      for (const host of hosts) await host.close()
      await account.close()
    },
  }
}

const bucketName = (stack: string): string => `${stack}-files`

interface Deployment {
  readonly account: Account
  readonly outdir: string
  readonly stack: string
  readonly template: Template
  /** Of all stacks. */
  readonly hosts: FunctionHost[]
}

/** A deployment while it comes about: what its values stand for, and its functions. */
interface Rising extends Deployment {
  readonly refs: Map<string, string>
  readonly attributes: Map<string, string>
  readonly values: Values
  readonly functions: Map<string, FunctionHost>
}

async function deploy(deployment: Deployment, parameters: Readonly<Record<string, string>>): Promise<Deployed> {
  const rising = begin(deployment, parameters)
  await makeState(rising)
  nameFunctions(rising)
  await raise(rising)
  await setUpAll(rising, 'Create')
  return {
    outputs: outputsOf(rising),
    async tick(task) {
      for (const { Targets } of propertiesOf(rising, 'AWS::Events::Rule')) {
        for (const { Arn, Input } of Targets as { Arn: unknown; Input: string }[]) {
          if ((JSON.parse(Input) as { task: string }).task === task) await hostAt(rising, Arn).invoke(JSON.parse(Input))
        }
      }
    },
    update(changed) {
      for (const [name, value] of Object.entries(changed)) rising.refs.set(name, value)
      for (const [id, { Properties: properties }] of ofType(rising, 'AWS::Lambda::Function')) {
        const { environment = {} } = rising.account.functions.get(rising.values.attribute(id, 'Arn')) ?? {}
        Object.assign(environment, environmentOf(rising, properties))
        rising.functions.get(id)?.renew()
      }
    },
    async remove(meanwhile) {
      await setUpAll(rising, 'Delete')
      for (const host of rising.functions.values()) host.renew()
      await meanwhile?.()
      await setUpAll(rising, 'Delete')
      for (const host of rising.functions.values()) await host.close()
      await removeState(rising)
    },
  }
}

function begin(deployment: Deployment, parameters: Readonly<Record<string, string>>): Rising {
  const { stack, template, account } = deployment
  const refs = new Map(
    Object.entries({
      'AWS::Region': REGION,
      'AWS::AccountId': ACCOUNT,
      'AWS::Partition': 'aws',
      'AWS::StackName': stack,
      'AWS::URLSuffix': 'amazonaws.com',
    }),
  )
  for (const [name, { Default: usual }] of Object.entries(template.Parameters ?? {})) {
    refs.set(name, parameters[name] ?? usual ?? fail(`${stack}: the parameter ${name} is missing`))
  }
  const attributes = new Map<string, string>()
  const values: Values = {
    ref: (id) => refs.get(id) ?? fail(`${stack}: there is no ${id}`),
    attribute: (id, name) => attributes.get(`${id}.${name}`) ?? fail(`${stack}: there is no ${id}.${name}`),
    imported: (name) => account.exports.get(name) ?? fail(`nothing exports ${name}`),
  }
  return { ...deployment, refs, attributes, values, functions: new Map() }
}

const ofType = ({ template }: Deployment, type: string): [string, Resource][] =>
  Object.entries(template.Resources).filter(([, { Type }]) => Type === type)

const propertiesOf = (deployment: Deployment, type: string): Properties[] =>
  ofType(deployment, type).map(([, { Properties: properties }]) => properties)

const tableName = (stack: string, id: string): string => `${stack}-${id}`

async function makeState(rising: Rising): Promise<void> {
  const { account, stack, refs, attributes } = rising
  for (const [id, { Properties: properties }] of ofType(rising, 'AWS::DynamoDB::GlobalTable')) {
    await account.tables.make(tableName(stack, id), properties)
    refs.set(id, tableName(stack, id))
    attributes.set(`${id}.Arn`, `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/${tableName(stack, id)}`)
  }
  for (const [id] of ofType(rising, 'AWS::S3::Bucket')) {
    account.buckets.add(bucketName(stack))
    refs.set(id, bucketName(stack))
    attributes.set(`${id}.Arn`, `arn:aws:s3:::${bucketName(stack)}`)
  }
}

async function removeState(rising: Rising): Promise<void> {
  const { account, stack } = rising
  const isGone = ([, { DeletionPolicy = 'Delete' }]: [string, Resource]): boolean => DeletionPolicy === 'Delete'
  for (const [id] of ofType(rising, 'AWS::DynamoDB::GlobalTable').filter(isGone)) {
    await account.tables.remove(tableName(stack, id))
  }
  if (!ofType(rising, 'AWS::S3::Bucket').some(isGone)) return
  await requireEmpty(account, bucketName(stack))
  account.buckets.delete(bucketName(stack))
}

/** CloudFormation removes no bucket that holds anything. */
async function requireEmpty({ s3Url }: Account, bucket: string): Promise<void> {
  const client = new S3Client({ endpoint: s3Url, region: REGION, forcePathStyle: true, credentials: CREDENTIALS })
  const { KeyCount: left } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
  client.destroy()
  if (left !== 0) fail(`${bucket} holds ${left} objects`)
}

function nameFunctions(rising: Rising): void {
  const { stack, refs, attributes, values } = rising
  for (const [id] of ofType(rising, 'AWS::Lambda::Function')) {
    refs.set(id, `${stack}-${id}`)
    attributes.set(`${id}.Arn`, `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${stack}-${id}`)
  }
  const arnOf = ({ FunctionName }: Properties): string => values.attribute((FunctionName as { Ref: string }).Ref, 'Arn')
  for (const [id, { Properties: properties }] of ofType(rising, 'AWS::Lambda::Version')) {
    refs.set(id, `${arnOf(properties)}:1`)
  }
  for (const [id, { Properties: properties }] of ofType(rising, 'AWS::Lambda::Alias')) {
    refs.set(id, `${arnOf(properties)}:${String(properties['Name'])}`)
  }
}

function environmentOf({ account, values }: Rising, properties: Properties): Record<string, string> {
  const { Variables = {} } = (properties['Environment'] ?? {}) as { Variables?: Properties }
  const own = Object.entries(Variables).map(([name, value]) => [name, withoutTls(resolve(value, values))])
  return { ...account.variables, ...(Object.fromEntries(own) as Record<string, string>) }
}

/** Variables of one function may name what another has made: it comes after that. */
async function raise(rising: Rising): Promise<void> {
  for (let left = ofType(rising, 'AWS::Lambda::Function'); left.length > 0;) {
    const ready = left.filter(([, { Properties: properties }]) => isResolved(rising, properties))
    if (ready.length === 0) environmentOf(rising, left[0]?.[1].Properties ?? {})
    startFunctions(rising, ready)
    const ids = new Set(ready.map(([id]) => id))
    await listenAtUrls(rising, ids)
    await setUpAll(rising, 'Create', ids)
    left = left.filter((one) => !ready.includes(one))
  }
}

function isResolved(rising: Rising, properties: Properties): boolean {
  try {
    environmentOf(rising, properties)
    return true
  } catch {
    return false
  }
}

function startFunctions(rising: Rising, ready: readonly [string, Resource][]): void {
  const { account, stack, values, functions, hosts } = rising
  const { fate, say } = account
  for (const [id, { Properties: properties }] of ready) {
    const environment = { ...environmentOf(rising, properties), AWS_LAMBDA_FUNCTION_NAME: `${stack}-${id}` }
    const code = codeOf(rising, properties)
    const handler = String(properties['Handler'])
    const timeoutMs = Number(properties['Timeout']) * 1000
    const bounds = (): Bounds => account.bounds.get(`${stack}/${handler.split('.')[1]}`) ?? { timeoutMs }
    const started = { code, handler, environment, bounds }
    const host = hostFunction({ ...started, name: `${stack}/${id}`, fate, say })
    functions.set(id, host)
    hosts.push(host)
    const arn = values.attribute(id, 'Arn')
    account.functions.set(arn, started)
    // A version keeps the variables that it was made with.
    const version = { ...started, environment: { ...environment } }
    for (const qualified of [`${arn}:1`, `${arn}:live`, `${stack}-${id}:live`])
      account.functions.set(qualified, version)
  }
}

/** A function that has a URL is told of it, as one behind a domain of its own is. */
async function listenAtUrls(rising: Rising, among: ReadonlySet<string>): Promise<void> {
  for (const [id, { Properties: properties }] of ofType(rising, 'AWS::Lambda::Url')) {
    const target = targetOf(properties['TargetFunctionArn'])
    if (!among.has(target)) continue
    const url = await hostAt(rising, properties['TargetFunctionArn']).listen()
    const known = rising.account.functions.get(rising.values.attribute(target, 'Arn'))
    if (known) known.environment['AGENT_URL'] = url
    rising.attributes.set(`${id}.FunctionUrl`, `${url.replace('http:', 'https:')}/`)
  }
}

/** Custom resources: their function is asked, and answers at a URL. */
async function setUpAll(rising: Rising, type: 'Create' | 'Delete', among?: ReadonlySet<string>): Promise<void> {
  const { stack, attributes, account } = rising
  for (const [id, { Properties: properties }] of ofType(rising, 'AWS::CloudFormation::CustomResource')) {
    if (among && !among.has(targetOf(properties['ServiceToken']))) continue
    const answers = await startCallback()
    const ids = { StackId: stack, RequestId: '1', LogicalResourceId: id, PhysicalResourceId: id }
    await hostAt(rising, properties['ServiceToken']).invoke({ RequestType: type, ResponseURL: answers.url, ...ids })
    const { Status, Reason, Data = {} } = await answers.next
    if (Status !== 'SUCCESS') fail(`${stack}: ${id}: ${Reason}\n${account.log.slice(-5).join('\n')}`)
    for (const [name, value] of Object.entries(Data)) attributes.set(`${id}.${name}`, value)
  }
}

function outputsOf({ template, values, account }: Rising): Record<string, string> {
  const entries = Object.entries(template.Outputs ?? {}).map(([name, { Value, Export }]): [string, string] => {
    const value = withoutTls(resolve(Value, values))
    if (Export) account.exports.set(Export.Name, value)
    return [name, value]
  })
  return Object.fromEntries(entries)
}

const targetOf = (arn: unknown): string => (arn as { 'Fn::GetAtt': [string] })['Fn::GetAtt'][0]

const hostAt = ({ functions, stack }: Rising, arn: unknown): FunctionHost =>
  functions.get(targetOf(arn)) ?? fail(`${stack}: there is no function ${targetOf(arn)}`)

const withoutTls = (value: unknown): string => String(value).replaceAll('https://127.0.0.1', 'http://127.0.0.1')

/** @returns the folder of a function's code: an asset, or made of what stands in the template */
function codeOf({ outdir, stack }: Deployment, { Code }: Properties): string {
  const { S3Key, ZipFile } = Code as { S3Key?: string; ZipFile?: string }
  if (ZipFile !== undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'raincheck-inline-'))
    writeFileSync(join(folder, 'index.js'), ZipFile)
    return folder
  }
  const manifest = JSON.parse(readFileSync(join(outdir, `${stack}.assets.json`), 'utf8')) as {
    files: Record<string, { source: { path: string } }>
  }
  const asset = manifest.files[String(S3Key).replace('.zip', '')] ?? fail(`${stack}: there is no asset ${S3Key}`)
  return join(outdir, asset.source.path)
}

function fail(detail: string): never {
  throw new Error(detail)
}

interface Callback {
  readonly Status: string
  readonly Reason?: string
  readonly Data?: Readonly<Record<string, string>>
}

/** Where a custom resource puts its answer. */
async function startCallback(): Promise<{ readonly url: string; readonly next: Promise<Callback> }> {
  const { promise, resolve: answer } = Promise.withResolvers<Callback>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      response.end()
      server.close()
      answer(JSON.parse(Buffer.concat(chunks).toString()) as Callback)
    })
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/answer`, next: promise }
}
