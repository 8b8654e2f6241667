/**
 * What contents are: their torrents, files and piece hashes, cut into items so that any part of a large torrent is read
 * alone. Only what the info hash vouches for is kept: the info dictionary and the piece layers.
 */
import { BLOCK_BYTES, HASH_BYTES } from '../protocol/block-tree.ts'
import { concat, fromHex, toHex, utf8, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import { parseTorrent, piecesOf, type MetaFile, type Metainfo } from '../protocol/metainfo.ts'
import { Problem } from '../protocol/problem.ts'
import type { RepositoryContext } from './context.ts'
import { contentKey, contentV1Key, dueContent, dueKey, EMPTY, padded, paddedTime } from './keys.ts'
import { removeAll, writeAll } from './write.ts'

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
  torrent(content: Content): Promise<Bytes>
  /** Packed hashes of pieces of the torrent's own length, by their index over all files. */
  pieceHashes(content: Content, from: number, count: number): Promise<Bytes>
  /** From then on it is not known here. */
  forget(content: Content): Promise<void>
  /** Removes the items of one upload, once no head names them. */
  removeRun(infoHash: string, run: string): Promise<void>
}

const HEAD = 'head'
const V2 = 'v2'
const CHUNK_BYTES = 360 * 1024
const HASHES_PER_ITEM = 8192
const FILES_PER_ITEM = 256
/** Of a file's item, its path aside. */
const FILE_BYTES = 200
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
const fileField = field.dict({
  firstPiece: field.integer(),
  length: field.integer(),
  path: field.list(field.text()),
  piecesRoot: field.optional(field.bytes(HASH_BYTES)),
})

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
    const pk = contentKey(infoHash)
    await writeAll(store, itemsOf(content, meta, torrent))
    const changed = await store.write([
      { pk, sk: HEAD, expect: 0, body: encodeHead(content) },
      { pk: contentV1Key(content.infoHashV1), sk: V2, expect: 'any', body: fromHex(infoHash) },
      {
        pk: dueKey(infoHash),
        sk: dueContent(nowMs + limits.contentMs, infoHash, content.run),
        expect: 'any',
        body: EMPTY,
      },
    ])
    return { content, changed }
  }

  async function files({ infoHash, run }: Content, first: number, count: number): Promise<ContentFile[]> {
    const [pk, prefix] = [contentKey(infoHash), `files/${run}/`]
    const [holder] = await store.list(pk, { prefix, after: prefix + padded(first + 1), reverse: true, limit: 1 })
    if (!holder) return []
    const start = Number(holder.sk.slice(prefix.length))
    const found = readFiles(holder.body).slice(first - start)
    for (let after = holder.sk; found.length < count;) {
      const [next] = await store.list(pk, { prefix, after, limit: 1 })
      if (!next) break
      found.push(...readFiles(next.body))
      after = next.sk
    }
    return found.slice(0, count)
  }

  async function pieceHashes({ infoHash, run }: Content, from: number, count: number): Promise<Bytes> {
    const first = Math.floor(from / HASHES_PER_ITEM)
    const last = Math.floor((from + count - 1) / HASHES_PER_ITEM)
    const hashes = await readItems(contentKey(infoHash), `hashes/${run}/`, first, last - first + 1)
    const start = (from - first * HASHES_PER_ITEM) * HASH_BYTES
    return hashes.slice(start, start + count * HASH_BYTES)
  }

  async function readItems(pk: string, prefix: string, first: number, count: number): Promise<Bytes> {
    const after = first === 0 ? {} : { after: prefix + padded(first - 1) }
    return concat(...(await store.list(pk, { prefix, ...after, limit: count })).map(({ body }) => body))
  }

  return {
    put,
    find,
    files,
    pieceHashes,
    async forget({ infoHash, infoHashV1 }) {
      await store.write([
        { pk: contentKey(infoHash), sk: HEAD, expect: 'any' },
        { pk: contentV1Key(infoHashV1), sk: V2, expect: 'any' },
      ])
    },
    async removeRun(infoHash, run) {
      for (const kind of ['torrent', 'files', 'hashes', 'leaves']) {
        await removeAll(store, contentKey(infoHash), `${kind}/${run}/`)
      }
    },
    async require(infoHash) {
      const content = await find(infoHash)
      if (!content) throw new Problem('not-found', 'The content is not known here.', { missing: 'content' })
      return content
    },
    async torrent({ infoHash, run, torrentBytes }) {
      const torrent = await readItems(contentKey(infoHash), `torrent/${run}/`, 0, Math.ceil(torrentBytes / CHUNK_BYTES))
      // Fewer: the content was removed in between.
      if (torrent.length !== torrentBytes) throw new Problem('not-found', 'The content is no longer kept here.')
      return torrent
    },
  }
}

/** {info, piece layers} */
function torrentOf({ info, files, pieceLength }: Metainfo): Bytes {
  const layers: Record<string, Bytes> = {}
  for (const { length, piecesRoot, pieceHashes } of files) {
    if (piecesRoot && length > pieceLength) layers[String.fromCharCode(...piecesRoot)] = pieceHashes
  }
  return concat(utf8('d4:info'), info, utf8('12:piece layers'), encode(layers, { keys: 'binary' }), utf8('e'))
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

function* itemsOf({ infoHash, run }: Content, meta: Metainfo, torrent: Bytes) {
  const pk = contentKey(infoHash)
  const chunk = (kind: string, number: number, body: Bytes) => ({ pk, sk: `${kind}/${run}/${padded(number)}`, body })
  for (let at = 0; at < torrent.length; at += CHUNK_BYTES) {
    yield chunk('torrent', at / CHUNK_BYTES, torrent.slice(at, at + CHUNK_BYTES))
  }
  const hashes = new Uint8Array(meta.pieces * HASH_BYTES)
  for (const { firstPiece, pieceHashes } of meta.files) hashes.set(pieceHashes, firstPiece * HASH_BYTES)
  const step = HASHES_PER_ITEM * HASH_BYTES
  for (let at = 0; at < hashes.length; at += step) yield chunk('hashes', at / step, hashes.slice(at, at + step))
  for (const { first, body } of fileItems(meta.files)) yield chunk('files', first, body)
}

/** As many files an item as fit: each item is named by the first. */
function* fileItems(files: readonly MetaFile[]) {
  let [first, bytes] = [0, 0]
  for (const [i, file] of files.entries()) {
    const size = file.path.reduce((sum, name) => sum + utf8(name).length + 5, FILE_BYTES)
    if (i - first === FILES_PER_ITEM || bytes + size > CHUNK_BYTES) {
      yield { first, body: encodeFiles(files.slice(first, i)) }
      ;[first, bytes] = [i, 0]
    }
    bytes += size
  }
  yield { first, body: encodeFiles(files.slice(first)) }
}

const encodeFiles = (files: readonly MetaFile[]): Bytes =>
  encode(files.map(({ firstPiece, length, path, piecesRoot }) => ({ firstPiece, length, path, piecesRoot })))

const readFiles = (body: Bytes): ContentFile[] => [
  ...fields({ files: decode(body) }, { files: field.list(fileField) }).files,
]
