/**
 * A folder of a Google Drive as a storage. A version is the head revision's id. With the scope `drive.file` the agent sees
 * what it made, and what the owner opened with it; nothing else of the Drive.
 */
import type { Clock } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { createDriveApi, SESSION_STATUSES, type DriveApi, type DriveFile } from './drive-api.ts'
import { createDriveErrors, FileCapped } from './drive-errors.ts'
import { createDriveList } from './drive-list.ts'
import { createDrivePaths, type DrivePaths } from './drive-paths.ts'
import { createDriveWrites, PART_BYTES } from './drive-writes.ts'
import { parked, unlessNotFound } from './faults.ts'
import { freeName, parsePath } from './names.ts'
import { createAccess } from './oauth.ts'
import { driveOAuth } from './oauth-providers.ts'
import type { DriveSettings, DriverContext } from './open.ts'
import { createPacer } from './pacer.ts'
import { createProviderCalls } from './provider-call.ts'
import { bufferFor, checkSize, outOfRange } from './ranges.ts'
import { changed, checkParents, checkRoom, type Kind } from './refusals.ts'
import type { ByteRange, FileRef, FileStat, Storage } from './storage.ts'

const DEFAULT_FOLDER = 'Raincheck'
/** Drive's, a minute and user. */
const UNITS_PER_MINUTE = 325_000
/** 5 TB. */
const SIZE_MOST = 5 * 10 ** 12

/** Asks nothing yet. */
export async function openDrive(settings: DriveSettings, context: DriverContext): Promise<Storage> {
  const { environment, store, hosts, link = '', secret, renewSecret } = context
  const { clientId, folder = DEFAULT_FOLDER } = settings
  const root = parsePath(folder)
  const pk = `drive/${link}`
  const pacer = createPacer(context, { account: `drive/${clientId}`, unitsPerMinute: UNITS_PER_MINUTE })
  const errors = createDriveErrors()
  const access = createAccess({ environment, provider: driveOAuth(hosts), clientId, secret, renewSecret })
  const calls = createProviderCalls({
    environment,
    name: 'Drive',
    access,
    pacer,
    alsoGood: SESSION_STATUSES,
    problemIn: (refusal) => errors.problemIn(refusal),
    onGood: (url) => errors.answered(url),
  })
  const api = createDriveApi(hosts.googleApi, calls)
  const paths = createDrivePaths(api, store, environment.clock, pk, root)
  const writes = createDriveWrites({ api, paths, store, secrets: context.secrets, random: environment.random, pk })
  const reads = createReads(api, paths, environment.clock)
  return {
    writes: 'in-order',
    partBytes: PART_BYTES,
    wholeParts: true,
    list: createDriveList(api, paths),
    stat: (file) => reads.stat(file),
    read: (file, range, into) => reads.read(file, range, into),
    async begin(name, size, pieceLength = PART_BYTES) {
      const path = parsePath(name.normalize('NFC'))
      checkSize(size)
      if (size > SIZE_MOST) throw new Problem('too-large', 'Drive takes files of 5 TB at most.')
      checkRoom('Drive', size, await api.quota())
      await checkParents(path, (parent) => kindOf(paths, parent))
      return writes.begin(path, size, pieceLength)
    },
    put: (write, offset, part) => writes.put(write, offset, part),
    written: (write) => writes.written(write),
    commit: (write) => writes.commit(write),
    abort: (write) => writes.abort(write),
    async remove(file) {
      const found = await reads.find(file)
      if (!found) return
      if (file.version !== undefined && found.version !== file.version) throw changed()
      await api.remove(found.id)
    },
    async freeFolder(name, taken = () => false) {
      const path = parsePath(name)
      const parent = await paths.folder(path.slice(0, -1))
      const isTaken = async (candidate: string): Promise<boolean> =>
        taken([...path.slice(0, -1), candidate].join('/')) ||
        (parent !== undefined && (await paths.named(parent, candidate)).length > 0)
      return [...path.slice(0, -1), await freeName(path.at(-1) as string, isTaken)].join('/')
    },
    quota: () => api.quota(),
    account: () => api.account(),
    close: async () => pacer.close(),
  }
}

interface Reads {
  find(file: FileRef): Promise<DriveFile | undefined>
  stat(file: FileRef): Promise<FileStat & { readonly id: string }>
  read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>
}

function createReads(api: DriveApi, paths: DrivePaths, clock: Clock): Reads {
  /** By id, until when. */
  const capped = new Map<string, FileCapped>()

  async function find({ name, id }: FileRef): Promise<DriveFile | undefined> {
    const path = parsePath(name)
    if (id === undefined) return paths.find(path)
    const file = await api.get(id).catch(unlessNotFound)
    return file && !file.trashed && file.size !== undefined ? file : undefined
  }

  async function there(file: FileRef): Promise<DriveFile> {
    const found = await find(file)
    if (found) return found
    throw new Problem('not-found', `There is no file ${JSON.stringify(file.name)} in the Drive.`)
  }

  /** One file's cap is told as the account's would be, and Drive is not asked again before it ends. */
  async function download(id: string, range: ByteRange, into: Uint8Array): Promise<undefined> {
    const known = capped.get(id)
    if (known && known.untilMs > clock.now()) throw parked(known.message, known.untilMs)
    try {
      await api.download(id, range, into)
    } catch (error) {
      if (!(error instanceof FileCapped)) throw error
      capped.set(id, error)
      throw parked(error.message, error.untilMs)
    }
  }

  /** The version is looked at after the bytes came: whatever changed before or meanwhile is seen. */
  async function read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array> {
    parsePath(file.name)
    const buffer = bufferFor(range, into)
    const before = file.id === undefined ? await there(file) : undefined
    const { id, version } = { ...file, id: before?.id ?? (file.id as string) }
    const pinned = version ?? before?.version
    const refused = range.length > 0 ? await download(id, range, buffer).catch(unlessAbsent) : undefined
    const after = await there({ name: file.name, id })
    if (pinned !== undefined && after.version !== pinned) throw changed()
    if (refused) throw refused
    if (range.offset + range.length > (after.size ?? 0)) outOfRange()
    return buffer
  }

  return {
    find,
    read,
    async stat(file) {
      const { id, size = 0, version, modifiedMs } = await there(file)
      return { id, size, version, modifiedMs }
    },
  }
}

/** A missing file or range may mean that the version changed: the version check after the read decides. */
function unlessAbsent(error: unknown): Problem {
  if (error instanceof Problem && (error.code === 'not-found' || error.code === 'range-invalid')) return error
  throw error
}

async function kindOf(paths: DrivePaths, path: FilePath): Promise<Kind> {
  if ((await paths.folder(path)) !== undefined) return 'folder'
  return (await paths.find(path)) && 'file'
}
