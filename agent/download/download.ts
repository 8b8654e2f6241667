/** Downloads: what the owner asked for, kept until it is there. Each goes on by itself, also after a restart. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { USUAL_PACE, type DownloadPace } from './pace.ts'
import {
  createDownloadRecords,
  isUnderWay,
  type DownloadChange,
  type DownloadRecord,
  type DownloadState,
} from './record.ts'
import type { RunReport, SellerReport } from './runner.ts'
import { resolveSource } from './source.ts'
import { gathered } from './gathered.ts'
import { createCalls, createLeases, superviseElsewhere, workShift, type Rest } from './shift.ts'
import type { FanOut } from './stretches.ts'
import { createSupervisor, settled } from './supervisor.ts'
import type { Links } from '../storage/links.ts'
import type { Peers } from './peers.ts'
import type { PieceClient } from './piece-client.ts'
import type { Guard } from '../guard/guard.ts'
import { without } from '../records.ts'
import { createSerial } from '../serial.ts'
import type { Distrusts } from '../trust/distrusts.ts'
import type { Usage } from '../usage.ts'
import type { Wallet } from '../wallet/wallet.ts'

export interface Download {
  readonly id: string
  readonly state: DownloadState
  /** Of `waiting` and `failed`: a problem's code, or `no-sellers`; `detail` is a sentence. */
  readonly reason?: string
  readonly detail?: string
  /** When it is tried again, in milliseconds. */
  readonly until?: number
  /** v2, hex. */
  readonly infoHash: string
  readonly name: string
  readonly bytes: number
  /** Bytes that are verified and stored. */
  readonly done: number
  readonly pieces: number
  readonly piecesDone: number
  /** Credits. */
  readonly paid: bigint
  readonly ticks: number
  /** Once done: the file or folder, as its storage names it. */
  readonly file?: string
  readonly link: string
  /** The most a piece may cost, in credits. */
  readonly maxPrice?: bigint
  readonly createdMs: number
  readonly sellers: readonly SellerReport[]
  readonly bytesPerSecond?: number
  readonly secondsLeft?: number
}

export interface DownloadRequest {
  /** Info hash (v2 or v1, hex), magnet link, or a torrent in base64url. */
  readonly source: string
  /** The default link unless given. */
  readonly link?: string
  /** The most a piece may cost, in credits; no limit unless given. */
  readonly maxPrice?: bigint
}

export interface Downloads {
  /**
   * Saved once it resolves. The same content to the same link, while it is under way, is the same download, which goes on
   * under another `maxPrice` where one is given.
   * @throws Problem `bad-request`, `bad-torrent`, `not-found` (the content or the link), `peer-failed`
   */
  start(request: DownloadRequest): Promise<Download>
  /** The newest first. */
  list(): Promise<readonly Download[]>
  get(id: string): Promise<Download | undefined>
  /** At rest once it resolves. @throws Problem `not-found`, `closed` when it has ended */
  pause(id: string): Promise<Download>
  /** Also what failed goes on from where it was; what waits tries again now. @throws Problem `not-found`, `closed` */
  resume(id: string): Promise<Download>
  /** Leaves nothing in the storage. @throws Problem `not-found`, `closed` when it is done */
  cancel(id: string): Promise<Download>
  /** Goes on with what was under way, where nobody is at it: after a restart, or when a worker is missed. */
  resumeAll(): Promise<void>
  /**
   * Once the owner lets it: what waits for the switch goes on, or for the end of a day whose cap is another now, and what was
   * under way where nobody is at it.
   */
  takeUp(): Promise<void>
  /** Works on one until it rests, has to wait, or the signal aborts: where a process lives for minutes only. */
  work(id: string, signal: AbortSignal): Promise<Rest>
  /** Stops without changing any state. */
  stop(): Promise<void>
  /** Resolves when it is done, failed, cancelled or paused. @throws Problem `not-found` */
  wait(id: string): Promise<Download>
}

export interface DownloadParts {
  readonly links: Links
  readonly wallet: Wallet
  readonly peers: Peers
  readonly pieceClient: PieceClient
  readonly guard: Guard
  readonly usage?: Pick<Usage, 'fetched' | 'stored'>
  readonly distrusts?: Pick<Distrusts, 'current' | 'has' | 'onChange'>
  readonly pace?: DownloadPace
  /** Starts a worker elsewhere, which calls `work`; without it, downloads run here. */
  readonly wake?: (id: string) => Promise<void>
  /** Of a worker: how it spreads large downloads over others. Without it, every download has one worker. */
  readonly fanOut?: FanOut
  /** Told of faults that no caller is waiting for. */
  readonly onFault?: (error: unknown) => void
}

