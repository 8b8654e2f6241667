/** What a command's words, the owner's home and the process's own streams come to. Clients are loaded when they are asked for. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Environment } from '../../protocol/environment.ts'
import type { Store } from '../../protocol/store.ts'
import { printable } from '../dashboard/printable.js'
import { openHome, readPassphrase } from '../home.ts'
import { UsageError, type Call } from './command.ts'
import { createOwnerClient } from './owner-client.ts'

export interface CliIo {
  readonly environment: Environment
  readonly homeDir: string
  readonly workingDir: string
  /** Overrides the settings' agent URL. */
  readonly agentUrl?: string
  /** Of the key's passphrase, unless an option names another. */
  readonly passphraseFile?: string
  readonly signal: AbortSignal
  readonly isTerminal: boolean
  /** A store in a file: what a long command goes on from; without it, it starts anew each time. */
  openStore?(path: string): Promise<Store>
  /** Time that never goes back, of any origin, with fractions of a millisecond. */
  monotonicMs(): number
  out(text: string): void
  err(text: string): void
}

export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

const CLEAR_LINE = '\r\u001b[K'
/** What is too long for the line is cut off by the terminal, which alone knows how wide a character is (DECAWM). */
const onOneLine = (text: string): string => `\u001b[?7l${text}\u001b[?7h`

export function callFor(args: readonly string[], values: Values, io: CliIo): Call {
  const home = openHome(io.homeDir)
  const environment = { ...io.environment, transport: interruptible(io) }
  const absolute = (path: string): string => resolve(io.workingDir, path)
  const text = (name: string): string | undefined => (typeof values[name] === 'string' ? values[name] : undefined)
  const passphrase = async (): Promise<string | undefined> => {
    const file = text('passphrase-file') ?? io.passphraseFile
    return file === undefined ? undefined : readPassphrase(absolute(file))
  }
  const setting = async (name: 'agent' | 'ledger' | 'repository'): Promise<string> => {
    const url = (await home.settings())[name]
    if (url) return checkUrl(url, `${name} in ${join(io.homeDir, 'settings.json')}`)
    throw new UsageError(
      `${join(io.homeDir, 'settings.json')} names no ${name}: go to the folder of \`npm start\`, or name your home in RAINCHECK_HOME.`,
    )
  }
  const agentUrl = async (): Promise<string> =>
    io.agentUrl === undefined ? setting('agent') : checkUrl(io.agentUrl, 'RAINCHECK_AGENT')
  const signer = async () => home.signer(await passphrase())
  return {
    args,
    environment,
    home,
    homeDir: io.homeDir,
    signal: io.signal,
    progress: (line) => {
      if (io.isTerminal) io.err(CLEAR_LINE + (line && onOneLine(printable(line))))
    },
    remark: (line) => {
      if (io.isTerminal) io.err(`${CLEAR_LINE}${printable(line)}\n`)
    },
    say: (line) => io.err(`${printable(line)}\n`),
    text,
    credits: (name) => checkCredits(name, text(name)),
    flag: (name) => values[name] === true,
    all: (name) => [values[name] ?? []].flat().map(String),
    readFile: (path) => readFile(absolute(path)),
    openStore: async (path) => io.openStore?.(path),
    resolvePath: absolute,
    passphrase,
    monotonicMs: () => io.monotonicMs(),
    settings: () => home.settings(),
    owner: () => home.owner(),
    signer,
    agentUrl,
    agent: async () =>
      createOwnerClient({
        environment,
        url: await agentUrl(),
        owner: (await home.owner()).id,
        signer: await signer(),
      }),
    async ledger(given) {
      const url = given === undefined ? await setting('ledger') : checkUrl(given, 'The URL of the ledger')
      return (await import('../clients/ledger-client.ts')).createLedgerClient({ environment, url })
    },
    async repository(given) {
      const url = given === undefined ? await setting('repository') : checkUrl(given, '--repository')
      return (await import('../clients/repository-client.ts')).createRepositoryClient({ environment, url })
    },
  }
}

/** Whoever interrupts the command waits for nobody's answer. */
const interruptible =
  ({ environment, signal }: CliIo): Environment['transport'] =>
  (request) =>
    environment.transport(new Request(request, { signal: AbortSignal.any([request.signal, signal]) }))

/** @returns without a trailing slash */
function checkUrl(url: string, place: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`${place} is '${url}', which is no URL with http or https.`)
  return url.replace(/\/+$/, '')
}

function checkCredits(name: string, text: string | undefined): string | undefined {
  if (text === undefined || /^(0|[1-9][0-9]{0,17})$/.test(text)) return text
  throw new UsageError(`--${name} takes a whole number of credits, of 18 digits at most, not '${text}'.`)
}
