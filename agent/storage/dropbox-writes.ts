/**
 * Unfinished files of a Dropbox. A write is one concurrent upload session: parts of whole 4 MiB blocks in any order. Dropbox
 * does not tell what a session holds, so each part that it took is written down in the store, with the hashes of its blocks:
 * together they are the content hash that the finished file must have.
 *
 * The run that ends beyond a whole block closes the session, and nothing can be sent after it. Where it comes before others
 * it waits as a small file of its own in `.raincheck-partial/`.
 *
 * What a crash means, at each step:
 * - `put`: the part is sent, then written down. One that is not written down is sent again; the session takes it twice.
 * - a session that Dropbox has forgotten (7 days): the journal is emptied, and the next part opens another.
 * - `commit`: the name is saved before Dropbox is asked to give it. Repeated, the file is known by name and content hash.
 */
import { concat, toHex } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { readAll, removeAll } from '../../protocol/items.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Item, Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { createSerial } from '../serial.ts'
import type { DropboxApi, DropboxFile } from './dropbox-api.ts'
import { isTagged } from './dropbox-errors.ts'
import { BLOCK_BYTES, blockHashes, hashOfBlocks } from './dropbox-hash.ts'
import type { DropboxPaths } from './dropbox-paths.ts'
import { createDropboxPublisher, type WholeWrite } from './dropbox-publish.ts'
import { fatal, unlessNotFound } from './faults.ts'
import { checkPart, merge } from './ranges.ts'
import { notWhole } from './refusals.ts'
import type { ByteRange, FileRef, Loan, WriteRef } from './storage.ts'

export interface DropboxWrites {
  begin(path: FilePath, size: number, pieceLength: number): Promise<WriteRef>
  put(write: WriteRef, offset: number, part: Uint8Array): Promise<void>
  written(write: WriteRef): Promise<readonly ByteRange[]>
  commit(write: WriteRef): Promise<Named>
  abort(write: WriteRef): Promise<void>
  /** In place of every part. */
  copyWhole(write: WriteRef, loan: Loan): Promise<void>
}

export interface DropboxWritesOptions {
  readonly api: DropboxApi
  readonly paths: DropboxPaths
  readonly store: Store
  readonly random: Random
  readonly pk: string
}

export type Named = FileRef & { readonly version: string }

/** Whole blocks. */
export const PART_BYTES = 8 * 1024 * 1024
const OFFSET_DIGITS = 16
const EMPTY = new Uint8Array(0)

export interface WriteRecord {
  /** Missing for an empty file, and once it is gone. */
  readonly session?: string
  /** The name it is about to get, in the storage. */
  readonly target?: string
  readonly done?: Named
}

interface Loaded {
  readonly item: Item
  readonly record: WriteRecord
}

/** A part that Dropbox has. Its item's key tells the offset. */
interface PartRecord {
  readonly length: number
  /** Hex, packed. */
  readonly blocks: string
  /** It waits in a file of its own. */
  readonly isAside?: boolean
}

interface Part extends PartRecord {
  readonly offset: number
}

