/** A function of a template: instances come when they are needed, take one event at a time, and go without a word. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request as requestHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

export interface FunctionOptions {
  readonly name: string
  readonly code: string
  readonly handler: string
  readonly environment: Readonly<Record<string, string>>
  /** As they are when an event comes. */
  readonly bounds: () => Bounds
  readonly fate: Fate
  readonly say: (line: string) => void
}

/** What one event may take. */
export interface Bounds {
  /** An instance that takes longer is ended in the middle of what it does. */
  readonly timeoutMs: number
  /** Of an answer, on its way out; as fast as it comes unless given. */
  readonly bytesPerSecond?: number
}

/** When instances go. */
export interface Fate {
  /** Whether one ends when it has answered. */
  readonly after: () => boolean
  /** When one is killed that begins its work now, in milliseconds of at most so many; undefined: it is not. */
  readonly midway: (mostMs: number) => number | undefined
  /** The same of a durable execution. */
  readonly atWork: (mostMs: number) => number | undefined
  /** Whether an event that nobody waits for comes twice. */
  readonly twice: () => boolean
}

export interface FunctionHost {
  readonly starts: () => number
  invoke(event: unknown): Promise<{ status: number; body: string }>
  /** Instances that are there go: the next is started with the variables as they are then. */
  renew(): void
  /** Its URL on this machine. */
  listen(): Promise<string>
  close(): Promise<void>
}

interface Instance {
  readonly child: ChildProcess
  readonly port: number
}

const MIB = 1024 * 1024
/** What Lambda takes as an event, in which bytes that are no text are base64, and what it streams as an answer. */
export const MOST_EVENT_BYTES = 6 * MIB
export const MOST_ANSWER_BYTES = 200 * MIB
const CONCURRENCY = 8
/** A piece is under way for about so long. */
const KILL_WITHIN_MS = 200

export function hostFunction(options: FunctionOptions): FunctionHost {
  const idle: Instance[] = []
  const all = new Set<ChildProcess>()
  const waiting: (() => void)[] = []
  let busy = 0
  let starts = 0
  let front: Server | undefined

  async function start(): Promise<Instance> {
    starts++
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL('instance.ts', import.meta.url))],
      {
        env: {
          ...options.environment,
          CODE: options.code,
          HANDLER: options.handler,
          AWS_LAMBDA_FUNCTION_NAME: options.name,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    all.add(child)
    child.once('exit', () => all.delete(child))
    child.stderr.on('data', (text: Buffer) => options.say(`${options.name}: ${text.toString().trimEnd()}`))
    const lines = createInterface({ input: child.stdout })
    const [line] = (await Promise.race([once(lines, 'line'), died(options.name, child)])) as [string]
    lines.on('line', (text) => options.say(`${options.name}: ${text}`))
    return { child, port: (JSON.parse(line) as { port: number }).port }
  }

  async function take(): Promise<Instance> {
    if (busy >= CONCURRENCY) await new Promise<void>((resolve) => waiting.push(resolve))
    busy++
    for (let kept = idle.pop(); kept; kept = idle.pop())
      if (kept.child.exitCode === null && !kept.child.killed) return kept
    return start()
  }

  function giveBack(instance: Instance): void {
    busy--
    if (options.fate.after()) instance.child.kill('SIGKILL')
    else idle.push(instance)
    waiting.shift()?.()
  }

  /** Streams the answer as it comes. */
  async function pass(event: string, onAnswer: (answer: IncomingMessage) => Promise<void>): Promise<void> {
    const instance = await take()
    const { timeoutMs } = options.bounds()
    const isLate = setTimeout(() => {
      options.say(`${options.name}: ${timedOut(timeoutMs)}`)
      instance.child.kill('SIGKILL')
      late.abort()
    }, timeoutMs)
    const late = new AbortController()
    try {
      const { signal } = late
      const headers = { 'lambda-runtime-deadline-ms': Date.now() + timeoutMs }
      const at = { host: '127.0.0.1', port: instance.port, method: 'POST', headers }
      const asked = requestHttp({ ...at, agent: false, signal })
      const answered = once(asked, 'response') as Promise<[IncomingMessage]>
      asked.end(event)
      const killMs = options.fate.midway(KILL_WITHIN_MS)
      if (killMs !== undefined) setTimeout(() => instance.child.kill('SIGKILL'), killMs)
      const [answer] = await answered
      await onAnswer(answer)
    } finally {
      clearTimeout(isLate)
      giveBack(instance)
    }
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bytesOf(request)
    const event = body.length > MOST_EVENT_BYTES ? undefined : JSON.stringify(urlEvent(request, body))
    if (event === undefined || Buffer.byteLength(event) > MOST_EVENT_BYTES) return void response.writeHead(413).end()
    try {
      await pass(event, async (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        await pipeline(answer, wayOut(options.bounds()), response)
      })
    } catch {
      // As Lambda answers for an instance that died, or had no time left.
      if (response.headersSent) response.destroy()
      else response.writeHead(502, { 'content-type': 'application/json' }).end('{"Message":"Internal Server Error"}')
    }
  }

  return {
    starts: () => starts,
    async invoke(event) {
      let answered = { status: 0, body: '' }
      await pass(JSON.stringify(event), async (answer) => {
        answered = { status: answer.statusCode ?? 0, body: (await bytesOf(answer)).toString() }
      })
      return answered
    },
    renew() {
      for (const child of all) child.kill('SIGKILL')
    },
    async listen() {
      const server = createServer((request, response) => void serve(request, response))
      front = server
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    },
    async close() {
      for (const child of all) child.kill('SIGKILL')
      front?.closeAllConnections()
      if (front) await new Promise((resolve) => front?.close(resolve))
    },
  }
}

/** As Lambda's log says it. */
export const timedOut = (timeoutMs: number): string => `Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`

/** An answer beyond what is streamed breaks off. */
function wayOut({ bytesPerSecond }: Bounds): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length
      if (bytes > MOST_ANSWER_BYTES) done(new Error('The answer is too long.'))
      else if (bytesPerSecond === undefined) done(null, chunk)
      else setTimeout(() => done(null, chunk), (chunk.length / bytesPerSecond) * 1000)
    },
  })
}

async function died(name: string, child: ChildProcess): Promise<never> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  throw new Error(`an instance of ${name} ended with ${code ?? signal} before it was ready`)
}

async function bytesOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Payload format 2.0. Lambda sends bodies that are not text as base64. */
function urlEvent(request: IncomingMessage, body: Buffer) {
  const url = new URL(request.url ?? '/', 'http://host')
  const isText = /^(?:text\/|application\/(?:json|problem\+json))/.test(request.headers['content-type'] ?? '')
  return {
    version: '2.0',
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    headers: Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)])),
    requestContext: {
      domainName: request.headers.host,
      http: { method: request.method, path: url.pathname, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7' },
    },
    ...(body.length > 0 && { body: isText ? body.toString() : body.toString('base64') }),
    isBase64Encoded: body.length > 0 && !isText,
  }
}
