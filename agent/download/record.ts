/** Downloads as they are kept: what the owner asked for, how it stands, and the torrent. */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { putAll, removeAll, readAll, type Put } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { downloadKey, type RunReport } from './runner.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export type DownloadState = 'queued' | 'running' | 'waiting' | 'paused' | 'done' | 'failed' | 'cancelled'

export interface DownloadRecord {
  /** Ids sort by time. */
  readonly id: string
  readonly state: DownloadState
  /** Of a state that needs one: a problem's code, or `no-sellers`. */
  readonly reason?: string
  readonly detail?: string
  /** When it is tried again, in milliseconds. */
  readonly until?: number
  /** v2, hex. */
  readonly infoHash: string
  readonly name: string
  readonly bytes: number
  readonly pieces: number
  readonly link: string
  /** Credits a piece, decimal. */
  readonly maxPrice?: string
  readonly createdMs: number
  /** Chosen once, so that all files of a download land in the same folder, also after a crash. */
  readonly folder?: string
  /** What became of it, as the storage names it. */
  readonly file?: string
  /** As of the last change of state. */
  readonly report: Omit<RunReport, 'paid'> & { readonly paid: string }
  /** Cancelled, but what it wrote may still be there. */
  readonly untidy?: true
}

export type DownloadChange = (record: DownloadRecord) => DownloadRecord

export interface DownloadRecords {
  /** The newest first. */
  list(): Promise<readonly DownloadRecord[]>
  /** @throws Problem `not-found` */
  get(id: string): Promise<DownloadRecord>
  /** With its torrent, durable once it resolves. */
  add(record: DownloadRecord, torrent: Bytes): Promise<void>
  torrent(id: string): Promise<Bytes>
  /** All but the record itself: of a download that has ended, nothing else is needed. */
  forgetParts(id: string): Promise<void>
  /** Computed anew when another change came first. @throws Problem `conflict` after too many tries */
  update(id: string, change: DownloadChange): Promise<DownloadRecord>
}

const DOWNLOADS = 'download'
const TORRENT = 'torrent/'
const CHUNK_BYTES = 256 * 1024

export function createDownloadRecords(store: Store): DownloadRecords {
  async function find(id: string) {
    const item = await store.get(DOWNLOADS, id)
    if (!item) throw new Problem('not-found', 'There is no such download.')
    return item
  }

  async function update(id: string, change: DownloadChange): Promise<DownloadRecord> {
    for (let attempt = 1; attempt <= limits.writeAttempts; attempt++) {
      const item = await find(id)
      const before = decodeRecord<DownloadRecord>(item)
      const after = change(before)
      if (after === before) return before
      const body = encodeRecord(after)
      if (await store.write([{ pk: DOWNLOADS, sk: id, expect: item.version, body }])) return after
    }
    throw new Problem('conflict', 'The download changes too fast.')
  }

  return {
    list: async () => (await readAll(store, DOWNLOADS, (item) => decodeRecord<DownloadRecord>(item))).toReversed(),
    get: async (id) => decodeRecord<DownloadRecord>(await find(id)),
    async add(record, torrent) {
      // The record comes last: a download without its torrent is none.
      await putAll(store, chunksOf(downloadKey(record.id), torrent))
      const isNew = await store.write([{ pk: DOWNLOADS, sk: record.id, expect: 0, body: encodeRecord(record) }])
      if (!isNew) throw new Problem('conflict', 'There is such a download already.')
    },
    async torrent(id) {
      return concat(...(await readAll(store, downloadKey(id), ({ body }) => body, { prefix: TORRENT })))
    },
    forgetParts: (id) => removeAll(store, downloadKey(id)),
    update,
  }
}

function* chunksOf(pk: string, torrent: Bytes): Generator<Put> {
  for (let at = 0, chunk = 0; at < torrent.length; at += CHUNK_BYTES, chunk++) {
    yield { pk, sk: TORRENT + String(chunk).padStart(4, '0'), body: torrent.slice(at, at + CHUNK_BYTES) }
  }
}
