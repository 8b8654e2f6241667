/** The operation logs of identities, as far as they were shown here. */
import { identityEntries } from '../protocol/book-log.ts'
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import {
  decodeIdentity,
  encodeIdentity,
  identityOf,
  isInForce,
  parseOperation,
  replay,
  type IdentityState,
} from '../protocol/identity.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Envelope } from '../protocol/signed.ts'
import type { Item } from '../protocol/store.ts'
import type { RepositoryContext } from './context.ts'
import { identityKey } from './keys.ts'

export interface Identities {
  /** Applies operations of one identity, in their order; those that are in force already change nothing. */
  put(operations: readonly Envelope[]): Promise<{ readonly state: IdentityState; readonly changed: boolean }>
  get(id: Bytes): Promise<IdentityState | undefined>
  /** @throws Problem `not-found` */
  require(id: Bytes): Promise<IdentityState>
}

const LOG = 'log'
const STATES_KEPT = 4096

export function createIdentities({ store, environment, log, source }: RepositoryContext): Identities {
  const states = new Map<string, { readonly version: number; readonly state: IdentityState }>()

  async function get(id: Bytes): Promise<IdentityState | undefined> {
    const item = await store.get(identityKey(id), LOG)
    return item && stateOf(item)
  }

  /** Each version is read out of its bytes once. */
  function stateOf({ pk, version, body }: Item): IdentityState {
    const known = states.get(pk)
    if (known?.version === version) return known.state
    const state = decodeIdentity(body)
    if (states.size === STATES_KEPT) states.clear()
    states.set(pk, { version, state })
    return state
  }

  async function put(operations: readonly Envelope[]) {
    const [first] = operations
    if (!first) throw new Problem('bad-request', 'The list of operations is empty.')
    const pk = identityKey(identityOf(parseOperation(first)))
    return log.write(async () => {
      const item = await store.get(pk, LOG)
      const before = item && decodeIdentity(item.body)
      // What is in time, and overrides which, is decided where the log is: a mirror comes by it at other times.
      const shown = source
        ? replay(operations, environment.clock.now() + limits.clockSkewMs)
        : replay(operations, environment.clock.now(), before)
      const changed = !before || !isInForce(before, shown.head)
      const state = changed ? shown : before
      const changes = changed ? [{ pk, sk: LOG, expect: item?.version ?? 0, body: encodeIdentity(state) }] : []
      const added = state.operations.slice(before ? sharedOf(before, state) : 0)
      const entries = identityEntries(
        added.map(({ envelope }) => envelope),
        environment.clock.now(),
      )
      return { changes, entries, result: { state, changed } }
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

/** How many operations two states begin with alike. */
function sharedOf(a: IdentityState, b: IdentityState): number {
  const first = a.operations.findIndex(({ hash }, i) => !b.operations[i] || !equal(hash, b.operations[i].hash))
  return first < 0 ? a.operations.length : first
}
