/**
 * Where a download's pieces go: one write a file of the torrent, begun with its first piece, all committed at the end. A
 * storage that takes whole parts, or takes them in order, gets them so (`parts.ts`): pieces are then fetched in a window.
 */
import { equal } from '../../protocol/bytes.ts'
import { filePath, locatePiece, pieceHashV1, type MetaFile, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Item } from '../../protocol/store.ts'
import type { Entry, Journal } from './journal.ts'
import { covers, createParts, unitBytes, type Parts } from './parts.ts'
import type { Spool } from './spool.ts'
import type { Span } from './stretches.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { ByteRange, CopySource, Storage, WriteRef } from '../storage/storage.ts'
import type { Site } from '../storage/ways.ts'

export interface Sink {
  /** Begins the piece's file. What it returns must be durable before `put`. */
  prepare(piece: number): Promise<readonly Entry[]>
  /** Durable once it resolves. */
  put(piece: number, bytes: Uint8Array): Promise<void>
  /** Of these pieces, those that neither the storage nor the spool holds. */
  missing(pieces: Iterable<number>): Promise<readonly number[]>
  /** Where it lies, for whoever can reach it without us. */
  readonly site: Site | undefined
  /** Whether the provider may copy this piece by itself: its own checksum then tells of this piece alone. */
  canCopy(piece: number): boolean
  /** `put` has nothing to do then. @returns false when the provider's checksum is not the piece's. @throws Problem of the storage */
  copy(piece: number, source: CopySource): Promise<boolean>
  /** The first piece of what is stored in one go with this one, whose file was begun. */
  unitStart(piece: number): number
  /** Whether the piece may be fetched now. Missing where any may. */
  readonly mayFetch?: (piece: number) => boolean
  /** Makes all files appear. @returns the name of the file or folder; the same again when repeated */
  commit(): Promise<string>
  /** Leaves nothing behind, be it finished or not. */
  abort(): Promise<void>
}

export interface SinkOptions {
  readonly storage: Storage
  readonly meta: Metainfo
  /** Where its writes lie in the journal. */
  readonly pk: string
  /** Where pieces wait for their part. */
  readonly spool: Spool
  /** Its pieces. */
  readonly span: Span
  readonly journal: Journal
  /** The folder that the files of a torrent of many go to. */
  readonly folder: string | undefined
  /** More pieces may be fetched than before. */
  readonly onRoom: () => void
}

const WRITE = 'write/'
const COMMITS_AT_ONCE = 8
/** Units that may be on their way at once, each with a buffer. */
const WINDOW_UNITS = 6

