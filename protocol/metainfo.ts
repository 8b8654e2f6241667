/**
 * Hybrid torrents: BitTorrent v1 and v2 in one info dictionary (BEP 3, 47, 52), of one file or a folder.
 *
 * A *piece* is v2's: it never crosses files, and the zeros that v1 fills up with (BEP 47) are not part of it. Indexes run
 * over all files in the torrent's order, as v1's do.
 */
import { sha1, sha256 } from '#primitives'
import { HASH_BYTES, levelOf, rootOf } from './block-tree.ts'
import { equal, fromUtf8, toHex, type Bytes } from './bytes.ts'
import { decode, encode, field, fields, type Bencode, type Dictionary } from './encoding.ts'
import { checkPaths, comparePaths, type FilePath } from './file-path.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

export interface Metainfo {
  /** v2: SHA-256 of the info dictionary. */
  readonly infoHash: Bytes
  /** v1: SHA-1 of the same bytes. */
  readonly infoHashV1: Bytes
  readonly name: string
  /** Whether the files lie in a folder called `name`; else there is one file and `name` is its name. */
  readonly folder: boolean
  readonly pieceLength: number
  /** Of all files together. */
  readonly bytes: number
  readonly pieces: number
  readonly files: readonly MetaFile[]
  /** The info dictionary as it was received. */
  readonly info: Bytes
}

export interface MetaFile {
  /** Below the folder, in NFC; of a torrent of one file it is its name alone. */
  readonly path: FilePath
  readonly length: number
  /** An empty file has none. */
  readonly piecesRoot?: Bytes
  /** Index of the file's first piece (of the next file's, when this one is empty). */
  readonly firstPiece: number
  /** Packed, 32 bytes a piece. */
  readonly pieceHashes: Bytes
}

export interface PieceLocation {
  /** Index in `files`. */
  readonly file: number
  /** In the file, in bytes. */
  readonly offset: number
  readonly length: number
  /** The piece is all of its file: its hash is the file's root. */
  readonly whole: boolean
}

/** `file tree` nests a dictionary a name; around it lie the info, the torrent, the file's own two. */
export const TORRENT_DEPTH = limits.pathDepth + 8
const BINARY = { keys: 'binary', depth: TORRENT_DEPTH } as const
export const SHA1_BYTES = 20

/** @throws Problem `not-found` unless the torrent has that piece */
export function locatePiece(meta: Metainfo, index: number): PieceLocation {
  if (!Number.isInteger(index) || index < 0 || index >= meta.pieces) {
    throw new Problem('not-found', `The torrent has ${meta.pieces} pieces, none of index ${index}.`)
  }
  const file = fileOfPiece(meta.files, index)
  const { firstPiece, length } = meta.files[file] as MetaFile
  const offset = (index - firstPiece) * meta.pieceLength
  return { file, offset, length: Math.min(meta.pieceLength, length - offset), whole: length <= meta.pieceLength }
}

/** The last file that begins at or before the piece: an empty file shares its `firstPiece` with a later one. */
function fileOfPiece(files: readonly MetaFile[], index: number): number {
  let low = 0
  let high = files.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((files[middle] as MetaFile).firstPiece <= index) low = middle
    else high = middle - 1
  }
  return low
}

/** 32 bytes. @throws Problem `not-found` */
export function pieceHash(meta: Metainfo, index: number): Bytes {
  const { firstPiece, pieceHashes } = meta.files[locatePiece(meta, index).file] as MetaFile
  const at = (index - firstPiece) * HASH_BYTES
  return pieceHashes.subarray(at, at + HASH_BYTES)
}

/**
 * v1's hash of the piece's bytes, 20 bytes: SHA-1. Undefined where v1 may hash zeros with them (BEP 47): at the end of each
 * file of a folder, the last among them, which some fill up and some do not.
 */
export function pieceHashV1(meta: Metainfo, index: number): Bytes | undefined {
  const { length } = locatePiece(meta, index)
  if (length < meta.pieceLength && meta.folder) return undefined
  const hashes =
    hashesV1.get(meta) ?? fields(decode(meta.info, BINARY), { pieces: field.bytes() }, { rest: true }).pieces
  hashesV1.set(meta, hashes)
  return hashes.slice(index * SHA1_BYTES, (index + 1) * SHA1_BYTES)
}

/** Read once: the info dictionary may have megabytes. */
const hashesV1 = new WeakMap<Metainfo, Bytes>()

/** Where the file goes in a storage: `name`, or `name/…` when the torrent is a folder. */
export const filePath = (meta: Pick<Metainfo, 'name' | 'folder'>, file: MetaFile): FilePath =>
  meta.folder ? [meta.name, ...file.path] : file.path

/** The same torrent, saying where else it is had: of a tracker (BEP 3), by web seed (BEP 19). The info dictionary is as it was. */
export const withPlaces = (torrent: Uint8Array, places: { tracker?: string; webSeed: string }): Bytes => {
  const outer = decode(torrent, BINARY) as Dictionary
  return encode({ ...outer, announce: places.tracker, 'url-list': [places.webSeed] }, BINARY)
}

