/**
 * Unfinished files of a Drive. A write is one resumable session, strictly in order, into `.raincheck-partial/` under a name
 * of its own; the commit moves the whole under its name, in one request. Ids are fetched before anything is made with them, so
 * that nothing is made twice.
 *
 * What a crash means, at each step:
 * - `put`: Drive says how many bytes it has, and the next part begins there.
 * - a session that Drive has forgotten (a week, or 404): `written` says that nothing is there, and the next part opens another.
 * - `commit`: the name is saved before the move. Repeated, it finds the file by its id, moved or not.
 */
import { toHex } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Item, Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { createSerial } from '../serial.ts'
import type { DriveApi, DriveFile, SessionState } from './drive-api.ts'
import type { DrivePaths } from './drive-paths.ts'
import { fatal, unlessNotFound } from './faults.ts'
import { PARTIAL_FOLDER, takeName } from './names.ts'
import { checkPart, merge } from './ranges.ts'
import { notWhole } from './refusals.ts'
import type { Secrets } from './secrets.ts'
import type { ByteRange, FileRef, WriteRef } from './storage.ts'

export interface DriveWrites {
  begin(path: FilePath, size: number, pieceLength: number): Promise<WriteRef>
  put(write: WriteRef, offset: number, part: Uint8Array): Promise<void>
  written(write: WriteRef): Promise<readonly ByteRange[]>
  commit(write: WriteRef): Promise<FileRef & { readonly version: string }>
  abort(write: WriteRef): Promise<void>
}

export interface DriveWritesOptions {
  readonly api: DriveApi
  readonly paths: DrivePaths
  readonly store: Store
  readonly secrets: Secrets
  readonly random: Random
  readonly pk: string
}

/** A multiple of 256 KiB, which a session demands. */
export const PART_BYTES = 8 * 1024 * 1024
const WRITE_PROPERTY = 'raincheckWrite'

interface WriteRecord {
  readonly file: string
  /** The session's address, sealed: who knows it can upload. Missing for an empty file, and once it is gone. */
  readonly session?: string
  /** Where the unfinished file lies. */
  readonly partial: string
  /** The name it is about to get, or has. */
  readonly target?: string
}

