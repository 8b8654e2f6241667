/** Files that the owner has copied between their own links: begun once, kept going until they are there. */
import { toHex } from '../../protocol/bytes.ts'
import { readAll } from '../../protocol/items.ts'
import { problemOf, type Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { faultOf, isForgotten } from '../storage/faults.ts'
import type { Links } from '../storage/links.ts'
import type { FileRef, WriteRef } from '../storage/storage.ts'
import { copyFile } from './copy-file.ts'

export interface CopyPlace {
  /** The link's name. */
  readonly link: string
  readonly path: string
}

export interface Copy {
  readonly id: string
  readonly state: 'running' | 'waiting' | 'done' | 'failed'
  readonly from: CopyPlace
  /** Under the name that it got, once it is done. */
  readonly to: CopyPlace
  readonly bytes: number
  /** Bytes that the target holds. */
  readonly done: number
  /** Why it waits or has failed: a problem's code, and a sentence. */
  readonly reason?: string
  readonly detail?: string
  readonly until?: number
}

interface CopyRecord extends Copy {
  readonly file: FileRef & { readonly version: string }
  readonly write: WriteRef
}

export interface Copies {
  /** @param to the path is the source's where it is missing. @throws Problem `not-found`, and the storages' */
  start(from: CopyPlace, to: { readonly link: string; readonly path?: string | undefined }): Promise<Copy>
  get(id: string): Promise<Copy | undefined>
  /** Those that a crash or a stop has cut short. */
  resumeAll(): Promise<void>
  stop(): Promise<void>
}

const PK = 'copy'
const PAUSE_MS = 30_000

export function createCopies(
  { store, environment }: Pick<AgentContext, 'store' | 'environment'>,
  links: Links,
): Copies {
  const { clock, random } = environment
  const running = new Map<string, { readonly copy: { done: number }; readonly finished: Promise<void> }>()
  const stopping = new AbortController()

  const save = (record: CopyRecord): Promise<boolean> =>
    store.write([{ pk: PK, sk: record.id, expect: 'any', body: encodeRecord(record) }])

  async function start(from: CopyPlace, to: { link: string; path?: string | undefined }): Promise<Copy> {
    const [source, target] = [await links.open(from.link), await links.open(to.link)]
    const { size, version } = await source.storage.stat({ name: from.path })
    const name = to.path ?? from.path.slice(from.path.lastIndexOf('/') + 1)
    const record: CopyRecord = {
      id: toHex(random.bytes(8)),
      state: 'running',
      from: { link: source.name, path: from.path },
      to: { link: target.name, path: name },
      bytes: size,
      done: 0,
      file: { name: from.path, version },
      write: await target.storage.begin(name, size),
    }
    await save(record)
    launch(record)
    return view(record)
  }

  function launch(record: CopyRecord): void {
    const copy = { done: record.done }
    const finished = keepUp(record, copy).finally(() => running.delete(record.id))
    running.set(record.id, { copy, finished })
  }

  async function keepUp(record: CopyRecord, copy: { done: number }): Promise<void> {
    while (!stopping.signal.aborted) {
      const over = await attempt(record, copy).catch((error: unknown) => waiting(record, problemOf(error), copy))
      await save(over).catch(() => undefined)
      if (over.state !== 'waiting') return
      const pauseMs = Math.max(0, (over.until ?? 0) - clock.now())
      await clock.sleep(pauseMs, stopping.signal).catch(() => undefined)
    }
  }

  async function attempt(record: CopyRecord, copy: { done: number }): Promise<CopyRecord> {
    const { file, write, from, to } = record
    const { storage: source } = await links.open(from.link)
    const { storage: target } = await links.open(to.link)
    const onProgress = (bytes: number): void => void (copy.done = bytes)
    const made = await copyFile({ source, target, file, write, signal: stopping.signal, onProgress })
    if (!made) return { ...record, state: 'running', done: copy.done }
    return { ...record, state: 'done', done: record.bytes, to: { ...to, path: made.name } }
  }

  function waiting(record: CopyRecord, problem: Problem, { done }: { done: number }): CopyRecord {
    const fault = faultOf(problem)
    const why = { ...record, done, reason: problem.code, detail: problem.message }
    const passes = fault?.kind === 'park' || fault?.kind === 'retry' || isForgotten(problem)
    if (!passes) return { ...why, state: 'failed' }
    return { ...why, state: 'waiting', until: fault?.kind === 'park' ? fault.untilMs : clock.now() + PAUSE_MS }
  }

  return {
    start,
    async get(id) {
      const item = await store.get(PK, id)
      if (!item) return undefined
      const record = decodeRecord<CopyRecord>(item)
      return view({ ...record, done: running.get(id)?.copy.done ?? record.done })
    },
    async resumeAll() {
      for (const record of await readAll(store, PK, (item) => decodeRecord<CopyRecord>(item))) {
        const isOpen = record.state === 'running' || record.state === 'waiting'
        if (isOpen && !running.has(record.id)) launch(record)
      }
    },
    async stop() {
      stopping.abort()
      await Promise.all(Array.from(running.values(), ({ finished }) => finished))
    },
  }
}

const view = ({ file: _, write: __, ...copy }: CopyRecord): Copy => copy
