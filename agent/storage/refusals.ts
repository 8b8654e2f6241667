/** What every storage refuses, whichever its kind. */
import type { FilePath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Quota } from './storage.ts'

export const changed = (): Problem => new Problem('content-changed', 'The file is no longer what it was.')

export const notWhole = (): Problem => new Problem('conflict', 'Not all bytes of the file were put yet.')

export const noFolder = (name: string): Problem =>
  new Problem('conflict', `${JSON.stringify(name)} is a file where a folder is needed.`)

/** What lies at a path, where anything does. */
export type Kind = 'folder' | 'file' | undefined

/** Found when a file begins rather than at its commit, when every piece is paid. @throws Problem `conflict` */
export async function checkParents(path: FilePath, kindOf: (path: FilePath) => Promise<Kind>): Promise<void> {
  for (let depth = 1; depth < path.length; depth++) {
    const kind = await kindOf(path.slice(0, depth))
    if (kind === undefined) return
    if (kind === 'file') throw noFolder(path[depth - 1] as string)
  }
}

/** @throws Problem `storage-full` */
export function checkRoom(where: string, size: number, { total, used = 0 }: Quota): void {
  if (total === undefined || used + size <= total) return
  throw new Problem('storage-full', `The ${where} has ${Math.max(0, total - used)} bytes left, the file needs ${size}.`)
}
