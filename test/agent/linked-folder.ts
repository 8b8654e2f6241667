/** A folder in a test's hands, opened as a storage, beside another that it must not lead to. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openFolder } from '../../agent/storage/folder.ts'
import { realFs, type FolderFs } from '../../agent/storage/folder-paths.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import type { Random } from '../../protocol/environment.ts'
import { handClock } from './hand-clock.ts'

export const random: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) }

export interface LinkedFolder {
  /** Holds `root` and `outside`, where the file `secret` lies. */
  readonly base: string
  readonly root: string
  readonly storage: Storage
  /** Opens it once more, as after a crash. */
  open(fs?: FolderFs): Promise<Storage>
  /** Closes all that was opened, and removes the folder. */
  close(): Promise<void>
}

/** @param usual what it is opened with unless told otherwise */
export async function linkFolder(usual: FolderFs = realFs): Promise<LinkedFolder> {
  const base = await mkdtemp(join(tmpdir(), 'raincheck-folder-'))
  const root = join(base, 'root')
  await mkdir(root)
  await mkdir(join(base, 'outside'))
  await writeFile(join(base, 'outside/secret'), 'secret')
  const opened: Storage[] = []
  async function open(fs = usual): Promise<Storage> {
    const storage = await openFolder(root, { clock: handClock(), random }, fs)
    opened.push(storage)
    return storage
  }
  return {
    base,
    root,
    storage: await open(),
    open,
    async close() {
      await Promise.all(opened.map((storage) => storage.close()))
      await rm(base, { recursive: true, force: true })
    },
  }
}

export async function everythingIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).toSorted()
}

export async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => !entry.isDirectory())
  return files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).toSorted()
}