/** @param infoHash v2 or v1, hex */
export const isNamed = (meta: Pick<Metainfo, 'infoHash' | 'infoHashV1'>, infoHash: string): boolean =>
  toHex(meta.infoHash) === infoHash || toHex(meta.infoHashV1) === infoHash

export const piecesOf = (length: number, pieceLength: number): number => Math.ceil(length / pieceLength)

/**
 * Checks everything that can be checked without the content: names, sizes, that v1 and v2 tell of the same files, that
 * every piece layer hashes to its file's root. Members that are not read here (trackers, comments) are ignored.
 * @throws Problem `too-large`, `bad-torrent`
 */
export function parseTorrent(torrent: Uint8Array): Metainfo {
  if (torrent.length > limits.torrentBytes) {
    throw new Problem('too-large', `A torrent may have ${limits.torrentBytes} bytes, this one has ${torrent.length}.`)
  }
  try {
    return parse(torrent)
  } catch (error) {
    if (error instanceof Problem && error.code === 'bad-encoding') throw new Problem('bad-torrent', error.message)
    throw error
  }
}

const outerShape = { info: field.any, 'piece layers': field.optional(field.any) }
const infoShape = {
  'file tree': field.any,
  'meta version': field.integer({ min: 2, max: 2 }),
  name: field.text({ maxBytes: limits.nameBytes }),
  'piece length': field.integer({ min: limits.pieceBytesMin, max: limits.pieceBytesMax }),
  pieces: field.bytes(),
  length: field.optional(field.integer()),
  files: field.optional(field.list(field.any, { min: 1, max: 2 * limits.filesPerTorrent })),
}
const leafShape = {
  length: field.integer(),
  'pieces root': field.optional(field.bytes(HASH_BYTES)),
  attr: field.optional(field.text()),
}
const fileShapeV1 = {
  length: field.integer(),
  path: field.list(field.text({ maxBytes: limits.nameBytes }), { min: 1, max: limits.pathDepth }),
  attr: field.optional(field.text()),
}

interface ReadFile {
  /** As in the torrent, perhaps not in NFC. */
  readonly path: FilePath
  readonly length: number
  readonly piecesRoot: Bytes | undefined
}

function parse(torrent: Uint8Array): Metainfo {
  const outer = decode(torrent, BINARY)
  const { info: infoValue, 'piece layers': layers } = fields(outer, outerShape, { rest: true })
  requireHybrid(infoValue)
  const info = fields(infoValue, infoShape, { rest: true, path: 'info' })
  const pieceLength = info['piece length']
  if (!Number.isInteger(levelOf(pieceLength))) refuse(`The piece length ${pieceLength} is no power of two.`)
  const read = readTree(info['file tree'])
  checkV1(info, read)
  const files = withPieces(read, pieceLength, layers ?? {})
  const last = files.at(-1) as MetaFile
  const pieces = last.firstPiece + piecesOf(last.length, pieceLength)
  if (pieces > limits.pieces) refuse(`The torrent has ${pieces} pieces, more than ${limits.pieces}.`)
  if (info.pieces.length !== pieces * SHA1_BYTES) refuse('The v1 piece hashes are not one a piece.')
  const meta = { name: info.name.normalize('NFC'), folder: info.files !== undefined, pieceLength, pieces, files }
  checkPaths(
    files.map((file) => filePath(meta, file)),
    'bad-torrent',
  )
  const bytes = files.reduce((sum, { length }) => sum + length, 0)
  return { ...meta, bytes, ...hashed(infoBytes(torrent, outer as Dictionary)) }
}

function requireHybrid(info: Bencode): void {
  const has = (key: string): boolean => Object.hasOwn(info as object, key)
  if (!has('file tree') || !has('pieces')) refuse('Only hybrid torrents, BitTorrent v1 and v2 in one, can be traded.')
}

const hashed = (info: Bytes) => ({ info, infoHash: sha256(info), infoHashV1: sha1(info) })

/** Canonical bytes lie in the order of the keys, so what lies around the info dictionary tells where it is. */
function infoBytes(torrent: Uint8Array, outer: Dictionary): Bytes {
  const part = (chosen: (key: string) => boolean): number => {
    const members = Object.entries(outer).filter(([key]) => chosen(key))
    return encode(Object.fromEntries(members), BINARY).length - 'de'.length
  }
  const start = 'd'.length + part((key) => key < 'info') + '4:info'.length
  return torrent.slice(start, torrent.length - 'e'.length - part((key) => key > 'info'))
}

