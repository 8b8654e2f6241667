/**
 * One file between two agents in two processes, verified and written, with payment, sealed and without, beside a plain
 * `node:http` transfer of the same bytes. CPU time is that of both ends; ledger and repository run in processes of
 * their own.
 *
 * The ways take turns. What is paid before and what is not go between the same two processes, as A, B, B, A: what else
 * the machine does in a minute meets both alike. All go once before it counts: agents are always on, what code costs when
 * it first runs is paid once, and so is memory that nobody has written to yet. A virtual machine gives memory back that
 * lies free for seconds, and asks its host for it anew: so each copy is removed when the next one begins.
 */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, createReadStream, linkSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { OwnerClient } from '../../agent/cli/owner-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { madeFolder, startAgent, startServices } from './agents.ts'
import { median, type Bench, type BenchOptions, type Figure } from './figure.ts'
import { cpuSeconds, peakMiB, start, type Child } from './processes.ts'

const GIB = 1024 ** 3
const MIB = 1024 ** 2
const WARM_UP_BYTES = 256 * MIB
/** Seldom while much is missing: each question is signed, and counts as CPU time of the buyer. */
const POLL_MS = { far: 200, near: 20 }
const NEAR = 0.85
const root = fileURLToPath(new URL('../..', import.meta.url))
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
/** Of one run. */
const TURNS = ['plain', 'unpaid', 'paid', 'paid', 'unpaid', 'sealed'] as const
/** `paid`: prepaid. */
type Way = (typeof WAYS)[number]

export const transfer: Bench = async (options) => {
  const measured: Record<Way, Measured[]> = { plain: [], unpaid: [], paid: [], sealed: [] }
  const network = await openNetwork(options.dir, GIB)
  const fetchPlain = (): Promise<Measured> => plain(options.dir, network, GIB)
  try {
    await fetchPlain()
    for (let run = 0; run < options.runs; run++) {
      for (const way of TURNS) {
        const one = way === 'plain' ? await fetchPlain() : await network.download(way)
        measured[way].push(one)
        options.say(
          `${way}: ${(GIB / MIB / one.seconds).toFixed(0)} MiB/s, ${one.cpu.toFixed(2)} CPU-s, ${one.peak.toFixed(0)} MiB, settled in ${(one.settling ?? 0).toFixed(2)} s`,
        )
      }
    }
  } finally {
    await network.close()
  }
  return figuresOf(measured, options)
}

/** Peak memory for 1 and for 4 GiB, paid before and sealed: it must not grow with the file. */
export const memory: Bench = async ({ dir, ...options }) => {
  const figures: Figure[] = []
  for (const gib of [1, 4]) {
    const network = await openNetwork(dir, gib * GIB)
    try {
      for (const way of ['paid', 'sealed'] as const) {
        const { peak } = await network.download(way)
        options.say(`${gib} GiB, ${way}: ${peak.toFixed(0)} MiB`)
        figures.push({ name: `memory/${way}/${gib}GiB`, unit: 'MiB peak of the larger agent', value: peak, runs: 1 })
      }
    } finally {
      await network.close()
    }
  }
  return figures
}

function figuresOf(measured: Record<Way, Measured[]>, { runs }: BenchOptions): Figure[] {
  const secondsOf = (way: Way) => measured[way].map(({ seconds }) => seconds)
  const ratio = (way: Way, baseline: Way) => {
    const [ours, theirs] = [secondsOf(way), secondsOf(baseline)].map((seconds) => byRun(seconds, runs))
    return median((ours ?? []).map((seconds, run) => (theirs?.[run] ?? Number.NaN) / seconds))
  }
  return WAYS.flatMap((way) => [
    {
      name: `transfer/${way}`,
      unit: 'MiB/s, ratio to plain',
      value: median(secondsOf(way).map((seconds) => GIB / MIB / seconds)),
      ratio: ratio(way, 'plain'),
      runs,
    },
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
    value: ratio('paid', 'unpaid'),
    ratio: ratio('paid', 'unpaid'),
    runs,
  })
}

/** The mean of its turns in each run. */
function byRun(values: readonly number[], runs: number): number[] {
  const turns = values.length / runs
  const sumOf = (run: number): number => values.slice(run * turns, (run + 1) * turns).reduce((sum, one) => sum + one, 0)
  return Array.from({ length: runs }, (_, run) => sumOf(run) / turns)
}

