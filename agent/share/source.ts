/** What is shared: one file or a folder of a storage, hashed in one pass into a torrent. */
import { sha256 } from '#primitives'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { checkPaths, comparePaths, type FilePath } from '../../protocol/file-path.ts'
import { limits } from '../../protocol/limits.ts'
import { makeTorrent, type TorrentFile } from '../../protocol/make-torrent.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { fileHasher, type FileHasher } from '../../protocol/piece.ts'
import { Problem } from '../../protocol/problem.ts'
import { unlessNotFound } from '../storage/faults.ts'
import type { FileEntry, FilePage, Storage } from '../storage/storage.ts'

export interface Source {
  readonly name: string
  readonly folder: boolean
  readonly bytes: number
  /** In the torrent's order. */
  readonly files: readonly SourceFile[]
}

export interface SourceFile extends FileEntry {
  /** In the torrent. */
  readonly path: FilePath
}

/** Leaves of one file, from one block on: whole pieces, or up to the file's end. */
export interface LeafRun {
  /** Index in the torrent's files. */
  readonly file: number
  readonly from: number
  /** Packed. */
  readonly leaves: Bytes
}

export interface HashOptions {
  /** Is called in turn and awaited; every block of every file, in order. */
  readonly onLeaves: (run: LeafRun) => Promise<void>
  readonly onProgress?: (hashed: number, bytes: number) => void
  /** Chosen to suit the sizes unless given. */
  readonly pieceLength?: number | undefined
}

const CHUNK_BYTES = 1024 * 1024
/** v1 hashes zeros between the files of a folder: so many are free, beyond that no more than there is content. */
const FREE_PADDING = 256 * 1024 * 1024
/** Keeps a torrent of any content below about 14 MB. */
const MOST_PIECES = 2 ** 18

/** Equal for what need not be hashed again: the same files, each in the same version. 32 bytes in hex. */
export const sourceId = (link: string, path: string, { files }: Source): string =>
  toHex(sha256(utf8(JSON.stringify([link, path, files.map(({ name, id, version }) => [name, id, version])]))))

/** @throws Problem `not-found`, `path-outside`, `bad-torrent` for names that no torrent can carry, `too-large` */
export async function findSource(storage: Storage, path: string): Promise<Source> {
  const name = path.replace(/\/+$/, '')
  const title = name.slice(name.lastIndexOf('/') + 1).normalize('NFC')
  const file = await storage.stat({ name }).catch(unlessNotFound)
  const files = file
    ? [{ name, ...file, path: [title] }]
    : (await filesIn(storage, name)).map((entry) => ({ ...entry, path: pathIn(name, entry) }))
  const folder = file === undefined
  checkPaths(
    files.map((one) => (folder ? [title, ...one.path] : one.path)),
    'bad-torrent',
  )
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  return { name: title, folder, bytes, files: files.toSorted((a, b) => comparePaths(a.path, b.path)) }
}

const pathIn = (folder: string, { name }: FileEntry): FilePath =>
  name
    .slice(folder.length + 1)
    .split('/')
    .map((part) => part.normalize('NFC'))

async function filesIn(storage: Storage, folder: string): Promise<readonly FileEntry[]> {
  const files: FileEntry[] = []
  for (let page: FilePage | undefined; !page || page.cursor !== undefined;) {
    page = await storage.list({ under: folder, ...(page?.cursor !== undefined && { cursor: page.cursor }) })
    refuse(page.refused[0])
    if (page.isAnew) files.length = 0
    files.push(...page.files)
    if (files.length > limits.filesPerTorrent) {
      throw new Problem('too-large', `A share has at most ${limits.filesPerTorrent} files.`)
    }
  }
  if (files.length === 0)
    throw new Problem('not-found', `There is no file ${JSON.stringify(folder)}, and no folder with files.`)
  return files
}

