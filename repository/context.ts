/** The world of one repository, handed to its modules. */
import type { Environment } from '../protocol/environment.ts'
import type { Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { Store } from '../protocol/store.ts'
import type { WitnessPlace } from '../protocol/witness-client.ts'
import { createRepositoryLog, type RepositoryLog } from './log.ts'
import { createMirrorLog, sourceAt, type Source } from './mirror.ts'

export interface RepositoryContext {
  readonly environment: Environment
  readonly store: Store
  /** The operator's word that agents at loopback addresses may be announced. */
  readonly allowLoopback: boolean
  readonly announcementsPerOwner: number
  readonly log: RepositoryLog
  /** The repository whose log this one mirrors. */
  readonly source: Source | undefined
  readonly onFault: (error: unknown) => void
}

export interface RepositoryOptions {
  readonly environment: Environment
  readonly store: Store
  /** The 32-byte key of its log; made, and kept in the store, unless given. */
  readonly secret?: Bytes
  /** Names its log (C2SP tlog-checkpoint); made of the key unless given. */
  readonly origin?: string
  /** The URL of a repository to mirror: its log is served, and nothing is taken from anybody else. */
  readonly mirrorOf?: string
  /** Asked to cosign its checkpoints; none unless given. A mirror shows what the other's witnesses said. */
  readonly witnesses?: readonly WitnessPlace[]
  readonly options?: {
    readonly allowLoopback?: boolean
    readonly announcementsPerOwner?: number
  }
  /** Told of faults of ours, and of what the work in the background will try again. */
  readonly onFault?: (error: unknown) => void
}

export function createContext(given: RepositoryOptions): RepositoryContext {
  const { environment, store, secret, origin, mirrorOf, witnesses = [], options = {}, onFault = () => {} } = given
  const source = mirrorOf === undefined ? undefined : sourceAt(environment, mirrorOf)
  return {
    environment,
    store,
    source,
    log: source
      ? createMirrorLog(store, source)
      : createRepositoryLog({ environment, store, secret, origin, witnesses, onFault }),
    allowLoopback: options.allowLoopback ?? false,
    announcementsPerOwner: options.announcementsPerOwner ?? limits.announcementsPerOwner,
    onFault,
  }
}
