/** Who others are: by the repository, by what it said before, or by themselves, as an id is the hash of its first operation. */
import { z } from '@hono/zod-openapi'
import { toHex } from '../../protocol/bytes.ts'
import { operationFromJson, replay, type IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeToJson, type EnvelopeJson } from '../../protocol/signed.ts'
import { createHttpClient } from '../clients/http-client.ts'
import type { AgentContext } from '../context.ts'
import type { Met } from './met.ts'

/** @param id hex @param url where its agent is. @throws Problem of the repository */
export type IdentityOf = (id: string, url: string) => Promise<IdentityState>

interface KnownIdentity {
  readonly state: IdentityState
  readonly atMs: number
}

const IDENTITY_MS = 600_000
const IDENTITIES_KEPT = 1024
/** More than whoever changes keys now and then; who has more shows them itself where no repository does. */
const OPERATIONS_KEPT = 16
const profileShape = z.object({ operations: z.array(wire.envelope).max(limits.operationsPerIdentity) })

export function createIdentities({ environment, repository }: AgentContext, met: Met): IdentityOf {
  const { clock } = environment
  const identities = new Map<string, KnownIdentity>()

  async function told(id: string): Promise<IdentityState> {
    try {
      const { state, operations } = await repository.identity(id)
      if (operations.length <= OPERATIONS_KEPT) await met.keep(`identity/${id}`, operations.map(envelopeToJson))
      return state
    } catch (error) {
      const operations = await met.get<EnvelopeJson[]>(`identity/${id}`)
      if (!(error instanceof Problem) || error.code !== 'peer-failed' || !operations) throw error
      return replay(operations.map(operationFromJson), clock.now())
    }
  }

  /** Where no repository tells, the agent itself does. */
  async function shown(error: unknown, id: string, url: string): Promise<IdentityState> {
    unlessBug(error)
    const call = { method: 'GET', path: '/.well-known/raincheck', attempts: 1 } as const
    const { operations } = await createHttpClient(environment, url, limits.peerReplyBytes).json(call, profileShape)
    const state = replay(operations.map(operationFromJson), clock.now())
    if (toHex(state.id) !== id) throw error
    return state
  }

  return async (id, url) => {
    const known = identities.get(id)
    if (known && clock.now() - known.atMs < IDENTITY_MS) return known.state
    const state = await told(id).catch((error: unknown) => shown(error, id, url))
    identities.delete(id)
    identities.set(id, { state, atMs: clock.now() })
    if (identities.size > IDENTITIES_KEPT) identities.delete(identities.keys().next().value as string)
    return state
  }
}
