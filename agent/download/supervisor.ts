/** Keeps downloads running: a few at once, each from what is stored, again after a failure that may pass. */
import { parseTorrent, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem, problemOf, unlessBug, type ProblemCode } from '../../protocol/problem.ts'
import { isUnderWay, type DownloadChange, type DownloadRecord, type DownloadRecords } from './record.ts'
import { gathered } from './gathered.ts'
import { createJournal } from './journal.ts'
import { PROGRESS_PREFIX } from './progress.ts'
import { doubled, LONGEST_REST_MS, LOOKOUT_MS } from './rests.ts'
import { spoolOf } from './spool.ts'
import {
  downloadKey,
  openRunner,
  type Runner,
  type RunnerParts,
  type RunnerTask,
  type RunReport,
  type Waiting,
} from './runner.ts'
import { openSink } from './sink.ts'
import { cutStretches, spanOf, stretchesFor, type FanOut } from './stretches.ts'
import { createTurns } from './turns.ts'
import { walletKey } from '../wallet/lane.ts'
import { faultOf, isForgotten } from '../storage/faults.ts'
import type { Links } from '../storage/links.ts'
import { without } from '../records.ts'
import { createSerial } from '../serial.ts'
import type { Storage } from '../storage/storage.ts'

export interface Supervisor {
  /** Starts it, when its turn comes, unless it is started. @param meta where it is at hand: parsing a large torrent takes a while */
  launch(id: string, meta?: Metainfo): Promise<void>
  /** @returns once it is at rest, how far it came, where it ran */
  halt(id: string): Promise<RunReport | undefined>
  /** Of one that runs. */
  report(id: string): RunReport | undefined
  /** Removes what a cancelled download wrote; its lanes are settled later on. */
  discard(record: DownloadRecord): Promise<void>
  stop(): Promise<void>
}

/** Of a process that runs downloads itself. */
export interface LocalSupervisor extends Supervisor {
  /**
   * Cuts what is large enough, is not begun, and goes to where parts may come in any order.
   * @throws Problem of the store or the storage
   */
  spread(record: DownloadRecord, fanOut: FanOut): Promise<void>
  /** Ends the lanes of one that nobody runs, and says why it failed. */
  giveUp(id: string, why: Pick<Waiting, 'reason' | 'detail'>): Promise<void>
}

export interface SupervisorParts extends RunnerParts {
  readonly links: Links
  readonly records: DownloadRecords
  /** Told after each change of a record. */
  readonly onChange: () => void
  readonly onFault: (error: unknown) => void
}

interface Active {
  readonly abort: AbortController
  finished: Promise<unknown>
  meta: Metainfo | undefined
  runner?: Runner | undefined
}

/** Between two turns of a download. */
interface Pause {
  readonly untilMs: number
  /** How many turns in a row have failed by now, and how many came to nothing. */
  readonly failures: number
  readonly idle: number
}

/** How a turn ends of which others have more need. */
interface InVain {
  readonly waiting: Waiting
  /** Something came before that. */
  readonly hasMoved: boolean
}

const NO_PAUSE: Pause = { untilMs: 0, failures: 0, idle: 0 }
const RUNNING_MOST = 4
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000
/** These may pass by themselves, or once the owner has made room. */
const PASSING: ReadonlySet<ProblemCode> = new Set([
  'cap-reached',
  'conflict',
  'limit-reached',
  'peer-failed',
  'storage-full',
  'storage-parked',
  'storage-unavailable',
  'store-unavailable',
])
/** Another runner would be done by then; else the storage itself is in conflict. */
const CONFLICTS_MOST = 3

