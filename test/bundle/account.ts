/** What an account has besides stacks: servers that stand for DynamoDB, S3, Parameter Store and Lambda's own API. */
import {
  CreateTableCommand,
  DeleteTableCommand,
  DynamoDBClient,
  type CreateTableCommandInput,
} from '@aws-sdk/client-dynamodb'
import { spawn, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Faults } from '../conformance/storage-world.ts'
import { startDynamodb } from '../infra/dynamodb-server.ts'
import { startS3 } from '../servers/s3.ts'
import { timedOut, type Bounds, type Fate } from './function-host.ts'
import { startParameterStore } from './parameter-store.ts'

export const ACCOUNT = '123456789012'
export const REGION = 'us-east-1'
export const CREDENTIALS = { accessKeyId: 'AKIALOCAL', secretAccessKey: 'local-secret' }

/** How a function is started: what its template says of it. */
export interface FunctionCode {
  readonly code: string
  readonly handler: string
  readonly environment: Record<string, string>
  readonly bounds: () => Bounds
}

export interface Account {
  /** What every function is given: where the services of the account are. */
  readonly variables: Readonly<Record<string, string>>
  readonly s3Url: string
  readonly s3Faults: Faults
  readonly say: (line: string) => void
  readonly log: readonly string[]
  readonly fate: Fate
  readonly exports: Map<string, string>
  /** By ARN, also qualified ones. */
  readonly functions: Map<string, FunctionCode>
  /** In the place of what templates say, by stack and handler, such as `STACK/main`. */
  readonly bounds: Map<string, Bounds>
  readonly tables: Tables
  readonly buckets: Set<string>
  parameters(): readonly string[]
  close(): Promise<void>
}

export interface Tables {
  readonly names: ReadonlySet<string>
  make(name: string, properties: Readonly<Record<string, unknown>>): Promise<void>
  remove(name: string): Promise<void>
}

export interface AccountOptions {
  readonly fate: Fate
  /** What every function is given besides. */
  readonly variables?: Readonly<Record<string, string>>
}

export async function openAccount(
  bucketNames: readonly string[],
  { fate, variables = {} }: AccountOptions,
): Promise<Account> {
  const log: string[] = []
  const say = (line: string): void => void log.push(line)
  const database = await startDynamodb()
  const { accessKeyId, secretAccessKey } = CREDENTIALS
  const s3 = await startS3({ buckets: bucketNames, principals: { [accessKeyId]: { secretAccessKey } } })
  const parameters = await startParameterStore()
  const client = new DynamoDBClient({ endpoint: database.endpoint, region: REGION, credentials: CREDENTIALS })
  const functions = new Map<string, FunctionCode>()
  const executions = openExecutions(functions, fate, say)
  const lambda = await startLambdaApi((arn, payload) => {
    executions.begin(arn, payload)
    if (fate.twice()) executions.begin(arn, payload)
  })
  return {
    variables: {
      PATH: process.env['PATH'] ?? '',
      // Where code is inside a template, the SDK is the runtime's.
      NODE_PATH: fileURLToPath(new URL('../../node_modules', import.meta.url)),
      AWS_REGION: REGION,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_ENDPOINT_URL_DYNAMODB: database.endpoint,
      AWS_ENDPOINT_URL_S3: s3.url,
      AWS_ENDPOINT_URL_SSM: parameters.url,
      AWS_ENDPOINT_URL_LAMBDA: lambda.url,
      RAINCHECK_ALLOW_LOOPBACK: '1',
      REPOSITORY_ALLOW_LOOPBACK: '1',
      ...variables,
    },
    s3Url: s3.url,
    s3Faults: s3.faults,
    say,
    log,
    fate,
    exports: new Map(),
    functions,
    bounds: new Map(),
    tables: tablesOf(client),
    buckets: new Set(),
    parameters: parameters.names,
    async close() {
      executions.end()
      client.destroy()
      await Promise.all([lambda.close(), parameters.close(), s3.close(), database.stop()])
    },
  }
}

function tablesOf(client: DynamoDBClient): Tables {
  const names = new Set<string>()
  return {
    names,
    async make(name, properties) {
      const { KeySchema, AttributeDefinitions } = properties as Pick<
        CreateTableCommandInput,
        'KeySchema' | 'AttributeDefinitions'
      >
      const shape = { TableName: name, KeySchema, AttributeDefinitions }
      await client.send(new CreateTableCommand({ ...shape, BillingMode: 'PAY_PER_REQUEST' }))
      names.add(name)
    },
    async remove(name) {
      await client.send(new DeleteTableCommand({ TableName: name }))
      names.delete(name)
    },
  }
}

interface Executions {
  begin(arn: string, payload: string): void
  end(): void
}

const KILL_WITHIN_MS = 3000

/** Durable executions, a process each. One whose process dies is run again, as Lambda does. */
function openExecutions(
  functions: ReadonlyMap<string, FunctionCode>,
  fate: Fate,
  say: (line: string) => void,
): Executions {
  const running = new Set<ChildProcess>()
  const program = fileURLToPath(new URL('durable.ts', import.meta.url))

  function begin(arn: string, payload: string): void {
    const found = functions.get(arn)
    if (!found) throw new Error(`There is no function ${arn}.`)
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      env: { ...found.environment, CODE: found.code, HANDLER: found.handler, PAYLOAD: payload },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    const hear = (text: Buffer): void => say(`durable: ${text.toString().trimEnd()}`)
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('exit', (code) => {
      if (running.delete(child) && code !== 0) begin(arn, payload)
    })
    const killMs = fate.atWork(KILL_WITHIN_MS)
    if (killMs !== undefined) setTimeout(() => child.kill('SIGKILL'), killMs)
    const { timeoutMs } = found.bounds()
    const isLate = setTimeout(() => {
      say(`durable: ${timedOut(timeoutMs)}`)
      child.kill('SIGKILL')
    }, timeoutMs)
    child.once('exit', () => clearTimeout(isLate))
  }

  return {
    begin,
    end() {
      for (const child of running) {
        running.delete(child)
        child.kill('SIGKILL')
      }
    },
  }
}

/** The one call of Lambda's API that an agent makes: an event for a durable function, once for each execution's name. */
async function startLambdaApi(
  begin: (arn: string, payload: string) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const named = new Set<string>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const [, arn = ''] = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url ?? '') ?? []
      const execution = String(request.headers['x-amz-durable-execution-name'])
      const isRight = arn !== '' && request.headers['x-amz-invocation-type'] === 'Event'
      if (isRight && !named.has(execution)) begin(decodeURIComponent(arn), Buffer.concat(chunks).toString())
      if (isRight) named.add(execution)
      response.writeHead(isRight ? 202 : 400).end(isRight ? '' : '{}')
    })
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise<void>((done) => server.close(() => done())),
  }
}
