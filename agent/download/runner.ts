/** Runs one download from what is stored to the committed file: sellers are followed, flows are kept going, the end is settled. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { sealedBytes } from '../../protocol/sealed.ts'
import type { AgentContext } from '../context.ts'
import { createBell, type Bell } from './bell.ts'
import { banSeller, isHalt, runFlow } from './flow.ts'
import { createJournal } from './journal.ts'
import { createLiars, NO_OTHERS } from './liars.ts'
import { createMeter, type DownloadPace } from './pace.ts'
import { judge, nextJob, relieve, releasePending, reservePending, servedByOthers } from './plan.ts'
import { openProgress, PROGRESS_PREFIX, type Progress } from './progress.ts'
import type { Job, Run } from './run.ts'
import { createSellers, SELLER_PREFIX, type SellerStatus } from './sellers.ts'
import { downloadOf, spanOf, stretchId, type Span } from './stretches.ts'
import { openSink } from './sink.ts'
import { followSwarm } from './swarm.ts'
import type { Peers } from './peers.ts'
import { createPicker } from './picker.ts'
import { spoolOf } from './spool.ts'
import type { PieceClient } from './piece-client.ts'
import type { Storage } from '../storage/storage.ts'
import type { Guard } from '../guard/guard.ts'
import type { Distrusts } from '../trust/distrusts.ts'
import type { Usage } from '../usage.ts'
import type { Purse, Wallet } from '../wallet/wallet.ts'

export interface RunnerParts {
  readonly context: AgentContext
  readonly wallet: Wallet
  readonly peers: Peers
  readonly pieceClient: PieceClient
  readonly pace: DownloadPace
  readonly guard: Pick<Guard, 'requireRunning' | 'spend'>
  readonly usage?: Pick<Usage, 'fetched' | 'stored'>
  readonly distrusts?: Pick<Distrusts, 'current' | 'has' | 'onChange'>
}

export interface RunnerTask {
  readonly id: string
  readonly meta: Metainfo
  readonly storage: Storage
  readonly maxPrice: bigint | undefined
  /** The folder that the files of a torrent of many go to. */
  readonly folder: string | undefined
  /** Where its stretches begin, where it has such. */
  readonly starts: readonly number[]
  /** Which of them this is, where it is not the whole download. */
  readonly stretch: number | undefined
  /** What came in stretches of its own. */
  readonly before: readonly SellerReport[]
  readonly signal: AbortSignal
  /** Told when it starts to wait, why and until when, and when it goes on. */
  readonly onWaiting: (waiting: Waiting | undefined) => void
}

export interface Waiting {
  /** A problem's code, or `no-sellers`. */
  readonly reason: string
  readonly detail: string
  readonly until?: number
}

export interface SellerReport {
  /** The owner's id, hex. */
  readonly id: string
  readonly url: string
  /** Good ones, and their bytes. */
  readonly pieces: number
  readonly bytes: number
  /** Units whose ticks may have left. */
  readonly ticks: number
  readonly status: SellerStatus | 'distrusted'
  readonly detail?: string
}

export interface RunReport {
  /** Bytes. */
  readonly done: number
  readonly piecesDone: number
  readonly ticks: number
  readonly paid: bigint
  readonly sellers: readonly SellerReport[]
  readonly bytesPerSecond: number
}

export interface Runner {
  report(): RunReport
  /** Removes what was written. */
  abort(): Promise<void>
  /**
   * @returns the name of the file or folder, once it is there and the sellers had their chance to settle; of a stretch the
   *   torrent's, once all of it is stored; undefined when the signal stopped it, at rest
   * @throws Problem of the store or the storage; `cap-reached` and `stopped`, once what was on its way is there
   */
  run(): Promise<string | undefined>
  /** Ends all its lanes; from then on the report says what the sellers took. */
  settle(): Promise<void>
}

const DISTRUSTED = { status: 'distrusted', detail: 'You distrust its owner.' } as const

export const downloadKey = (id: string): string => `download/${id}`

