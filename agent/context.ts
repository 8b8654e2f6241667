/** The world of one agent: who it speaks for, what it may use. Entry points build it; every module of the agent is handed it. */
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import type { LaneMode } from '../protocol/commitment.ts'
import { parseDelegation } from '../protocol/delegation.ts'
import type { Environment } from '../protocol/environment.ts'
import type { LogPolicy } from '../protocol/log-policy.ts'
import type { Envelope, Signer } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import type { TrackerOptions } from './bittorrent/tracker.ts'
import type { LedgerClient } from './clients/ledger-client.ts'
import type { OpenSpool } from './download/spool.ts'
import type { LogWatch } from './ledger-watch/log-watch.ts'
import type { RepositoryClient } from './clients/repository-client.ts'

export interface AgentContext {
  readonly environment: Environment
  readonly store: Store
  /** The owner's id (32 bytes) and identity operations; the agent acts for the owner. */
  readonly owner: Bytes
  readonly operations: readonly Envelope[]
  /** The owner's word that `signer` may act for them, and its caps. */
  readonly delegation: Envelope
  readonly signer: Signer
  readonly ledger: LedgerClient
  /** The eye on the ledger's log; nobody's unless given. */
  readonly watch?: LogWatch
  readonly repository: RepositoryClient
  /** Whose cosignatures the repository's checkpoints need to count; nobody's unless given. */
  readonly repositoryWitnesses?: LogPolicy
  /** Where other agents reach this one, without a trailing slash. */
  readonly publicUrl: string
  /** The operator's word that agents at loopback addresses may be called. */
  readonly allowLoopback: boolean
  /** Where stock BitTorrent clients reach it; nowhere unless given. */
  readonly bittorrent?: TrackerOptions
  /** Credits that may be at stake with a seller that sells neither on credit nor sealed; no limit unless given. */
  readonly stakeMost?: bigint
  /** The provider from whose network its bytes leave, as the table of costs knows it; its storage's unless given. */
  readonly sendsFrom?: string
  /** What its host sends in one answer; no limit unless given. A piece is always less. */
  readonly answerBytes?: number
  /** Where pieces wait for the rest of their part; in the store unless given. */
  readonly openSpool?: OpenSpool
  /** How strangers and friends may pay it; in every way unless given. */
  readonly modes?: readonly LaneMode[]
}

/** Of the ledger, 32 bytes, as the owner's word to us names it: then the ledger itself need not be asked. */
export const ledgerIdOf = async ({ delegation, ledger }: Pick<AgentContext, 'delegation' | 'ledger'>): Promise<Bytes> =>
  parseDelegation(delegation).ledger ?? fromHex((await ledger.info()).id)
