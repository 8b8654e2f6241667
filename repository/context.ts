/** The world of one repository, handed to its modules. */
import type { Environment } from '../protocol/environment.ts'
import type { Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { Store } from '../protocol/store.ts'
import { createRepositoryLog, type RepositoryLog } from './log.ts'

export interface RepositoryContext {
  readonly environment: Environment
  readonly store: Store
  /** The operator's word that agents at loopback addresses may be announced. */
  readonly allowLoopback: boolean
  readonly announcementsPerOwner: number
  readonly log: RepositoryLog
  readonly onFault: (error: unknown) => void
}

export interface RepositoryOptions {
  readonly environment: Environment
  readonly store: Store
  /** The 32-byte key of its log; made, and kept in the store, unless given. */
  readonly secret?: Bytes
  /** Names its log (C2SP tlog-checkpoint); made of the key unless given. */
  readonly origin?: string
  readonly options?: {
    readonly allowLoopback?: boolean
    readonly announcementsPerOwner?: number
  }
  /** Told of faults of ours, and of what the work in the background will try again. */
  readonly onFault?: (error: unknown) => void
}

export const createContext = ({
  environment,
  store,
  secret,
  origin,
  options = {},
  onFault,
}: RepositoryOptions): RepositoryContext => ({
  environment,
  store,
  log: createRepositoryLog({ environment, store, secret, origin }),
  allowLoopback: options.allowLoopback ?? false,
  announcementsPerOwner: options.announcementsPerOwner ?? limits.announcementsPerOwner,
  onFault: onFault ?? (() => {}),
})
