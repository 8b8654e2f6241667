/** A copy of what is shared, beside it in the same storage: the owner changes the files, and the copy stays for sale. */
import { Problem } from '../../protocol/problem.ts'
import { copyFile } from '../copy/copy-file.ts'
import { unlessNotFound } from '../storage/faults.ts'
import type { Storage } from '../storage/storage.ts'
import type { Source, SourceFile } from './source.ts'

/** Where copies lie, in the storage. */
const KEPT = 'Raincheck kept'
const NAME_DIGITS = 12

/**
 * What lies there from an earlier time is not copied again. Equal for the same files in the same versions.
 * @param sourceId of what is copied
 * @returns the path of the copy @throws Problem of the storage, `conflict` when somebody else put something there
 */
export async function keepCopy(storage: Storage, { name, folder, files }: Source, sourceId: string): Promise<string> {
  const path = `${KEPT}/${sourceId.slice(0, NAME_DIGITS)}/${name}`
  for (const file of files) await copyOne(storage, file, folder ? `${path}/${file.path.join('/')}` : path)
  return path
}

async function copyOne(storage: Storage, file: SourceFile, name: string): Promise<void> {
  const there = await storage.stat({ name }).catch(unlessNotFound)
  if (there?.size === file.size) return
  const write = await storage.begin(name, file.size)
  try {
    const { signal } = new AbortController()
    const made = await copyFile({ source: storage, target: storage, file, write, signal, onProgress: () => undefined })
    if (made?.name !== name) throw new Problem('conflict', `${JSON.stringify(name)} is taken.`)
  } catch (error) {
    await storage.abort(write).catch(() => undefined)
    throw error
  }
}