export async function openRunner(parts: RunnerParts, task: RunnerTask): Promise<Runner> {
  const { context, wallet, pace, distrusts } = parts
  const { id, meta, signal, starts, stretch } = task
  const { clock, random } = context.environment
  const pk = downloadKey(downloadOf(id))
  const own = downloadKey(id)
  const span = spanOf(starts, stretch, meta.pieces)
  const journal = createJournal(context.store)
  await distrusts?.current()
  const isDistrusted = (seller: string): boolean => distrusts?.has(seller) ?? false
  const progress = openProgress({ pk, meta, items: await journal.load(pk, PROGRESS_PREFIX), starts, span })
  const bell = createBell()
  const failures: unknown[] = []
  const seed = new DataView(random.bytes(4).buffer).getUint32(0)
  const room = { journal, onRoom: () => bell.ring() }
  const sink = await openSink({ ...task, ...room, pk, spool: spoolOf(context, own, meta), span })
  const stretches = stretch === undefined ? starts.map((_, number) => stretchId(id, number)) : []
  const purse = await wallet.open(id, journal)
  const purses = [purse, ...(await Promise.all(stretches.map((one) => wallet.open(one, journal))))]
  const run: Run = {
    ...parts,
    meta,
    infoHash: toHex(meta.infoHash),
    maxPrice: task.maxPrice,
    journal,
    purse,
    span,
    progress,
    sink,
    sellers: createSellers({ clock, pace, pk: own, isDistrusted, items: await journal.load(own, SELLER_PREFIX) }),
    picker: createPicker({
      pieces: meta.pieces,
      isDone: (piece) => piece < span.from || piece >= span.to || progress.isDone(piece),
      seed,
      mayTake: sink.mayFetch,
    }),
    liars: starts.length > 0 ? createLiars(context, pk) : NO_OTHERS,
    meter: createMeter(clock, pace.smoothingMs),
    transfers: new Set(),
    reserved: new Set(),
    asking: new Set(),
    waitingForLane: 0,
    blocked: undefined,
    halt: undefined,
    isDistrusted,
    signal,
    isOver: () => run.picker.left === 0 || signal.aborted || failures.length > 0,
    stopped: new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true })),
    servedByOthers: (seller) => servedByOthers(run, seller),
    fail(error) {
      failures.push(error)
      bell.ring()
    },
    wake: () => bell.ring(),
  }

  async function fetchWhole(): Promise<string | undefined> {
    const unwatch = distrusts?.onChange(() => dropDistrusted(run))
    try {
      await dropMissing(run)
      reservePending(run)
      return await complete()
    } finally {
      unwatch?.()
    }
  }

  /** Commits as soon as all pieces are there; what the storage lost meanwhile is fetched again. */
  async function complete(): Promise<string | undefined> {
    for (;;) {
      if (run.picker.left > 0) await fetchPieces(run, bell, failures, task.onWaiting)
      if (signal.aborted) return undefined
      if (stretch !== undefined && (await dropMissing(run)) === 0) return meta.name
      if (stretch !== undefined) continue
      try {
        return await run.sink.commit()
      } catch (error) {
        if ((await dropMissing(run)) === 0) throw error
      }
    }
  }

  /** Whatever ended it, its last write is over. */
  async function fetchAndClose(): Promise<string | undefined> {
    try {
      return await fetchWhole()
    } finally {
      await journal.close()
    }
  }

  async function settle(): Promise<void> {
    await Promise.all([id, ...stretches].map((one) => wallet.finish(one, pace.patienceMs)))
    for (const one of purses) await one.reload()
  }

  return {
    report: () => reportOf(run, purses, task.before),
    abort: () => run.sink.abort(),
    async run() {
      const file = await fetchAndClose()
      if (file !== undefined) await settle()
      return file
    },
    settle,
  }
}

/** Until no piece is left, the signal aborts, or something fails that is not a seller's fault. */
async function fetchPieces(
  run: Run,
  bell: Bell,
  failures: readonly unknown[],
  onWaiting: RunnerTask['onWaiting'],
): Promise<void> {
  const over = new AbortController()
  const stop = (): void => {
    over.abort()
    for (const transfer of run.transfers) transfer.cut('stopped')
    bell.ring()
  }
  if (run.signal.aborted) return
  run.signal.addEventListener('abort', stop, { once: true })
  run.meter.start()
  const flows = createFlows(run)
  void followSwarm(run, over.signal).catch((error: unknown) => run.fail(error))
  try {
    for (await bell.next(); !run.isOver(); await bell.next()) {
      judge(run)
      await heedStop(run)
      await heedLiars(run)
      for (let job = nextJob(run); job; job = nextJob(run)) flows.start(job)
      relieve(run)
      if (run.halt && flows.size === 0 && run.asking.size === 0) run.fail(run.halt)
      onWaiting(flows.size > 0 || run.asking.size > 0 ? undefined : waitingFor(run))
    }
  } finally {
    // Also when the store could not be read: nobody goes on for a run that has ended.
    run.signal.removeEventListener('abort', stop)
    stop()
    await flows.ended()
  }
  if (failures.length > 0) throw failures[0]
}

async function heedStop(run: Run): Promise<void> {
  try {
    await run.guard.requireRunning()
  } catch (error) {
    if (isHalt(error)) run.halt = error
    else run.fail(error)
  }
}

async function heedLiars(run: Run): Promise<void> {
  for (const id of await run.liars.known()) {
    const seller = run.sellers.get(id)
    if (seller.status !== 'lied') banSeller(run, seller, 'It lied to another worker of this download.')
  }
}

interface Flows {
  readonly size: number
  start(job: Job): void
  ended(): Promise<void>
}

