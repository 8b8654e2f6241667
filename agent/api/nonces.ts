/** Signed requests that were seen: each is accepted once, by whichever instance of the agent. */
import { toHex } from '../../protocol/bytes.ts'
import type { VerifiedRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { encodeRecord } from '../records.ts'

export interface Nonces {
  /** @throws Problem `stale-request` for one that was seen */
  take(request: VerifiedRequest): Promise<void>
  /** Forgets those too old to be accepted anyway. */
  sweep(): Promise<void>
}

/** Of a sweep. */
const PAGES = 50
const TIME_DIGITS = 15

/** @param pk where they are kept */
export function createNonces({ store, environment }: Pick<AgentContext, 'store' | 'environment'>, pk: string): Nonces {
  return {
    async take({ key, nonce, createdMs }) {
      const sk = `${String(createdMs).padStart(TIME_DIGITS, '0')} ${toHex(key)} ${nonce}`
      const fresh = await store.write([{ pk, sk, expect: 0, body: encodeRecord({}) }])
      if (!fresh) throw new Problem('stale-request', 'This request was already made.')
    },
    async sweep() {
      const dead = environment.clock.now() - limits.requestAgeMs - limits.clockSkewMs
      for (let page = 0; page < PAGES; page++) {
        const oldest = await store.list(pk, { limit: limits.changesPerWrite })
        const changes = oldest
          .filter((item) => Number(item.sk.slice(0, TIME_DIGITS)) < dead)
          .map((item) => ({ pk, sk: item.sk, expect: 'any' as const }))
        if (changes.length > 0) await store.write(changes)
        if (changes.length < limits.changesPerWrite) return
      }
    },
  }
}
