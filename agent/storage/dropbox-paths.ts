/** Names of the storage as paths of the app folder, and back. */
import type { FilePath } from '../../protocol/file-path.ts'
import { PARTIAL_FOLDER, parsePath } from './names.ts'

export interface DropboxPaths {
  /** @throws Problem `path-outside` */
  pathOf(name: string): string
  /** The linked folder itself, empty for the app folder. */
  readonly root: string
  nameOf(path: string): string
  /** Where what is unfinished waits. */
  partial(id: string): string
}

/** @param root of the linked folder, in the app folder */
export function createDropboxPaths(root: FilePath): DropboxPaths {
  const prefix = root.map((name) => `/${name}`).join('')
  return {
    root: prefix,
    pathOf: (name) => `${prefix}/${parsePath(name).join('/')}`,
    // By names and not by length: how Dropbox spells the folders above is its own.
    nameOf: (path) =>
      path
        .split('/')
        .slice(root.length + 1)
        .join('/'),
    partial: (id) => `${prefix}/${PARTIAL_FOLDER}/${id}`,
  }
}