export async function openSink(options: SinkOptions): Promise<Sink> {
  const { storage, meta, pk, spool, span, journal, folder, onRoom } = options
  const writes = writesIn(await journal.load(pk, WRITE))
  const takesAny = storage.writes === 'any-order' && !storage.wholeParts
  const spooled = new Map<number, Uint8Array>()
  if (!takesAny) for await (const { piece, bytes } of spool.load()) spooled.set(piece, bytes)
  const parts = new Map<number, Promise<Parts>>()
  const stored = createFrontier(meta.pieces, span.from)
  const copied = new Set<number>()
  /** Files whose write is known to be durable: a piece of them was put. */
  const durable = new Set(writes.keys())
  const beginning = new Map<number, Promise<WriteRef>>()
  function nameOf(file: MetaFile): string {
    const path = filePath(meta, file)
    return folder === undefined ? path.join('/') : [folder, ...path.slice(1)].join('/')
  }

  function begin(file: number): Promise<WriteRef> {
    const known = writes.get(file)
    if (known) return Promise.resolve(known)
    const { length } = meta.files[file] as MetaFile
    const begun = beginning.get(file) ?? storage.begin(nameOf(meta.files[file] as MetaFile), length, meta.pieceLength)
    beginning.set(file, begun)
    return begun.then(
      (write) => {
        writes.set(file, write)
        return write
      },
      (error: unknown) => {
        beginning.delete(file)
        throw error
      },
    )
  }

  const entryOf = (file: number, write: WriteRef): Entry => ({
    pk,
    sk: WRITE + String(file).padStart(6, '0'),
    body: encodeRecord(write),
  })

  async function commitFile(file: number): Promise<string> {
    const write = await begin(file)
    if (!durable.has(file)) await journal.write([entryOf(file, write)])
    durable.add(file)
    return (await storage.commit(write)).name
  }

  async function heldOf(file: number): Promise<readonly ByteRange[]> {
    const write = writes.get(file)
    if (!write) return []
    return storage.written(write).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
      forget(file)
      return []
    })
  }

  /** A whole file may be there already: to commit it again tells under which name. What its owner changed since is theirs. */
  async function removeFile(file: number): Promise<void> {
    const write = await (writes.get(file) ?? beginning.get(file))
    if (!write) return
    const isWhole = write.size === 0 || covers(await heldOf(file), 0, write.size)
    if (isWhole)
      await storage
        .commit(write)
        .then((made) => storage.remove(made))
        .catch(unlessGone)
    await storage.abort(write)
  }

  function partsOf(file: number): Promise<Parts> {
    const known = parts.get(file) ?? openParts(file)
    parts.set(file, known)
    known.catch(() => parts.delete(file))
    return known
  }

  /** What the spool has kept of the file goes on where it was. */
  async function openParts(file: number): Promise<Parts> {
    const held = await heldOf(file)
    const write = await begin(file)
    const { pieceLength } = meta
    const opened = createParts({ storage, write, pieceLength, spool, held, onStored })
    for (const [piece, bytes] of spooled) {
      const at = locatePiece(meta, piece)
      if (at.file !== file) continue
      spooled.delete(piece)
      if (covers(held, at.offset, at.length)) await spool.drop([piece])
      else opened.restore(piece, at.offset, bytes)
    }
    return opened
  }

  function onStored(pieces: Iterable<number>): void {
    for (const piece of pieces) stored.add(piece)
    onRoom()
  }

  const unitOf = (file: number): number => unitBytes(writes.get(file)?.partBytes ?? storage.partBytes, meta.pieceLength)

  /** A whole unit is always within it, however large the parts of the file that is being written. */
  function mayFetch(piece: number): boolean {
    const { next } = stored
    const unit = next < meta.pieces ? unitOf(locatePiece(meta, next).file) : meta.pieceLength
    return piece < next - (next % (unit / meta.pieceLength)) + (WINDOW_UNITS * unit) / meta.pieceLength
  }

  function unitStart(piece: number): number {
    const { file, offset } = locatePiece(meta, piece)
    return takesAny ? piece : piece - (offset % unitOf(file)) / meta.pieceLength
  }

  function canCopy(piece: number): boolean {
    const write = writes.get(locatePiece(meta, piece).file)
    const partBytes = write?.partBytes ?? storage.partBytes
    const isPart = storage.wholeParts && storage.writes === 'any-order' && partBytes === meta.pieceLength
    return isPart && storage.copyFrom !== undefined && pieceHashV1(meta, piece) !== undefined
  }

  async function putPiece(piece: number, bytes: Uint8Array): Promise<void> {
    const { file, offset } = locatePiece(meta, piece)
    durable.add(file)
    if (copied.delete(piece)) return
    if (takesAny) return storage.put(await begin(file), offset, bytes)
    return (await partsOf(file)).put(piece, offset, bytes)
  }

  function forget(file: number): void {
    parts.delete(file)
    writes.delete(file)
    beginning.delete(file)
    durable.delete(file)
  }

  return {
    ...(!takesAny && { mayFetch }),
    unitStart,
    async prepare(piece) {
      const { file } = locatePiece(meta, piece)
      const write = await begin(file)
      return durable.has(file) ? [] : [entryOf(file, write)]
    },
    put: putPiece,
    site: await storage.site?.(),
    canCopy,
    async copy(piece, source) {
      const { file, offset, length } = locatePiece(meta, piece)
      const range = { offset, length }
      durable.add(file)
      const sum = await storage.copyFrom?.(await begin(file), offset, source, range)
      const hash = pieceHashV1(meta, piece)
      if (!sum?.sha1 || !hash || !equal(sum.sha1, hash)) return false
      copied.add(piece)
      onStored([piece])
      return true
    },
    async missing(pieces) {
      const lost: number[] = []
      let checked: { file: number; held: readonly ByteRange[] } | undefined
      for (const piece of pieces) {
        const { file, offset, length } = locatePiece(meta, piece)
        if (checked?.file !== file) checked = { file, held: await heldOf(file) }
        if (covers(checked.held, offset, length)) stored.add(piece)
        else if (!spooled.has(piece)) lost.push(piece)
      }
      const waiting = new Set(Array.from(spooled.keys(), (piece) => locatePiece(meta, piece).file))
      for (const file of waiting) await (await partsOf(file)).flush()
      return lost
    },
    async commit() {
      const [single] = await eachOf(meta.files.length, COMMITS_AT_ONCE, commitFile)
      return folder ?? single ?? meta.name
    },
    async abort() {
      await eachOf(meta.files.length, COMMITS_AT_ONCE, removeFile)
      if (!takesAny) for await (const { piece } of spool.load()) await spool.drop([piece])
    },
  }
}

const writesIn = (items: readonly Item[]): Map<number, WriteRef> =>
  new Map(items.map((item) => [Number(item.sk.slice(WRITE.length)), decodeRecord<WriteRef>(item)]))

/** Pieces in order from one on, as far as all of them are stored. */
function createFrontier(pieces: number, from: number) {
  const stored = new Uint8Array(pieces)
  let next = from
  return {
    /** The first that is not stored. */
    get next() {
      return next
    },
    add(piece: number) {
      stored[piece] = 1
      while (next < pieces && stored[next] === 1) next++
    },
  }
}

function unlessGone(error: unknown): void {
  const isGone = error instanceof Problem && (error.code === 'not-found' || error.code === 'content-changed')
  if (!isGone) throw error
}

const isNotFound = (error: unknown): boolean => error instanceof Problem && error.code === 'not-found'

/** `work(0)` to `work(count - 1)`, a few at once; after a failure no more begin. */
async function eachOf<T>(count: number, atOnce: number, work: (index: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = []
  let next = 0
  async function flow(): Promise<void> {
    for (let index = next++; index < count; index = next++) {
      try {
        results[index] = await work(index)
      } catch (error) {
        next = count
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, flow))
  return results
}