const AT_REST: ReadonlySet<DownloadState> = new Set(['done', 'failed', 'cancelled', 'paused'])
const NOTHING = { done: 0, piecesDone: 0, ticks: 0, paid: '0', sellers: [], bytesPerSecond: 0 }
const ID_TIME_DIGITS = 9

export function createDownloads(context: AgentContext, parts: DownloadParts): Downloads {
  const { clock, random } = context.environment
  const { links, onFault = () => undefined } = parts
  const records = createDownloadRecords(context.store)
  const oneAtATime = createSerial()
  const changes = createChanges()
  const leases = createLeases(context)
  const calls = createCalls(context)
  const here = createSupervisor({
    ...parts,
    context,
    records,
    pace: parts.pace ?? USUAL_PACE,
    onChange: () => changes.announce(),
    onFault,
  })
  const supervisor = parts.wake ? superviseElsewhere({ clock, leases, calls, wake: parts.wake }) : here

  const view = async (record: DownloadRecord): Promise<Download> =>
    viewOf(gathered(record, await records.stretchesOf(record)), supervisor.report(record.id))

  async function start(request: DownloadRequest): Promise<Download> {
    const { bytes, meta } = await resolveSource(request.source, parts.peers)
    const { name: link } = await links.open(request.link)
    return oneAtATime(toHex(meta.infoHash) + link, async () => {
      const { maxPrice } = request
      const asked = newRecord(meta, link, maxPrice)
      const known = await knownOrAdded(asked, bytes)
      const record = known ? await reprice(known, maxPrice) : asked
      if (isUnderWay(record.state)) await supervisor.launch(record.id, meta)
      return view(record)
    })
  }

  /** Another instance may be asked for the same at the same moment: whoever comes second finds the first. */
  async function knownOrAdded(asked: DownloadRecord, torrent: Bytes): Promise<DownloadRecord | undefined> {
    for (let attempt = 1; attempt <= limits.writeAttempts; attempt++) {
      const begun = await records.begun(asked)
      const known = await underWay(asked)
      if (known || (await records.add(asked, torrent, begun))) return known
    }
    throw new Problem('conflict', 'The same is asked for too often at once; try again.')
  }

  async function underWay({ infoHash, link }: DownloadRecord): Promise<DownloadRecord | undefined> {
    const same = (await records.list()).filter((record) => record.infoHash === infoHash && record.link === link)
    return same.find(({ state }) => isUnderWay(state) || state === 'paused')
  }

  async function reprice(known: DownloadRecord, maxPrice: bigint | undefined): Promise<DownloadRecord> {
    if (maxPrice === undefined || String(maxPrice) === known.maxPrice) return known
    const terms = { maxPrice: String(maxPrice) }
    const repriced = await change(known.id, mayPause, ({ state, ...record }) => ({
      ...record,
      ...terms,
      state: state === 'paused' ? state : 'queued',
    }))
    const stretches = await records.stretchesOf(repriced)
    for (const { id } of stretches) await records.update(id, (record) => ({ ...record, ...terms }))
    return repriced
  }

  function newRecord(meta: Metainfo, link: string, maxPrice: bigint | undefined): DownloadRecord {
    const createdMs = clock.now()
    return {
      id: `${createdMs.toString(36).padStart(ID_TIME_DIGITS, '0')}${toHex(random.bytes(4))}`,
      state: 'queued',
      infoHash: toHex(meta.infoHash),
      name: meta.name,
      bytes: meta.bytes,
      pieces: meta.pieces,
      link,
      ...(maxPrice !== undefined && { maxPrice: String(maxPrice) }),
      createdMs,
      report: NOTHING,
    }
  }

  /** Brings the download to rest and changes what is kept of it, one request at a time. */
  function change(
    id: string,
    allowed: (state: DownloadState) => boolean,
    apply: DownloadChange,
  ): Promise<DownloadRecord> {
    return oneAtATime(id, async () => {
      const before = await records.get(id)
      requireOpen(before, allowed)
      const report = await supervisor.halt(id)
      const halted = (latest: DownloadRecord): DownloadRecord =>
        allowed(latest.state) ? apply(settled(latest, report && { report: () => report })) : latest
      const record = await records.update(id, halted).catch(async (error: unknown) => {
        // It goes on as it was.
        if (isUnderWay(before.state)) await supervisor.launch(id)
        throw error
      })
      changes.announce()
      // It may have come to its end just before it was at rest.
      requireOpen(record, allowed)
      return record
    })
  }

  async function pause(id: string): Promise<Download> {
    return view(await change(id, mayPause, (record) => ({ ...record, state: 'paused' })))
  }

  async function resume(id: string): Promise<Download> {
    const { state } = await view(await records.get(id))
    if (state !== 'running' && state !== 'queued') await goOnWith(id)
    else await supervisor.launch(id)
    return view(await records.get(id))
  }

  /** Anew, from where it is. */
  async function goOnWith(id: string): Promise<void> {
    await change(
      id,
      (state) => state !== 'done' && state !== 'cancelled',
      (record) => ({ ...record, state: 'queued' }),
    )
    await supervisor.launch(id)
  }

  async function cancel(id: string): Promise<Download> {
    const record = await change(
      id,
      (state) => state !== 'done',
      (latest) => (latest.state === 'cancelled' ? latest : { ...latest, state: 'cancelled', untidy: true }),
    )
    if (record.untidy) await supervisor.discard(record)
    return view(record)
  }

  async function takeUp(): Promise<void> {
    for (const record of (await records.list()).toReversed()) {
      const stretches = isUnderWay(record.state) ? await records.stretchesOf(record) : []
      const isToGoOn = [record, ...stretches].some(isHeld)
      // A process that began while the agent was stopped has not looked after the others either.
      await (isToGoOn ? goOnWith(record.id) : resumeUnfinished(record)).catch(unlessBug)
    }
  }

  async function resumeAll(): Promise<void> {
    if (await parts.guard.isStopped()) return
    for (const record of (await records.list()).toReversed()) await resumeUnfinished(record)
  }

  async function resumeUnfinished(record: DownloadRecord): Promise<void> {
    // Of all that ever ended, nothing more is read.
    const isOver = !isUnderWay(record.state) && !record.untidy
    if (isOver || (await leases.isTaken(record.id))) return
    if (isUnderWay(record.state)) await supervisor.launch(record.id)
    else await supervisor.discard(record).catch(onFault)
  }

  /** For whoever looks from another process. */
  async function note(id: string, report: RunReport | undefined): Promise<void> {
    if (!report) return
    await records.update(id, (record) =>
      isUnderWay(record.state) ? { ...record, report: { ...report, paid: String(report.paid) } } : record,
    )
  }

  async function work(id: string, signal: AbortSignal): Promise<Rest> {
    const shift = { clock, leases, calls, records, supervisor: here, note, fanOut: parts.fanOut }
    try {
      return await workShift(shift, id, signal)
    } finally {
      await parts.guard.release()
    }
  }

  async function wait(id: string): Promise<Download> {
    for (;;) {
      const changed = changes.next()
      const record = await records.get(id)
      if (AT_REST.has(record.state)) return view(record)
      await changed
    }
  }

  return {
    start,
    list: async () => Promise.all((await records.list()).map(view)),
    async get(id) {
      try {
        return await view(await records.get(id))
      } catch (error) {
        if (error instanceof Problem && error.code === 'not-found') return undefined
        throw error
      }
    },
    pause,
    resume,
    cancel,
    resumeAll: () => resumeAll().catch(onFault),
    takeUp,
    work,
    stop: () => supervisor.stop(),
    wait,
  }
}

