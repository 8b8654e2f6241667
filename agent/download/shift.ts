/**
 * Downloads where a process lives for minutes only, as a function does. Whoever takes the owner's requests runs nothing: it
 * wakes a worker, which works in shifts. A lease in the store sees to it that a download has one worker, however often
 * it is woken; a note in the store calls it to rest.
 */
import { toHex } from '../../protocol/bytes.ts'
import type { Clock } from '../../protocol/environment.ts'
import { readAll } from '../../protocol/items.ts'
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { isUnderWay, type DownloadRecord, type DownloadRecords } from './record.ts'
import { doubled, LONGEST_REST_MS, LOOKOUT_MS } from './rests.ts'
import type { RunReport } from './runner.ts'
import { spreadOut } from './spread.ts'
import { downloadOf, isStretch, type FanOut } from './stretches.ts'
import { settled, type LocalSupervisor, type Supervisor } from './supervisor.ts'

/** How a shift ended. */
export interface Rest {
  /** It is done, failed, cancelled or paused: nothing is left to do here. */
  readonly isOver: boolean
  /** When it is worth going on, in milliseconds; at once when missing. */
  readonly untilMs?: number
  /** Another worker has it, or had it and was killed: `untilMs` tells which. */
  readonly isTaken?: true
}

export interface Leases {
  /** @returns while another works under it, until when */
  take(id: string): Promise<Lease | number>
  /** Whether a worker is at the download, or at one of its stretches. */
  isAtWork(id: string): Promise<boolean>
  /** Whether a worker is at it, or comes back by itself. */
  isTaken(id: string): Promise<boolean>
}

export interface Lease {
  /** How many shifts in a row before this one waited in vain. */
  readonly idle: number
  /** @returns false when it was lost */
  keep(): Promise<boolean>
  /**
   * @param backMs when it is to be gone on with; it is not when missing
   * @param idle how many shifts in a row have waited in vain by now
   */
  leave(backMs?: number, idle?: number): Promise<void>
}

const LEASES = 'download-lease'
const CALLS = 'download-call'
/** A worker that was killed is missed after so long. */
const LEASE_MS = 10_000
/** How late a worker may come back before it is missed. */
export const LATE_MS = 60_000
const LOOK_MS = 2_000
/** A shorter wait is not worth another start. */
const WORTHWHILE_MS = 10_000
/** What a shift costs that waits in vain is small against the pause after it, from here on. */
const FIRST_REST_MS = 30_000

interface LeaseRecord {
  readonly holder: string
  readonly untilMs: number
  /** Its holder is not at work, but comes back. */
  readonly parked?: true
  /** How many shifts in a row waited in vain. */
  readonly idle?: number
}

export function createLeases({ store, environment }: Pick<AgentContext, 'store' | 'environment'>): Leases {
  const { clock, random } = environment

  async function find(id: string) {
    const item = await store.get(LEASES, id)
    return item && { ...decodeRecord<LeaseRecord>(item), version: item.version }
  }

  const isRunning = (lease: LeaseRecord | undefined): boolean => lease !== undefined && lease.untilMs > clock.now()

  const atWork = (): Omit<LeaseRecord, 'holder'> => ({ untilMs: clock.now() + LEASE_MS })

  async function take(id: string): Promise<Lease | number> {
    const holder = toHex(random.bytes(8))
    const put = (expect: number, lease: Omit<LeaseRecord, 'holder'>): Promise<boolean> =>
      store.write([{ pk: LEASES, sk: id, expect, body: encodeRecord({ holder, ...lease } satisfies LeaseRecord) }])
    const held = await find(id)
    if (held && isRunning(held) && !held.parked) return held.untilMs
    if (!(await put(held?.version ?? 0, atWork()))) return clock.now() + LEASE_MS
    return {
      idle: held?.idle ?? 0,
      async keep() {
        const mine = await find(id)
        return mine?.holder === holder && put(mine.version, atWork())
      },
      async leave(backMs, idle = 0) {
        const mine = await find(id)
        if (mine?.holder !== holder) return
        if (backMs === undefined) await store.write([{ pk: LEASES, sk: id, expect: mine.version }])
        else await put(mine.version, { untilMs: backMs + LATE_MS, parked: true, ...(idle > 0 && { idle }) })
      },
    }
  }

  return {
    take,
    async isAtWork(id) {
      const held = await readAll(store, LEASES, (item) => decodeRecord<LeaseRecord>(item), { prefix: id })
      return held.some((lease) => isRunning(lease) && !lease.parked)
    },
    isTaken: async (id) => isRunning(await find(id)),
  }
}

/** How the workers of a download are called to rest, and how they are let go on. */
export interface Calls {
  rest(id: string): Promise<void>
  goOn(id: string): Promise<void>
  isToRest(id: string): Promise<boolean>
}

export const createCalls = ({ store }: Pick<AgentContext, 'store'>): Calls => ({
  rest: async (id) => void (await store.write([{ pk: CALLS, sk: id, expect: 'any', body: encodeRecord({}) }])),
  goOn: async (id) => void (await store.write([{ pk: CALLS, sk: id, expect: 'any' }])),
  isToRest: async (id) => (await store.get(CALLS, downloadOf(id))) !== undefined,
})

