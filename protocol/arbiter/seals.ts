/** What is different with a sealed lane: the payee's bond, the keys that it shows as it redeems, and when it may leave. */
import type { Commitment } from '../commitment.ts'
import type { Declaration } from '../declaration.ts'
import { spend } from '../delegation.ts'
import { Problem } from '../problem.ts'
import { isKeyOf } from '../sealed.ts'
import { leastBond, type Claim, type Redemption, type Signoff } from '../settlement.ts'
import { requireAgent, requireSide } from './authority.ts'
import { grants, keys, write, type Lane } from './items.ts'
import type { View } from './view.ts'

/** @throws Problem `bad-request` unless the claim speaks of keys and a bond just when the lane is sealed */
export function checkSealed({ mode }: Commitment, { sealed }: Claim): void {
  if ((mode === 'sealed') !== (sealed !== undefined)) {
    throw new Problem('bad-request', 'A sealed lane, and no other, is claimed with an anchor and a bond.')
  }
}

/**
 * An agent's bond counts against its caps: else a stolen key could lose all that the owner has to an accomplice.
 * @returns what the lane keeps of it
 * @throws Problem `bad-request` for too small or too large a bond, `delegation-exceeded`
 */
export async function putUpBond(
  view: View,
  { key, payee, sealed }: Claim,
  { cap }: Commitment,
  { payer, unitPrice }: Declaration,
  nowMs: number,
): Promise<Pick<Lane, 'sealed'>> {
  if (!sealed) return {}
  const { anchor, bond } = sealed
  const [least, most] = [leastBond({ cap }, unitPrice), BigInt(cap) * unitPrice]
  if (bond < least || bond > most) {
    throw new Problem('bad-request', `The bond of this lane is ${least} to ${most} credits.`)
  }
  const grant = await requireSide(view, payee, key, 'not-payee')
  if (grant) {
    const usage = { ...spend(grant, grant.usage, bond, payer, nowMs) }
    write(view, grants, keys.delegation(payee, key), { ...grant, usage })
  }
  return { sealed: { ...(grant && { agent: key }), anchor, bond, key: anchor } }
}

/** The payee is paid only for what the ledger can open to the payer. @throws Problem `bad-request`, `key-invalid` */
export function checkUnitKey({ redeemed, sealed }: Lane, { unit, unitKey }: Redemption): void {
  if ((sealed !== undefined) !== (unitKey !== undefined)) {
    throw new Problem('bad-request', 'A redemption of a sealed lane, and of no other, shows the key of its unit.')
  }
  if (sealed && unitKey && !isKeyOf({ unit: redeemed, key: sealed.key }, unit, unitKey)) {
    throw new Problem('key-invalid', 'The key is not that of the unit.')
  }
}

/** Ledger time from which on nobody disputes, and either side may release. */
export const disputableUntil = ({ disputeWindow, expires }: Lane): number => expires + disputeWindow

/**
 * The payer's word that it has read all that was redeemed: there is nothing left to dispute.
 * @throws Problem `not-payer`, `not-expired` when more was redeemed than it signed off
 */
export async function requireConsent(view: View, lane: Lane, { key, unit }: Signoff, nowMs: number): Promise<void> {
  await requireAgent(view, lane.payer, key, 'not-payer', nowMs)
  if (lane.redeemed > unit) {
    throw new Problem('not-expired', `The payer has signed off ${unit} units of ${lane.redeemed}.`, {
      dueMs: disputableUntil(lane),
    })
  }
}
