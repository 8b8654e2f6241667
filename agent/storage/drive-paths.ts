/**
 * Names of files, which Drive knows none of: folders by id within folders by id. Where two files of a folder bear one name,
 * the name means the one that was made first; the others are reached by their ids.
 */
import type { Clock } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { FOLDER, type DriveApi, type DriveFile } from './drive-api.ts'
import { unlessNotFound } from './faults.ts'

export interface DrivePaths {
  /** The folder's id. */
  folder(path: FilePath): Promise<string | undefined>
  /** Made where it is missing: once, whoever else makes it too. */
  ensureFolder(path: FilePath): Promise<string>
  /** The first file of that name, as Drive has it now. */
  find(path: FilePath): Promise<DriveFile | undefined>
  /** Files and folders of that very name. */
  named(folder: string, name: string): Promise<readonly DriveFile[]>
}

/** For so long a folder is believed to be where it was. */
const CACHED_MS = 30_000
const CACHED_MOST = 10_000
const ATTEMPTS = 4

/** @param root the linked folder, from My Drive on */
export function createDrivePaths(api: DriveApi, store: Store, clock: Clock, pk: string, root: FilePath): DrivePaths {
  const folders = new Map<string, { readonly id: string; readonly foundMs: number }>()

  const files = new Map<string, { readonly id: string; readonly parent: string }>()

  async function named(folder: string, name: string): Promise<readonly DriveFile[]> {
    const found: DriveFile[] = []
    let next: string | undefined
    do {
      const page = await api.search(`name = ${quoted(name)} and ${quoted(folder)} in parents and trashed = false`, next)
      found.push(...page.files.filter((file) => file.name === name))
      next = page.next
    } while (next !== undefined)
    return found
  }

  async function folderIn(parent: string, name: string): Promise<string | undefined> {
    const key = `${parent}/${name}`
    const known = folders.get(key)
    if (known && clock.now() - known.foundMs < CACHED_MS) return known.id
    const found = (await named(parent, name)).find(({ mimeType }) => mimeType === FOLDER)
    if (found) remember(key, found.id)
    else folders.delete(key)
    return found?.id
  }

  function remember(key: string, id: string): void {
    if (folders.size >= CACHED_MOST) folders.clear()
    folders.set(key, { id, foundMs: clock.now() })
  }

  async function folder(path: FilePath): Promise<string | undefined> {
    let id: string | undefined = 'root'
    for (const name of [...root, ...path]) {
      id = await folderIn(id, name)
      if (id === undefined) return undefined
    }
    return id
  }

  /** The id is saved before the folder is made: who comes second, or after a crash, makes the same one. */
  async function make(parent: string, name: string): Promise<string> {
    const sk = `folder/${parent}/${name}`
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const item = await store.get(pk, sk)
      const known = item && decodeRecord<{ id: string }>(item).id
      const id = known ?? (await api.newId())
      const isOurs =
        id === known || (await store.write([{ pk, sk, expect: item?.version ?? 0, body: encodeRecord({ id }) }]))
      if (!isOurs) continue
      const made = await api.create({ id, name, parent }, FOLDER).catch(unlessRefused)
      if (made && isThere(made, parent, name)) return made.id
      await store.write([{ pk, sk, expect: 'any' }])
    }
    throw new Problem('storage-unavailable', 'Drive does not make the folder.', { retryAfterMs: 0 })
  }

  /** A file that was found is asked for by its id: that costs a twentieth of a search, and does not lag. */
  async function find(path: FilePath): Promise<DriveFile | undefined> {
    const key = path.join('/')
    const known = files.get(key)
    const file = known && (await api.get(known.id).catch(unlessNotFound))
    if (file && isThere(file, known.parent, path.at(-1) as string)) return file
    const found = await search(path)
    if (files.size >= CACHED_MOST) files.clear()
    if (found) files.set(key, found)
    else files.delete(key)
    return found?.file
  }

  async function search(path: FilePath): Promise<{ id: string; parent: string; file: DriveFile } | undefined> {
    const parent = await folder(path.slice(0, -1))
    if (parent === undefined) return undefined
    const file = (await named(parent, path.at(-1) as string)).find(({ size }) => size !== undefined)
    return file && { id: file.id, parent, file }
  }

  return {
    folder,
    named,
    find,
    async ensureFolder(path) {
      let id = 'root'
      for (const name of [...root, ...path]) {
        const inner: string = (await folderIn(id, name)) ?? (await make(id, name))
        remember(`${id}/${name}`, inner)
        id = inner
      }
      return id
    },
  }
}

/** It may have been moved, or thrown away, since it was made. What `root` is called by its id is not said. */
const isThere = (file: DriveFile, parent: string, name: string): boolean =>
  !file.trashed && file.name === name && (parent === 'root' || file.parents.includes(parent))

/** An id that was used up by a folder that is no more. */
function unlessRefused(error: unknown): undefined {
  const isRefused =
    error instanceof Problem && error.code === 'storage-unavailable' && error.members['retryAfterMs'] === undefined
  return isRefused ? undefined : unlessNotFound(error)
}

/** As a string of a search (Drive API, "Search for files and folders"). */
const quoted = (text: string): string => `'${text.replaceAll(/[\\']/g, '\\$&')}'`