function makeFile(path: string, bytes: number): string {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'w')
  for (let at = 0; at < bytes; at += 64 * MIB) writeSync(file, randomBytes(Math.min(64 * MIB, bytes - at)))
  closeSync(file)
  return path
}

async function plain(dir: string, { file, makeRoomFor }: Network, bytes: number): Promise<Measured> {
  const copy = join(dir, 'copy.bin')
  const server = await start(join(root, 'test/bench/plain-server.ts'), { FILE: file })
  const fetch = (length: number) =>
    start(join(root, 'test/bench/plain-client.ts'), {
      PORT: String(server.ready['port']),
      FILE: copy,
      BYTES: String(length),
    })
  await (await fetch(WARM_UP_BYTES)).stop()
  makeRoomFor(copy)
  const before = cpuSeconds(server)
  const client = await fetch(bytes)
  const measured = {
    seconds: Number(client.ready['seconds']),
    cpu: cpuSeconds(client) + cpuSeconds(server) - before,
    peak: Math.max(peakMiB(server), peakMiB(client)),
  }
  await Promise.all([server.stop(), client.stop()])
  return measured
}

/** Removes the copy that was made last; this one comes next. */
type MakeRoom = (copy: string) => void

function createRoom(): MakeRoom {
  let latest: string | undefined
  return (copy) => {
    if (latest !== undefined) rmSync(latest, { force: true })
    latest = copy
  }
}

interface Network {
  /** What is transferred: `bytes` of it. */
  readonly file: string
  readonly makeRoomFor: MakeRoom
  download(way: Exclude<Way, 'plain'>): Promise<Measured>
  close(): Promise<void>
}

/** Services, and two agents for what is sealed and two for all else, which have all transferred a small file. */
async function openNetwork(dir: string, bytes: number): Promise<Network> {
  const state = join(dir, 'state')
  const file = makeFile(join(state, 'file.bin'), bytes)
  const small = makeFile(join(state, 'small.bin'), WARM_UP_BYTES)
  const services = await startServices(state)
  const children = [...services]
  const makeRoomFor = createRoom()
  const close = async (): Promise<void> => {
    for (const child of children.toReversed()) await child.stop()
    rmSync(state, { recursive: true, force: true })
  }
  try {
    const open = await openPair(join(state, 'open'), services, makeRoomFor, { SELL_MODES: 'prepaid' })
    children.push(...open.children)
    const sealed = await openPair(join(state, 'sealed'), services, makeRoomFor)
    children.push(...sealed.children)
    const download = (way: Exclude<Way, 'plain'>, from = file): Promise<Measured> =>
      (way === 'sealed' ? sealed : open).download(from, way === 'unpaid')
    for (const way of ['unpaid', 'paid', 'sealed'] as const) await download(way, small)
    return { file, makeRoomFor, download, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A seller and a buyer. */
async function openPair(
  state: string,
  services: readonly Child[],
  makeRoomFor: MakeRoom,
  variables?: Readonly<Record<string, string>>,
) {
  const [from, to] = [madeFolder(join(state, 'seller-files')), madeFolder(join(state, 'buyer-files'))]
  const seller = await startAgent(state, 'seller', services, variables)
  const buyer = await startAgent(state, 'buyer', services)
  const children = [seller.child, buyer.child] as const
  await seller.owner.ask('POST', '/v1/links', { kind: 'folder', path: from })
  await buyer.owner.ask('POST', '/v1/links', { kind: 'folder', path: to })
  const used = (): number => children.reduce((sum, child) => sum + cpuSeconds(child), 0)
  let names = 0

  return {
    children,
    /** Under a name of its own: a torrent that the buyer has it does not buy again. */
    async download(file: string, isPublic: boolean): Promise<Measured> {
      const path = `${names++}.bin`
      linkSync(file, join(from, path))
      const share = { path, public: isPublic }
      const { infoHash } = await seller.owner.ask<{ infoHash: string }>('POST', '/v1/shares', share)
      makeRoomFor(join(to, path))
      const before = used()
      const times = await download(buyer.owner, infoHash)
      const measured = { ...times, cpu: used() - before, peak: Math.max(...children.map(peakMiB)) }
      await requireSame(file, join(to, path))
      return measured
    },
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
