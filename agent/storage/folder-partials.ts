/** The two files of each unfinished write of a linked folder, in `.raincheck-partial/`. */
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import { PARTIAL_FOLDER } from './names.ts'
import { codeOf, unless, type FolderFs, type Paths, type Place } from './folder-paths.ts'
import { gone, parseId } from './folder-publish.ts'
import type { Handles } from './handles.ts'
import type { WriteRef } from './storage.ts'

export interface Partials {
  /** @returns the id of the write */
  create(size: number): Promise<string>
  dataPath(write: WriteRef): string
  /** Whether the data is there, in full size. Its random name alone tells whose it is. */
  hasData(write: WriteRef): Promise<boolean>
  /** @throws Problem `not-found` when they were discarded */
  useData(write: WriteRef, action: (handle: FileHandle) => Promise<void>): Promise<void>
  addLine(write: WriteRef, line: string): Promise<void>
  /** @returns undefined when it was discarded */
  journal(write: WriteRef): Promise<string | undefined>
  /** Closes both files; what they hold stays. */
  release(write: WriteRef): Promise<void>
  discard(write: WriteRef): Promise<void>
}

type Kind = 'data' | 'journal'
const KINDS = ['data', 'journal'] as const
const ATTEMPTS = 3

export function createPartials(root: string, fs: FolderFs, paths: Paths, handles: Handles, random: Random): Partials {
  const folder = join(root, PARTIAL_FOLDER)
  const pathOf = (write: WriteRef, kind: Kind): string => join(folder, `${parseId(write).name}.${kind}`)

  async function create(size: number): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      try {
        const name = toHex(random.bytes(16))
        return await paths.inFolder([PARTIAL_FOLDER], (place) => createPair(fs, place, name, size))
      } catch (error) {
        // The last write that ends removes the folder, perhaps just as this one begins.
        if (codeOf(error) !== 'ENOENT' || attempt === ATTEMPTS) throw error
      }
    }
  }

  function use(path: string, flags: number, action: (handle: FileHandle) => Promise<void>): Promise<void> {
    return handles.use(path, async () => (await unless(paths.openExact(path, flags), 'ENOENT')) ?? gone(), action)
  }

  async function journal(write: WriteRef): Promise<string | undefined> {
    const handle = await unless(paths.openExact(pathOf(write, 'journal'), constants.O_RDONLY), 'ENOENT')
    try {
      return await handle?.readFile('utf8')
    } finally {
      await handle?.close()
    }
  }

  return {
    create,
    dataPath: (write) => pathOf(write, 'data'),
    async hasData(write) {
      const found = await unless(fs.lstat(pathOf(write, 'data'), { bigint: true }), 'ENOENT', 'ENOTDIR')
      return found?.isFile() === true && found.size === BigInt(write.size)
    },
    useData: (write, action) => use(pathOf(write, 'data'), constants.O_RDWR, action),
    addLine: (write, line) =>
      use(pathOf(write, 'journal'), constants.O_WRONLY | constants.O_APPEND, (handle) => handle.appendFile(line)),
    journal,
    async release(write) {
      for (const kind of KINDS) await handles.drop(pathOf(write, kind))
    },
    async discard(write) {
      for (const kind of KINDS) await unless(fs.unlink(pathOf(write, kind)), 'ENOENT')
      await unless(fs.rmdir(folder), 'ENOTEMPTY', 'EEXIST', 'ENOENT')
    },
  }
}

/** @returns the id of the write: by the inode the file is known under the name that it gets */
async function createPair(fs: FolderFs, place: Place, name: string, size: number): Promise<string> {
  const journal = await fs.open(place.at(`${name}.journal`), 'wx')
  await journal.close()
  const data = await fs.open(place.at(`${name}.data`), 'wx')
  try {
    await data.truncate(size)
    return `${name}-${(await data.stat({ bigint: true })).ino}`
  } finally {
    await data.close()
  }
}
