/** A server that speaks DynamoDB, on loopback; another than ours where AWS_ENDPOINT_URL_DYNAMODB names one. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'

export interface DynamodbServer {
  readonly endpoint: string
  /** What the SDK reads in a process that is to use the server. */
  readonly variables: Readonly<Record<string, string>>
  stop(): Promise<void>
}

export interface ServerOptions {
  /** A file to keep the tables in. Default: in memory. */
  readonly path?: string
}

const ENDPOINT = 'AWS_ENDPOINT_URL_DYNAMODB'
const STARTS = 3

/** @throws Error that says how to name a server, where none can be started */
export async function startDynamodb({ path }: ServerOptions = {}): Promise<DynamodbServer> {
  const named = process.env[ENDPOINT]
  if (named) return { endpoint: named, variables: variablesFor(named), stop: async () => {} }
  const program = findProgram()
  for (let starts = 1; ; starts++) {
    const port = await freePort()
    const child = spawn(program, ['serve', '--port', String(port), ...(path ? ['--db-path', path] : [])], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const kill = () => void child.kill('SIGKILL')
    process.once('exit', kill)
    if (await isUp(child)) {
      const endpoint = `http://127.0.0.1:${port}`
      const stop = async () => {
        process.off('exit', kill)
        await stopped(child)
      }
      return { endpoint, variables: variablesFor(endpoint), stop }
    }
    if (starts === STARTS) throw new Error(`${program} did not start.`)
  }
}

/** Of the environment's own settings, only the missing ones are made up. */
const variablesFor = (endpoint: string) => ({
  [ENDPOINT]: endpoint,
  AWS_REGION: process.env['AWS_REGION'] ?? 'us-east-1',
  AWS_ACCESS_KEY_ID: process.env['AWS_ACCESS_KEY_ID'] ?? 'local',
  AWS_SECRET_ACCESS_KEY: process.env['AWS_SECRET_ACCESS_KEY'] ?? 'local',
})

function findProgram(): string {
  const platform = `${process.platform}-${process.arch}`
  try {
    const manifest = createRequire(import.meta.url).resolve(`@dynoxide/${platform}/package.json`)
    return join(dirname(manifest), 'dynoxide')
  } catch {
    throw new Error(
      `No DynamoDB server is installed for ${platform}. Start one, such as DynamoDB Local, and name it: ` +
        `${ENDPOINT}=http://127.0.0.1:8000 npm test`,
    )
  }
}

/** Somebody else may take it before the server does: then the server ends. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const isUp = (child: ChildProcess): Promise<boolean> =>
  new Promise((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => {
      if (text.includes('listening')) resolve(true)
    })
    child.once('exit', () => resolve(false)).once('error', reject)
  })

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await once(child, 'exit')
}
