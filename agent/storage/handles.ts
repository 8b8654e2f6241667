/** A bounded set of open files: the latest used stay open, an idle one is closed. */
import type { FileHandle } from 'node:fs/promises'
import type { Clock } from '../../protocol/environment.ts'

export interface Handles {
  /** Opens the file unless it is open under that key, and keeps it open for the next time. */
  use<T>(key: string, open: () => Promise<FileHandle>, action: (handle: FileHandle) => Promise<T>): Promise<T>
  /** Closes the file once nobody uses it; the next `use` opens it anew. */
  drop(key: string): Promise<void>
  /** From now on nothing is kept open: who still uses a file, or comes later, leaves it closed. */
  close(): Promise<void>
}

export interface HandlesOptions {
  readonly most: number
  readonly idleMs: number
}

interface Entry {
  readonly handle: Promise<FileHandle>
  users: number
  usedMs: number
  dropped: boolean
}

export function createHandles(clock: Clock, { most, idleMs }: HandlesOptions): Handles {
  /** The longest unused first. */
  const entries = new Map<string, Entry>()
  let sweeping: AbortController | undefined
  let isClosed = false

  async function closeIfFree(entry: Entry): Promise<void> {
    if (entry.dropped && entry.users === 0) await entry.handle.then((handle) => handle.close()).catch(() => undefined)
  }

  async function drop(key: string): Promise<void> {
    const entry = entries.get(key)
    if (!entry) return
    entries.delete(key)
    entry.dropped = true
    await closeIfFree(entry)
  }

  function take(key: string, open: () => Promise<FileHandle>): Entry {
    const entry = entries.get(key) ?? { handle: open(), users: 0, usedMs: 0, dropped: isClosed }
    entries.delete(key)
    if (!isClosed) entries.set(key, entry)
    entry.users++
    return entry
  }

  /** Those in use are left alone, so that a burst may hold more than `most` for a moment. */
  async function shrink(): Promise<void> {
    for (const [key, entry] of entries) {
      if (entries.size <= most) return
      if (entry.users === 0) await drop(key)
    }
  }

  async function sweep(): Promise<void> {
    if (sweeping) return
    const { signal } = (sweeping = new AbortController())
    while (entries.size > 0 && !signal.aborted) {
      await clock.sleep(idleMs, signal).catch(() => undefined)
      for (const [key, entry] of entries) {
        if (entry.users === 0 && clock.now() - entry.usedMs >= idleMs) await drop(key)
      }
    }
    sweeping = undefined
  }

  return {
    async use(key, open, action) {
      const entry = take(key, open)
      try {
        const handle = await entry.handle
        void sweep()
        return await action(handle)
      } catch (error) {
        // A file that could not be opened is tried again the next time.
        void entry.handle.catch(() => entries.get(key) === entry && entries.delete(key))
        throw error
      } finally {
        entry.users--
        entry.usedMs = clock.now()
        await closeIfFree(entry)
        await shrink()
      }
    },
    drop,
    async close() {
      isClosed = true
      sweeping?.abort(new Error('closed'))
      await Promise.all(Array.from(entries.keys(), drop))
    },
  }
}
