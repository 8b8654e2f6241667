/**
 * One file between two agents in two processes, verified and written, with payment, sealed and without, beside a plain
 * `node:http` transfer of the same bytes. CPU time is that of both ends; ledger and repository run in processes of
 * their own. A small file goes the same way before: agents are always on, and what code costs when it first runs is
 * paid once.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, mkdirSync, openSync, rmSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import type { OwnerClient } from '../../agent/cli/owner-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { madeFolder, startAgent, startServices } from './agents.ts'
import { median, type Bench, type BenchOptions, type Figure } from './figure.ts'
import { cpuSeconds, peakMiB, start } from './processes.ts'

const GIB = 1024 ** 3
const MIB = 1024 ** 2
const WARM_UP_BYTES = 64 * MIB
/** Seldom while much is missing: each question is signed, and counts as CPU time of the buyer. */
const POLL_MS = { far: 200, near: 20 }
const NEAR = 0.85
const root = new URL('../..', import.meta.url).pathname
const environment = realEnvironment()

interface Measured {
  /** From the request to the last piece verified and written. */
  readonly seconds: number
  /** From there until all is settled and the file has its name. */
  readonly settling?: number
  readonly cpu: number
  /** Of the larger end. */
  readonly peak: number
}

const WAYS = ['plain', 'unpaid', 'paid', 'sealed'] as const
/** `paid`: prepaid. */
type Way = (typeof WAYS)[number]

export const transfer: Bench = async (options) => {
  const measured: Record<Way, Measured[]> = { plain: [], unpaid: [], paid: [], sealed: [] }
  const file = makeFile(options.dir, GIB)
  makeFile(options.dir, WARM_UP_BYTES)
  for (let run = 0; run < options.runs; run++) {
    for (const way of WAYS) {
      const one = way === 'plain' ? await plain(options.dir, file, GIB) : await between(options.dir, file, GIB, way)
      measured[way].push(one)
      options.say(
        `${way}: ${(GIB / MIB / one.seconds).toFixed(0)} MiB/s, ${one.cpu.toFixed(2)} CPU-s, ${one.peak.toFixed(0)} MiB, settled in ${(one.settling ?? 0).toFixed(2)} s`,
      )
    }
  }
  rmSync(file)
  return figuresOf(measured, options)
}

/** Peak memory for 1 and for 4 GiB, paid before and sealed: it must not grow with the file. */
export const memory: Bench = async (options) => {
  const figures: Figure[] = []
  for (const gib of [1, 4]) {
    const file = makeFile(options.dir, gib * GIB)
    makeFile(options.dir, WARM_UP_BYTES)
    for (const way of ['paid', 'sealed'] as const) {
      const { peak } = await between(options.dir, file, gib * GIB, way)
      options.say(`${gib} GiB, ${way}: ${peak.toFixed(0)} MiB`)
      figures.push({ name: `memory/${way}/${gib}GiB`, unit: 'MiB peak of the larger agent', value: peak, runs: 1 })
    }
    rmSync(file)
  }
  return figures
}

function figuresOf(measured: Record<Way, Measured[]>, { runs }: BenchOptions): Figure[] {
  const speed = (way: Way) => median(measured[way].map(({ seconds }) => GIB / MIB / seconds))
  const against = (way: Way, baseline: Way) =>
    median(measured[way].map(({ seconds }, i) => (measured[baseline][i]?.seconds ?? Number.NaN) / seconds))
  return WAYS.flatMap((way) => [
    { name: `transfer/${way}`, unit: 'MiB/s, ratio to plain', value: speed(way), ratio: against(way, 'plain'), runs },
    {
      name: `transfer/${way}/cpu`,
      unit: 'CPU-s/GiB of both ends',
      value: median(measured[way].map(({ cpu }) => cpu)),
      runs,
    },
    {
      name: `transfer/${way}/memory`,
      unit: 'MiB peak of the larger end',
      value: Math.max(...measured[way].map(({ peak }) => peak)),
      runs,
    },
  ]).concat({
    name: 'transfer/paid-to-unpaid',
    unit: 'ratio of throughputs',
    value: against('paid', 'unpaid'),
    ratio: against('paid', 'unpaid'),
    runs,
  })
}

