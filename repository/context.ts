/** The world of one repository, handed to its modules. */
import type { Environment } from '../protocol/environment.ts'
import { limits } from '../protocol/limits.ts'
import type { Store } from '../protocol/store.ts'

export interface RepositoryContext {
  readonly environment: Environment
  readonly store: Store
  /** The operator's word that agents at loopback addresses may be announced. */
  readonly allowLoopback: boolean
  readonly announcementsPerOwner: number
  readonly onFault: (error: unknown) => void
}

export interface RepositoryOptions {
  readonly environment: Environment
  readonly store: Store
  readonly options?: {
    readonly allowLoopback?: boolean
    readonly announcementsPerOwner?: number
  }
  /** Told of faults of ours, and of what the work in the background will try again. */
  readonly onFault?: (error: unknown) => void
}

export const createContext = ({ environment, store, options = {}, onFault }: RepositoryOptions): RepositoryContext => ({
  environment,
  store,
  allowLoopback: options.allowLoopback ?? false,
  announcementsPerOwner: options.announcementsPerOwner ?? limits.announcementsPerOwner,
  onFault: onFault ?? (() => {}),
})
