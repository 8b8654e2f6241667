/** Commands run as a newcomer runs them: children of their own, with their own streams. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const NODE = join(ROOT, 'node_modules/.bin/node')

export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Child {
  readonly process: ChildProcess
  /** The first line of stdout that is a JSON document. @throws when it ends before that */
  ready<T = Record<string, string>>(): Promise<T>
  readonly ended: Promise<Ended>
  /** So far. */
  said(): Omit<Ended, 'code'>
}

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A process group of its own, as a terminal gives. */
  readonly detached?: boolean
}

export function start(command: string, words: readonly string[], options: ChildOptions = {}): Child {
  const { cwd = ROOT, env = {}, detached = false } = options
  const child = spawn(command, words, {
    cwd,
    detached,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { out: '', err: '' }
  child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (said.err += chunk.toString()))
  const lines = createInterface({ input: child.stdout })
  const document = Promise.withResolvers<string>()
  lines.on('line', (line) => {
    if (line.startsWith('{')) document.resolve(line)
  })
  const ended = once(child, 'close').then(([code]): Ended => {
    document.reject(new Error(`it ended with ${code}: ${said.err}`))
    return { code: code as number | null, ...said, err: withoutNpm(said.err) }
  })
  document.promise.catch(() => undefined)
  return {
    process: child,
    ended,
    said: () => ({ ...said }),
    ready: async <T>() => JSON.parse(await document.promise) as T,
  }
}

/** What npm says of its own settings is no line of ours. */
const withoutNpm = (err: string): string => err.replaceAll(/^npm (?:warn|notice|error).*\n/gm, '')

/** What `npm start` runs, without npm: that takes longer than the network. */
export const nodeStart = (words: readonly string[], options: ChildOptions = {}): Child =>
  start(NODE, ['--disable-warning=ExperimentalWarning', 'infra/local/main.ts', ...words], options)

export const npmStart = (words: readonly string[], options: ChildOptions = {}): Child =>
  start('npm', ['start', '--', ...words], options)

/** The documents among what it said on stdout. */
export const documents = ({ out }: Ended): Record<string, unknown>[] =>
  out
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