export function createDropboxWrites({ api, paths, store, random, pk }: DropboxWritesOptions): DropboxWrites {
  const serial = createSerial()
  const publisher = createDropboxPublisher(api, paths)

  async function load(write: WriteRef): Promise<Loaded> {
    const item = /^[0-9a-f]{32}$/.test(write.id) ? await store.get(pk, keyOf(write)) : undefined
    return item ? { item, record: decodeRecord<WriteRecord>(item) } : gone()
  }

  /** @returns false when another instance changed it first */
  const save = (write: WriteRef, record: WriteRecord, expect: number): Promise<boolean> =>
    store.write([{ pk, sk: keyOf(write), expect, body: encodeRecord(record) }])

  const partsOf = (write: WriteRef): Promise<Part[]> =>
    readAll(store, pk, (item) => ({ offset: Number(item.sk.split('/').at(-1)), ...decodeRecord<PartRecord>(item) }), {
      prefix: partsKey(write),
    })

  /** The session, opened where there is none. */
  async function sessionOf(write: WriteRef): Promise<string> {
    const { item, record } = await load(write)
    if (record.session !== undefined) return record.session
    const session = await api.startSession()
    return (await save(write, { ...record, session }, item.version)) ? session : sessionOf(write)
  }

  /** Dropbox has forgotten it, or has lost a part of it. */
  async function startOver(write: WriteRef): Promise<never> {
    await removeAll(store, pk, partsKey(write))
    const { item, record } = await load(write)
    const { session: _, ...rest } = record
    await save(write, rest, item.version)
    throw fatal('gone', 'Dropbox has forgotten the upload: it begins anew.')
  }

  async function put(write: WriteRef, offset: number, part: Uint8Array): Promise<void> {
    checkPart(write.size, offset, part)
    checkWhole(write, offset, part)
    const { record } = await load(write)
    if (record.done || part.length === 0 || (await store.get(pk, partKey(write, offset)))) return
    const blocks = blockHashes(part)
    const closes = part.length % BLOCK_BYTES !== 0
    const isAside = closes && !(await isAllBut(write, part.length))
    const session = await sessionOf(write)
    if (isAside) await api.upload(paths.partial(write.id), part, hashOfBlocks(blocks), 'overwrite')
    else await append(write, session, { offset, bytes: part, contentHash: hashOfBlocks(blocks), isLast: closes })
    const body = encodeRecord({ length: part.length, blocks: toHex(blocks), ...(isAside && { isAside }) })
    await store.write([{ pk, sk: partKey(write, offset), expect: 'any', body }])
  }

  async function isAllBut(write: WriteRef, length: number): Promise<boolean> {
    return sum(await partsOf(write)) === write.size - length
  }

  /** One that is closed has got the last part already, and its reply was lost. */
  async function append(write: WriteRef, session: string, part: Parameters<DropboxApi['append']>[1]): Promise<void> {
    try {
      await api.append(session, part)
    } catch (error) {
      if (isTagged(error, 'closed') && part.isLast) return
      if (isTagged(error, 'not_found', 'closed')) await startOver(write)
      throw error
    }
  }

  async function close(write: WriteRef, session: string, parts: readonly Part[]): Promise<void> {
    const last = parts.at(-1)
    if (!last || (last.length % BLOCK_BYTES !== 0 && !last.isAside)) return
    const none = { offset: write.size, bytes: EMPTY, contentHash: hashOfBlocks(EMPTY) }
    await append(write, session, { ...(last.isAside ? await fromAside(write, last) : none), isLast: true })
  }

  async function fromAside(write: WriteRef, { offset, length, blocks }: Part) {
    const bytes = new Uint8Array(length)
    await api.download(paths.partial(write.id), { offset: 0, length }, bytes)
    if (toHex(blockHashes(bytes)) !== blocks) await startOver(write)
    return { offset, bytes, contentHash: hashOfBlocks(blockHashes(bytes)) }
  }

  async function commit(write: WriteRef): Promise<Named> {
    const { item, record } = await load(write)
    const parts = await partsOf(write)
    if (record.done) {
      if (parts.length > 0) await removeAll(store, pk, partsKey(write))
      return record.done
    }
    if (sum(parts) !== write.size) return doneOf(write)
    const contentHash = hashOfBlocks(concat(...parts.map(({ blocks }) => Buffer.from(blocks, 'hex'))))
    const { session, target } = record
    const ask = (path: string): Promise<DropboxFile> =>
      session === undefined
        ? api.upload(path, EMPTY, hashOfBlocks(EMPTY), 'add')
        : api.finish(session, write.size, path)
    const whole = { write, contentHash, target, ask, isBlind: session === undefined }
    if (session !== undefined && !(await publisher.isThere(whole))) await close(write, session, parts)
    return publish(whole, { item, record })
  }

  async function publish(whole: WholeWrite, { item, record }: Loaded): Promise<Named> {
    const { write } = whole
    let expect = item.version
    const file = await publisher.publish(whole, async (target) => {
      if (!(await save(write, { ...record, target }, expect++))) throw overtaken()
    })
    if (file === 'lost') return startOver(write)
    const done = { name: paths.nameOf(file.path), version: file.rev }
    // Before it counts as done: who repeats the commit looks no further then.
    await removeAside(write)
    await remember(write, done)
    await removeAll(store, pk, partsKey(write))
    return done
  }

  async function copyWhole(write: WriteRef, { reference, contentHash }: Loan): Promise<void> {
    const { item, record } = await load(write)
    if (record.done) return
    const ask = (path: string): Promise<DropboxFile> => api.saveReference(reference, path)
    await publish({ write, contentHash, target: record.target, ask, isBlind: true }, { item, record })
  }

  /** What another instance has committed meanwhile has no parts any more. */
  async function doneOf(write: WriteRef): Promise<Named> {
    const { record } = await load(write)
    if (record.done) return record.done
    throw notWhole()
  }

  async function remember(write: WriteRef, done: Named): Promise<void> {
    const { item, record } = await load(write)
    if (!(await save(write, { ...record, done }, item.version))) await remember(write, done)
  }

  async function removeAside(write: WriteRef): Promise<void> {
    await api.remove(paths.partial(write.id)).catch(unlessNotFound)
  }

  async function abort(write: WriteRef): Promise<void> {
    const found = await load(write).catch(unlessNotFound)
    if (!found || found.record.done) return
    await removeAside(write)
    await removeAll(store, pk, partsKey(write))
    await store.write([{ pk, sk: keyOf(write), expect: 'any' }])
  }

  return {
    async begin(path, size, pieceLength) {
      const write = { id: toHex(random.bytes(16)), name: path.join('/'), size }
      await save(write, size > 0 ? { session: await api.startSession() } : {}, 0)
      return pieceLength > PART_BYTES ? { ...write, partBytes: pieceLength } : write
    },
    put,
    async written(write) {
      const { record } = await load(write)
      return merge(record.done ? [{ offset: 0, length: write.size }] : await partsOf(write))
    },
    // One at a time: two files of one name get two names.
    commit: (write) => serial('commit', () => unlessOvertaken(() => commit(write))),
    copyWhole: (write, loan) => serial('commit', () => unlessOvertaken(() => copyWhole(write, loan))),
    abort: (write) => serial('commit', () => abort(write)),
  }
}

