/** Reads of a linked folder: what was asked for in full, of the very version that is pinned, or an error. */
import type { BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { FilePath } from '../../protocol/file-path.ts'
import type { Paths } from './folder-paths.ts'
import type { Handles } from './handles.ts'
import { bufferFor, outOfRange } from './ranges.ts'
import { changed } from './refusals.ts'
import type { ByteRange, FileRef, FileStat } from './storage.ts'

export interface FolderReads {
  stat(path: FilePath): Promise<FileStat>
  read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>
}

export function createFolderReads(paths: Paths, handles: Handles): FolderReads {
  async function read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array> {
    const buffer = bufferFor(range, into)
    const open = (): Promise<FileHandle> => paths.openFile(paths.parse(file.name))
    const { version } = file
    if (version === undefined) return closing(await open(), (handle) => readExactly(handle, undefined, range, buffer))
    // Under the version too: a handle goes on to lead to a file that was replaced since.
    const key = `${version}/${file.name}`
    try {
      return await handles.use(key, open, (handle) => readExactly(handle, version, range, buffer))
    } catch (error) {
      await handles.drop(key)
      throw error
    }
  }
  return {
    read,
    stat: async (path) =>
      closing(await paths.openFile(path), async (handle) => statOf(await handle.stat({ bigint: true }))),
  }
}

/** Whatever changes the content changes its size, a time or the inode. */
export const statOf = (stat: BigIntStats): FileStat => ({
  size: Number(stat.size),
  version: `${stat.size}-${stat.mtimeNs}-${stat.ctimeNs}-${stat.ino}`,
  modifiedMs: Number(stat.mtimeMs),
})

async function closing<T>(handle: FileHandle, action: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await action(handle)
  } finally {
    await handle.close()
  }
}

/** The version is compared after the bytes were read: whatever changed before or meanwhile is seen. */
async function readExactly(
  handle: FileHandle,
  version: string | undefined,
  { offset, length }: ByteRange,
  buffer: Uint8Array,
): Promise<Uint8Array> {
  const pinned = version ?? statOf(await handle.stat({ bigint: true })).version
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  const after = statOf(await handle.stat({ bigint: true }))
  if (after.version !== pinned) throw changed()
  return done === length && offset + length <= after.size ? buffer : outOfRange()
}
