/**
 * Ways into a linked folder that cannot lead out of it. Node has no `openat`, so a path is opened first and what was
 * opened is checked then: a link that is swapped in between is noticed, since the check asks the open file itself. On
 * Linux `/proc/self/fd` says where it really lies, and names below an open folder are reached through it; elsewhere the
 * real path must lead to the same inode.
 */
import { constants, readlinkSync, type BigIntStats } from 'node:fs'
import * as nodeFs from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { sep } from 'node:path'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { parsePath, PARTIAL_FOLDER } from './names.ts'
import { noFolder } from './refusals.ts'

export type FolderFs = Pick<
  typeof nodeFs,
  'link' | 'lstat' | 'mkdir' | 'open' | 'readdir' | 'realpath' | 'rename' | 'rmdir' | 'stat' | 'statfs' | 'unlink'
> & {
  /** Answered from memory where it matters, under /proc. */
  readonly readlinkSync: (path: string) => string
}

export const realFs: FolderFs = { ...nodeFs, readlinkSync }

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code

/** `undefined` where the operating system answered with one of the codes. */
export async function unless<T>(result: Promise<T>, ...codes: readonly string[]): Promise<T | undefined> {
  try {
    return await result
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined
    throw error
  }
}

export const isThere = async (found: Promise<unknown>): Promise<boolean> =>
  (await unless(
    found.then(() => true),
    'ENOENT',
  )) === true

/** An open folder. `at(name)` is a path that leads to that name in this very folder, wherever it is moved meanwhile. */
export interface Place {
  readonly handle: FileHandle
  at(name: string): string
}

export interface Paths {
  /** @throws Problem `path-outside` */
  parse(name: string): FilePath
  /** A regular file, to read. The caller closes it. @throws Problem `not-found`, `path-outside` */
  openFile(path: FilePath): Promise<FileHandle>
  /** @param flags beside which no link is followed @throws Problem `path-outside` */
  openExact(path: string, flags: number): Promise<FileHandle>
  /** Runs an action in a folder, which is made where it is missing. @throws Problem `conflict` when a file bears its name */
  inFolder<T>(path: FilePath, action: (place: Place) => Promise<T>): Promise<T>
  /** Where the path really leads. @throws Problem `path-outside` */
  real(path: FilePath): Promise<string>
  isInside(realPath: string): boolean
}

/** @param root a real path */
export function createPaths(root: string, fs: FolderFs): Paths {
  const inside = root.endsWith(sep) ? root : root + sep
  const isInside = (path: string): boolean => path === root || path.startsWith(inside)
  const plain = (path: FilePath): string => [root, ...path].join(sep)

  async function openInside(path: string, flags: number): Promise<FileHandle> {
    const handle = await fs.open(path, flags)
    return orClose(handle, async () => (isInside(await placeOf(handle, path, fs)) ? handle : outside(path)))
  }

  async function openFile(path: FilePath): Promise<FileHandle> {
    // Without O_NONBLOCK a named pipe would keep us waiting for a writer.
    const handle = await openInside(plain(path), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    return orClose(handle, async () => {
      if ((await handle.stat()).isFile()) return handle
      throw new Problem('not-found', `${JSON.stringify(path.join('/'))} is no file.`)
    })
  }

  async function placeIn(path: string): Promise<Place> {
    const handle = await openInside(path, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0))
    const anchor = linkOf(handle, fs) === undefined ? path : anchorOf(handle)
    return { handle, at: (name) => `${anchor}${sep}${name}` }
  }

  async function enter(place: Place, name: string): Promise<Place> {
    const path = place.at(name)
    const made =
      (await unless(
        fs.mkdir(path).then(() => true),
        'EEXIST',
      )) === true
    // A new folder is there after a power cut only once its parent is on disk.
    if (made && name !== PARTIAL_FOLDER) await syncFolder(place.handle)
    return placeIn(path).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOTDIR') throw error
      throw noFolder(name)
    })
  }

  async function inFolder<T>(path: FilePath, action: (place: Place) => Promise<T>): Promise<T> {
    let place = await placeIn(root)
    try {
      for (const name of path) {
        const next = await enter(place, name)
        await place.handle.close()
        place = next
      }
      return await action(place)
    } finally {
      await place.handle.close()
    }
  }

  return {
    parse: parsePath,
    openFile,
    openExact: (path, flags) => openInside(path, flags | (constants.O_NOFOLLOW ?? 0)),
    inFolder,
    async real(path) {
      const real = await fs.realpath(plain(path))
      return isInside(real) ? real : outside(plain(path))
    },
    isInside,
  }
}

/** Where an open file lies, whatever its path leads to by now. */
async function placeOf(handle: FileHandle, opened: string, fs: FolderFs): Promise<string> {
  const known = linkOf(handle, fs)
  if (known !== undefined) return known
  const path = await fs.realpath(opened)
  const [here, there] = await Promise.all([handle.stat({ bigint: true }), fs.lstat(path, { bigint: true })])
  return sameFile(here, there) ? path : outside(opened)
}

function linkOf(handle: FileHandle, fs: FolderFs): string | undefined {
  try {
    return fs.readlinkSync(anchorOf(handle))
  } catch {
    return undefined
  }
}

async function orClose<T>(handle: FileHandle, check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    await handle.close()
    throw error
  }
}

const anchorOf = (handle: FileHandle): string => `/proc/self/fd/${handle.fd}`

export const sameFile = (a: BigIntStats, b: BigIntStats): boolean => a.ino === b.ino && a.dev === b.dev

/** Some file systems cannot sync a folder; they have no other way either. */
export async function syncFolder(handle: FileHandle): Promise<void> {
  await unless(handle.sync(), 'EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM')
}

function outside(path: string): never {
  throw new Problem(
    'path-outside',
    `${JSON.stringify(path.slice(path.lastIndexOf(sep) + 1))} leads out of the linked folder.`,
  )
}
