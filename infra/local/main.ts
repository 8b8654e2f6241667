/** Entry point of `npm start`: the whole network on this machine. */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { formatBytes, formatSeconds } from '../../agent/cli/format.ts'
import { problemOf } from '../../protocol/problem.ts'
import { realEnvironment } from '../environment.ts'
import { startNetwork, type Network } from './network.ts'
import { once, type ProgressJson } from './once.ts'

const USAGE = 'usage: npm start -- [--data DIR] [--port 8402] [--open] [--json] [--once FILE]'

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
    if (!Number.isInteger(port) || port < 1 || port > 65_532) throw new Error('--port takes a number from 1 to 65532')
    return { ...values, port, once: values.once }
  } catch (error) {
    say(`${(error as Error).message}\n${USAGE}`)
    return undefined
  }
}

async function main(): Promise<number | undefined> {
  const chosen = options()
  if (!chosen) return 2
  const environment = realEnvironment()
  const { LEDGER_STORE: ledger, REPOSITORY_STORE: repository } = process.env
  const network = await startNetwork({
    environment,
    dir: chosen.data,
    port: chosen.port,
    stores: { ...(ledger ? { ledger } : {}), ...(repository ? { repository } : {}) },
    onFault: (error) => say(`fault: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
  })
  announce(network, chosen)
  if (chosen.once === undefined) {
    stopOnSignal(network)
    return undefined
  }
  try {
    const report = await once({ environment, network, file: chosen.once, onProgress: progressLine() })
    process.stdout.write(chosen.json ? `${JSON.stringify(report)}\n` : summary(report))
    return 0
  } finally {
    await network.stop()
  }
}

function announce({ you, neighbour, ledgerUrl, repositoryUrl }: Network, { json, open }: Options): void {
  const urls = { agent: you.url, ledger: ledgerUrl, repository: repositoryUrl, neighbour: neighbour.url }
  if (json) process.stdout.write(`${JSON.stringify({ event: 'ready', ...urls })}\n`)
  else {
    say('The network is up. Stop it with Ctrl-C.')
    for (const [name, url] of Object.entries(urls)) say(`  ${name.padEnd(10)} ${url}`)
    say(`  your files ${you.files}`)
  }
  if (open) openBrowser(you.url)
}

function openBrowser(url: string): void {
  const command = { darwin: 'open', win32: 'explorer' }[process.platform as string] ?? 'xdg-open'
  spawn(command, [url], { stdio: 'ignore', detached: true })
    .once('error', () => say(`No browser could be opened: visit ${url}`))
    .unref()
}

function stopOnSignal(network: Network): void {
  const end = () => void network.stop().then(() => process.exit(0))
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
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

function summary(report: Awaited<ReturnType<typeof once>>): string {
  const { name, bytes, pieces, paid, file, seconds, payer, payee, checkpoint } = report
  return [
    `${name}: ${formatBytes(bytes)} in ${seconds.toFixed(1)} s, ${pieces} pieces, ${paid} credits`,
    `  copy    ${file}`,
    `  you     ${payer.before} -> ${payer.after}`,
    `  seller  ${payee.before} -> ${payee.after}`,
    `  ledger  ${checkpoint.size} entries audited, root ${checkpoint.rootHash}`,
    '',
  ].join('\n')
}

try {
  const exitCode = await main()
  if (exitCode !== undefined) process.exit(exitCode)
} catch (error) {
  const problem = problemOf(error)
  say(problem.code === 'internal' ? String((error as Error).stack ?? error) : `raincheck: ${problem.message}`)
  process.exit(1)
}
