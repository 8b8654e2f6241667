/** The owner's requests: signed by a key of the owner's identity (RFC 9421), each accepted once. */
import type { MiddlewareHandler } from 'hono'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { replay, speaksFor } from '../../protocol/identity.ts'
import { verifyRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { createNonces } from './nonces.ts'

export interface OwnerGuard {
  readonly middleware: MiddlewareHandler
  /** The same for others besides the owner. */
  openTo(mayAsk: (key: Bytes) => Promise<boolean>): MiddlewareHandler
  /** Forgets nonces too old to be accepted anyway. */
  sweep(): Promise<void>
}

export function createOwnerGuard(context: AgentContext): OwnerGuard {
  const { clock } = context.environment
  const identity = replay(context.operations, clock.now())
  const nonces = createNonces(context, 'owner-nonce')
  const authorities = [new URL(context.publicUrl).host]

  async function authorize(request: Request, mayAsk: (key: Bytes) => Promise<boolean>): Promise<void> {
    const verified = await verifyRequest(request, {
      authorities,
      audience: toHex(context.owner),
      nowMs: clock.now(),
      maxBodyBytes: limits.ownerBodyBytes,
      async requireKey(key) {
        if (!speaksFor(identity, key) && !(await mayAsk(key)))
          throw new Problem('unknown-key', 'The key is not one of the owner’s.')
      },
    })
    await nonces.take(verified)
  }

  function openTo(mayAsk: (key: Bytes) => Promise<boolean>): MiddlewareHandler {
    return async (c, next) => {
      await authorize(c.req.raw, mayAsk)
      await next()
    }
  }

  return {
    middleware: openTo(async () => false),
    openTo,
    sweep: () => nonces.sweep(),
  }
}
