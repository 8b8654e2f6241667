/** What there is to trade: files and folders of all awkward sizes, and which bytes are which piece. */
import { equal, toHex, type Bytes } from '../../protocol/bytes.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { locatePiece, pieceHash, type Metainfo } from '../../protocol/metainfo.ts'
import { comparePaths } from '../../protocol/file-path.ts'
import { pieceShape, type PieceShape } from '../../protocol/sealed.ts'
import { fileHasher } from '../../protocol/piece.ts'
import type { Chance } from './chance.ts'
import type { Disk } from './memory-storage.ts'

export interface Content {
  /** File or folder, as its owner names it. */
  readonly name: string
  /** v2, hex. */
  readonly infoHash: string
  readonly pieces: number
  /** Path below the folder ('' for a single file) -> bytes. */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly meta: Metainfo
}

export interface Contents {
  readonly all: readonly Content[]
  /** The v2 hash of a v1 or v2 hash. */
  hashOf(infoHash: string): string
  isPiece(infoHash: string, index: number, bytes: Uint8Array): boolean
  /** Undefined for a piece that is none. */
  shapeOf(infoHash: string, index: number): PieceShape | undefined
  /** Its hash in the torrent. */
  rootOf(infoHash: string, index: number): Bytes
  /** Whether there are as many bytes as the piece has. */
  isAsLong(infoHash: string, index: number, bytes: Uint8Array): boolean
}

export const PIECE_BYTES = 16 * 1024
const MOST_PIECES = 16
const NOTHING = new Uint8Array(0)
const ODD = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 7]

export function createContents(chance: Chance, count: number): Contents {
  const all = Array.from({ length: count }, (_, i) => createContent(chance.fork(`content/${i}`), i))
  const byHash = new Map(
    all.flatMap((content) => [
      [content.infoHash, content],
      [toHex(content.meta.infoHashV1), content],
    ]),
  )

  function pieceOf(infoHash: string, index: number): Uint8Array {
    const content = byHash.get(infoHash)
    if (!content || index >= content.pieces) return NOTHING
    const { file, offset, length } = locatePiece(content.meta, index)
    const path = content.meta.folder ? (content.meta.files[file]?.path.join('/') ?? '') : ''
    return content.files.get(path)?.subarray(offset, offset + length) ?? NOTHING
  }

  return {
    all,
    hashOf: (infoHash) => byHash.get(infoHash)?.infoHash ?? infoHash,
    isPiece: (infoHash, index, bytes) => equal(pieceOf(infoHash, index), bytes),
    shapeOf(infoHash, index) {
      const content = byHash.get(infoHash)
      return content && index < content.pieces ? pieceShape(content.meta, index) : undefined
    },
    rootOf: (infoHash, index) => pieceHash((byHash.get(infoHash) as Content).meta, index),
    isAsLong: (infoHash, index, bytes) => pieceOf(infoHash, index).length === bytes.length,
  }
}

function createContent(chance: Chance, number: number): Content {
  const isFolder = chance.hits(0.25)
  const name = isFolder ? `ördner ${number}` : `file ${number}.bin`
  const paths = isFolder
    ? Array.from({ length: chance.integer(1, 4) }, (_, i) => (i % 2 ? `sub/名 ${i}` : `part ${i}`))
    : ['']
  const files = new Map(paths.map((path) => [path, chance.bytes(sizeOf(chance, paths.length))]))
  const { meta } = torrentOf(name, isFolder, files)
  return { name, infoHash: toHex(meta.infoHash), pieces: meta.pieces, files, meta }
}

function sizeOf(chance: Chance, parts: number): number {
  if (chance.hits(0.3)) return chance.pick(ODD)
  return chance.integer(1, Math.ceil(MOST_PIECES / parts) * PIECE_BYTES)
}

function torrentOf(name: string, folder: boolean, files: ReadonlyMap<string, Uint8Array>) {
  const sorted = [...files]
    .map(([path, bytes]) => ({ path: folder ? path.split('/') : [name], bytes }))
    .toSorted((a, b) => comparePaths(a.path, b.path))
  return makeTorrent({
    name,
    folder,
    pieceLength: PIECE_BYTES,
    files: sorted.map(({ path, bytes }, i) => {
      const hasher = fileHasher({ length: bytes.length, pieceLength: PIECE_BYTES, padded: i < sorted.length - 1 })
      hasher.update(bytes)
      return { path, hashes: hasher.digest() }
    }),
  })
}

/** Where a file of the content lies, under the name that its owner or a download gave the whole. */
const placeOf = (name: string, path: string): string => (path === '' ? name : `${name}/${path}`)

export function plantContent(disk: Disk, { name, files }: Content): void {
  for (const [path, bytes] of files) disk.plant(placeOf(name, path), bytes)
}

/** What is missing or other than it should be of a content's copy under this name. */
export function faultsOfCopy(disk: Disk, { files }: Content, name: string): string[] {
  return [...files].flatMap(([path, bytes]) => {
    const file = disk.files.get(placeOf(name, path))
    if (!file) return [`${placeOf(name, path)} is missing`]
    return Buffer.compare(file.bytes, bytes) === 0 ? [] : [`${placeOf(name, path)} has other bytes`]
  })
}

export const isOn = (disk: Disk, name: string): boolean =>
  [...disk.files.keys()].some((file) => file === name || file.startsWith(`${name}/`))
