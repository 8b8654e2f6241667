/**
 * Makes hybrid torrents. They depend on nothing but names, content and piece length, so that the same content has the same info hash
 * everywhere.
 */
import { HASH_BYTES } from './block-tree.ts'
import { concat, utf8, type Bytes } from './bytes.ts'
import { encode, type Encodable } from './encoding.ts'
import { checkPaths, comparePaths, type FilePath } from './file-path.ts'
import { parseTorrent, TORRENT_DEPTH, type Metainfo } from './metainfo.ts'
import type { FileHashes } from './piece.ts'

export interface TorrentFile {
  /** As in `MetaFile`. */
  readonly path: FilePath
  /** Of a hasher that was told `padded` for every file but the last in `comparePaths` order. */
  readonly hashes: FileHashes
}

export interface TorrentContent {
  readonly name: string
  readonly folder: boolean
  readonly pieceLength: number
  /** In any order; at least one. */
  readonly files: readonly TorrentFile[]
}

/** @throws Problem `bad-torrent` for names or sizes that `parseTorrent` would refuse */
export function makeTorrent(content: TorrentContent): { torrent: Bytes; meta: Metainfo } {
  const files = content.files
    .map(({ path, hashes }) => ({ path: path.map((name) => name.normalize('NFC')), hashes }))
    .toSorted((a, b) => comparePaths(a.path, b.path))
  checkPaths(
    files.map(({ path }) => path),
    'bad-torrent',
  )
  const info = encode(
    {
      'file tree': fileTree(files),
      ...(content.folder ? { files: filesV1(files, content.pieceLength) } : { length: files[0]?.hashes.length }),
      'meta version': 2,
      name: content.name.normalize('NFC'),
      'piece length': content.pieceLength,
      pieces: piecesV1(files),
    },
    { depth: TORRENT_DEPTH },
  )
  const layers = encode(pieceLayers(files), { keys: 'binary' })
  const torrent = concat(utf8('d4:info'), info, utf8('12:piece layers'), layers, utf8('e'))
  return { torrent, meta: parseTorrent(torrent) }
}

interface Tree {
  [name: string]: Tree | Encodable
}

/** Without a prototype, a file called `__proto__` is one like any other. */
const emptyTree = (): Tree => Object.create(null) as Tree

function fileTree(files: readonly TorrentFile[]): Encodable {
  const root = emptyTree()
  for (const { path, hashes } of files) {
    let folder = root
    for (const name of path) folder = (folder[name] ??= emptyTree()) as Tree
    folder[''] = { length: hashes.length, ...(hashes.piecesRoot && { 'pieces root': hashes.piecesRoot }) }
  }
  return root
}

/** Each file begins at a piece: what is missing before the next one is a padding file (BEP 47). */
function filesV1(files: readonly TorrentFile[], pieceLength: number): Encodable {
  return files.flatMap(({ path, hashes: { length } }, i): Encodable[] => {
    const padding = (pieceLength - (length % pieceLength)) % pieceLength
    const pad = { attr: 'p', length: padding, path: ['.pad', String(padding)] }
    return i < files.length - 1 && padding > 0 ? [{ length, path }, pad] : [{ length, path }]
  })
}

function piecesV1(files: readonly TorrentFile[]): Bytes {
  const pieces = new Uint8Array(files.reduce((bytes, { hashes }) => bytes + hashes.sha1.length, 0))
  let at = 0
  for (const { hashes } of files) {
    pieces.set(hashes.sha1, at)
    at += hashes.sha1.length
  }
  return pieces
}

/** Of files of more than one piece. */
function pieceLayers(files: readonly TorrentFile[]): Encodable {
  const layers: Record<string, Bytes> = {}
  for (const { hashes } of files) {
    if (hashes.pieceHashes.length > HASH_BYTES)
      layers[String.fromCharCode(...(hashes.piecesRoot as Bytes))] = hashes.pieceHashes
  }
  return layers
}