const nameOf = (bytes: number): string => `bench-${bytes}.bin`

function makeFile(dir: string, bytes: number): string {
  mkdirSync(join(dir, 'seller', 'files'), { recursive: true })
  const path = join(dir, 'seller', 'files', nameOf(bytes))
  const file = openSync(path, 'w')
  for (let at = 0; at < bytes; at += 64 * MIB) writeSync(file, randomBytes(Math.min(64 * MIB, bytes - at)))
  closeSync(file)
  return path
}

async function plain(dir: string, file: string, bytes: number): Promise<Measured> {
  const copy = join(dir, 'copy.bin')
  const server = await start(join(root, 'test/bench/plain-server.ts'), { FILE: file })
  const fetch = (length: number) =>
    start(join(root, 'test/bench/plain-client.ts'), {
      PORT: String(server.ready['port']),
      FILE: copy,
      BYTES: String(length),
    })
  await (await fetch(WARM_UP_BYTES)).stop()
  const before = cpuSeconds(server)
  const client = await fetch(bytes)
  const measured = {
    seconds: Number(client.ready['seconds']),
    cpu: cpuSeconds(client) + cpuSeconds(server) - before,
    peak: Math.max(peakMiB(server), peakMiB(client)),
  }
  await Promise.all([server.stop(), client.stop()])
  rmSync(copy)
  return measured
}

/** Fresh services each time, so that no run profits from another. */
async function between(dir: string, file: string, bytes: number, way: Exclude<Way, 'plain'>): Promise<Measured> {
  const state = join(dir, 'state')
  rmSync(state, { recursive: true, force: true })
  const services = await startServices(state)
  try {
    const [seller, buyer] = [
      await startAgent(state, 'seller', services, way === 'paid' ? { SELL_MODES: 'prepaid' } : {}),
      await startAgent(state, 'buyer', services),
    ]
    services.push(seller.child, buyer.child)
    await seller.owner.ask('POST', '/v1/links', { kind: 'folder', path: join(dir, 'seller', 'files') })
    await buyer.owner.ask('POST', '/v1/links', { kind: 'folder', path: madeFolder(join(state, 'buyer-files')) })
    const share = async (length: number): Promise<string> => {
      const request = { path: nameOf(length), public: way === 'unpaid' }
      return (await seller.owner.ask<{ infoHash: string }>('POST', '/v1/shares', request)).infoHash
    }
    const [warmUp, source] = [await share(WARM_UP_BYTES), await share(bytes)]
    await download(buyer.owner, warmUp)
    const before = cpuSeconds(seller.child) + cpuSeconds(buyer.child)
    const times = await download(buyer.owner, source)
    const measured = {
      ...times,
      cpu: cpuSeconds(seller.child) + cpuSeconds(buyer.child) - before,
      peak: Math.max(peakMiB(seller.child), peakMiB(buyer.child)),
    }
    await requireSame(file, join(state, 'buyer-files', nameOf(bytes)))
    return measured
  } finally {
    for (const child of services.toReversed()) await child.stop()
    rmSync(state, { recursive: true, force: true })
  }
}

interface DownloadJson {
  readonly id: string
  readonly state: string
  readonly bytes: number
  readonly done: number
}

async function download(buyer: OwnerClient, source: string): Promise<{ seconds: number; settling: number }> {
  const startedMs = performance.now()
  let transferredMs: number | undefined
  let download = await buyer.ask<DownloadJson>('POST', '/v1/downloads', { source })
  while (download.state !== 'done') {
    if (download.state === 'failed') throw new Error('the download failed')
    await environment.clock.sleep(download.done < NEAR * download.bytes ? POLL_MS.far : POLL_MS.near)
    download = await buyer.ask<DownloadJson>('GET', `/v1/downloads/${download.id}`)
    if (download.done === download.bytes) transferredMs ??= performance.now()
  }
  const [transferred, settled] = [transferredMs ?? performance.now(), performance.now()]
  return { seconds: (transferred - startedMs) / 1000, settling: (settled - transferred) / 1000 }
}

async function requireSame(a: string, b: string): Promise<void> {
  if ((await sha256(a)) !== (await sha256(b))) throw new Error(`${b} is not a copy of ${a}`)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
