/** Downloads as they are kept: what the owner asked for, how it stands, and the torrent. */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { putAll, removeAll, readAll, type Put } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { downloadKey, type RunReport } from './runner.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { downloadOf, isStretch, stretchId } from './stretches.ts'

export type DownloadState = 'queued' | 'running' | 'waiting' | 'paused' | 'done' | 'failed' | 'cancelled'

export const isUnderWay = (state: DownloadState): boolean =>
  state === 'queued' || state === 'running' || state === 'waiting'

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
  /** Of one that is spread over several workers, and of each of its stretches: the first pieces of all. */
  readonly stretches?: readonly number[]
  /** Of a stretch, whose record is otherwise that of a download: which it is. */
  readonly stretch?: number
}

export type DownloadChange = (record: DownloadRecord) => DownloadRecord

/** A stretch has its record as a download has, and is asked for by its id; its torrent is the download's. */
export interface DownloadRecords {
  /** The newest first, without stretches. */
  list(): Promise<readonly DownloadRecord[]>
  /** @throws Problem `not-found` */
  get(id: string): Promise<DownloadRecord>
  /** How many downloads of this content to this link were begun, as its `add` has to know. */
  begun(of: Pick<DownloadRecord, 'infoHash' | 'link'>): Promise<number>
  /** With its torrent, durable once it resolves. @returns false when another of the same came first, by whichever instance */
  add(record: DownloadRecord, torrent: Bytes, begun: number): Promise<boolean>
  torrent(id: string): Promise<Bytes>
  /** Spreads it over stretches that begin at these pieces, all of them queued; durable once it resolves. */
  spread(id: string, starts: readonly number[]): Promise<void>
  /** In order; none where it is not spread, or has ended. */
  stretchesOf(record: DownloadRecord): Promise<readonly DownloadRecord[]>
  /** All but the record itself: of a download that has ended, nothing else is needed. */
  forgetParts(id: string): Promise<void>
  /** Computed anew when another change came first. @throws Problem `conflict` after too many tries */
  update(id: string, change: DownloadChange): Promise<DownloadRecord>
}

const DOWNLOADS = 'download'
const STRETCHES = 'download-stretch'
const BEGUN = 'download-begun'
const TORRENT = 'torrent/'
const CHUNK_BYTES = 256 * 1024

export function createDownloadRecords(store: Store): DownloadRecords {
  async function find(id: string) {
    const item = await store.get(tableOf(id), id)
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
      if (await store.write([{ pk: tableOf(id), sk: id, expect: item.version, body }])) return after
    }
    throw new Problem('conflict', 'The download changes too fast.')
  }

  async function spread(id: string, stretches: readonly number[]): Promise<void> {
    const { report, ...record } = decodeRecord<DownloadRecord>(await find(id))
    // The download's own record comes last: until it tells of them, no worker knows its stretches.
    await putAll(
      store,
      stretches.map((_, stretch) => {
        const its: DownloadRecord = {
          ...record,
          id: stretchId(id, stretch),
          state: 'queued',
          report,
          stretches,
          stretch,
        }
        return { pk: STRETCHES, sk: its.id, body: encodeRecord(its) }
      }),
    )
    await update(id, (latest) => ({ ...latest, stretches }))
  }

  async function stretchesOf(record: DownloadRecord): Promise<readonly DownloadRecord[]> {
    const items = await Promise.all(stretchIds(record).map((id) => store.get(STRETCHES, id)))
    return items.filter((item) => item !== undefined).map((item) => decodeRecord<DownloadRecord>(item))
  }

  async function forgetParts(id: string): Promise<void> {
    const stretches = stretchIds(decodeRecord<DownloadRecord>(await find(id)))
    for (const one of [id, ...stretches]) await removeAll(store, downloadKey(one))
    await putAll(
      store,
      stretches.map((sk) => ({ pk: STRETCHES, sk })),
    )
  }

  return {
    list: async () => (await readAll(store, DOWNLOADS, (item) => decodeRecord<DownloadRecord>(item))).toReversed(),
    get: async (id) => decodeRecord<DownloadRecord>(await find(id)),
    begun: async (of) => (await store.get(BEGUN, begunKey(of)))?.version ?? 0,
    async add(record, torrent, begun) {
      // The record comes last: a download without its torrent is none.
      await putAll(store, chunksOf(downloadKey(record.id), torrent))
      const isAdded = await store.write([
        { pk: DOWNLOADS, sk: record.id, expect: 0, body: encodeRecord(record) },
        { pk: BEGUN, sk: begunKey(record), expect: begun, body: encodeRecord({}) },
      ])
      if (!isAdded) await removeAll(store, downloadKey(record.id))
      return isAdded
    },
    async torrent(id) {
      return concat(...(await readAll(store, downloadKey(downloadOf(id)), ({ body }) => body, { prefix: TORRENT })))
    },
    spread,
    stretchesOf,
    forgetParts,
    update,
  }
}

const stretchIds = ({ id, stretches = [], stretch }: DownloadRecord): string[] =>
  stretch === undefined ? stretches.map((_, number) => stretchId(id, number)) : []

const begunKey = ({ infoHash, link }: Pick<DownloadRecord, 'infoHash' | 'link'>): string => `${infoHash} ${link}`

const tableOf = (id: string): string => (isStretch(id) ? STRETCHES : DOWNLOADS)

function* chunksOf(pk: string, torrent: Bytes): Generator<Put> {
  for (let at = 0, chunk = 0; at < torrent.length; at += CHUNK_BYTES, chunk++) {
    yield { pk, sk: TORRENT + String(chunk).padStart(4, '0'), body: torrent.slice(at, at + CHUNK_BYTES) }
  }
}
