/** Where a download's pieces go: one write a file of the torrent, begun with its first piece, all committed at the end. */
import { filePath, locatePiece, type MetaFile, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Item } from '../../protocol/store.ts'
import type { Entry, Journal } from './journal.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { ByteRange, Storage, WriteRef } from '../storage/storage.ts'

export interface Sink {
  /** Begins the piece's file. What it returns must be durable before `put`. */
  prepare(piece: number): Promise<readonly Entry[]>
  /** Durable once it resolves. */
  put(piece: number, bytes: Uint8Array): Promise<void>
  /** Of these pieces, those that the storage does not hold. */
  missing(pieces: Iterable<number>): Promise<readonly number[]>
  /** Makes all files appear. @returns the name of the file or folder; the same again when repeated */
  commit(): Promise<string>
  /** Leaves nothing behind, be it finished or not. */
  abort(): Promise<void>
}

export interface SinkOptions {
  readonly storage: Storage
  readonly meta: Metainfo
  /** Where the sink's items lie in the journal. */
  readonly pk: string
  readonly journal: Journal
  /** The folder that the files of a torrent of many go to. */
  readonly folder: string | undefined
}

const WRITE = 'write/'
const COMMITS_AT_ONCE = 8

export async function openSink({ storage, meta, pk, journal, folder }: SinkOptions): Promise<Sink> {
  const writes = writesIn(await journal.load(pk, WRITE))
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
    const begun = beginning.get(file) ?? storage.begin(nameOf(meta.files[file] as MetaFile), length)
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

  function forget(file: number): void {
    writes.delete(file)
    beginning.delete(file)
    durable.delete(file)
  }

  return {
    async prepare(piece) {
      const { file } = locatePiece(meta, piece)
      const write = await begin(file)
      return durable.has(file) ? [] : [entryOf(file, write)]
    },
    async put(piece, bytes) {
      const { file, offset } = locatePiece(meta, piece)
      durable.add(file)
      await storage.put(await begin(file), offset, bytes)
    },
    async missing(pieces) {
      const lost: number[] = []
      let checked: { file: number; held: readonly ByteRange[] } | undefined
      for (const piece of pieces) {
        const { file, offset, length } = locatePiece(meta, piece)
        if (checked?.file !== file) checked = { file, held: await heldOf(file) }
        if (!covers(checked.held, offset, length)) lost.push(piece)
      }
      return lost
    },
    async commit() {
      const [single] = await eachOf(meta.files.length, COMMITS_AT_ONCE, commitFile)
      return folder ?? single ?? meta.name
    },
    async abort() {
      await eachOf(meta.files.length, COMMITS_AT_ONCE, removeFile)
    },
  }
}

const writesIn = (items: readonly Item[]): Map<number, WriteRef> =>
  new Map(items.map((item) => [Number(item.sk.slice(WRITE.length)), decodeRecord<WriteRef>(item)]))

/** @param held in order and merged: the bytes lie in the last range that begins at or before them, or are not all there */
function covers(held: readonly ByteRange[], offset: number, length: number): boolean {
  let low = 0
  let high = held.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((held[middle] as ByteRange).offset <= offset) low = middle + 1
    else high = middle
  }
  const range = held[low - 1]
  return range !== undefined && offset + length <= range.offset + range.length
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