const OVERTAKEN_MOST = 16

/** Another instance commits the same write: whoever comes second finds what the first has done. */
async function unlessOvertaken<T>(commit: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await commit()
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'conflict' && error.members['overtaken'] === true)) throw error
      if (attempt === OVERTAKEN_MOST) throw new Problem('storage-unavailable', error.message, { retryAfterMs: 0 })
    }
  }
}

const overtaken = (): Problem => new Problem('conflict', 'Another instance commits the file.', { overtaken: true })

const keyOf = ({ id }: WriteRef): string => `write/${id}`
const partsKey = ({ id }: WriteRef): string => `part/${id}/`
const partKey = (write: WriteRef, offset: number): string =>
  partsKey(write) + String(offset).padStart(OFFSET_DIGITS, '0')
const sum = (parts: readonly PartRecord[]): number => parts.reduce((total, { length }) => total + length, 0)

/** @throws Problem `range-invalid` for what is no part */
function checkWhole({ size, partBytes = PART_BYTES }: WriteRef, offset: number, part: Uint8Array): void {
  if (offset % partBytes === 0 && part.length === Math.min(partBytes, size - offset)) return
  throw new Problem('range-invalid', `A part of this file has ${partBytes} bytes.`)
}

function gone(): never {
  throw new Problem('not-found', 'This write was aborted, or is not of this Dropbox.')
}