export interface ElsewhereParts {
  readonly clock: Clock
  readonly leases: Leases
  readonly calls: Calls
  /** Starts a worker for the download; may come twice. */
  readonly wake: (id: string) => Promise<void>
}

/** The supervisor of a process that runs no download itself. */
export function superviseElsewhere({ clock, leases, calls, wake }: ElsewhereParts): Supervisor {
  return {
    async launch(id) {
      await calls.goOn(id)
      await wake(id)
    },
    /** Its record says how far it came. @throws Problem `conflict` when the worker does not rest */
    async halt(id) {
      await calls.rest(id)
      for (let waitedMs = 0; await leases.isAtWork(id); waitedMs += LOOK_MS) {
        if (waitedMs > LEASE_MS) throw new Problem('conflict', 'The download is at work; try again.')
        await clock.sleep(LOOK_MS)
      }
      return undefined
    },
    report: () => undefined,
    /** What a cancelled download wrote is the worker's to take away. */
    async discard({ id }) {
      await wake(id)
    },
    stop: async () => {},
  }
}

export interface ShiftParts {
  readonly clock: Clock
  readonly leases: Leases
  readonly calls: Calls
  readonly records: DownloadRecords
  readonly supervisor: LocalSupervisor
  /** Keeps what the record should say of how far it came. */
  readonly note: (id: string, report: RunReport | undefined) => Promise<void>
  /** Without it, every download has one worker. */
  readonly fanOut?: FanOut | undefined
}

/** Works on a download until it rests, has to wait, is called, or the signal aborts. */
export async function workShift(parts: ShiftParts, id: string, signal: AbortSignal): Promise<Rest> {
  const lease = await parts.leases.take(id)
  if (typeof lease === 'number') return { isOver: false, untilMs: lease, isTaken: true }
  let rest: Rest = { isOver: true }
  let idle = 0
  try {
    ;({ idle = 0, ...rest } = await shift(parts, id, lease, signal))
    return rest
  } finally {
    await lease.leave(rest.isOver ? undefined : (rest.untilMs ?? parts.clock.now()), idle)
    // The download's own worker sees whether it was the last.
    if (rest.isOver && isStretch(id)) await parts.fanOut?.wake(downloadOf(id))
  }
}

type ShiftEnd = Rest & {
  /** How many shifts in a row have waited in vain, where this one has. */
  readonly idle?: number
}

async function shift(parts: ShiftParts, id: string, lease: Lease, signal: AbortSignal): Promise<ShiftEnd> {
  const { calls, records, supervisor } = parts
  const record = await records.get(id)
  if (record.untidy) await supervisor.discard(record)
  else if (isUnderWay(record.state)) {
    const rest = await spreadOut(parts, record)
    if (rest) return rest
    // To spread it takes a while: another may have it by now.
    if (!(await lease.keep())) return { isOver: false }
    if (!(await calls.isToRest(id))) {
      await records.update(id, unstopped)
      await supervisor.launch(id)
    }
  }
  try {
    return await lookAfter(parts, record, lease, signal)
  } catch (error) {
    // Whoever comes next must find nobody at it.
    await supervisor.halt(id)
    throw error
  }
}

/** @param before as it stood when the shift began */
async function lookAfter(
  parts: ShiftParts,
  before: DownloadRecord,
  lease: Lease,
  signal: AbortSignal,
): Promise<ShiftEnd> {
  const { clock, calls, records, supervisor, note } = parts
  const { id } = before
  for (let movedMs = clock.now(); ;) {
    const latest = await records.get(id)
    const { state, until = 0, untidy } = latest
    if (!untidy && !isUnderWay(state)) return { isOver: true }
    // Whoever lets it go on wakes another worker.
    if (isStopped(latest)) {
      await note(id, await supervisor.halt(id))
      return { isOver: true }
    }
    const isToRest = await calls.isToRest(id)
    const now = clock.now()
    if (state !== 'waiting') movedMs = now
    const hasToWait = state === 'waiting' && (until - now > WORTHWHILE_MS || now - movedMs >= LOOKOUT_MS)
    if (isToRest || signal.aborted || hasToWait || !(await lease.keep())) {
      const report = await supervisor.halt(id)
      await note(id, report)
      if (isToRest || !hasToWait) return { isOver: isToRest }
      // Whoever has let it go on by hand waits for it.
      const isNew = before.state === 'queued' || (report?.done ?? 0) > before.report.done
      const idle = isNew ? 1 : lease.idle + 1
      return {
        isOver: false,
        untilMs: Math.max(until, clock.now() + doubled(FIRST_REST_MS, idle, LONGEST_REST_MS)),
        idle,
      }
    }
    await note(id, supervisor.report(id))
    await clock.sleep(LOOK_MS, signal).catch(() => undefined)
  }
}

export const isStopped = ({ state, reason }: DownloadRecord): boolean => state === 'waiting' && reason === 'stopped'

const unstopped = (record: DownloadRecord): DownloadRecord =>
  isStopped(record) ? { ...settled(record, undefined), state: 'queued' } : record
