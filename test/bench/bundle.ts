/**
 * What is deployed, as Lambda starts it: how large, what a fresh process spends on loading it, and what it spends up to the
 * first byte of its answer to a request for a piece. The time is the processor's, of user and system, from the start of the
 * process. There is no compile cache in the package: V8 takes one of its very own build and flags alone, which are Lambda's
 * to choose, and a new instance has an empty disk. What a cache would spare is measured beside.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bundle } from '../../infra/aws/bundle.ts'
import type { FunctionCode } from '../bundle/account.ts'
import { openExchange, putFile } from '../bundle/exchange.ts'
import { synthesize, zippedBytes } from '../bundle/synth.ts'
import { median, type Bench, type BenchOptions, type Figure } from './figure.ts'

const SERVICES = ['agent', 'repository', 'ledger', 'witness'] as const
const PIECE_BYTES = 4 * 1024 * 1024
/** Of /proc/PID/stat (proc_pid_stat(5)): `utime` and `stime`, in ticks of 10 ms, counted after the name's bracket. */
const [UTIME, STIME, TICK_MS] = [11, 12, 10]

const LOAD = `
globalThis.awslambda = { streamifyResponse: (handler) => handler }
require(process.argv[1])
const { user, system } = process.cpuUsage()
console.log((user + system) / 1000)
process.exit(0)`

export const bundles: Bench = async (options) => {
  const figures: Figure[] = []
  for (const service of SERVICES) {
    const folder = await bundle(service, options.dir)
    const file = join(folder, 'index.js')
    figures.push({ name: `bundle/${service}/zipped`, unit: 'MB', value: zippedBytes(folder) / 1e6, runs: 1 })
    const cached = mkdtempSync(join(options.dir, 'cache-'))
    await load(file, { NODE_COMPILE_CACHE: cached })
    figures.push(await timed(`bundle/${service}/import`, options, () => load(file, {})))
    figures.push(await timed(`bundle/${service}/cached`, options, () => load(file, { NODE_COMPILE_CACHE: cached })))
  }
  return [...figures, await firstByte(options)]
}

async function timed(name: string, options: BenchOptions, run: () => Promise<number>): Promise<Figure> {
  const { runs } = options
  const values: number[] = []
  for (let i = 0; i < runs; i++) values.push(await run())
  options.say(`${name}: ${values.map((value) => value.toFixed(0)).join(', ')} ms of processor time`)
  return { name, unit: 'ms CPU', value: median(values), runs }
}

/** @returns milliseconds, the start of Node.js among them */
async function load(file: string, variables: Readonly<Record<string, string>>): Promise<number> {
  const env = { ...process.env, ...variables }
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', LOAD, file], { env })
  return Number(stdout)
}

/** A piece is asked for unpaid: the answer takes the share and its terms, and no storage. */
async function firstByte(options: BenchOptions): Promise<Figure> {
  const world = await openExchange(await synthesize())
  try {
    const { cloud, neighbour } = world
    await putFile(world, 'film.bin', PIECE_BYTES)
    const share = { path: 'film.bin', price: '1' }
    const { infoHash } = await neighbour.owner.ask<{ infoHash: string }>('POST', '/v1/shares', share)
    const isMain = (arn: string): boolean => /neighbour-Main[^:]*$/.test(arn)
    const [, code] = [...cloud.functions].find(([arn]) => isMain(arn)) ?? []
    if (!code) throw new Error('The neighbour has no function.')
    const instance = await instanceIn(options.dir)
    const path = `/v1/pieces/${infoHash}/0`
    return await timed('bundle/agent/first-byte', options, () => ask(instance, code, path))
  } finally {
    await world.cloud.close()
  }
}

/** What runs a handler, as JavaScript: the runtime's own start must not be ours. */
async function instanceIn(dir: string): Promise<string> {
  const file = join(dir, 'instance.mjs')
  const source = fileURLToPath(new URL('../bundle/instance.ts', import.meta.url))
  const { outputFiles } = await build({ entryPoints: [source], write: false, format: 'esm', platform: 'node' })
  writeFileSync(file, outputFiles[0]?.contents ?? '')
  return file
}

async function ask(instance: string, { code, handler, environment }: FunctionCode, path: string): Promise<number> {
  const env = { ...environment, CODE: code, HANDLER: handler }
  const child = spawn(process.execPath, [instance], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const { port } = JSON.parse(line) as { port: number }
    const asked = request({ host: '127.0.0.1', port, method: 'POST', agent: false })
    const answered = once(asked, 'response') as Promise<[{ statusCode?: number }]>
    asked.end(JSON.stringify(urlEvent(path)))
    const [{ statusCode }] = await answered
    const spent = spentBy(child.pid ?? 0)
    if (statusCode !== 402) throw new Error(`The piece was answered with status ${statusCode}.`)
    return spent
  } finally {
    child.kill('SIGKILL')
  }
}

const urlEvent = (rawPath: string) => ({
  version: '2.0',
  rawPath,
  rawQueryString: '',
  headers: {},
  requestContext: { domainName: 'agent.example', http: { method: 'GET', path: rawPath, sourceIp: '203.0.113.7' } },
  isBase64Encoded: false,
})

function spentBy(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[UTIME]) + Number(fields[STIME])) * TICK_MS
}
