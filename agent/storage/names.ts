/** Names of files in a storage, and those that are free: a taken one gets a number, as in every file manager. */
import { utf8 } from '../../protocol/bytes.ts'
import { checkPath, foldName, type FilePath } from '../../protocol/file-path.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'

/** Unfinished writes; nobody else's business. */
export const PARTIAL_FOLDER = '.raincheck-partial'
const MOST_NUMBERS = 10_000

/** @throws Problem `path-outside` */
export function parsePath(name: string): FilePath {
  const path = name.split('/')
  checkPath(path, 'path-outside')
  if (foldName(path[0] as string) === PARTIAL_FOLDER) {
    throw new Problem('path-outside', `${JSON.stringify(PARTIAL_FOLDER)} holds unfinished files only.`)
  }
  return path
}

/** A path's own names from the first on: as it is, with " (2)" before the extension, and so on. */
export function* numberedPaths(path: string, most: number): Generator<string> {
  const slash = path.lastIndexOf('/') + 1
  const name = path.slice(slash)
  for (let number = 1; number <= most; number++) {
    yield path.slice(0, slash) + numbered(name, number, name.lastIndexOf('.'))
  }
}

/** What is made of the first of a path's own names that can be had. @throws Problem `conflict` when all are taken */
export async function takeName<T>(path: string, take: (path: string) => Promise<T | undefined>): Promise<T> {
  for (const candidate of numberedPaths(path, MOST_NUMBERS)) {
    const taken = await take(candidate)
    if (taken !== undefined) return taken
  }
  throw new Problem('conflict', `${MOST_NUMBERS} files bear the name ${JSON.stringify(path)}.`)
}

/** "photo (2).jpg": the number goes in at `dot`, or at the end; the name is cut to stay within the limit. */
export function numbered(name: string, number: number, dot: number): string {
  if (number === 1) return name
  const at = dot > 0 ? dot : name.length
  const end = ` (${number})${name.slice(at)}`
  const stem = Array.from(name.slice(0, at))
  while (stem.length > 1 && utf8(stem.join('') + end).length > limits.nameBytes) stem.pop()
  return stem.join('') + end
}

/** The first of a folder's numbered names that is not taken. */
export async function freeName(name: string, isTaken: (name: string) => Promise<boolean>): Promise<string> {
  for (let number = 1; ; number++) {
    const candidate = numbered(name, number, -1)
    if (!(await isTaken(candidate))) return candidate
  }
}

/** What S3 lets a bucket be named. */
export const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
