/** A store whose writes fail when told, in the two ways that a caller cannot tell apart. */
import { Problem } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'

/** `lost`: failed and not persisted. `unanswered`: failed but persisted. Either way the caller gets `store-unavailable`. */
export type WriteFault = 'lost' | 'unanswered'
export const WRITE_FAULTS: readonly WriteFault[] = ['lost', 'unanswered']

export interface FaultyStore extends Store {
  /** Writes asked for so far, failed ones too. */
  writes(): number
  /** The fault of each write from now on, by its number from 0; undefined to let it pass. */
  setFaults(faultOf: (write: number, changes: readonly Change[]) => WriteFault | undefined): void
  /** From now on nothing is written and nothing read, as for a process that is gone. */
  kill(): void
}

export function createFaultyStore(store: Store): FaultyStore {
  let writes = 0
  let faultOf: (write: number, changes: readonly Change[]) => WriteFault | undefined = () => undefined
  let isDead = false

  const requireAlive = (): void => {
    if (isDead) throw new Problem('store-unavailable', 'The process is gone.')
  }

  return {
    async get(pk, sk) {
      requireAlive()
      return store.get(pk, sk)
    },
    async list(pk, range) {
      requireAlive()
      return store.list(pk, range)
    },
    async write(changes) {
      requireAlive()
      const fault = faultOf(writes++, changes)
      if (fault === undefined) return store.write(changes)
      if (fault === 'unanswered') await store.write(changes)
      throw new Problem('store-unavailable', 'The store did not answer.')
    },
    close: () => store.close(),
    writes: () => writes,
    setFaults: (next) => void (faultOf = next),
    kill: () => void (isDead = true),
  }
}