export function createDriveWrites({ api, paths, store, secrets, random, pk }: DriveWritesOptions): DriveWrites {
  const serial = createSerial()
  /** Where each session stands, as far as this instance knows. */
  const received = new Map<string, number>()

  async function load(write: WriteRef): Promise<{ item: Item; record: WriteRecord }> {
    const item = /^[0-9a-f]{32}$/.test(write.id) ? await store.get(pk, keyOf(write)) : undefined
    return item ? { item, record: decodeRecord<WriteRecord>(item) } : gone()
  }

  const sealName = ({ id }: WriteRef): string => `${pk}/${id}`

  /** @returns its address, and the same sealed */
  async function openSession(write: WriteRef, record: Pick<WriteRecord, 'file' | 'partial'>) {
    const address = await api.openSession(partialOf(write, record), write.size)
    return { address, session: await secrets.seal(sealName(write), address) }
  }

  const addressOf = (write: WriteRef, session: string): Promise<string> => secrets.open(sealName(write), session)

  /** @returns false when another instance changed it first */
  const save = (write: WriteRef, record: WriteRecord, expect: number): Promise<boolean> =>
    store.write([{ pk, sk: keyOf(write), expect, body: encodeRecord(record) }])

  async function begin(path: FilePath, size: number, pieceLength: number): Promise<WriteRef> {
    const write = { id: toHex(random.bytes(16)), name: path.join('/'), size }
    const record = { file: await api.newId(), partial: await paths.ensureFolder([PARTIAL_FOLDER]) }
    const opened = size > 0 ? await openSession(write, record) : undefined
    await save(write, { ...record, ...(opened && { session: opened.session }) }, 0)
    return pieceLength > PART_BYTES ? { ...write, partBytes: pieceLength } : write
  }

  async function put(write: WriteRef, offset: number, part: Uint8Array): Promise<void> {
    checkPart(write.size, offset, part)
    const session = await sessionOf(write, offset)
    const end = offset + part.length
    if (session === undefined || part.length === 0 || (received.get(write.id) ?? 0) >= end) return
    for (let before = -1; ;) {
      const at = received.get(write.id)
      const known = at === undefined || at < offset ? undefined : at
      const state = await api.sendChunk(session, { size: write.size, offset, bytes: part, received: known })
      const now = await standing(write, state)
      if (now === undefined || now < offset) throw forgotten()
      if (now >= end) return
      if (now <= before)
        throw new Problem('storage-unavailable', 'Drive takes no more of the upload.', { retryAfterMs: 0 })
      before = now
    }
  }

  /** Opens another where Drive has forgotten the first. @returns undefined when the file is whole */
  async function sessionOf(write: WriteRef, offset: number): Promise<string | undefined> {
    const { item, record } = await load(write)
    if (record.target !== undefined) return undefined
    if (record.session !== undefined) return addressOf(write, record.session)
    if (await whole(write, record)) return undefined
    if (offset > 0) throw forgotten()
    const { address, session } = await openSession(write, record)
    received.set(write.id, 0)
    if (await save(write, { ...record, session }, item.version)) return address
    await api.cancelSession(address)
    return sessionOf(write, offset)
  }

  /** Remembers where the session stands. @returns undefined where it is gone, and the file is not there */
  async function standing(write: WriteRef, state: SessionState): Promise<number | undefined> {
    const at = state.kind === 'open' ? state.received : state.kind === 'done' ? write.size : await restart(write)
    if (at === undefined) received.delete(write.id)
    else received.set(write.id, at)
    return at
  }

  /** A session is forgotten, too, some time after its file was made. */
  async function restart(write: WriteRef): Promise<number | undefined> {
    const { item, record } = await load(write)
    if (await whole(write, record)) return write.size
    const { session: _, ...rest } = record
    await save(write, rest, item.version)
    return undefined
  }

  /** In the trash as well, where its owner may have put what is unfinished: the commit takes it out. */
  async function whole(write: WriteRef, { file }: WriteRecord): Promise<DriveFile | undefined> {
    const found = await api.get(file).catch(unlessNotFound)
    return found?.size === write.size ? found : undefined
  }

  async function written(write: WriteRef): Promise<readonly ByteRange[]> {
    const { record } = await load(write)
    if (record.target !== undefined) return merge([{ offset: 0, length: write.size }])
    if (record.session === undefined)
      return (await whole(write, record)) ? merge([{ offset: 0, length: write.size }]) : []
    const at = await standing(write, await api.askSession(await addressOf(write, record.session), write.size))
    return merge([{ offset: 0, length: at ?? 0 }])
  }

  async function finished(write: WriteRef, record: WriteRecord): Promise<DriveFile> {
    if (write.size === 0) return api.create(partialOf(write, record))
    const found = await whole(write, record)
    if (found) return found
    if (record.target !== undefined) return gone()
    throw notWhole()
  }

  async function commit(write: WriteRef): Promise<FileRef & { readonly version: string }> {
    const { item, record } = await load(write)
    const file = await finished(write, record)
    if (!file.parents.includes(record.partial)) return refTo(record.target ?? write.name, file)
    const path = write.name.split('/')
    const folder = await paths.ensureFolder(path.slice(0, -1))
    const name = await freeName(folder, path.at(-1) as string, file.id)
    const target = [...path.slice(0, -1), name].join('/')
    // Another instance has chosen a name meanwhile, or this one has, before it was cut short.
    if (record.target !== target && !(await save(write, { ...record, target }, item.version))) return commit(write)
    const moved = await api.move(file.id, { name, from: record.partial, to: folder })
    received.delete(write.id)
    return refTo(target, moved)
  }

  const freeName = (folder: string, name: string, id: string): Promise<string> =>
    takeName(name, async (candidate) => {
      const bearers = await paths.named(folder, candidate)
      return bearers.every((file) => file.id === id) ? candidate : undefined
    })

  async function abort(write: WriteRef): Promise<void> {
    const found = await load(write).catch(unlessNotFound)
    if (!found) return
    const { file, partial, session } = found.record
    if (session !== undefined) await api.cancelSession(await addressOf(write, session))
    const left = await api.get(file).catch(unlessNotFound)
    if (left && !left.parents.includes(partial)) return
    if (left) await api.remove(file)
    await store.write([{ pk, sk: keyOf(write), expect: 'any' }])
    received.delete(write.id)
  }

  return {
    begin,
    put: (write, offset, part) => serial(write.id, () => put(write, offset, part)),
    written: (write) => serial(write.id, () => written(write)),
    // One at a time: two files of one name get two names.
    commit: (write) => serial('commit', () => serial(write.id, () => commit(write))),
    abort: (write) => serial(write.id, () => abort(write)),
  }
}

const keyOf = ({ id }: WriteRef): string => `write/${id}`

/** Under a name of its own until it is whole. */
const partialOf = ({ id }: WriteRef, { file, partial }: Pick<WriteRecord, 'file' | 'partial'>) => ({
  id: file,
  name: id,
  parent: partial,
  properties: { [WRITE_PROPERTY]: id },
})

const refTo = (name: string, { id, version }: DriveFile): FileRef & { readonly version: string } => ({
  name,
  id,
  version,
})

const forgotten = (): Problem => fatal('gone', 'Drive has forgotten the upload: it begins anew.')

function gone(): never {
  throw new Problem('not-found', 'This write was aborted, or is not of this Drive.')
}
