/**
 * Shares in the store. A head names everything else, and is written last and removed first: what no head names is
 * written again by the next try, or swept.
 *
 * `share/heads`: info hash -> head. `share/v1`: v1 info hash -> info hash. `share/paths`: hash of link and path -> info
 * hash. `share/torrents/<info hash>`, `share/files/<source>`: in parts. `share/hashing`: sources whose hashing was begun.
 * `share/ended`: info hash -> until when others may believe that it is still shared.
 */
import { sha256 } from '#primitives'
import { concat, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { decideAndWrite, putAll, readAll, removeAll, type Put } from '../../protocol/items.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { FileRef } from '../storage/storage.ts'

export interface ShareHead {
  readonly infoHash: string
  readonly infoHashV1: string
  readonly name: string
  readonly link: string
  readonly path: string
  /** Decimal. */
  readonly price: string
  /** The price before it was raised, while somebody may still go by it. */
  readonly held?: HeldPrice
  readonly public: boolean
  /** Whose members alone may have it, by its name here. */
  readonly circle?: string
  /** Of link, path and every file's version: equal for what need not be hashed again. */
  readonly source: string
  /** The repository has the torrent. */
  readonly uploaded: boolean
  /** The repository has the block hashes too. */
  readonly leavesUploaded: boolean
  readonly announced?: Announced
  /** Its torrent is larger than the repository takes: it is not sent there again. */
  readonly refused?: Refusal
  /** Why it is not served any more, a sentence. */
  readonly withdrawn?: string
  /** The series that it is an edition of. */
  readonly edition?: ShareEdition
}

export interface Refusal {
  /** The repository's URL. */
  readonly by: string
  /** A sentence. */
  readonly reason: string
}

export interface HeldPrice {
  /** Decimal. */
  readonly price: string
  /** ms */
  readonly until: number
}

export interface ShareEdition {
  readonly name: string
  /** What the path held before it was in a series, v2. */
  readonly before?: string
  /** It is signed, and the repository has it or is told next. */
  readonly isSigned: boolean
}

export interface Announced {
  readonly issued: number
  readonly expires: number
  /** What it said: another price or address is announced at once. */
  readonly terms: string
}

export interface SharedFile {
  readonly ref: FileRef
  readonly version: string
}

export interface StoredShare {
  readonly head: ShareHead
  readonly torrent: Bytes
  /** In the torrent's order. */
  readonly files: readonly SharedFile[]
}

export interface EndedShare extends Announced {
  readonly infoHash: string
}

export interface HeadChange {
  readonly change: Change
  readonly head: ShareHead
}

export interface ShareRecords {
  head(infoHash: string): Promise<ShareHead | undefined>
  heads(): Promise<readonly ShareHead[]>
  headAt(link: string, path: string): Promise<ShareHead | undefined>
  infoHashOf(infoHashV1: string): Promise<string | undefined>
  /** @throws Problem `not-found` */
  load(infoHash: string): Promise<StoredShare>
  torrent(infoHash: string): Promise<Bytes>
  save(share: StoredShare): Promise<void>
  /** Changes a head as it is by then. @returns undefined when it is gone */
  change(infoHash: string, change: (head: ShareHead) => ShareHead): Promise<ShareHead | undefined>
  /** The change itself, for a write with others. @returns undefined when it is gone */
  changing(infoHash: string, change: (head: ShareHead) => ShareHead): Promise<HeadChange | undefined>
  remove(head: ShareHead): Promise<void>
  beginHashing(source: string, nowMs: number): Promise<void>
  /** Sources that were begun before then, and neither saved nor swept. */
  hashing(beforeMs: number): Promise<readonly string[]>
  /** Removes what lies under a source that no head names. */
  sweep(source: string): Promise<void>
  ended(): Promise<readonly EndedShare[]>
  /** Of a share that was removed and is not taken back yet: the next announcement must be newer. */
  announcedBefore(infoHash: string): Promise<Announced | undefined>
  forgetEnded(infoHash: string): Promise<void>
}

const HEADS = 'share/heads'
const V1 = 'share/v1'
const PATHS = 'share/paths'
const HASHING = 'share/hashing'
const ENDED = 'share/ended'
const torrentKey = (infoHash: string): string => `share/torrents/${infoHash}`
const filesKey = (source: string): string => `share/files/${source}`
const pathKey = (link: string, path: string): string => toHex(sha256(utf8(`${link}\n${path}`)))

/** Well below `limits.itemBytes`. */
const PART_BYTES = 256 * 1024

export function createShareRecords(store: Store): ShareRecords {
  async function head(infoHash: string): Promise<ShareHead | undefined> {
    const item = await store.get(HEADS, infoHash)
    return item && decodeRecord<ShareHead>(item)
  }

  async function read(pk: string, sk: string): Promise<string | undefined> {
    const item = await store.get(pk, sk)
    return item && decodeRecord<string>(item)
  }

  const torrent = async (infoHash: string): Promise<Bytes> =>
    concat(...(await readAll(store, torrentKey(infoHash), ({ body }) => body)))

  async function load(infoHash: string): Promise<StoredShare> {
    const found = await head(infoHash)
    if (!found) throw new Problem('not-found', 'There is no such share.')
    const files = await readAll(store, filesKey(found.source), (item) => decodeRecord<SharedFile[]>(item))
    return { head: found, torrent: await torrent(infoHash), files: files.flat() }
  }

  async function save(share: StoredShare): Promise<void> {
    const { infoHash, infoHashV1, source, link, path } = share.head
    await putAll(store, torrentParts(infoHash, share.torrent))
    await putAll(store, fileParts(source, share.files))
    await putAll(store, [
      { pk: V1, sk: infoHashV1, body: encodeRecord(infoHash) },
      { pk: PATHS, sk: pathKey(link, path), body: encodeRecord(infoHash) },
      { pk: HEADS, sk: infoHash, body: encodeRecord(share.head) },
      { pk: HASHING, sk: source },
      { pk: ENDED, sk: infoHash },
    ])
  }

  async function changing(infoHash: string, alter: (head: ShareHead) => ShareHead): Promise<HeadChange | undefined> {
    const item = await store.get(HEADS, infoHash)
    if (!item) return undefined
    const altered = alter(decodeRecord<ShareHead>(item))
    const change = { pk: HEADS, sk: infoHash, expect: item.version, body: encodeRecord(altered) }
    return { change, head: altered }
  }

  const change = (infoHash: string, alter: (head: ShareHead) => ShareHead): Promise<ShareHead | undefined> =>
    decideAndWrite(store, async () => {
      const changed = await changing(infoHash, alter)
      return { changes: changed ? [changed.change] : [], result: changed?.head }
    })

  async function remove({ infoHash, infoHashV1, source, announced }: ShareHead): Promise<void> {
    const ended = announced && { pk: ENDED, sk: infoHash, body: encodeRecord({ infoHash, ...announced }) }
    await putAll(store, [{ pk: HEADS, sk: infoHash }, { pk: V1, sk: infoHashV1 }, ...(ended ? [ended] : [])])
    await removeAll(store, torrentKey(infoHash))
    await removeAll(store, filesKey(source))
  }

  return {
    head,
    heads: () => readAll(store, HEADS, (item) => decodeRecord<ShareHead>(item)),
    async headAt(link, path) {
      const infoHash = await read(PATHS, pathKey(link, path))
      const found = infoHash === undefined ? undefined : await head(infoHash)
      return found?.link === link && found.path === path ? found : undefined
    },
    infoHashOf: (infoHashV1) => read(V1, infoHashV1),
    load,
    torrent,
    save,
    change,
    changing,
    remove,
    ...hashings(store),
    ...endedShares(store),
  }
}

function hashings(store: Store): Pick<ShareRecords, 'beginHashing' | 'hashing' | 'sweep'> {
  return {
    beginHashing: (source, nowMs) => putAll(store, [{ pk: HASHING, sk: source, body: encodeRecord(nowMs) }]),
    async hashing(beforeMs) {
      const begun = await readAll(store, HASHING, (item) => ({ source: item.sk, atMs: decodeRecord<number>(item) }))
      return begun.filter(({ atMs }) => atMs < beforeMs).map(({ source }) => source)
    },
    async sweep(source) {
      await removeAll(store, filesKey(source))
      await putAll(store, [{ pk: HASHING, sk: source }])
    },
  }
}

function endedShares(store: Store): Pick<ShareRecords, 'announcedBefore' | 'ended' | 'forgetEnded'> {
  return {
    async announcedBefore(infoHash) {
      const item = await store.get(ENDED, infoHash)
      return item && { ...decodeRecord<Announced>(item), terms: '' }
    },
    ended: () => readAll(store, ENDED, (item) => decodeRecord<EndedShare>(item)),
    forgetEnded: (infoHash) => putAll(store, [{ pk: ENDED, sk: infoHash }]),
  }
}

function* torrentParts(infoHash: string, torrent: Bytes): Generator<Put> {
  for (let at = 0; at < torrent.length; at += PART_BYTES) {
    yield { pk: torrentKey(infoHash), sk: partKey(at / PART_BYTES), body: torrent.slice(at, at + PART_BYTES) }
  }
}

function* fileParts(source: string, files: readonly SharedFile[]): Generator<Put> {
  let part: SharedFile[] = []
  let bytes = 0
  let count = 0
  const close = (): Put => ({ pk: filesKey(source), sk: partKey(count++), body: encodeRecord(part) })
  for (const file of files) {
    const more = encodeRecord(file).length
    if (bytes + more > PART_BYTES) {
      yield close()
      part = []
      bytes = 0
    }
    part.push(file)
    bytes += more
  }
  if (part.length > 0) yield close()
}

const partKey = (index: number): string => String(index).padStart(8, '0')
