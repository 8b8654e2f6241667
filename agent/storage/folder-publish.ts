/** How a finished file of a linked folder gets its name: whole, at once, and never one that is taken. */
import { join } from 'node:path'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { codeOf, sameFile, syncFolder, unless, type FolderFs, type Paths, type Place } from './folder-paths.ts'
import { numberedPaths, takeName } from './names.ts'
import type { WriteRef } from './storage.ts'

/** Random id, and the inode of `.data`, by which a repeated commit knows its file. */
export const WRITE_ID = /^([0-9a-f]{32})-([0-9]+)$/
/** A commit that was done lies under one of the first names, unless somebody moved it. */
const NUMBERS_TO_FIND = 100
/** File systems without hard links. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

export interface Publisher {
  /** @param data where the bytes lie @returns the path it got */
  publish(write: WriteRef, data: string): Promise<FilePath>
  /** Where a commit that was cut short, or its answer lost, has put the file. */
  find(write: WriteRef): Promise<FilePath | undefined>
}

export function createPublisher(root: string, fs: FolderFs, paths: Paths): Publisher {
  async function publishIn(place: Place, write: WriteRef, data: string): Promise<FilePath> {
    const whole = await fs.lstat(data, { bigint: true })
    return takeName(write.name, async (candidate) => {
      const path = candidate.split('/')
      const target = place.at(path.at(-1) as string)
      const there = await unless(fs.lstat(target, { bigint: true }), 'ENOENT')
      // A try before may have linked it, and gone no further.
      if (!(there ? sameFile(there, whole) : await linkAs(data, target))) return undefined
      await syncFolder(place.handle)
      return path
    })
  }

  /** @returns false when the name is taken */
  async function linkAs(data: string, target: string): Promise<boolean> {
    try {
      await fs.link(data, target)
      return true
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false
      if (!NO_LINKS.includes(codeOf(error) ?? '')) throw error
      return renameAs(data, target)
    }
  }

  /** Reserves the name with an empty file, which a crash may leave behind, and moves the data over it. */
  async function renameAs(data: string, target: string): Promise<boolean> {
    const reserved = await unless(fs.open(target, 'wx'), 'EEXIST')
    if (!reserved) return false
    await reserved.close()
    await fs.rename(data, target)
    return true
  }

  async function isOurs(write: WriteRef, target: string): Promise<boolean> {
    const found = await unless(fs.lstat(target, { bigint: true }), 'ENOENT', 'ENOTDIR')
    return found !== undefined && found.ino === parseId(write).inode && found.size === BigInt(write.size)
  }

  async function find(write: WriteRef): Promise<FilePath | undefined> {
    for (const candidate of numberedPaths(write.name, NUMBERS_TO_FIND)) {
      const path = candidate.split('/')
      if (await isOurs(write, join(root, ...path))) return path
    }
    return undefined
  }

  return {
    publish: (write, data) => paths.inFolder(folderOf(write), (place) => publishIn(place, write, data)),
    find,
  }
}

const folderOf = (write: WriteRef): FilePath => write.name.split('/').slice(0, -1)

/** @throws Problem `not-found` for an id that is none of ours */
export function parseId(write: WriteRef): { name: string; inode: bigint } {
  const [, name, inode] = WRITE_ID.exec(write.id) ?? []
  return name !== undefined && inode !== undefined ? { name, inode: BigInt(inode) } : gone()
}

export function gone(): never {
  throw new Problem('not-found', 'This write was aborted, or is not of this folder.')
}
