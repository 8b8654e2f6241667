/** What contents are: their torrents, files and piece hashes, as far as the info hash vouches for them. */
import { BLOCK_BYTES } from '../protocol/block-tree.ts'
import { fromHex, toHex, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { putAll, removeAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { parseTorrent, piecesOf, type Metainfo } from '../protocol/metainfo.ts'
import { Problem } from '../protocol/problem.ts'
import { itemsOf, readFiles, readPieceHashes, readTorrent, torrentOf } from './content-items.ts'
import type { RepositoryContext } from './context.ts'
import { contentKey, contentV1Key, dueContent, dueKey, EMPTY, paddedTime } from './keys.ts'

export interface Content {
  /** v2, hex. */
  readonly infoHash: string
  readonly infoHashV1: string
  readonly name: string
  readonly folder: boolean
  readonly bytes: number
  readonly pieceLength: number
  readonly pieces: number
  /** How many. */
  readonly files: number
  readonly torrentBytes: number
  /** Pieces in all for each power of two from 16 KiB to 64 MiB. */
  readonly piecesByLevel: readonly number[]
  /** Names the items of one upload. */
  readonly run: string
}

export interface ContentFile {
  readonly path: readonly string[]
  readonly length: number
  /** An empty file has none. */
  readonly piecesRoot?: Bytes
  readonly firstPiece: number
}

export interface Contents {
  /**
   * Keeps a torrent. One that is kept already changes nothing.
   * @throws Problem `too-large`, `bad-torrent` (also when it is not the one of that info hash)
   */
  put(infoHash: string, torrent: Bytes): Promise<{ readonly content: Content; readonly changed: boolean }>
  /** @param infoHash v2 or v1, hex. @throws Problem `not-found` */
  require(infoHash: string): Promise<Content>
  find(infoHash: string): Promise<Content | undefined>
  /** Up to `count` files from number `first` on. */
  files(content: Content, first: number, count: number): Promise<readonly ContentFile[]>
  /** @throws Problem `not-found` when it is removed at this moment */
  torrent(content: Content): Promise<Bytes>
  /** Packed hashes of pieces of the torrent's own length, by their index over all files. */
  pieceHashes(content: Content, from: number, count: number): Promise<Bytes>
  /** From then on it is not known here, unless it turns out to be wanted once it is gone. @returns whether it is gone */
  forget(content: Content, isWanted: () => Promise<boolean>): Promise<boolean>
  /** Removes the items of one upload, once no head names them. */
  removeRun(infoHash: string, run: string): Promise<void>
}

const HEAD = 'head'
const V2 = 'v2'
const V1_HEX = 40
/** 16 KiB to 64 MiB. */
const LEVELS = 13

const headShape = {
  bytes: field.integer(),
  files: field.integer(),
  folder: field.integer({ max: 1 }),
  infoHashV1: field.text(),
  name: field.text(),
  pieceLength: field.integer(),
  pieces: field.integer(),
  piecesByLevel: field.list(field.integer(), { min: LEVELS, max: LEVELS }),
  run: field.text(),
  torrentBytes: field.integer(),
}

export function createContents({ store, environment }: RepositoryContext): Contents {
  async function find(infoHash: string): Promise<Content | undefined> {
    const v2 = infoHash.length === V1_HEX ? await v2Of(infoHash) : infoHash
    const item = v2 === undefined ? undefined : await store.get(contentKey(v2), HEAD)
    if (v2 === undefined || !item) return undefined
    const { folder, ...head } = fields(decode(item.body), headShape)
    return { ...head, folder: folder === 1, infoHash: v2 }
  }

  async function v2Of(infoHashV1: string): Promise<string | undefined> {
    const item = await store.get(contentV1Key(infoHashV1), V2)
    return item && toHex(item.body)
  }

  async function put(infoHash: string, uploaded: Bytes): Promise<{ content: Content; changed: boolean }> {
    const meta = parseTorrent(uploaded)
    if (toHex(meta.infoHash) !== infoHash) throw new Problem('bad-torrent', 'The torrent has another info hash.')
    const kept = await find(infoHash)
    if (kept) return { content: kept, changed: false }
    const torrent = torrentOf(meta)
    const nowMs = environment.clock.now()
    const content = contentOf(meta, torrent, paddedTime(nowMs))
    // First of all, so that what is killed in between is swept as well.
    const note = dueContent(nowMs + limits.contentMs, infoHash, content.run)
    await store.write([{ pk: dueKey(infoHash), sk: note, expect: 'any', body: EMPTY }])
    await putAll(store, itemsOf(content, meta, torrent))
    return { content, changed: await show(content) }
  }

  const show = (content: Content): Promise<boolean> =>
    store.write([
      { pk: contentKey(content.infoHash), sk: HEAD, expect: 0, body: encodeHead(content) },
      { pk: contentV1Key(content.infoHashV1), sk: V2, expect: 'any', body: fromHex(content.infoHash) },
    ])

  return {
    put,
    find,
    async require(infoHash) {
      const content = await find(infoHash)
      if (!content) throw new Problem('not-found', 'The content is not known here.', { missing: 'content' })
      return content
    },
    files: (content, first, count) => readFiles(store, content, first, count),
    torrent: (content) => readTorrent(store, content),
    pieceHashes: (content, from, count) => readPieceHashes(store, content, from, count),
    async forget(content, isWanted) {
      await store.write([
        { pk: contentKey(content.infoHash), sk: HEAD, expect: 'any' },
        { pk: contentV1Key(content.infoHashV1), sk: V2, expect: 'any' },
      ])
      if (!(await isWanted())) return true
      await show(content)
      return false
    },
    async removeRun(infoHash, run) {
      for (const kind of ['torrent', 'files', 'hashes', 'leaves']) {
        await removeAll(store, contentKey(infoHash), `${kind}/${run}/`)
      }
    },
  }
}

const contentOf = (meta: Metainfo, torrent: Bytes, run: string): Content => ({
  infoHash: toHex(meta.infoHash),
  infoHashV1: toHex(meta.infoHashV1),
  name: meta.name,
  folder: meta.folder,
  bytes: meta.bytes,
  pieceLength: meta.pieceLength,
  pieces: meta.pieces,
  files: meta.files.length,
  torrentBytes: torrent.length,
  piecesByLevel: Array.from({ length: LEVELS }, (_, level) =>
    meta.files.reduce((sum, { length }) => sum + piecesOf(length, BLOCK_BYTES * 2 ** level), 0),
  ),
  run,
})

const encodeHead = ({ infoHash: _, folder, ...head }: Content): Bytes => encode({ ...head, folder: folder ? 1 : 0 })
