/** Torrents for tests: of content made of patterns, and with anything in them altered. */
import { encode, type Encodable } from '../../protocol/encoding.ts'
import { comparePaths, type FilePath } from '../../protocol/file-path.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { pattern } from '../pattern.ts'

export interface PatternFile {
  readonly path: FilePath
  readonly length: number
  readonly seed: number
}

export interface PatternContent {
  readonly name: string
  readonly folder: boolean
  readonly pieceLength: number
  readonly files: readonly PatternFile[]
}

export function torrentOf({ name, folder, pieceLength, files }: PatternContent): ReturnType<typeof makeTorrent> {
  const sorted = files.toSorted((a, b) => comparePaths(a.path, b.path))
  const hashed = sorted.map(({ path, length, seed }, i) => {
    const hasher = fileHasher({ length, pieceLength, padded: i < sorted.length - 1 })
    hasher.update(pattern(length, seed))
    return { path, hashes: hasher.digest() }
  })
  return makeTorrent({ name, folder, pieceLength, files: hashed })
}

/** A key as torrents are written here: a character a byte. */
export const key = (text: string): string => String.fromCharCode(...utf8(text))

/** Deep enough for what is refused as too deep. */
export const write = (torrent: Encodable): Bytes => encode(torrent, { keys: 'binary', depth: 100 })

/** The members of a small torrent that is well-formed, to alter. */
export interface Parts {
  info: Record<string, Encodable | undefined>
  layers: Record<string, Encodable>
}

const ROOT = new Uint8Array(32).fill(7)
const SHA1 = new Uint8Array(20).fill(8)

/** A folder `f` with the files `a` (5 bytes) and `b` (6), in pieces of 16 KiB. */
export function folderParts(): Parts {
  const leaf = (length: number): Encodable => ({ '': { length, 'pieces root': ROOT } })
  return {
    info: {
      'file tree': { a: leaf(5), b: leaf(6) },
      files: [fileV1(['a'], 5), padV1(16_379), fileV1(['b'], 6)],
      'meta version': 2,
      name: 'f',
      'piece length': 16_384,
      pieces: new Uint8Array([...SHA1, ...SHA1]),
    },
    layers: {},
  }
}

export const fileV1 = (path: readonly string[], length: number): Encodable => ({ length, path })
export const padV1 = (length: number): Encodable => ({ attr: 'p', length, path: ['.pad', String(length)] })

export const writeParts = ({ info, layers }: Parts): Bytes => write({ info, 'piece layers': layers })

/** The folder, but of these files of one byte each. */
export function partsOfPaths(paths: readonly FilePath[]): Parts {
  const { info, layers } = folderParts()
  const sorted = paths.toSorted((a, b) => comparePaths(a, b))
  const files = sorted.flatMap((path, i) => [fileV1(path, 1), ...(i < sorted.length - 1 ? [padV1(16_383)] : [])])
  const pieces = new Uint8Array(sorted.length * 20)
  return { info: { ...info, 'file tree': treeOf(sorted), files, pieces }, layers }
}

function treeOf(paths: readonly FilePath[]): Encodable {
  const root: Record<string, unknown> = {}
  for (const path of paths) {
    let folder = root
    for (const name of path) folder = (folder[key(name)] ??= {}) as Record<string, unknown>
    folder[''] = { length: 1, 'pieces root': ROOT }
  }
  return root as Encodable
}
