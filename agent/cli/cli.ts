/** The command `raincheck`: words in, an exit code out. `main.ts` hands in the process's own streams and files. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { fromUtf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { problemOf, type Problem, type ProblemCode } from '../../protocol/problem.ts'
import { openHome } from '../home.ts'
import { createLedgerClient } from '../ledger-client.ts'
import { createRepositoryClient } from '../repository-client.ts'
import { UsageError, type Answer, type Call, type Command } from './command.ts'
import { downloadCommands } from './commands/downloads.ts'
import { moneyCommands } from './commands/money.ts'
import { ownerCommands } from './commands/owner.ts'
import { serviceCommands } from './commands/services.ts'
import { storageCommands } from './commands/storage.ts'
import { trustCommands } from './commands/trust.ts'
import { createOwnerClient } from './owner-client.ts'

export interface CliIo {
  readonly environment: Environment
  readonly homeDir: string
  readonly workingDir: string
  /** Overrides the settings' agent URL. */
  readonly agentUrl?: string
  readonly signal: AbortSignal
  readonly isTerminal: boolean
  /** Time that never goes back, of any origin, with fractions of a millisecond. */
  monotonicMs(): number
  out(text: string): void
  err(text: string): void
}

const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const
const EXIT_OF: Partial<Record<ProblemCode, number>> = {
  'not-found': 3,
  'funds-insufficient': 4,
  'price-exceeded': 4,
  'delegation-exceeded': 4,
  'credit-exceeded': 5,
  'unknown-key': 5,
  forbidden: 5,
  'storage-unavailable': 6,
  'storage-full': 6,
  'storage-read-only': 6,
  'content-changed': 6,
  'path-outside': 6,
}

const COMMON_OPTIONS = {
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  'passphrase-file': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

const COMMANDS: Readonly<Record<string, Command>> = {
  ...ownerCommands,
  ...storageCommands,
  ...downloadCommands,
  ...moneyCommands,
  ...trustCommands,
  ...serviceCommands,
}

/** @returns the exit code: 0 done, 1 failed, 2 usage, 3 not found, 4 funds, 5 trust, 6 storage, 130 interrupted */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const asJson = argv.includes('--json')
  try {
    const answer = await dispatch(argv, io)
    io.out(asJson ? `${JSON.stringify(answer.json)}\n` : `${answer.text}\n`)
    return answer.exitCode ?? EXIT.done
  } catch (error) {
    if (error instanceof UsageError) {
      io.err(`${error.message}\n`)
      return EXIT.usage
    }
    if (io.signal.aborted) return EXIT.interrupted
    return fail(problemOf(error), asJson, io)
  }
}

function fail(problem: Problem, asJson: boolean, io: CliIo): number {
  if (asJson) io.out(`${JSON.stringify(problem)}\n`)
  else io.err(`raincheck: ${problem.message} (${problem.code})\n`)
  return EXIT_OF[problem.code] ?? EXIT.failed
}

async function dispatch(argv: readonly string[], io: CliIo): Promise<Answer> {
  const [name, ...words] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help')
    return { json: helpJson(), text: help() }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) throw new UsageError(`raincheck: there is no command '${name}'; see \`raincheck help\`.`)
  const { values, positionals } = parse(name, command, words)
  if (values['help'])
    return { json: { usage: usageOf(name, command) }, text: `${usageOf(name, command)}\n${command.summary}` }
  const [least, most] = command.takes
  if (positionals.length < least || positionals.length > most) throw new UsageError(usageOf(name, command))
  return command.run(callFor(positionals, values, io))
}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

function parse(name: string, command: Command, words: readonly string[]): { values: Values; positionals: string[] } {
  try {
    const options = { ...COMMON_OPTIONS, ...command.options }
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError(`raincheck ${name}: ${(error as Error).message}\n${usageOf(name, command)}`)
  }
}

function callFor(args: readonly string[], values: Values, io: CliIo): Call {
  const home = openHome(io.homeDir)
  const { environment } = io
  const absolute = (path: string) => resolve(io.workingDir, path)
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined)
  const passphrase = async (): Promise<string | undefined> => {
    const file = text('passphrase-file')
    return file === undefined ? undefined : fromUtf8(await readFile(absolute(file))).replace(/\r?\n$/, '')
  }
  const setting = async (name: 'agent' | 'ledger' | 'repository'): Promise<string> => {
    const url = (await home.settings())[name]
    if (!url)
      throw new UsageError(
        `raincheck: ${join(io.homeDir, 'settings.json')} names no ${name}; run \`npm start\` or set it.`,
      )
    return url
  }
  const signer = async () => home.signer(await passphrase())
  return {
    args,
    environment,
    home,
    signal: io.signal,
    progress: (line) => {
      if (io.isTerminal) io.err(`\r\u001b[K${line}`)
    },
    text,
    flag: (name) => values[name] === true,
    all: (name) => [values[name] ?? []].flat().map(String),
    readFile: (path) => readFile(absolute(path)),
    resolvePath: absolute,
    monotonicMs: () => io.monotonicMs(),
    settings: () => home.settings(),
    owner: () => home.owner(),
    signer,
    agent: async () =>
      createOwnerClient({
        environment,
        url: (io.agentUrl ?? (await setting('agent'))).replace(/\/$/, ''),
        owner: (await home.owner()).id,
        signer: await signer(),
      }),
    ledger: async (url) =>
      createLedgerClient({ environment, url: (url ?? (await setting('ledger'))).replace(/\/$/, '') }),
    repository: async () => createRepositoryClient({ environment, url: await setting('repository') }),
  }
}

const usageOf = (name: string, command: Command): string =>
  `usage: raincheck ${`${name} ${command.usage}`.trim()} [--json]`

const helpJson = () => Object.entries(COMMANDS).map(([name, { usage, summary }]) => ({ command: name, usage, summary }))

function help(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { usage, summary }]) => [`  ${name} ${usage}`.trimEnd(), summary] as const,
  )
  return ['usage: raincheck COMMAND … [--json]', '', ...rows.map(([left, right]) => `${left}\n      ${right}`)].join(
    '\n',
  )
}
