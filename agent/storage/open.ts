/** Opens a linked storage by its kind. A driver is loaded when the first storage of its kind is opened. */
import type { Environment } from '../../protocol/environment.ts'
import type { Store } from '../../protocol/store.ts'
import type { ProviderHosts } from './providers.ts'
import type { LinkSecret, Secrets } from './secrets.ts'
import type { Storage } from './storage.ts'

/** How each kind is linked, as kept in the store; secrets have no place here. */
export interface LinkSettings {
  readonly folder: FolderSettings
  readonly s3: S3Settings
  readonly drive: DriveSettings
  readonly dropbox: DropboxSettings
}

export interface FolderSettings {
  /** Absolute. */
  readonly path: string
}

/** Its secret, where the machine's own AWS identity is not the one to use: `accessKeyId`, `secretAccessKey`, `sessionToken`. */
export interface S3Settings {
  readonly bucket: string
  /** A folder in the bucket, without slashes at its ends. */
  readonly prefix?: string | undefined
  readonly region?: string | undefined
  /** `true`: whom its policy lets may copy pieces inside S3, instead of having them sent. */
  readonly lends?: boolean | undefined
}

/** Its secret: `refreshToken`, and what else the token endpoint takes or gave. */
export interface DriveSettings {
  /** The owner's own OAuth client: none is shipped. */
  readonly clientId: string
  /** Made in My Drive at the first write. */
  readonly folder?: string | undefined
}

/** Its secret: `refreshToken`, and what else the token endpoint takes or gave. */
export interface DropboxSettings {
  /** The owner's own app: none is shipped. */
  readonly appKey: string
  /** In the app folder, without slashes at its ends. */
  readonly folder?: string | undefined
}

export type StorageKind = keyof LinkSettings

/** What a driver works with. */
export interface DriverContext {
  readonly environment: Environment
  /** For what instances share: allowances, tokens. */
  readonly store: Store
  readonly hosts: ProviderHosts
  /** The link's name; missing while it is only being tried. */
  readonly link?: string
  /** What the link was given to get in with, as it is now: another instance may have renewed it. */
  readonly secret: () => Promise<LinkSecret | undefined>
  /** Keeps a renewed one, sealed. @returns false when another instance renewed it first: ask `secret` again */
  readonly renewSecret: (secret: LinkSecret) => Promise<boolean>
  /** For what a driver itself keeps, and whoever reads it could use. */
  readonly secrets: Secrets
}

type Driver<K extends StorageKind> = (settings: LinkSettings[K], context: DriverContext) => Promise<Storage>

const drivers: { readonly [K in StorageKind]: Driver<K> } = {
  folder: async (settings, { environment }) => (await import('./folder.ts')).openFolder(settings.path, environment),
  s3: async (settings, context) => (await import('./s3.ts')).openS3(settings, context),
  drive: async (settings, context) => (await import('./drive.ts')).openDrive(settings, context),
  dropbox: async (settings, context) => (await import('./dropbox.ts')).openDropbox(settings, context),
}

/** @throws Problem `not-found` when there is no such place, `storage-unavailable`, `storage-denied` */
export const openStorage = <K extends StorageKind>(
  kind: K,
  settings: LinkSettings[K],
  context: DriverContext,
): Promise<Storage> => drivers[kind](settings, context)
