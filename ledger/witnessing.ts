/** The ledger's log and its witnesses. */
import { limits } from '../protocol/limits.ts'
import { createWitnessing as witnessingOf, publishedCheckpoint, type Witnessing } from '../protocol/witnessing.ts'
import type { LedgerContext } from './context.ts'
import { readConsistency, readHead } from './log.ts'

/** The signed checkpoint to be served, with what witnesses say of it. */
export const readCheckpoint = ({ store, witnesses }: LedgerContext): Promise<string> =>
  publishedCheckpoint({ store, witnesses, head: () => readHead(store) })

export function createWitnessing({ environment, store, witnesses, onFault }: LedgerContext): Witnessing {
  const log = {
    store,
    witnesses,
    head: () => readHead(store),
    consistency: (oldSize: number, size: number) => readConsistency(store, oldSize, size),
  }
  return witnessingOf({ environment, log, againMs: limits.cosignedAgainMs, onFault })
}