export function createSupervisor(parts: SupervisorParts): LocalSupervisor {
  const { context, wallet, links, records, pace } = parts
  const { clock } = context.environment
  const actives = new Map<string, Active>()
  const turns = createTurns(RUNNING_MOST)
  const inTurn = createSerial()

  async function launch(id: string, meta?: Metainfo): Promise<void> {
    if (actives.has(id)) return
    const active: Active = { abort: new AbortController(), finished: Promise.resolve(), meta }
    actives.set(id, active)
    active.finished = keepUp(id, active)
      .catch(parts.onFault)
      .finally(() => actives.delete(id))
  }

  /** Who pauses leaves the turn to others, and the memory. */
  async function keepUp(id: string, active: Active): Promise<void> {
    const { signal } = active.abort
    for (let pause: Pause | undefined = NO_PAUSE; pause && !signal.aborted;) {
      const before: Pause = pause
      const waitMs = before.untilMs - clock.now()
      if (waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined)
      pause = await turns.take(signal, () => supervise(id, active, before))
      if (pause) active.runner = undefined
    }
  }

  /** @returns when to go on; one that was stopped waits for its owner */
  async function supervise(id: string, active: Active, before: Pause): Promise<Pause | undefined> {
    const ended = await runOnce(id, active)
    if (!ended || active.abort.signal.aborted) return undefined
    if (!(ended instanceof Problem)) return rest(id, active, ended, before)
    const { code: reason, message: detail } = ended
    if (reason === 'stopped') {
      await note(id, active, { reason, detail })
      return undefined
    }
    const failures = before.failures + 1
    // Where that cannot be written now, it is tried, and fails, anew.
    const isOver = !mayPass(ended, failures, active.runner) && (await fail(id, ended).then(() => true, unlessPassing))
    if (isOver) return undefined
    const parkedMs = parkedUntil(ended)
    const untilMs = Math.max(clock.now() + doubled(FIRST_PAUSE_MS, failures, LONGEST_PAUSE_MS), parkedMs ?? 0)
    await note(id, active, { reason, detail, until: untilMs })
    return { untilMs, failures: parkedMs === undefined ? failures : 0, idle: 0 }
  }

  async function rest(id: string, active: Active, { waiting, hasMoved }: InVain, before: Pause): Promise<Pause> {
    const idle = hasMoved ? 1 : before.idle + 1
    const untilMs = Math.max(clock.now() + doubled(FIRST_PAUSE_MS, idle, LONGEST_REST_MS), waiting.until ?? 0)
    await note(id, active, { ...waiting, until: untilMs })
    return { untilMs, failures: 0, idle }
  }

  /** @returns what stopped it, when neither its end nor the signal did */
  async function runOnce(id: string, active: Active): Promise<Problem | InVain | undefined> {
    const leave = new AbortController()
    const noted = noteChanges(id, active)
    let inVain: Waiting | undefined
    const onWaiting = (waiting: Waiting | undefined): void => {
      if (noted(waiting) < LOOKOUT_MS || !turns.areAwaited()) return
      inVain = waiting
      leave.abort()
    }
    try {
      const record = await records.get(id)
      // Its owner may have been told that it could not be written, and it was.
      if (!isUnderWay(record.state)) return undefined
      const runner = await open(record, active, {
        signal: AbortSignal.any([active.abort.signal, leave.signal]),
        onWaiting,
      })
      active.runner = runner
      await note(id, active, undefined)
      const file = await runner.run()
      if (inVain) return { waiting: inVain, hasMoved: runner.report().done > record.report.done }
      if (file !== undefined) {
        await change(id, (record) => ({ ...without(settled(record, runner), 'untidy'), state: 'done', file }))
        await forgetParts(id)
      }
      return undefined
    } catch (error) {
      if (!(error instanceof Problem)) parts.onFault(error)
      return problemOf(error)
    }
  }

  async function open(
    record: DownloadRecord,
    active: Active,
    until: Pick<RunnerTask, 'signal' | 'onWaiting'>,
  ): Promise<Runner> {
    const meta = active.meta ?? parseTorrent(await records.torrent(record.id))
    active.meta = meta
    const { storage } = await links.open(record.link)
    return openRunner(parts, {
      id: record.id,
      meta,
      storage,
      folder: meta.folder ? await folderOf(record, meta, storage) : undefined,
      starts: record.stretches ?? [],
      stretch: record.stretch,
      before: (await records.stretchesOf(record)).flatMap(({ report }) => report.sellers),
      maxPrice: record.maxPrice === undefined ? undefined : BigInt(record.maxPrice),
      ...until,
    })
  }

  const folderOf = async (record: DownloadRecord, meta: Metainfo, storage: Storage): Promise<string> =>
    record.folder ?? inTurn(record.link, () => promiseFolder(record, meta, storage))

  async function promiseFolder(record: DownloadRecord, meta: Metainfo, storage: Storage): Promise<string> {
    const others = (await records.list()).filter(({ id, link }) => id !== record.id && link === record.link)
    const promised = new Set(others.map(({ folder }) => folder))
    const folder = await storage.freeFolder(meta.name, (name) => promised.has(name))
    await change(record.id, (latest) => ({ ...latest, folder }))
    return folder
  }

  /**
   * Only what changed is written, and nobody waits for it: it is for the owner's eyes.
   * @returns for how long it has waited, in milliseconds
   */
  function noteChanges(id: string, active: Active): (waiting: Waiting | undefined) => number {
    let last: Waiting | undefined
    let sinceMs = 0
    return (waiting) => {
      if (!last) sinceMs = clock.now()
      if (waiting?.reason !== last?.reason) note(id, active, waiting).catch(parts.onFault)
      last = waiting
      return waiting ? clock.now() - sinceMs : 0
    }
  }

  async function note(id: string, { abort, runner }: Active, waiting: Waiting | undefined): Promise<void> {
    const noted = change(id, (record) => {
      if (abort.signal.aborted || record.state === 'done') return record
      return { ...settled(record, runner), state: waiting ? 'waiting' : 'running', ...waiting }
    })
    await noted.catch(unlessBug)
  }

  /** What stays behind when this fails is in nobody's way. */
  const forgetParts = (id: string): Promise<void> => records.forgetParts(id).catch(unlessBug)

  async function change(id: string, apply: DownloadChange): Promise<void> {
    await records.update(id, apply)
    parts.onChange()
  }

  async function fail(id: string, { code, message }: Problem): Promise<void> {
    const runner = actives.get(id)?.runner
    await finish(id, runner)
    await change(id, (record) => ({ ...settled(record, runner), state: 'failed', reason: code, detail: message }))
  }

  async function giveUp(id: string, why: Pick<Waiting, 'reason' | 'detail'>): Promise<void> {
    await finish(id, undefined)
    const latest = await records.get(id)
    const { report } = gathered(latest, await records.stretchesOf(latest))
    await change(id, (record) => ({ ...settled(record, undefined), report, state: 'failed', ...why }))
  }

  async function spread(record: DownloadRecord, fanOut: FanOut): Promise<void> {
    const { id } = record
    if (record.stretches || record.stretch !== undefined || stretchesFor(record, fanOut) < 2) return
    const { storage } = await links.open(record.link)
    const journal = createJournal(context.store)
    const begun = [await journal.load(downloadKey(id), PROGRESS_PREFIX), await journal.load(walletKey(id))].flat()
    if (storage.writes !== 'any-order' || begun.length > 0) return
    const meta = parseTorrent(await records.torrent(id))
    const folder = meta.folder ? await folderOf(record, meta, storage) : undefined
    const [pk, span] = [downloadKey(id), spanOf([], undefined, meta.pieces)]
    const spool = spoolOf(context, pk, meta)
    const sink = await openSink({ storage, meta, pk, spool, span, journal, folder, onRoom: noMatter })
    const starts = await cutStretches(meta, stretchesFor(record, fanOut), sink, journal)
    if (starts.length > 1) await records.spread(id, starts)
  }

  async function halt(id: string): Promise<RunReport | undefined> {
    const active = actives.get(id)
    active?.abort.abort()
    await active?.finished
    return active?.runner?.report()
  }

  async function discard(record: DownloadRecord): Promise<void> {
    // Somebody is at it, or its lanes are being settled.
    if (actives.has(record.id)) return
    const active: Active = { abort: new AbortController(), finished: Promise.resolve(), meta: undefined }
    try {
      active.runner = await open(record, active, { signal: active.abort.signal, onWaiting: noMatter })
      await active.runner.abort()
    } catch (error) {
      // A link that is gone has taken the files with it.
      if (!(error instanceof Problem) || error.code !== 'not-found') throw error
    }
    active.finished = settleAtLast(record.id, active)
      .catch(parts.onFault)
      .finally(() => actives.delete(record.id))
    actives.set(record.id, active)
  }

  /** Credits stay frozen until it is settled, and nobody else looks after what was cancelled. */
  async function settleAtLast(id: string, active: Active): Promise<void> {
    const { signal } = active.abort
    for (let failures = 1; ; failures++) {
      try {
        return await settle(id, active.runner)
      } catch (error) {
        unlessPassing(error)
        parts.onFault(error)
      }
      // What it knew of the store may not be so.
      active.runner = undefined
      await clock.sleep(doubled(FIRST_PAUSE_MS, failures, LONGEST_PAUSE_MS), signal).catch(noMatter)
      if (signal.aborted) return
    }
  }

  /** Where it could not even be opened, its lanes are ended all the same. */
  async function finish(id: string, runner: Runner | undefined): Promise<void> {
    if (runner) return runner.settle()
    const stretches = await records.stretchesOf(await records.get(id))
    await Promise.all([id, ...stretches.map((one) => one.id)].map((one) => wallet.finish(one, pace.patienceMs)))
  }

  async function settle(id: string, runner: Runner | undefined): Promise<void> {
    await finish(id, runner)
    await change(id, (record) => without(settled(record, runner), 'untidy'))
    await forgetParts(id)
  }

  return {
    launch,
    halt,
    report: (id) => actives.get(id)?.runner?.report(),
    discard,
    spread,
    giveUp,
    async stop() {
      await Promise.all(Array.from(actives.keys(), halt))
    },
  }
}

/** Without the reason of an earlier state, and with how far it came. */
export function settled(record: DownloadRecord, runner: Pick<Runner, 'report'> | undefined): DownloadRecord {
  const rest = without(record, 'reason', 'detail', 'until')
  const report = runner?.report()
  return report ? { ...rest, report: { ...report, paid: String(report.paid) } } : rest
}

const noMatter = (): void => undefined

/** When the storage's allowance is there again, or the day of the owner's cap is over. */
function parkedUntil(problem: Problem): number | undefined {
  const fault = faultOf(problem)
  return fault?.kind === 'park' ? fault.untilMs : undefined
}

function unlessPassing(error: unknown): undefined {
  if (!(error instanceof Problem && PASSING.has(error.code))) throw error
}

/** A full storage is worth waiting for only once something has been paid. */
function mayPass(problem: Problem, attempt: number, runner: Runner | undefined): boolean {
  const { code } = problem
  if (code === 'conflict' || isForgotten(problem)) return attempt < CONFLICTS_MOST
  if (code === 'storage-full') return (runner?.report().ticks ?? 0) > 0
  return PASSING.has(code) && faultOf(problem)?.kind !== 'fatal'
}
