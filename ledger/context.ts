/** The world of one ledger, handed to its modules. */
import { sha256 } from '#primitives'
import { formatVerifierKey, noteKey } from '../protocol/checkpoint.ts'
import type { Bytes } from '../protocol/bytes.ts'
import type { Policy } from '../protocol/arbiter/items.ts'
import type { Environment } from '../protocol/environment.ts'
import { limits } from '../protocol/limits.ts'
import { signerFrom, type Signer } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import { keepLanes } from './lanes-at-hand.ts'
import type { ObjectStore } from './publisher.ts'
import type { WitnessPlace } from '../protocol/witness-client.ts'

export interface LedgerContext {
  readonly environment: Environment
  readonly store: Store
  /** As `store`, but of a lane it may say what was so a moment ago (lanes-at-hand.ts). */
  readonly recent: Store
  readonly signer: Signer
  /** SHA-256 of the checkpoint key, 32 bytes. */
  readonly id: Bytes
  /** The name of the log in its checkpoints (C2SP tlog-checkpoint). */
  readonly origin: string
  /** The checkpoint key as C2SP signed-note publishes it. */
  readonly verifierKey: string
  readonly policy: Policy
  /** Of a shard: the round that is open (shards.ts). */
  readonly openRound?: () => Promise<number>
  /** Asked to cosign each checkpoint before it is published. */
  readonly witnesses: readonly WitnessPlace[]
  /** Where the log is put as plain objects too. */
  readonly objects?: ObjectStore
  /** Where the replica of the log keeps its state. */
  readonly replicaStore?: Store
  readonly onFault: (error: unknown) => void
}

export interface LedgerOptions {
  readonly environment: Environment
  readonly store: Store
  /** 32 bytes: signs checkpoints and receipts. */
  readonly secret: Bytes
  readonly origin: string
  /** For a new log; an old one keeps the policy of its first entry. */
  readonly policy: Omit<Policy, 'key' | 'mergeDelay'>
  /** Asked to cosign each checkpoint; none unless given. */
  readonly witnesses?: readonly WitnessPlace[]
  /** Where the log is put as plain objects too; nowhere unless given. */
  readonly objects?: ObjectStore
  /** Where the replica of the log keeps its state, for one process each; in memory unless given. */
  readonly replicaStore?: Store
  /** Nothing runs in the background: what waits is appended, and witnessed, before a question about the log is answered. */
  readonly sequencesWhenAsked?: boolean
  /** Told of faults of ours, and of what the loops in the background will try again. */
  readonly onFault?: (error: unknown) => void
}

/** @throws Problem `bad-encoding` for an origin that cannot name a key */
export function createContext(options: LedgerOptions): LedgerContext {
  const { environment, store, secret, origin, policy, witnesses = [], objects, replicaStore, onFault } = options
  const signer = signerFrom(secret)
  return {
    environment,
    ...keepLanes(store),
    signer,
    id: sha256(signer.key),
    origin,
    verifierKey: formatVerifierKey(noteKey(origin, signer.key)),
    policy: { ...policy, key: signer.key, mergeDelay: limits.mergeDelayMs },
    witnesses,
    ...(objects && { objects }),
    ...(replicaStore && { replicaStore }),
    onFault: onFault ?? (() => {}),
  }
}
