/** How a content is cut into items, so that any part of a large torrent is read alone. */
import { HASH_BYTES } from '../protocol/block-tree.ts'
import { concat, utf8, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import type { MetaFile, Metainfo } from '../protocol/metainfo.ts'
import { Problem } from '../protocol/problem.ts'
import type { Store } from '../protocol/store.ts'
import type { Content, ContentFile } from './contents.ts'
import { contentKey, padded } from './keys.ts'

const CHUNK_BYTES = 360 * 1024
const HASHES_PER_ITEM = 8192
const FILES_PER_ITEM = 256
/** Of a file's entry, its path aside. */
const FILE_BYTES = 200

const fileField = field.dict({
  firstPiece: field.integer(),
  length: field.integer(),
  path: field.list(field.text()),
  piecesRoot: field.optional(field.bytes(HASH_BYTES)),
})

/** What the info hash vouches for, and nothing else: {info, piece layers}. */
export function torrentOf({ info, files, pieceLength }: Metainfo): Bytes {
  const layers: Record<string, Bytes> = {}
  for (const { length, piecesRoot, pieceHashes } of files) {
    if (piecesRoot && length > pieceLength) layers[String.fromCharCode(...piecesRoot)] = pieceHashes
  }
  return concat(utf8('d4:info'), info, utf8('12:piece layers'), encode(layers, { keys: 'binary' }), utf8('e'))
}

export function* itemsOf({ infoHash, run }: Content, meta: Metainfo, torrent: Bytes) {
  const pk = contentKey(infoHash)
  const item = (kind: string, number: number, body: Bytes) => ({ pk, sk: `${kind}/${run}/${padded(number)}`, body })
  for (let at = 0; at < torrent.length; at += CHUNK_BYTES) {
    yield item('torrent', at / CHUNK_BYTES, torrent.slice(at, at + CHUNK_BYTES))
  }
  const hashes = new Uint8Array(meta.pieces * HASH_BYTES)
  for (const { firstPiece, pieceHashes } of meta.files) hashes.set(pieceHashes, firstPiece * HASH_BYTES)
  const step = HASHES_PER_ITEM * HASH_BYTES
  for (let at = 0; at < hashes.length; at += step) yield item('hashes', at / step, hashes.slice(at, at + step))
  for (const { first, body } of fileItems(meta.files)) yield item('files', first, body)
}

/** As many files an item as fit: each item is named by its first. */
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

const decodeFiles = (body: Bytes): readonly ContentFile[] =>
  fields({ files: decode(body) }, { files: field.list(fileField) }).files

export async function readFiles(
  store: Store,
  { infoHash, run }: Content,
  first: number,
  count: number,
): Promise<ContentFile[]> {
  const [pk, prefix] = [contentKey(infoHash), `files/${run}/`]
  const [holder] = await store.list(pk, { prefix, after: prefix + padded(first + 1), reverse: true, limit: 1 })
  if (!holder) return []
  const start = Number(holder.sk.slice(prefix.length))
  const found = decodeFiles(holder.body).slice(first - start)
  for (let after = holder.sk; found.length < count;) {
    const [next] = await store.list(pk, { prefix, after, limit: 1 })
    if (!next) break
    found.push(...decodeFiles(next.body))
    after = next.sk
  }
  return found.slice(0, count)
}

export async function readPieceHashes(store: Store, content: Content, from: number, count: number): Promise<Bytes> {
  const first = Math.floor(from / HASHES_PER_ITEM)
  const last = Math.floor((from + count - 1) / HASHES_PER_ITEM)
  const hashes = await readItems(store, content, 'hashes', first, last - first + 1)
  const start = (from - first * HASHES_PER_ITEM) * HASH_BYTES
  return hashes.slice(start, start + count * HASH_BYTES)
}

export async function readTorrent(store: Store, content: Content): Promise<Bytes> {
  const torrent = await readItems(store, content, 'torrent', 0, Math.ceil(content.torrentBytes / CHUNK_BYTES))
  if (torrent.length === content.torrentBytes) return torrent
  throw new Problem('not-found', 'The content was removed while it was read.', { missing: 'content' })
}

async function readItems(
  store: Store,
  { infoHash, run }: Content,
  kind: string,
  first: number,
  count: number,
): Promise<Bytes> {
  const prefix = `${kind}/${run}/`
  const after = first === 0 ? {} : { after: prefix + padded(first - 1) }
  const items = await store.list(contentKey(infoHash), { prefix, ...after, limit: count })
  return concat(...items.map(({ body }) => body))
}
