/**
 * Files and folders that the owner has copied between their own links: begun once, kept going until they are there. What is
 * copied is listed at the start; each file has an item of its own, so that a folder goes on in the midst of any file.
 * Where a process lives for minutes only, a worker is woken, which copies in shifts under a lease as downloads do
 * (download/shift.ts).
 */
import { toHex } from '../../protocol/bytes.ts'
import { putAll, readAll, removeAll, type Put } from '../../protocol/items.ts'
import { Problem, problemOf, unlessBug } from '../../protocol/problem.ts'
import { allAtRest } from '../at-rest.ts'
import type { AgentContext } from '../context.ts'
import { createCalls, createLeases, type Lease, type Rest } from '../download/shift.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { createSerial } from '../serial.ts'
import { findSource, type Source } from '../share/source.ts'
import { faultOf, isForgotten } from '../storage/faults.ts'
import type { Links, OpenLink } from '../storage/links.ts'
import type { FileRef, Storage, WriteRef } from '../storage/storage.ts'
import { copyFile } from './copy-file.ts'

export interface CopyPlace {
  /** The link's name. */
  readonly link: string
  readonly path: string
}

export interface Copy {
  readonly id: string
  readonly state: 'running' | 'waiting' | 'done' | 'failed' | 'cancelled'
  readonly from: CopyPlace
  /** A folder under the name that it gets; a file, too, once it is done. */
  readonly to: CopyPlace
  readonly folder: boolean
  readonly files: number
  readonly bytes: number
  /** Bytes that the target holds. */
  readonly done: number
  /** Why it waits or has failed: a problem's code, and a sentence. */
  readonly reason?: string
  readonly detail?: string
  readonly until?: number
}

interface FileRecord {
  readonly file: FileRef & { readonly version: string }
  readonly size: number
  /** The name that it is to get. */
  readonly target: string
  /** Once it was begun. */
  readonly write?: WriteRef
  /** The name that it got. */
  readonly made?: string
}

export interface Copies {
  /**
   * @param from a file or a folder
   * @param to the path is the last name of the source's where it is missing
   * @throws Problem `not-found`, `too-large` for a folder of too many files, and the storages'
   */
  start(from: CopyPlace, to: { readonly link: string; readonly path?: string | undefined }): Promise<Copy>
  get(id: string): Promise<Copy | undefined>
  /**
   * Ends one, however it stands: it is `cancelled` once the target has let go of what was not finished.
   * @throws Problem `not-found`; `closed` where it is done
   */
  end(id: string): Promise<Copy>
  /** Those that a crash or a stop has cut short. */
  resumeAll(): Promise<void>
  /** Whether a worker's task is a copy. */
  isTask(task: string): boolean
  /** Works on one until it is over, has to wait, or the signal aborts. @param task as `wake` was told */
  work(task: string, signal: AbortSignal): Promise<Rest>
  stop(): Promise<void>
}

/** On its way. */
interface Moving {
  readonly copy: Copy
  /** Bytes that the target holds of each file. */
  readonly held: Map<number, number>
  /** Aborts once it is to end. */
  readonly ending: AbortController
}

/** Here, until it is over. */
interface Running extends Moving {
  finished: Promise<void>
}

const PK = 'copy'
const PAUSE_MS = 30_000
const FILES_AT_ONCE = 4
const DIGITS = 6
/** How often a worker keeps its lease, and notes how far it came. */
const LOOK_MS = 2_000
const TASK = 'copy-'

const filesKey = (id: string): string => `${PK}/${id}`
const fileKey = (index: number): string => String(index).padStart(DIGITS, '0')
const filePut = (id: string, index: number, record: FileRecord): Put => ({
  pk: filesKey(id),
  sk: fileKey(index),
  body: encodeRecord(record),
})
const sum = (held: ReadonlyMap<number, number>): number => held.values().reduce((total, bytes) => total + bytes, 0)

