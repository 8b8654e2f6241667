/**
 * Block hashes on their way to the repository, which serves them for any piece length. They come while a source is hashed,
 * before its torrent exists, so they wait in the store, in runs under the source's id, until the repository has them.
 */
import { concat } from '../../protocol/bytes.ts'
import { decode, encode, field, fields } from '../../protocol/encoding.ts'
import { putAll, removeAll, type Put } from '../../protocol/items.ts'
import type { Store } from '../../protocol/store.ts'
import type { LeafRun } from './source.ts'

export interface LeafWriter {
  /** Runs of one file follow one another. */
  readonly add: (run: LeafRun) => Promise<void>
  readonly end: () => Promise<void>
}

export interface LeafBox {
  writer(source: string): LeafWriter
  /** The first runs that are left, at most so many. */
  first(source: string, most: number): Promise<readonly { readonly key: string; readonly run: LeafRun }[]>
  forget(source: string, keys: readonly string[]): Promise<void>
  clear(source: string): Promise<void>
}

/** What the repository is sent at once: the leaves of 128 MiB. */
const RUN_BYTES = 256 * 1024
/** Small runs are written together. */
const WAITING = 100

const runShape = { file: field.integer(), from: field.integer(), leaves: field.bytes() }
const keyOf = (source: string): string => `share/leaves/${source}`

export function createLeafBox(store: Store): LeafBox {
  return {
    writer: (source) => leafWriter(store, keyOf(source)),
    async first(source, most) {
      const items = await store.list(keyOf(source), { limit: most })
      return items.map(({ sk, body }) => ({ key: sk, run: fields(decode(body), runShape) }))
    },
    forget: (source, keys) =>
      putAll(
        store,
        keys.map((sk) => ({ pk: keyOf(source), sk })),
      ),
    clear: (source) => removeAll(store, keyOf(source)),
  }
}

function leafWriter(store: Store, pk: string): LeafWriter {
  let parts: LeafRun[] = []
  let bytes = 0
  let count = 0
  let waiting: Put[] = []

  function close(): void {
    const [first] = parts
    if (!first) return
    const leaves = concat(...parts.map((part) => part.leaves))
    waiting.push({ pk, sk: String(count++).padStart(8, '0'), body: encode({ ...first, leaves }) })
    parts = []
    bytes = 0
  }

  async function write(): Promise<void> {
    await putAll(store, waiting)
    waiting = []
  }

  return {
    async add(run) {
      if (parts[0]?.file !== run.file || bytes + run.leaves.length > RUN_BYTES) close()
      parts.push(run)
      bytes += run.leaves.length
      if (waiting.length >= WAITING) await write()
    },
    async end() {
      close()
      await write()
    },
  }
}
