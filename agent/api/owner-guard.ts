/** The owner's requests: signed by a key of the owner's identity (RFC 9421), each accepted once. */
import type { MiddlewareHandler } from 'hono'
import { toHex } from '../../protocol/bytes.ts'
import { replay, speaksFor } from '../../protocol/identity.ts'
import { verifyRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { encodeRecord } from '../records.ts'
import type { AgentContext } from '../context.ts'

const NONCES = 'owner-nonce'
const SWEPT_AT_ONCE = 50

export interface OwnerGuard {
  readonly middleware: MiddlewareHandler
  /** Forgets nonces too old to be accepted anyway. */
  sweep(): Promise<void>
}

export function createOwnerGuard(context: AgentContext): OwnerGuard {
  const { clock } = context.environment
  const identity = replay(context.operations, clock.now())
  const authorities = [new URL(context.publicUrl).host]

  async function authorize(request: Request): Promise<void> {
    const { key, nonce, createdMs } = await verifyRequest(request, {
      authorities,
      audience: toHex(context.owner),
      nowMs: clock.now(),
      maxBodyBytes: limits.ownerBodyBytes,
    })
    if (!speaksFor(identity, key)) throw new Problem('unknown-key', 'The key is not one of the owner’s.')
    const sk = `${String(createdMs).padStart(15, '0')} ${toHex(key)} ${nonce}`
    const fresh = await context.store.write([{ pk: NONCES, sk, expect: 0, body: encodeRecord({}) }])
    if (!fresh) throw new Problem('stale-request', 'This request was already made.')
  }

  return {
    middleware: async (c, next) => {
      await authorize(c.req.raw)
      await next()
    },
    async sweep() {
      const dead = clock.now() - limits.requestAgeMs - limits.clockSkewMs
      const oldest = await context.store.list(NONCES, { limit: SWEPT_AT_ONCE })
      const changes = oldest
        .filter((item) => Number(item.sk.slice(0, 15)) < dead)
        .map((item) => ({ pk: NONCES, sk: item.sk, expect: 'any' as const }))
      if (changes.length > 0) await context.store.write(changes)
    },
  }
}
