/** The files of a linked folder, depth first, names in order: a page goes on where the last one ended. */
import type { Dirent } from 'node:fs'
import { join } from 'node:path'
import { foldName, nameFault, type FilePath } from '../../protocol/file-path.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { PARTIAL_FOLDER } from './names.ts'
import { codeOf, type FolderFs, type Paths } from './folder-paths.ts'
import type { FileEntry, FilePage } from './storage.ts'

const PAGE = 4096
const GONE = ['ENOENT', 'ENOTDIR']
const DENIED = ['EACCES', 'EPERM']

/** Only the stat is of interest, and it comes as one. */
type StatOf = (realPath: string) => Promise<Omit<FileEntry, 'name'> | undefined>

type Refused = FilePage['refused'][number]

interface Walk {
  readonly files: FileEntry[]
  readonly refused: Refused[]
  readonly after: FilePath | undefined
}

/** A folder and the real folders above it: a link to one of them would lead around in circles. */
interface Level {
  readonly path: FilePath
  readonly real: string
  readonly above: readonly string[]
}

export function createFolderList(fs: FolderFs, paths: Paths, statOf: StatOf) {
  /** @returns false once the page is full */
  async function walk(level: Level, state: Walk): Promise<boolean> {
    const entries = await fs.readdir(level.real, { withFileTypes: true })
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = [...level.path, entry.name]
      if (isPartial(path) || endsBefore(path, state.after)) continue
      if (state.files.length >= PAGE) return false
      if (!(await visit(entry, path, level, state))) return false
    }
    return true
  }

  async function visit(entry: Dirent, path: FilePath, level: Level, state: Walk): Promise<boolean> {
    try {
      return await look(entry, path, level, state)
    } catch (error) {
      if (DENIED.includes(codeOf(error) ?? '')) return refuse(path, 'forbidden', state)
      if (!GONE.includes(codeOf(error) ?? '')) throw error
      // It went meanwhile; where its folder went with it, that is for the level above.
      await fs.stat(level.real)
      return true
    }
  }

  async function look(entry: Dirent, path: FilePath, level: Level, state: Walk): Promise<boolean> {
    // What is no Unicode on disk comes with U+FFFD in its name and cannot be opened by it.
    if (nameFault(entry.name) !== undefined || entry.name.includes('\uFFFD')) return refuse(path, 'not-found', state)
    const real = entry.isSymbolicLink() ? await target(path) : join(level.real, entry.name)
    if (real === undefined) return true
    if (real === 'path-outside') return refuse(path, 'path-outside', state)
    const isFolder = entry.isSymbolicLink() ? (await fs.stat(real)).isDirectory() : entry.isDirectory()
    if (!isFolder) return add(path, await statOf(real), state)
    const above = [...level.above, level.real]
    if (path.length >= limits.pathDepth || above.includes(real)) return refuse(path, 'not-found', state)
    return walk({ path, real, above }, state)
  }

  /** @returns undefined for a link to nothing */
  async function target(path: FilePath): Promise<string | undefined> {
    return paths.real(path).catch((error: unknown) => {
      if (error instanceof Problem) return 'path-outside'
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return undefined
      throw error
    })
  }

  return async function list(under: FilePath, after: FilePath | undefined): Promise<FilePage> {
    const state: Walk = { files: [], refused: [], after }
    const real = await paths.real(under)
    const whole = await walk({ path: under, real, above: [] }, state)
    const last = state.files.at(-1)?.name
    return { files: state.files, refused: state.refused, ...(!whole && last !== undefined && { cursor: last }) }
  }
}

const isLast = (name: string, { after }: Walk): boolean => name === after?.join('/')

function add(path: FilePath, stat: Omit<FileEntry, 'name'> | undefined, state: Walk): true {
  const name = path.join('/')
  if (stat && !isLast(name, state)) state.files.push({ name, ...stat })
  return true
}

function refuse(path: FilePath, problem: Refused['problem'], state: Walk): true {
  const name = path.join('/')
  if (!isLast(name, state)) state.refused.push({ name, problem })
  return true
}

const isPartial = (path: FilePath): boolean => path.length === 1 && foldName(path[0] as string) === PARTIAL_FOLDER

/** Whether all that lies at or below `path` comes before `after`. */
function endsBefore(path: FilePath, after: FilePath | undefined): boolean {
  const name = path.at(-1) as string
  const other = after?.[path.length - 1]
  const sameFolder = after !== undefined && path.slice(0, -1).every((part, i) => part === after[i])
  return sameFolder && other !== undefined && name < other
}
