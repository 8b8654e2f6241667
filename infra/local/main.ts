/** Entry point of `npm start`: the whole network on this machine. */
import { spawn } from 'node:child_process'
import { enableCompileCache } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatBytes, formatCount, formatSeconds } from '../../agent/dashboard/figures.js'
import { providerHosts } from '../../agent/storage/providers.ts'
import { realEnvironment } from '../environment.ts'
import { faultText, onTermination, startFailure } from '../service-process.ts'
import type { Network, Stores } from './network.ts'
import type { OnceReport, ProgressJson } from './once.ts'

const USAGE = 'usage: npm start -- [--data DIR] [--port 8402] [--open] [--json] [--once FILE]'
/** `port` and the three after it. */
const LAST_PORT = 65_532
const EXIT = { done: 0, usage: 2, interrupted: 130 } as const

interface Options {
  readonly data: string
  readonly port: number
  readonly open: boolean
  readonly json: boolean
  readonly once: string | undefined
}

const say = (line: string): boolean => process.stderr.write(`${line}\n`)

function options(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        data: { type: 'string', default: '.raincheck' },
        port: { type: 'string', default: '8402' },
        open: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        once: { type: 'string' },
      },
    })
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 1 || port > LAST_PORT)
      throw new Error(`--port takes a number from 1 to ${LAST_PORT}`)
    return { ...values, port, once: values.once }
  } catch (error) {
    say(`${(error as Error).message}\n${USAGE}`)
    return undefined
  }
}

/** What Node makes of the modules is kept, and makes the next start faster. They are loaded once that is set up. */
async function load() {
  enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/raincheck', import.meta.url)))
  const [{ startNetwork }, { once, requireSource }, { readPassphrase }] = await Promise.all([
    import('./network.ts'),
    import('./once.ts'),
    import('../../agent/home.ts'),
  ])
  return { startNetwork, once, requireSource, readPassphrase }
}

async function main(): Promise<number | undefined> {
  const chosen = options()
  if (!chosen) return EXIT.usage
  const { startNetwork, once, requireSource, readPassphrase } = await load()
  if (chosen.once !== undefined) await requireSource(chosen.once)
  const environment = realEnvironment()
  const passphraseFile = process.env['RAINCHECK_PASSPHRASE_FILE']
  const network = await startNetwork({
    environment,
    dir: chosen.data,
    port: chosen.port,
    stores: stores(),
    hosts: providerHosts((name, otherwise) => process.env[name] || otherwise),
    ...(passphraseFile ? { passphrase: await readPassphrase(passphraseFile) } : {}),
    onFault: (error) => say(`fault: ${faultText(error)}`),
  })
  const runsOn = chosen.once === undefined
  // Whoever reads where everything is may end the process at once.
  onTermination(runsOn ? () => network.stop() : async () => undefined, runsOn ? EXIT.done : EXIT.interrupted)
  announce(network, chosen)
  if (chosen.once === undefined) return undefined
  try {
    const report = await once({ environment, network, file: chosen.once, onProgress: progressLine() })
    process.stdout.write(chosen.json ? `${JSON.stringify(report)}\n` : summary(report))
    return EXIT.done
  } finally {
    await network.stop()
  }
}

function stores(): Stores {
  const { LEDGER_STORE: ledger, REPOSITORY_STORE: repository, AGENT_STORE: agent } = process.env
  const createTables = process.env['RAINCHECK_CREATE_TABLE'] === '1'
  return { createTables, ...(ledger && { ledger }), ...(repository && { repository }), ...(agent && { agent }) }
}

function announce({ you, neighbour, ledgerUrl, repositoryUrl }: Network, { json, once, open }: Options): void {
  const urls = { agent: you.url, ledger: ledgerUrl, repository: repositoryUrl, neighbour: neighbour.url }
  if (json) process.stdout.write(`${JSON.stringify({ event: 'ready', ...urls })}\n`)
  else {
    say('The network is up. Stop it with Ctrl-C.')
    for (const [name, url] of Object.entries(urls)) say(`  ${name.padEnd(10)} ${url}`)
    say(`  your files ${you.files}`)
    say(`  your key   ${join(dirname(you.files), 'key')}`)
    if (once === undefined)
      say('Open the agent in a browser and show it your key, or give commands in another terminal here: npx raincheck')
  }
  if (open) openBrowser(you.url)
}

function openBrowser(url: string): void {
  const command = { darwin: 'open', win32: 'explorer' }[process.platform as string] ?? 'xdg-open'
  spawn(command, [url], { stdio: 'ignore', detached: true })
    .once('error', () => say(`No browser could be opened: visit ${url}`))
    .unref()
}

function progressLine(): (download: ProgressJson) => void {
  if (!process.stderr.isTTY) return () => undefined
  return (download) => {
    const share = download.bytes === 0 ? 100 : Math.floor((download.done / download.bytes) * 100)
    const speed = download.bytesPerSecond === undefined ? '' : `  ${formatBytes(download.bytesPerSecond)}/s`
    const left = download.secondsLeft === undefined ? '' : `  ${formatSeconds(download.secondsLeft)} left`
    const end = download.state === 'done' ? '\n' : ''
    process.stderr.write(`\r\u001b[K${download.name}  ${share} %${speed}${left}  paid ${download.paid}${end}`)
  }
}

function summary(report: OnceReport): string {
  const { name, bytes, pieces, paid, file, seconds, payer, payee, checkpoint } = report
  return [
    `${name}: ${formatBytes(bytes)} in ${seconds.toFixed(1)} s, ${formatCount(pieces, 'piece')}, ${formatCount(Number(paid), 'credit')}`,
    `  copy    ${file}`,
    `  you     ${payer.before} -> ${payer.after}`,
    `  seller  ${payee.before} -> ${payee.after}`,
    `  ledger  ${checkpoint.size} entries audited, root ${checkpoint.rootHash}`,
    '',
  ].join('\n')
}

// A reader that has left is no fault.
process.stdout.on('error', () => undefined)
try {
  const exitCode = await main()
  if (exitCode !== undefined) process.exit(exitCode)
} catch (error) {
  const { text, exitCode } = startFailure(error)
  say(`raincheck: ${text}`)
  process.exit(exitCode)
}
