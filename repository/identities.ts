/** The operation logs of identities, as far as they were shown here. */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import {
  applyOperation,
  decodeIdentity,
  encodeIdentity,
  identityOf,
  parseOperation,
  type IdentityState,
} from '../protocol/identity.ts'
import { Problem } from '../protocol/problem.ts'
import type { Envelope } from '../protocol/signed.ts'
import type { RepositoryContext } from './context.ts'
import { identityKey } from './keys.ts'
import { decideAndWrite } from './write.ts'

export interface Identities {
  /** Applies operations of one identity, in their order; those that are in force already change nothing. */
  put(operations: readonly Envelope[]): Promise<{ readonly state: IdentityState; readonly changed: boolean }>
  get(id: Bytes): Promise<IdentityState | undefined>
  /** @throws Problem `not-found` */
  require(id: Bytes): Promise<IdentityState>
}

const LOG = 'log'

export function createIdentities({ store, environment }: RepositoryContext): Identities {
  async function get(id: Bytes): Promise<IdentityState | undefined> {
    const item = await store.get(identityKey(id), LOG)
    return item && decodeIdentity(item.body)
  }

  async function put([first, ...rest]: readonly Envelope[]) {
    if (!first) throw new Problem('bad-request', 'There is no operation.')
    const pk = identityKey(identityOf(parseOperation(first)))
    return decideAndWrite(store, async () => {
      const item = await store.get(pk, LOG)
      const before = item && decodeIdentity(item.body)
      const nowMs = environment.clock.now()
      const state = rest.reduce(
        (known, operation) => applyOperation(known, operation, nowMs),
        applyOperation(before, first, nowMs),
      )
      const changed = !before || !equal(before.head, state.head)
      const changes = changed ? [{ pk, sk: LOG, expect: item?.version ?? 0, body: encodeIdentity(state) }] : []
      return { changes, result: { state, changed } }
    })
  }

  return {
    put,
    get,
    async require(id) {
      const state = await get(id)
      if (!state)
        throw new Problem('not-found', 'The identity is not registered here.', { missing: 'identity', id: toHex(id) })
      return state
    },
  }
}
