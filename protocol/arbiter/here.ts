/** Whether a signed object is for this ledger: a key may speak for accounts at several. */
import { sha256 } from '#primitives'
import { equal, toHex, type Bytes } from '../bytes.ts'
import { Problem } from '../problem.ts'
import { keys, policies, readKnown, type Policy } from './items.ts'
import type { View } from './view.ts'

export const readPolicyOf = (view: Pick<View, 'get'>): Promise<Policy> =>
  readKnown(view, policies, keys.policy, 'policy')

/** A ledger's id: SHA-256 of the key of its checkpoints. */
export const idOfLedger = ({ key }: Pick<Policy, 'key'>): Bytes => sha256(key)

/**
 * @param what is for the ledger, for the error
 * @returns the ledger's policy
 * @throws Problem `wrong-ledger` with `ledger`, the id of this one
 */
export async function requireHere(view: View, ledger: Bytes | undefined, what: string): Promise<Policy> {
  const policy = await readPolicyOf(view)
  const id = idOfLedger(policy)
  if (!ledger || !equal(ledger, id)) {
    throw new Problem('wrong-ledger', `The ${what} is for another ledger.`, { ledger: toHex(id) })
  }
  return policy
}
