/** Contents for bazaars, in small pieces. */
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { filePath, locatePiece, type MetaFile, type Metainfo } from '../../protocol/metainfo.ts'
import { fileHasher } from '../../protocol/piece.ts'

export const PIECE_BYTES = 16 * 1024

export interface Content {
  readonly meta: Metainfo
  readonly torrent: Bytes
  /** v2, hex. */
  readonly infoHash: string
  /** By path. */
  readonly files: ReadonlyMap<string, Bytes>
}

/** Bytes that differ from piece to piece. */
export function bytesOf(length: number, salt = 0): Bytes {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8) * 7 + (i >> 14) * 13 + salt
  return bytes
}

/** @param files one called `name` alone, or those of a folder */
export function contentOf(name: string, files: Readonly<Record<string, Bytes>>, folder = false): Content {
  const entries = Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const hashed = entries.map(([path, bytes], i) => {
    const hasher = fileHasher({ length: bytes.length, pieceLength: PIECE_BYTES, padded: i < entries.length - 1 })
    hasher.update(bytes)
    return { path: path.split('/'), hashes: hasher.digest() }
  })
  const { torrent, meta } = makeTorrent({ name, folder, pieceLength: PIECE_BYTES, files: hashed })
  const named = entries.map(([path, bytes]) => [folder ? `${name}/${path}` : name, bytes] as const)
  return { torrent, meta, infoHash: toHex(meta.infoHash), files: new Map(named) }
}

/** One file, its last piece not quite full. */
export const filmOf = (pieces: number): Content =>
  contentOf('film.bin', { 'film.bin': bytesOf(pieces * PIECE_BYTES - 100, pieces) })

export function pieceOf({ meta, files }: Content, index: number): Bytes {
  const { file, offset, length } = locatePiece(meta, index)
  const path = filePath(meta, meta.files[file] as MetaFile).join('/')
  return (files.get(path) as Bytes).slice(offset, offset + length)
}