/** Better no share than one that lacks a file. */
function refuse(entry: FilePage['refused'][number] | undefined): void {
  if (entry?.problem === 'path-outside') {
    throw new Problem('path-outside', `${JSON.stringify(entry.name)} is a link that leaves the storage.`)
  }
  if (entry?.problem === 'forbidden') {
    throw new Problem('forbidden', `The storage does not let us read ${JSON.stringify(entry.name)}.`)
  }
  if (entry) throw new Problem('bad-torrent', `${JSON.stringify(entry.name)} has a name that no torrent can carry.`)
}

/**
 * 4 MiB, less for many small files, more for very much content: what v1 fills up with is hashed too.
 */
export function choosePieceLength(sizes: readonly number[]): number {
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  let pieceLength: number = limits.pieceBytesDefault
  while (pieceLength > limits.pieceBytesMin && padding(sizes, pieceLength) > bytes + FREE_PADDING) pieceLength /= 2
  while (pieceLength < limits.pieceBytesMax && bytes / pieceLength > MOST_PIECES) pieceLength *= 2
  return pieceLength
}

const padding = (sizes: readonly number[], pieceLength: number): number =>
  sizes.slice(0, -1).reduce((sum, size) => sum + ((pieceLength - (size % pieceLength)) % pieceLength), 0)

/**
 * Reads everything once; keeps 52 bytes a piece and two chunks.
 * @throws Problem `content-changed` when a file is not what it was when the source was found
 */
export async function hashSource(
  storage: Storage,
  source: Source,
  { onLeaves, onProgress, pieceLength = choosePieceLength(source.files.map(({ size }) => size)) }: HashOptions,
): Promise<{ torrent: Bytes; meta: Metainfo }> {
  const files: TorrentFile[] = []
  const runs: LeafRun[] = []
  let hasher: FileHasher | undefined
  let hashed = 0
  for await (const { file, chunk, last } of readAhead(storage, source.files)) {
    const { path, size: length } = source.files[file] as SourceFile
    const padded = file < source.files.length - 1
    hasher ??= fileHasher({
      length,
      pieceLength,
      padded,
      onLeaves: (from, leaves) => runs.push({ file, from, leaves }),
    })
    hasher.update(chunk)
    for (const run of runs.splice(0)) await onLeaves(run)
    onProgress?.((hashed += chunk.length), source.bytes)
    if (!last) continue
    files.push({ path, hashes: hasher.digest() })
    hasher = undefined
  }
  return makeTorrent({ name: source.name, folder: source.folder, pieceLength, files })
}

interface Chunk {
  readonly file: number
  /** Its buffer is used again for the chunk after the next. */
  readonly chunk: Uint8Array
  readonly last: boolean
}

/** Every byte of every file in order, while one chunk is hashed the next one is read. An empty file is one empty chunk. */
async function* readAhead(storage: Storage, files: readonly SourceFile[]): AsyncGenerator<Chunk> {
  const buffers = [new Uint8Array(CHUNK_BYTES), new Uint8Array(CHUNK_BYTES)] as const
  let count = 0
  let pending: Promise<Chunk> | undefined
  for (const { file, offset, length } of chunksOf(files)) {
    const { name, id, version, size } = files[file] as SourceFile
    const into = buffers[count++ % 2 === 0 ? 0 : 1].subarray(0, length)
    const ref = { name, version, ...(id !== undefined && { id }) }
    const ready = pending && (await pending)
    pending = (length === 0 ? Promise.resolve(into) : storage.read(ref, { offset, length }, into)).then((chunk) => ({
      file,
      chunk,
      last: offset + length === size,
    }))
    // Awaited in the next round; until then nobody would hear of a failure.
    pending.catch(() => undefined)
    if (ready) yield ready
  }
  if (pending) yield await pending
}

function* chunksOf(files: readonly SourceFile[]): Generator<{ file: number; offset: number; length: number }> {
  for (const [file, { size }] of files.entries()) {
    for (let offset = 0; offset === 0 || offset < size; offset += CHUNK_BYTES) {
      yield { file, offset, length: Math.min(CHUNK_BYTES, size - offset) }
    }
  }
}
