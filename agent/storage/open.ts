/** Opens a linked storage by its kind. A driver is loaded when the first storage of its kind is opened. */
import type { Environment } from '../../protocol/environment.ts'
import type { Storage } from './storage.ts'

/** As kept in the store; secrets have no place here. */
export interface FolderOptions {
  /** Absolute. */
  readonly path: string
}

export type StorageKind = 'folder'

const drivers = {
  folder: async (options: FolderOptions, environment: Environment): Promise<Storage> =>
    (await import('./folder.ts')).openFolder(options.path, environment),
}

/** @throws Problem `not-found` when there is no such place, `storage-unavailable` */
export const openStorage = (kind: StorageKind, options: FolderOptions, environment: Environment): Promise<Storage> =>
  drivers[kind](options, environment)
