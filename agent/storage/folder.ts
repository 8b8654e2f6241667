/**
 * A folder of this machine as a storage. A version is size, times and inode: whatever changes the content changes it.
 * Nothing is read or written outside the folder (`folder-paths.ts`); how writes survive a crash is in `folder-writes.ts`.
 */
import { isAbsolute, join } from 'node:path'
import type { Environment } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { unlessNotFound } from './faults.ts'
import { createFolderList } from './folder-list.ts'
import { codeOf, createPaths, isThere, realFs, unless, type FolderFs, type Paths } from './folder-paths.ts'
import { createFolderReads, statOf, type FolderReads } from './folder-reads.ts'
import { createFolderWrites } from './folder-writes.ts'
import { createHandles } from './handles.ts'
import { freeName } from './names.ts'
import { checkSize } from './ranges.ts'
import { changed, checkParents, type Kind } from './refusals.ts'
import type { FileRef, Storage } from './storage.ts'

const PART_BYTES = 4 * 1024 * 1024
const HANDLES = { most: 64, idleMs: 30_000 }
const RETRY_MS = 5_000

/**
 * @param folder absolute path of a folder that exists
 * @param fs for tests: Node's own, or one that fails
 * @throws Problem `not-found` when there is no such folder
 */
export async function openFolder(
  folder: string,
  { clock, random }: Pick<Environment, 'clock' | 'random'>,
  fs: FolderFs = realFs,
): Promise<Storage> {
  const root = await checkFolder(folder, fs)
  const paths = createPaths(root, fs)
  const handles = createHandles(clock, HANDLES)
  const writes = createFolderWrites(root, fs, paths, handles, random)
  const reads = createFolderReads(paths, handles)
  const listFiles = createFolderList(fs, paths, async (path) => {
    const found = await fs.lstat(path, { bigint: true })
    return found.isFile() ? statOf(found) : undefined
  })

  /** Everything that leaves the driver is a Problem. */
  async function guarded<T>(way: 'read' | 'write', action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (error) {
      if (error instanceof Problem) throw error
      const linked = await fs.stat(root).catch(() => undefined)
      throw linked?.isDirectory() ? folderProblem(error, way) : unavailable('The linked folder is not there.')
    }
  }

  return {
    writes: 'any-order',
    partBytes: PART_BYTES,
    wholeParts: false,
    list: (query = {}) =>
      guarded('read', () =>
        listFiles(query.under === undefined ? [] : paths.parse(query.under), query.cursor?.split('/')),
      ).catch(noSuchFolder),
    stat: (file) => guarded('read', () => reads.stat(paths.parse(file.name))),
    read: (file, range, into) => guarded('read', () => reads.read(file, range, into)),
    begin: (name, size) =>
      guarded('write', async () => {
        const path = paths.parse(name.normalize('NFC'))
        await checkParents(path, (parent) => kindOf(parent, paths, fs))
        await checkSpace(root, size, fs)
        return writes.begin(path, size)
      }),
    put: (write, offset, part) => guarded('write', () => writes.put(write, offset, part)),
    written: (write) => guarded('read', () => writes.written(write)),
    commit: (write) =>
      guarded('write', async () => {
        const path = await writes.commit(write)
        return { name: path.join('/'), version: (await reads.stat(path)).version }
      }),
    abort: (write) => guarded('write', () => writes.abort(write)),
    remove: (file) => guarded('write', () => remove(file, paths, reads, fs)).catch(unlessNotFound),
    freeFolder: (name, taken = () => false) =>
      guarded('read', () =>
        freeName(
          paths.parse(name).join('/'),
          async (candidate) => taken(candidate) || isThere(fs.lstat(join(root, candidate))),
        ),
      ),
    quota: () =>
      guarded('read', async () => {
        const { blocks, bfree, bsize } = await fs.statfs(root)
        return { total: blocks * bsize, used: (blocks - bfree) * bsize }
      }),
    close: () => handles.close(),
  }
}

/** @returns its real path */
async function checkFolder(folder: string, fs: FolderFs): Promise<string> {
  if (!isAbsolute(folder)) throw new Problem('bad-request', 'The path of a linked folder must be absolute.')
  try {
    const root = await fs.realpath(folder)
    if ((await fs.stat(root)).isDirectory()) return root
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw folderProblem(error, 'read')
  }
  throw new Problem('not-found', `There is no folder ${JSON.stringify(folder)}.`)
}

async function remove(file: FileRef, paths: Paths, reads: FolderReads, fs: FolderFs): Promise<void> {
  const path = paths.parse(file.name)
  const folder = path.slice(0, -1)
  if (file.version !== undefined && (await reads.stat(path)).version !== file.version) throw changed()
  await paths.real(folder)
  await paths.inFolder(folder, (place) => fs.unlink(place.at(path.at(-1) as string)))
}

async function kindOf(path: FilePath, paths: Paths, fs: FolderFs): Promise<Kind> {
  const real = await unless(paths.real(path), 'ENOENT')
  return real === undefined ? undefined : (await fs.stat(real)).isDirectory() ? 'folder' : 'file'
}

async function checkSpace(root: string, size: number, fs: FolderFs): Promise<void> {
  checkSize(size)
  const { bavail, bsize } = await fs.statfs(root)
  if (bavail * bsize < size) {
    throw new Problem('storage-full', `The folder's disk has ${bavail * bsize} bytes left, the file needs ${size}.`)
  }
}

/** What the operating system says, as the interface names it. */
export function folderProblem(error: unknown, way: 'read' | 'write'): Problem {
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new Problem('storage-full', 'The disk of the linked folder is full.')
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new Problem('not-found', 'There is no such file in the linked folder.')
  if (code === 'ELOOP') return new Problem('path-outside', 'The path goes through a symbolic link that leads nowhere.')
  if (code === 'ENAMETOOLONG') return new Problem('bad-request', 'The name is too long for the linked folder.')
  if (code === 'EFBIG') return new Problem('too-large', 'The file is too large for the disk of the linked folder.')
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
  if (denied && way === 'write') return new Problem('storage-read-only', 'The linked folder cannot be written.')
  if (denied) return new Problem('forbidden', 'The linked folder does not let us read this file.')
  return unavailable(`The linked folder did not answer (${code ?? 'unknown fault'}).`)
}

const unavailable = (detail: string): Problem => new Problem('storage-unavailable', detail, { retryAfterMs: RETRY_MS })

function noSuchFolder(error: unknown) {
  if (error instanceof Problem && error.code === 'not-found') return { files: [], refused: [] }
  throw error
}