function readTree(tree: Bencode): readonly ReadFile[] {
  const files: ReadFile[] = []
  const walk = (node: Bencode, path: FilePath): void => {
    const members = dictionary(node, 'info.file tree')
    // Sorted anew, as JavaScript moves keys that look like numbers to the front; a character is a byte here.
    const names = Object.keys(members).toSorted()
    if (names.length === 0) refuse('The file tree has an empty folder.')
    if (path.length > limits.pathDepth) refuse(`A path has more than ${limits.pathDepth} names.`)
    if (names[0] !== '') return names.forEach((name) => walk(members[name] as Bencode, [...path, text(name)]))
    if (names.length > 1 || path.length === 0) refuse('The file tree has a file that is a folder.')
    if (files.push(readLeaf(members[''] as Bencode, path)) > limits.filesPerTorrent) {
      refuse(`The torrent has more than ${limits.filesPerTorrent} files.`)
    }
  }
  walk(tree, [])
  return files
}

function readLeaf(leaf: Bencode, path: FilePath): ReadFile {
  const { length, 'pieces root': piecesRoot, attr } = fields(leaf, leafShape, { rest: true, path: path.join('/') })
  if (attr !== undefined && /[lp]/.test(attr)) refuse('The torrent has a symbolic link, or padding in its file tree.')
  if (length > 0 !== (piecesRoot !== undefined)) refuse('A file has a root and no content, or content and no root.')
  return { path, length, piecesRoot }
}

/** v1 must tell of the same files in the same order, each beginning at a piece (BEP 52, "Upgrade path"). */
function checkV1(
  info: { name: string; length?: number; files?: readonly Bencode[]; 'piece length': number },
  files: readonly ReadFile[],
): void {
  if ((info.length === undefined) === (info.files === undefined)) refuse('v1 must name one length or a list of files.')
  if (info.files) return checkFilesV1(info.files, files, info['piece length'])
  const [only] = files
  const same =
    files.length === 1 && only?.length === info.length && only?.path.length === 1 && only.path[0] === info.name
  if (!same) refuse('v1 and v2 tell of different files.')
}

function checkFilesV1(filesV1: readonly Bencode[], files: readonly ReadFile[], pieceLength: number): void {
  let offset = 0
  let next = 0
  for (const value of filesV1) {
    const { length, path, attr = '' } = fields(value, fileShapeV1, { rest: true, path: 'info.files' })
    if (attr.includes('l')) refuse('The torrent has a symbolic link.')
    if (!attr.includes('p')) {
      const file = files[next++]
      if (file?.length !== length || comparePaths(file.path, path) !== 0) refuse('v1 and v2 tell of different files.')
      if (length > 0 && offset % pieceLength !== 0) refuse('A file of v1 does not begin at a piece.')
    } else if (length >= pieceLength) refuse('A padding file is as long as a piece.')
    offset += length
    if (!Number.isSafeInteger(offset)) refuse('The torrent is too large.')
  }
  if (next !== files.length) refuse('v1 and v2 tell of different files.')
}

function withPieces(files: readonly ReadFile[], pieceLength: number, layers: Bencode): readonly MetaFile[] {
  const layerOf = layerReader(layers)
  let firstPiece = 0
  const placed = files.map(({ path, length, piecesRoot }) => {
    const pieces = piecesOf(length, pieceLength)
    const pieceHashes =
      pieces > 1 ? layerOf.read(piecesRoot as Bytes, pieces, pieceLength) : (piecesRoot ?? new Uint8Array(0))
    const file = { path: path.map((name) => name.normalize('NFC')), length, firstPiece, pieceHashes }
    firstPiece += pieces
    return piecesRoot ? { ...file, piecesRoot } : file
  })
  layerOf.end()
  return placed
}

/** Files of the same content share a layer; a layer of no file is refused. */
function layerReader(value: Bencode) {
  const layers = dictionary(value, 'piece layers')
  const checked = new Map<string, Bytes>()
  function check(key: string, root: Bytes, pieceLength: number): Bytes {
    const layer = Object.hasOwn(layers, key) ? layers[key] : undefined
    if (!(layer instanceof Uint8Array)) return refuse(`The piece layer of ${toHex(root)} is missing.`)
    if (layer.length === 0 || layer.length % HASH_BYTES !== 0) refuse('A piece layer is no list of hashes.')
    if (!equal(rootOf(layer, levelOf(pieceLength)), root)) refuse('A piece layer does not hash to its root.')
    checked.set(key, layer)
    return layer
  }
  return {
    read(root: Bytes, pieces: number, pieceLength: number): Bytes {
      const key = binary(root)
      const layer = checked.get(key) ?? check(key, root, pieceLength)
      if (layer.length !== pieces * HASH_BYTES) refuse('A piece layer has not one hash a piece.')
      return layer
    },
    end(): void {
      if (Object.keys(layers).length !== checked.size) refuse('The torrent has a piece layer of no file.')
    },
  }
}

function dictionary(value: Bencode, path: string): Dictionary {
  fields(value, {}, { rest: true, path })
  return value as Dictionary
}

/** Keys of torrents are read as a character a byte. */
const binary = (bytes: Uint8Array): string => String.fromCharCode(...bytes)
const text = (key: string): string => fromUtf8(Uint8Array.from(key, (character) => character.charCodeAt(0)))

function refuse(detail: string): never {
  throw new Problem('bad-torrent', detail)
}
