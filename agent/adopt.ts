/** How an owner takes an agent on: the ledger and the repository learn who the owner is, and what the agent may do. */
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import { delegate, type Power } from '../protocol/delegation.ts'
import { limits } from '../protocol/limits.ts'
import type { Envelope, Signer } from '../protocol/signed.ts'
import type { LedgerClient } from './clients/ledger-client.ts'
import { publishIdentity } from './key-change.ts'
import type { RepositoryClient } from './clients/repository-client.ts'

export interface Services {
  readonly ledger: LedgerClient
  readonly repository: RepositoryClient
}

export interface Adoption extends Services {
  readonly owner: { readonly id: Bytes; readonly operations: readonly Envelope[] }
  readonly signer: Signer
  /** The agent's public key. */
  readonly agent: Bytes
  readonly caps: DelegationCaps
  readonly nowMs: number
}

/** Credits the agent may freeze a UTC day, and in all. */
export interface DelegationCaps {
  readonly day: bigint
  readonly total: bigint
}

/** Unless the owner says otherwise. */
export const USUAL_CAPS: DelegationCaps = { day: 1_000_000n, total: 1_000_000_000n }

/** @returns the delegation, which both know; every step may be repeated */
export async function adopt({ ledger, repository, ...adoption }: Adoption): Promise<Envelope> {
  const delegation = delegateTo({ ...adoption, owner: adoption.owner.id, ledgerId: (await ledger.info()).id })
  await introduce({ operations: adoption.owner.operations, delegation }, { ledger, repository })
  return delegation
}

export interface DelegationRequest extends Pick<Adoption, 'signer' | 'agent' | 'caps' | 'nowMs'> {
  readonly owner: Bytes
  /** Hex. */
  readonly ledgerId: string
  /** To spend and to announce, unless given. */
  readonly may?: readonly Power[]
}

/** The owner's word that the agent may spend within the caps, and announce, as long as one can last. */
export const delegateTo = ({
  owner,
  signer,
  agent,
  ledgerId,
  caps,
  nowMs,
  may = ['announce', 'spend'],
}: DelegationRequest): Envelope =>
  delegate(
    {
      ...caps,
      agent,
      expires: nowMs + limits.delegationMs,
      issued: nowMs,
      ledger: fromHex(ledgerId),
      may,
      owner,
    },
    signer,
  )

export interface Introduction {
  /** The owner's identity, from its first operation on. */
  readonly operations: readonly Envelope[]
  readonly delegation: Envelope
}

export async function introduce(
  { operations, delegation }: Introduction,
  { ledger, repository }: Services,
): Promise<void> {
  await publishIdentity(operations, { ledger, repository })
  await ledger.delegate(delegation)
}
