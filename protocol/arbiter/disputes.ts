/** The payer shows that a sealed piece was not what its label said: the payee loses its bond and the unit. */
import { equal } from '../bytes.ts'
import { parseDispute, requireFault, type Dispute } from '../dispute.ts'
import { parseLabel, type Label } from '../label.ts'
import { Problem } from '../problem.ts'
import type { Envelope } from '../signed.ts'
import { requireAgent } from './authority.ts'
import { heldBy, keys, lanes, readKnown, type Lane, type Movement } from './items.ts'
import { closeLane, returnToAgent } from './releases.ts'
import { disputableUntil } from './seals.ts'
import { move, once, type Step } from './step.ts'
import type { View } from './view.ts'

export function dispute(labelEnvelope: Envelope, disputeEnvelope: Envelope): Step {
  const label = parseLabel(labelEnvelope)
  const order = parseDispute(disputeEnvelope)
  if (!equal(order.label, label.id)) throw new Problem('bad-request', 'The dispute is about another label.')
  return once(order.id, async (view, nowMs) => {
    const lane = await readKnown(view, lanes, keys.lane(label.lane), 'lane')
    await requireFalse(view, lane, { label, order }, nowMs)
    await closeLane(view, label.lane, lane, nowMs)
    return punish(view, lane, label.unit, nowMs)
  })
}

interface Accusation {
  readonly label: Label
  readonly order: Dispute
}

/** @throws Problem `bad-request`, `not-payer`, `delegation-exceeded`, `closed`, `expired`, `no-fault` */
async function requireFalse(view: View, lane: Lane, { label, order }: Accusation, nowMs: number): Promise<void> {
  if (!lane.sealed) throw new Problem('bad-request', 'The lane is not sealed.')
  if (!equal(order.by, lane.payer)) throw new Problem('not-payer', 'Only the payer of a lane disputes.')
  await requireAgent(view, lane.payer, order.key, 'not-payer', nowMs)
  if (lane.closed !== undefined) throw new Problem('closed', 'The lane is closed.')
  if (nowMs >= disputableUntil(lane)) throw new Problem('expired', 'The dispute window is over.')
  if (!equal(label.key, lane.claimer)) throw new Problem('no-fault', 'The label is not signed by who claimed the lane.')
  requireFault(label, { unit: lane.redeemed, key: lane.sealed.key }, order)
}

/** The lane ends: the payer has back what is not redeemed and the unit in question, and the bond besides. */
async function punish(view: View, lane: Lane, unit: number, nowMs: number): Promise<readonly Movement[]> {
  const { bonds, earned, frozen } = heldBy(lane)
  const back = unit <= lane.redeemed ? lane.unitPrice : 0n
  await returnToAgent(view, lane.payer, lane.agent, frozen + back, nowMs)
  return [
    move(lane.payer, { available: frozen + back + bonds, frozen: -frozen }),
    move(lane.payee, { available: earned - back, bonds: -bonds, earned: -earned }),
  ]
}
