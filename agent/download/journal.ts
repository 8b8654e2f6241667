/**
 * The items of one download and its lanes, held in memory and written together: callers that write while a write is
 * under way share the next one, so that eight workers cost one fsync a round and not eight.
 */
import type { Bytes } from '../../protocol/bytes.ts'
import { readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Item, Store } from '../../protocol/store.ts'

/** A missing `body` deletes. */
export interface Entry {
  readonly pk: string
  readonly sk: string
  readonly body?: Bytes
}

export interface Journal {
  /** All items of `pk` whose sort key starts with `prefix`; from now on the journal alone writes them. */
  load(pk: string, prefix?: string): Promise<readonly Item[]>
  /**
   * Durable once it resolves, all of the entries or none (at most `limits.changesPerWrite`). After one failure every
   * write fails: what is in memory is no longer what is stored, so the download starts anew from the store.
   * @throws Problem `conflict` when another runner has the download, `store-unavailable`
   */
  write(entries: readonly Entry[]): Promise<void>
  /** A write has failed. */
  readonly isBroken: boolean
  /** The download is at rest: from now on every write fails. Resolves once what is under way is written, or is not. */
  close(): Promise<void>
}

interface Batch {
  readonly entries: Map<string, Entry>
  readonly done: Promise<void>
}

export function createJournal(store: Store): Journal {
  const versions = new Map<string, number>()
  let waiting: Batch | undefined
  let last: Promise<void> = Promise.resolve()
  let isBroken = false
  let isClosed = false

  async function load(pk: string, prefix = ''): Promise<readonly Item[]> {
    const items = await readAll(store, pk, (item) => item, { prefix })
    for (const item of items) versions.set(keyOf(item), item.version)
    return items
  }

  async function flush(entries: Map<string, Entry>): Promise<void> {
    const changes = Array.from(entries, ([key, entry]) => ({ ...entry, expect: versions.get(key) ?? 0 }))
    if (!(await store.write(changes))) throw new Problem('conflict', 'The download is run elsewhere.')
    for (const [key, { body }] of entries) {
      if (body) versions.set(key, (versions.get(key) ?? 0) + 1)
      else versions.delete(key)
    }
  }

  function open(): Batch {
    const entries = new Map<string, Entry>()
    const done = last.then(() => {
      if (waiting?.entries === entries) waiting = undefined
      return flush(entries).catch((error: unknown) => {
        isBroken = true
        throw error
      })
    })
    last = done
    return { entries, done }
  }

  return {
    load,
    write(entries) {
      if (entries.length === 0) return Promise.resolve()
      if (isClosed) return Promise.reject(new Problem('conflict', 'The download was stopped.'))
      if (!waiting || !fits(waiting.entries, entries)) waiting = open()
      for (const entry of entries) waiting.entries.set(keyOf(entry), entry)
      return waiting.done
    },
    get isBroken() {
      return isBroken
    },
    async close() {
      isClosed = true
      await last.catch(() => undefined)
    },
  }
}

const fits = (held: ReadonlyMap<string, Entry>, more: readonly Entry[]): boolean =>
  held.size + more.length <= limits.changesPerWrite

const keyOf = ({ pk, sk }: { readonly pk: string; readonly sk: string }): string => `${pk}\0${sk}`