/** Buffers are made once and handed from flow to flow. */
function createFlows(run: Run): Flows {
  const flows = new Set<Promise<void>>()
  const longest = run.meta.files.reduce((length, file) => Math.max(length, file.length), 0)
  const buffers: Bytes[] = []

  async function flow(job: Job): Promise<void> {
    const buffer = buffers.pop() ?? new Uint8Array(sealedBytes({ length: Math.min(run.meta.pieceLength, longest) }))
    if (job.seller.workers++ === 0) job.seller.meter.start()
    await runFlow(run, job, buffer).catch((error: unknown) => run.fail(error))
    if (--job.seller.workers === 0) job.seller.meter.stop()
    buffers.push(buffer)
  }
  return {
    get size() {
      return flows.size
    },
    start(job) {
      const started = flow(job).finally(() => {
        flows.delete(started)
        run.wake()
      })
      flows.add(started)
    },
    async ended() {
      await Promise.all(flows)
    },
  }
}

/** At once: what is on its way from a distrusted seller is cut, and nothing more is asked of it. */
function dropDistrusted(run: Run): void {
  for (const seller of run.sellers.all()) {
    if (!run.isDistrusted(seller.id)) continue
    run.picker.leave(seller.id)
    seller.offer = undefined
    for (const transfer of run.transfers) if (transfer.seller === seller) transfer.cut('pruned')
  }
  releasePending(run)
  run.wake()
}

/** Pieces that count as done, but that the storage does not hold, are fetched again. @returns how many */
async function dropMissing({ sink, progress, picker, journal, span }: Run): Promise<number> {
  const lost = await sink.missing(donePieces(span, progress))
  for (const piece of lost) {
    picker.reopen(piece)
    await journal.write([progress.unmark(piece)])
  }
  return lost.length
}

function* donePieces({ from, to }: Span, progress: Progress): Generator<number> {
  for (let piece = from; piece < to; piece++) if (progress.isDone(piece)) yield piece
}

function reportOf(run: Run, purses: readonly Purse[], before: readonly SellerReport[]): RunReport {
  const { progress, sellers, meter, isDistrusted } = run
  const paid = purses.map((purse) => purse.paid())
  const now = sellers.all().map(({ id, url, pieces, bytes, status, detail }) => ({
    id,
    url,
    pieces,
    bytes,
    ticks: run.purse.lanes.reduce((sum, lane) => sum + (lane.payee === id ? lane.ticks : 0), 0),
    ...(isDistrusted(id) ? DISTRUSTED : { status, ...(detail !== undefined && { detail }) }),
  }))
  return {
    done: progress.bytes,
    piecesDone: progress.pieces,
    ticks: paid.reduce((sum, { ticks }) => sum + ticks, 0),
    paid: paid.reduce((sum, { credits }) => sum + credits, 0n),
    bytesPerSecond: meter.rate(),
    sellers: mergeSellers([...before, ...now]),
  }
}

/** Of a seller that is named more than once, the last says how it stands. */
export function mergeSellers(reports: readonly SellerReport[]): readonly SellerReport[] {
  const merged = new Map<string, SellerReport>()
  for (const one of reports) {
    const { pieces = 0, bytes = 0, ticks = 0 } = merged.get(one.id) ?? {}
    const sums = { pieces: one.pieces + pieces, bytes: one.bytes + bytes, ticks: one.ticks + ticks }
    merged.set(one.id, { ...one, ...sums })
  }
  return [...merged.values()]
}

/** Why nothing moves, as the owner should hear it. */
function waitingFor(run: Run): Waiting {
  const nowMs = run.context.environment.clock.now()
  if (run.blocked && run.blocked.untilMs > nowMs) {
    const { reason, detail, untilMs } = run.blocked
    return { reason, detail, until: untilMs }
  }
  const sellers = run.sellers
    .all()
    .filter(({ id, peer, status }) => peer !== undefined && status !== 'lied' && !run.isDistrusted(id))
  const prices = sellers.flatMap(({ status, offer }) => (status === 'dear' && offer ? [offer.price] : []))
  const cheapest = prices.reduce<bigint | undefined>(
    (least, price) => (least === undefined || price < least ? price : least),
    undefined,
  )
  if (cheapest !== undefined)
    return { reason: 'price-exceeded', detail: `The cheapest seller asks ${cheapest} credits a piece.` }
  if (sellers.length === 0) return { reason: 'no-sellers', detail: 'Nobody sells this content now.' }
  const until = sellers.map(({ untilMs }) => untilMs).filter((ms) => ms > nowMs)
  const detail = until.length > 0 ? 'No seller answers as it should.' : 'No seller has the missing pieces.'
  return { reason: 'no-sellers', detail, ...(until.length > 0 && { until: Math.min(...until) }) }
}
