/**
 * Hashes of a content's pieces at any power of two from 16 KiB up (BEP 52): from the torrent's own piece layer upwards they
 * are computed, below it from 16 KiB hashes that anybody may upload, as they are checked against that layer.
 */
import { BLOCK_BYTES, blocksOf, HASH_BYTES, layerAbove, levelOf, widthOf } from '../protocol/block-tree.ts'
import { concat, equal, type Bytes } from '../protocol/bytes.ts'
import { putAll } from '../protocol/items.ts'
import { piecesOf } from '../protocol/metainfo.ts'
import { Problem } from '../protocol/problem.ts'
import type { Item } from '../protocol/store.ts'
import type { Content, ContentFile, Contents } from './contents.ts'
import type { RepositoryContext } from './context.ts'
import { contentKey, padded } from './keys.ts'

export interface HashRange {
  /** A power of two, 16 KiB to 64 MiB. */
  readonly pieceLength: number
  readonly file: number
  /** Index of the first piece, in the file. */
  readonly from: number
  readonly count: number
}

export interface HashPage {
  /** In the file, at that piece length. */
  readonly pieces: number
  /** Packed; fewer than asked for when they take too much work or the file ends. */
  readonly hashes: Bytes
}

export interface Hashes {
  /** @throws Problem `not-found` for a file that there is not, or hashes that nobody uploaded; `range-invalid` */
  read(content: Content, range: HashRange): Promise<HashPage>
  /**
   * Takes a run of a file's 16 KiB hashes, packed. It begins at a multiple of `runLeaves` and ends at one or with the file.
   * @throws Problem `not-found`, `range-invalid`, `piece-invalid` when a piece's hashes are not those of the torrent
   */
  putLeaves(
    content: Content,
    run: { readonly file: number; readonly from: number; readonly leaves: Bytes },
  ): Promise<void>
}

/** Hashes read for one answer, at most: 2 MiB. */
const HASHES_READ = 65_536
/** In one answer. */
const HASHES_ANSWERED = 4096
const LEAVES_PER_ITEM = 256

/** What runs of 16 KiB hashes are aligned to: a piece, and 4 MiB at least. */
export const runLeaves = (pieceLength: number): number => Math.max(LEAVES_PER_ITEM, pieceLength / BLOCK_BYTES)

export function createHashes({ store }: RepositoryContext, contents: Contents): Hashes {
  async function fileOf(content: Content, file: number): Promise<ContentFile> {
    const [found] = file < content.files ? await contents.files(content, file, 1) : []
    if (!found) throw new Problem('not-found', `The content has ${content.files} files, none of number ${file}.`)
    return found
  }

  async function read(content: Content, range: HashRange): Promise<HashPage> {
    const file = await fileOf(content, range.file)
    const pieces = piecesOf(file.length, range.pieceLength)
    if (range.from > pieces) throw new Problem('range-invalid', `The file has ${pieces} pieces of that length.`)
    const own = levelIn(file, content.pieceLength)
    const asked = levelIn(file, range.pieceLength)
    const source = asked >= own ? own : 0
    const width = 2 ** (asked - source)
    const count = Math.min(range.count, pieces - range.from, HASHES_ANSWERED, HASHES_READ / width)
    if (count === 0) return { pieces, hashes: new Uint8Array(0) }
    const first = range.from * width
    const available = source === own ? piecesOf(file.length, content.pieceLength) : blocksOf(file.length)
    const length = Math.min(count * width, available - first)
    const hashes = await (source === own
      ? contents.pieceHashes(content, file.firstPiece + first, length)
      : leavesOf(content, range.file, first, length))
    return { pieces, hashes: layerAbove(hashes, source, asked) }
  }

  async function leavesOf(content: Content, file: number, from: number, count: number): Promise<Bytes> {
    const unit = runLeaves(content.pieceLength)
    const first = Math.floor(from / unit)
    const last = Math.floor((from + count - 1) / unit)
    const items = await runsOf(content, file, first, last - first + 1)
    const isWhole = items.length === last - first + 1 && items.at(-1)?.sk === leavesPrefix(content, file) + padded(last)
    const leaves = concat(...items.map(({ body }) => body)).slice((from - first * unit) * HASH_BYTES)
    if (!isWhole)
      throw new Problem('not-found', 'The 16 KiB hashes of this part were not uploaded.', { missing: 'leaves' })
    return leaves.slice(0, count * HASH_BYTES)
  }

  /** Those that are kept of so many runs. */
  function runsOf(content: Content, file: number, first: number, count: number): Promise<readonly Item[]> {
    const prefix = leavesPrefix(content, file)
    const after = first === 0 ? {} : { after: prefix + padded(first - 1) }
    return store.list(contentKey(content.infoHash), { prefix, ...after, limit: count })
  }

  async function putLeaves(content: Content, { file, from, leaves }: { file: number; from: number; leaves: Bytes }) {
    const found = await fileOf(content, file)
    const unit = runLeaves(content.pieceLength)
    checkRun(from, leaves, unit, blocksOf(found.length))
    const expected = await expectedLayer(content, found, from, leaves.length / HASH_BYTES)
    const level = levelIn(found, content.pieceLength)
    if (!equal(layerAbove(leaves, 0, level), expected)) {
      throw new Problem('piece-invalid', 'The uploaded block hashes do not match the torrent’s.')
    }
    const step = unit * HASH_BYTES
    const runs = Array.from({ length: Math.ceil(leaves.length / step) }, (_, i) => ({
      pk: contentKey(content.infoHash),
      sk: leavesPrefix(content, file) + padded(from / unit + i),
      body: leaves.slice(i * step, (i + 1) * step),
    }))
    // What is kept led to the same hashes: it is what comes again, and not written again.
    const kept = new Set((await runsOf(content, file, from / unit, runs.length)).map(({ sk }) => sk))
    await putAll(
      store,
      runs.filter(({ sk }) => !kept.has(sk)),
    )
  }

  function expectedLayer(content: Content, file: ContentFile, from: number, count: number): Promise<Bytes> {
    const width = content.pieceLength / BLOCK_BYTES
    return contents.pieceHashes(content, file.firstPiece + Math.floor(from / width), Math.ceil(count / width))
  }

  return { read, putLeaves }
}

/** The level of a piece length in a file's tree, which ends with its root: a piece that is longer than the file is the file. */
const levelIn = ({ length }: ContentFile, pieceLength: number): number =>
  Math.min(levelOf(pieceLength), Math.log2(widthOf(blocksOf(length))))

const leavesPrefix = ({ run }: Content, file: number): string => `leaves/${run}/${padded(file)}/`

function checkRun(from: number, leaves: Bytes, unit: number, blocks: number): void {
  const count = leaves.length / HASH_BYTES
  const end = from + count
  if (!Number.isInteger(count) || count === 0)
    throw new Problem('range-invalid', 'The body must be one or more whole hashes of 32 bytes each.')
  if (from % unit !== 0 || end > blocks || (end % unit !== 0 && end !== blocks)) {
    const detail = `A run begins at a multiple of ${unit} hashes, and ends at one or with the file's ${blocks}.`
    throw new Problem('range-invalid', detail, { unit, blocks })
  }
}
