/** Who may act for an account: the keys of its identity, and within its limits an agent's key that one of them delegated to. */
import type { Bytes } from '../bytes.ts'
import { requirePayee, requirePower } from '../delegation.ts'
import { speaksFor, type IdentityState } from '../identity.ts'
import { Problem, type ProblemCode } from '../problem.ts'
import { grants, identities, keys, read, readKnown, type Grant } from './items.ts'
import type { View } from './view.ts'

/** @throws Problem `not-found` */
export const readIdentity = (view: View, id: Bytes): Promise<IdentityState> =>
  readKnown(view, identities, keys.identity(id), 'account')

/**
 * For what an agent may never do.
 * @throws Problem `not-found`, `delegation-exceeded` for the key of an agent, `unknown-key`
 */
export async function requireOwner(view: View, id: Bytes, key: Bytes): Promise<void> {
  const grant = await requireSide(view, id, key, 'unknown-key')
  if (grant) throw new Problem('delegation-exceeded', 'Only a key of the owner may do this.')
}

/**
 * @param otherwise the problem when the key is neither the owner's nor an agent's
 * @returns the agent's grant, in force or not; undefined for the owner's own key
 * @throws Problem `not-found` for an unknown account, or `otherwise`
 */
export async function requireSide(
  view: View,
  id: Bytes,
  key: Bytes,
  otherwise: ProblemCode,
): Promise<Grant | undefined> {
  const identity = await readIdentity(view, id)
  if (speaksFor(identity, key)) return undefined
  const grant = await read(view, grants, keys.delegation(id, key))
  // A key that was rotated out takes its delegations with it.
  if (!grant || !speaksFor(identity, grant.key)) throw new Problem(otherwise, 'The key does not act for this account.')
  return grant
}

/**
 * For what moves nothing out of the account: any power will do.
 * @throws Problem as `requireSide`, `delegation-exceeded`
 */
export async function requireAgent(
  view: View,
  id: Bytes,
  key: Bytes,
  otherwise: ProblemCode,
  nowMs: number,
): Promise<void> {
  const grant = await requireSide(view, id, key, otherwise)
  if (!grant) return
  const [power] = grant.may
  if (!power) throw new Problem('delegation-exceeded', 'The delegation gives no power.')
  requirePower(grant, power, nowMs)
}

/**
 * For a promise of frozen credits to a payee.
 * @throws Problem as `requireSide`, `delegation-exceeded`
 */
export async function requireSpender(view: View, id: Bytes, key: Bytes, payee: Bytes, nowMs: number): Promise<void> {
  const grant = await requireSide(view, id, key, 'not-payer')
  if (!grant) return
  requirePower(grant, 'spend', nowMs)
  requirePayee(grant, payee)
}