const isHeld = ({ state, reason }: DownloadRecord): boolean =>
  state === 'waiting' && (reason === 'stopped' || reason === 'cap-reached')

const mayPause = (state: DownloadState): boolean => isUnderWay(state) || state === 'paused'

function requireOpen({ state }: DownloadRecord, allowed: (state: DownloadState) => boolean): void {
  if (!allowed(state)) throw new Problem('closed', `The download is ${state}.`)
}

function viewOf(record: DownloadRecord, live: RunReport | undefined): Download {
  const { report, maxPrice } = record
  const { bytesPerSecond, paid, ...progress } = live ?? { ...report, paid: BigInt(report.paid) }
  const isMoving = live !== undefined && record.state === 'running' && bytesPerSecond > 0
  return {
    ...without(record, 'report', 'maxPrice', 'folder', 'untidy', 'stretches', 'stretch'),
    ...progress,
    paid,
    ...(maxPrice !== undefined && { maxPrice: BigInt(maxPrice) }),
    ...(isMoving && { bytesPerSecond, secondsLeft: (record.bytes - progress.done) / bytesPerSecond }),
  }
}

/** Tells everyone who waits that some download changed. */
function createChanges() {
  let next = Promise.withResolvers<void>()
  return {
    next: () => next.promise,
    announce() {
      next.resolve()
      next = Promise.withResolvers()
    },
  }
}
