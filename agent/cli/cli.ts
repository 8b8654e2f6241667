/** The command `raincheck`: words in, an exit code out. `main.ts` hands in the process's own streams and files. */
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { Problem } from '../../protocol/problem.ts'
import { printable } from '../dashboard/printable.js'
import { callFor, type CliIo, type Values } from './call.ts'
import { UsageError, type Answer, type Command, type Commands } from './command.ts'
import { auditCommands } from './commands/audit.ts'
import { brokerCommands } from './commands/brokers.ts'
import { circleCommands } from './commands/circles.ts'
import { claimCommands } from './commands/claim.ts'
import { doctorCommands } from './commands/doctor.ts'
import { downloadCommands } from './commands/downloads.ts'
import { followCommands } from './commands/follow.ts'
import { guardCommands } from './commands/guard.ts'
import { issuerCommands, saleCommands } from './commands/issuer.ts'
import { keyCommands } from './commands/keys.ts'
import { ledgerCommands } from './commands/ledger.ts'
import { authorityCommands, memberCommands } from './commands/members.ts'
import { moneyCommands } from './commands/money.ts'
import { ownerCommands } from './commands/owner.ts'
import { serviceCommands } from './commands/services.ts'
import { proofCommands } from './commands/proofs.ts'
import { copyCommands } from './commands/copies.ts'
import { linkCommands } from './commands/links.ts'
import { shareCommands } from './commands/storage.ts'
import { trustCommands } from './commands/trust.ts'
import { EXIT, exitCodeOf } from './exit-code.ts'
import { faultOf } from './fault.ts'
import { firstText, helpJson, helpText, nearest, usageOf, type Chapters } from './help.ts'
import { printableJson } from './printable.ts'

const COMMON_OPTIONS = {
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  'passphrase-file': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

const CHAPTERS: Chapters = {
  'Your key': { ...ownerCommands, ...keyCommands, ...memberCommands, ...claimCommands },
  'Your storage': { ...linkCommands, ...copyCommands },
  'What you share': shareCommands,
  'What you fetch': { ...downloadCommands, ...followCommands, ...brokerCommands },
  Credits: { ...moneyCommands, ...saleCommands },
  'Stop and caps': guardCommands,
  Trust: { ...trustCommands, ...circleCommands },
  'Looking after it': { ...auditCommands, ...proofCommands, ...serviceCommands, ...doctorCommands },
  'Deciding about a ledger': { ...ledgerCommands, ...issuerCommands, ...authorityCommands },
}
const COMMANDS: Commands = Object.assign({}, ...Object.values(CHAPTERS)) as Commands
const HELP_WORDS = new Set(['help', '--help', '-h'])

/** @returns the exit code: 0 done, 1 failed, 2 usage, 3 not found, 4 funds, 5 trust, 6 storage, 130 interrupted */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const asJson = argv.includes('--json')
  try {
    const answer = await Promise.race([dispatch(argv, io), interruption(io.signal)])
    io.out(`${asJson ? printableJson(answer.json) : printable(answer.text)}\n`)
    return answer.exitCode ?? EXIT.done
  } catch (error) {
    if (io.signal.aborted) return EXIT.interrupted
    return fail(error, asJson, io)
  }
}

/** Never resolves: what is under way is left behind. */
function interruption(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  const interrupt = (): void => reject(signal.reason as Error)
  if (signal.aborted) interrupt()
  else signal.addEventListener('abort', interrupt, { once: true })
  return promise
}

function fail(error: unknown, asJson: boolean, io: CliIo): number {
  const isUsage = error instanceof UsageError
  const problem = isUsage ? new Problem('bad-request', error.message) : faultOf(error)
  if (asJson) io.out(`${printableJson(problem)}\n`)
  else if (isUsage) io.err(`raincheck: ${printable(error.message)}\n`)
  else if (problem.code === 'internal') io.err(`raincheck: a fault of ours: ${String((error as Error).stack)}\n`)
  else io.err(`raincheck: ${printable(problem.message)} (${problem.code})\n`)
  return isUsage ? EXIT.usage : exitCodeOf(problem.code)
}

async function dispatch(argv: readonly string[], io: CliIo): Promise<Answer> {
  const [first, ...rest] = argv.filter((word, i) => i > 0 || word !== '--json')
  if (first === undefined) return { json: helpJson(CHAPTERS), text: firstText(CHAPTERS) }
  if (HELP_WORDS.has(first)) return help(rest)
  const { name, command, words } = find(first, rest)
  const { values, positionals } = parse(name, command, words)
  if (values['help']) return helpOn(name, command)
  const [least, most] = command.takes
  if (positionals.length < least || positionals.length > most) throw new UsageError(usageOf(name, command))
  return command.run(callFor(positionals, values, io))
}

function help(words: readonly string[]): Answer {
  const [about, ...rest] = words.filter((word) => !word.startsWith('-'))
  if (about === undefined) return { json: helpJson(CHAPTERS), text: helpText(CHAPTERS) }
  if (rest.length === 0 && !Object.hasOwn(COMMANDS, about) && below(about).length > 0) {
    const chapter = { [about]: Object.fromEntries(below(about).map((name) => [name, COMMANDS[name] as Command])) }
    return { json: helpJson(chapter), text: helpText(chapter) }
  }
  const { name, command } = find(about, rest)
  return helpOn(name, command)
}

/** Commands of two words that begin with it. */
const below = (first: string): string[] => Object.keys(COMMANDS).filter((name) => name.startsWith(`${first} `))

const helpOn = (name: string, command: Command): Answer => ({
  json: { command: name, usage: command.usage, summary: command.summary },
  text: `${usageOf(name, command)}\n${command.summary}`,
})

interface Found {
  readonly name: string
  readonly command: Command
  /** After its name. */
  readonly words: readonly string[]
}

/** A command has one word or two. @throws UsageError with the nearest there is */
function find(first: string, rest: readonly string[]): Found {
  const [second = '', ...others] = rest
  for (const [name, words] of [[`${first} ${second}`, others] as const, [first, rest] as const]) {
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
    if (command) return { name, command, words }
  }
  const seconds = below(first).map((name) => name.slice(first.length + 1))
  if (seconds.length > 0) throw new UsageError(`'${first}' needs a subcommand: ${seconds.join(', ')}.`)
  const meant = nearest(first, Object.keys(COMMANDS))
  const hint = meant === undefined ? '' : ` Did you mean \`${meant}\`?`
  throw new UsageError(`there is no command '${first}'.${hint} \`raincheck help\` lists them.`)
}

function parse(name: string, command: Command, words: readonly string[]): { values: Values; positionals: string[] } {
  try {
    const options = { ...COMMON_OPTIONS, ...command.options }
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (error) {
    const [what = ''] = (error as Error).message.split(/\.\s/)
    throw new UsageError(`${what.replace('is ambiguous', 'may not begin with a dash')}; ${usageOf(name, command)}`)
  }
}
