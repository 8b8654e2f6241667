/** Commands of owners on their own account: register, rotate, delegate, transfer. */
import { equal } from '../bytes.ts'
import { NOTHING_USED, parseDelegation } from '../delegation.ts'
import { limits } from '../limits.ts'
import { applyOperation, identityOf, parseOperation } from '../identity.ts'
import { Problem } from '../problem.ts'
import { parseTransfer } from '../settlement.ts'
import type { Envelope } from '../signed.ts'
import { readIdentity, requireOwner } from './authority.ts'
import { admission } from './governance.ts'
import { readPolicyOf, requireHere } from './here.ts'
import { accounts, grants, identities, keys, read, readKnown, write } from './items.ts'
import { move, once, type Step } from './step.ts'

/**
 * An identity's first operation opens its account, with what the policy gives.
 * @param certificate a membership, where the federation asks for one
 */
export function register(envelope: Envelope, certificate?: Envelope): Step {
  const operation = parseOperation(envelope)
  const id = operation.hash
  const requireAdmission = admission(certificate)
  return once(id, async (view, nowMs) => {
    const policy = await readPolicyOf(view)
    requireAdmission(policy, id, nowMs)
    const { faucet } = policy
    if (await view.get(keys.identity(id))) throw new Problem('conflict', 'The account exists.')
    write(view, identities, keys.identity(id), applyOperation(undefined, envelope, nowMs))
    write(view, accounts, keys.account(id), { available: 0n, issued: faucet })
    return [move(id, { available: faucet })]
  })
}

export function rotate(envelope: Envelope): Step {
  const operation = parseOperation(envelope)
  const id = identityOf(operation)
  return once(operation.hash, async (view, nowMs) => {
    const state = await readIdentity(view, id)
    write(view, identities, keys.identity(id), applyOperation(state, envelope, nowMs))
    return [move(id)]
  })
}

/** A newer delegation of the same agent replaces the older; what was spent stays spent. */
export function delegate(envelope: Envelope): Step {
  const { id, key, ...terms } = parseDelegation(envelope)
  return once(id, async (view, nowMs) => {
    await requireHere(view, terms.ledger, 'delegation')
    await requireOwner(view, terms.owner, key)
    const place = keys.delegation(terms.owner, terms.agent)
    const known = await read(view, grants, place)
    if (terms.issued > nowMs + limits.clockSkewMs)
      throw new Problem('bad-request', 'The delegation was issued in the future.')
    if (known && terms.issued <= known.issued) throw new Problem('conflict', 'A newer delegation is in force.')
    write(view, grants, place, { ...terms, id, key, usage: known?.usage ?? { ...NOTHING_USED } })
    return [move(terms.owner)]
  })
}

export function transfer(envelope: Envelope): Step {
  const { amount, from, id, key, ledger, to } = parseTransfer(envelope)
  return once(id, async (view) => {
    await requireHere(view, ledger, 'transfer')
    if (equal(from, to)) throw new Problem('bad-request', 'The giver and the receiver are the same account.')
    await requireOwner(view, from, key)
    await readKnown(view, accounts, keys.account(to), 'receiver')
    return [move(from, { available: -amount }), move(to, { available: amount })]
  })
}
