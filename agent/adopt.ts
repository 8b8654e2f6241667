/** How an owner takes an agent on: the ledger and the repository learn who the owner is, and what the agent may do. */
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { seal, type Envelope, type Signer } from '../protocol/signed.ts'
import type { LedgerClient } from './clients/ledger-client.ts'
import type { RepositoryClient } from './clients/repository-client.ts'

export interface Adoption {
  readonly owner: { readonly id: Bytes; readonly operations: readonly Envelope[] }
  readonly signer: Signer
  /** The agent's public key. */
  readonly agent: Bytes
  /** Credits the agent may freeze a UTC day, and in all. */
  readonly caps: { readonly day: bigint; readonly total: bigint }
  readonly ledger: LedgerClient
  readonly repository: RepositoryClient
  readonly nowMs: number
}

/** @returns the delegation, registered with both; every step may be repeated */
export async function adopt({ owner, signer, agent, caps, ledger, repository, nowMs }: Adoption): Promise<Envelope> {
  const [first, ...rotations] = owner.operations as [Envelope, ...Envelope[]]
  await ledger.register(first)
  for (const rotation of rotations) await ledger.rotate(rotation)
  await repository.putIdentity(owner.operations)
  const delegation = seal(
    'delegation',
    {
      agent,
      day: caps.day,
      expires: nowMs + limits.delegationMs,
      issued: nowMs,
      ledger: fromHex((await ledger.info()).id),
      may: ['announce', 'spend'],
      owner: owner.id,
      total: caps.total,
    },
    signer,
  )
  await ledger.delegate(delegation)
  return delegation
}