const isOpen = ({ state }: Copy): boolean => state === 'running' || state === 'waiting'

/** As it stands when somebody is at it: what it waited for is over. */
const moving = ({ reason: _, detail: __, until: ___, ...copy }: Copy): Moving => ({
  copy: { ...copy, state: 'running' },
  held: new Map(),
  ending: new AbortController(),
})

/** @param wake starts a worker that calls `work`, perhaps twice; without it, copies run here */
export function createCopies(
  { store, environment }: Pick<AgentContext, 'store' | 'environment'>,
  links: Links,
  wake?: (task: string) => Promise<void>,
): Copies {
  const { clock, random } = environment
  const leases = createLeases({ store, environment })
  const calls = createCalls({ store })
  const running = new Map<string, Running>()
  const stopping = new AbortController()
  const inTurn = createSerial()

  const save = (copy: Copy): Promise<boolean> =>
    store.write([{ pk: PK, sk: copy.id, expect: 'any', body: encodeRecord(copy) }])

  const saveFile = (id: string, index: number, record: FileRecord): Promise<boolean> =>
    store.write([{ ...filePut(id, index, record), expect: 'any' }])

  async function start(from: CopyPlace, to: { link: string; path?: string | undefined }): Promise<Copy> {
    const [source, target] = [await links.open(from.link), await links.open(to.link)]
    const found = await findSource(source.storage, from.path)
    const place = { link: source.name, path: from.path }
    // Whoever looks for a free folder sees those that are promised.
    const copy = await inTurn(target.name, () => begin(place, found, target, to.path ?? found.name))
    await launch(copy)
    return copy
  }

  async function begin(from: CopyPlace, found: Source, target: OpenLink, name: string): Promise<Copy> {
    const { folder, bytes, files } = found
    const path = folder ? await freeFolder(target.storage, target.name, name) : name
    const records = files.map(({ name: file, id, version, size, path: inside }) => ({
      file: { name: file, version, ...(id !== undefined && { id }) },
      size,
      target: folder ? [path, ...inside].join('/') : path,
    }))
    const copy: Copy = {
      id: toHex(random.bytes(8)),
      state: 'running',
      from,
      to: { link: target.name, path },
      folder,
      files: files.length,
      bytes,
      done: 0,
    }
    // What the target refuses at once, whoever asked is told at once.
    const [first, ...more] = records as [FileRecord, ...FileRecord[]]
    const begun = { ...first, write: await target.storage.begin(first.target, first.size) }
    await putAll(
      store,
      [begun, ...more].map((record, index) => filePut(copy.id, index, record)),
    )
    await save(copy)
    return copy
  }

  const list = (): Promise<Copy[]> => readAll(store, PK, (item) => decodeRecord<Copy>(item))

  async function find(id: string): Promise<Copy | undefined> {
    const item = await store.get(PK, id)
    return item && decodeRecord<Copy>(item)
  }

  /** Nothing lies there yet of those that are under way. */
  async function freeFolder(storage: Storage, link: string, name: string): Promise<string> {
    const places = (await list()).filter(isOpen).map(({ to }) => to)
    return storage.freeFolder(name, (path) => places.some((to) => to.link === link && to.path === path))
  }

  async function launch(copy: Copy): Promise<void> {
    if (wake) return wake(TASK + copy.id)
    const one: Running = { ...moving(copy), finished: Promise.resolve() }
    running.set(copy.id, one)
    one.finished = keepUp(one).finally(() => running.delete(copy.id))
  }

  async function keepUp(one: Moving): Promise<void> {
    for (let isEnding = false; !stopping.signal.aborted;) {
      const over = await attempt(one, stopping.signal)
      await untilConcluded(over)
      if (over.state !== 'waiting') return
      const pauseMs = Math.max(0, (over.until ?? 0) - clock.now())
      // Whoever ends it does not wait with it, but where the target does not let go now.
      const woken = isEnding ? stopping.signal : AbortSignal.any([stopping.signal, one.ending.signal])
      await clock.sleep(pauseMs, woken).catch(() => undefined)
      isEnding = one.ending.signal.aborted
    }
  }

  /** However long the store is away. */
  async function untilConcluded(over: Copy): Promise<void> {
    while (!stopping.signal.aborted) {
      if (await conclude(over).then(() => true, unlessBug)) return
      await clock.sleep(PAUSE_MS, stopping.signal).catch(() => undefined)
    }
  }

  /** Where the target does not let go of what a failed one has begun, the records stay, for `end`. */
  async function conclude(over: Copy): Promise<void> {
    const isClear = over.state !== 'failed' || (await clear(over).then(() => true, unlessBug))
    await save(over)
    if (isOpen(over)) return
    if (isClear) await removeAll(store, filesKey(over.id))
    await calls.goOn(TASK + over.id)
  }

  async function end(id: string): Promise<Copy> {
    // Before it is looked at: whoever is at it sees the call, or has come to its end.
    await calls.rest(TASK + id)
    const copy = await find(id)
    if (!copy || copy.state === 'done' || copy.state === 'cancelled') {
      await calls.goOn(TASK + id)
      if (copy?.state === 'cancelled') return copy
      throw copy ? new Problem('closed', 'The copy is done.') : new Problem('not-found', 'There is no such copy.')
    }
    const one = running.get(id)
    if (one) one.ending.abort()
    else {
      if (copy.state === 'failed') await save(moving(copy).copy)
      await launch(copy)
    }
    return copy
  }

  /** What was begun of its files and not finished goes; those that are there stay. Repeatable. */
  async function clear({ id, to }: Copy): Promise<void> {
    const { storage } = await links.open(to.link)
    const records = await readAll(store, filesKey(id), (item) => decodeRecord<FileRecord>(item))
    for (const { write, made } of records) if (write && made === undefined) await storage.abort(write)
  }

  async function work(task: string, signal: AbortSignal): Promise<Rest> {
    const lease = await leases.take(task)
    if (typeof lease === 'number') return { isOver: false, untilMs: lease, isTaken: true }
    let rest: Rest = { isOver: true }
    try {
      rest = await shift(task.slice(TASK.length), lease, signal)
      return rest
    } finally {
      await lease.leave(rest.isOver ? undefined : (rest.untilMs ?? clock.now()))
    }
  }

  async function shift(id: string, lease: Lease, signal: AbortSignal): Promise<Rest> {
    const copy = await find(id)
    if (!copy || !isOpen(copy)) return { isOver: true }
    const isToEnd = (): Promise<boolean> => calls.isToRest(TASK + id)
    const { until = 0 } = copy
    if (until > clock.now() && !(await isToEnd())) return { isOver: false, untilMs: until }
    const lost = new AbortController()
    const ended = new AbortController()
    const one = moving(copy)
    const working = attempt(one, AbortSignal.any([signal, lost.signal])).finally(() => ended.abort())
    try {
      while (!ended.signal.aborted && !lost.signal.aborted) {
        await clock.sleep(LOOK_MS, ended.signal).catch(() => undefined)
        if (!(await lease.keep())) lost.abort()
        else if (!ended.signal.aborted) await save({ ...one.copy, done: sum(one.held) })
        if (await isToEnd()) one.ending.abort()
      }
    } catch (error) {
      // Whoever comes next must find nobody at it.
      lost.abort()
      await working
      throw error
    }
    const over = await working
    if (lost.signal.aborted) return { isOver: false }
    await conclude(over)
    return { isOver: !isOpen(over), ...(over.until !== undefined && { untilMs: over.until }) }
  }

  /** @returns how it stands: done, ended, stopped by the signal, or failed for now or for good */
  async function attempt(one: Moving, signal: AbortSignal): Promise<Copy> {
    const isToEnd = (): Promise<boolean> => calls.isToRest(TASK + one.copy.id)
    const failure = (error: unknown): Copy => waiting(one, problemOf(error))
    const either = AbortSignal.any([signal, one.ending.signal])
    try {
      const over = (await isToEnd()) ? one.copy : await copyAll(one, either).catch(failure)
      if (over.state === 'done' || !(await isToEnd())) return over
      await clear(one.copy)
      return { ...one.copy, done: sum(one.held), state: 'cancelled' }
    } catch (error) {
      return failure(error)
    }
  }

  async function copyAll(one: Moving, stopped: AbortSignal): Promise<Copy> {
    const { copy, held } = one
    const records = await readAll(store, filesKey(copy.id), (item) => decodeRecord<FileRecord>(item))
    for (const [index, { made, size }] of records.entries()) if (made !== undefined) held.set(index, size)
    const { storage: source } = await links.open(copy.from.link)
    const { storage: target } = await links.open(copy.to.link)
    const open = records.entries().filter(([, { made }]) => made === undefined)
    const names = records.map(({ made }) => made)
    const failing = new AbortController()
    const signal = AbortSignal.any([stopped, failing.signal])
    async function flow(): Promise<void> {
      for (const [index, record] of open) {
        if (signal.aborted) return
        names[index] = await move({ source, target, one, signal }, index, record)
      }
    }
    const flows = Array.from({ length: copy.folder ? FILES_AT_ONCE : 1 }, () =>
      flow().catch((error: unknown) => {
        failing.abort()
        throw error
      }),
    )
    await allAtRest(flows)
    if (stopped.aborted) return { ...copy, state: 'running', done: sum(held) }
    const path = copy.folder ? copy.to.path : (names[0] ?? copy.to.path)
    return { ...copy, state: 'done', done: copy.bytes, to: { ...copy.to, path } }
  }

  /** @returns the name that it got; undefined when it was stopped */
  async function move(
    { source, target, one, signal }: { source: Storage; target: Storage; one: Moving; signal: AbortSignal },
    index: number,
    record: FileRecord,
  ): Promise<string | undefined> {
    const { copy, held } = one
    const write = record.write ?? (await target.begin(record.target, record.size))
    if (!record.write) await saveFile(copy.id, index, { ...record, write })
    const onProgress = (bytes: number): void => void held.set(index, bytes)
    const task = { source, target, file: record.file, write, signal, onProgress, isOneOfMany: copy.folder }
    const made = await copyFile(task)
    if (!made) return undefined
    await saveFile(copy.id, index, { ...record, write, made: made.name })
    held.set(index, record.size)
    return made.name
  }

  function waiting({ copy, held }: Moving, problem: Problem): Copy {
    const fault = faultOf(problem)
    const why = { ...copy, done: sum(held), reason: problem.code, detail: problem.message }
    const isAway = problem.code === 'store-unavailable'
    const passes = fault?.kind === 'park' || fault?.kind === 'retry' || isForgotten(problem) || isAway
    if (!passes) return { ...why, state: 'failed' }
    return { ...why, state: 'waiting', until: fault?.kind === 'park' ? fault.untilMs : clock.now() + PAUSE_MS }
  }

  return {
    start,
    end,
    async get(id) {
      const copy = await find(id)
      const one = running.get(id)
      if (!one || !copy || !isOpen(copy)) return copy
      const isAtRest = (copy.until ?? 0) > clock.now()
      return { ...(isAtRest ? copy : one.copy), done: sum(one.held) }
    },
    async resumeAll() {
      for (const copy of (await list()).filter(isOpen)) {
        if (!running.has(copy.id) && !(await leases.isTaken(TASK + copy.id))) await launch(copy)
      }
    },
    isTask: (task) => task.startsWith(TASK),
    work,
    async stop() {
      stopping.abort()
      await Promise.all(Array.from(running.values(), ({ finished }) => finished))
    },
  }
}
