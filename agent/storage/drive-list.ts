/** Lists the files below a folder: a folder at a time, one page of Drive's a call. */
import { nameFault } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import { FOLDER, type DriveApi, type DriveFile } from './drive-api.ts'
import type { DrivePaths } from './drive-paths.ts'
import { PARTIAL_FOLDER, parsePath } from './names.ts'
import type { FileEntry, FilePage, ListQuery } from './storage.ts'

/** Folders that are yet to be listed; the first one from its page on. */
interface Cursor {
  readonly folders: readonly (readonly [id: string, path: string])[]
  readonly page?: string
}

export function createDriveList(api: DriveApi, paths: DrivePaths): (query?: ListQuery) => Promise<FilePage> {
  async function start(under: string | undefined): Promise<Cursor> {
    const path = under === undefined ? [] : parsePath(under)
    const folder = await paths.folder(path)
    return { folders: folder === undefined ? [] : [[folder, under ?? '']] }
  }

  async function page({ folders: [first, ...rest], page: token }: Cursor): Promise<FilePage> {
    if (!first) return { files: [], refused: [] }
    const [id, path] = first
    const { files, next } = await api.search(`'${id}' in parents and trashed = false`, token)
    const inside = files.filter(({ name }) => path !== '' || name !== PARTIAL_FOLDER)
    const named = inside.map((file) => ({
      ...file,
      name: path === '' ? file.name : `${path}/${file.name}`,
      last: file.name,
    }))
    const good = named.filter(({ last }) => nameFault(last) === undefined)
    const folders = good.filter(({ mimeType }) => mimeType === FOLDER).map((one) => [one.id, one.name] as const)
    const left = [...(next === undefined ? [] : [first]), ...rest, ...folders]
    return {
      files: good.filter(({ size }) => size !== undefined).map(entryOf),
      refused: named.filter(isRefused).map(({ name, last }) => ({
        name,
        problem: nameFault(last) === undefined ? 'not-found' : 'path-outside',
      })),
      ...(left.length > 0 && { cursor: encode({ folders: left, ...(next !== undefined && { page: next }) }) }),
    }
  }

  return async ({ under, cursor } = {}) => page(cursor === undefined ? await start(under) : decode(cursor))
}

const entryOf = ({ id, name, size = 0, version, modifiedMs }: DriveFile): FileEntry => ({
  id,
  name,
  size,
  version,
  modifiedMs,
})

/** What Google's editors made has no bytes; a name may hold a slash, or be too long. */
const isRefused = ({ last, size, mimeType }: DriveFile & { last: string }): boolean =>
  nameFault(last) !== undefined || (size === undefined && mimeType !== FOLDER)

const encode = (cursor: Cursor): string => JSON.stringify(cursor)

function decode(cursor: string): Cursor {
  try {
    return JSON.parse(cursor) as Cursor
  } catch {
    throw new Problem('bad-request', 'The cursor is not one of this storage’s.')
  }
}
