/** What was frozen and not spent goes back: a lane's remainder, or what no lane of a declaration has claimed. */
import { equal, type Bytes } from '../bytes.ts'
import { readDeclaration } from '../declaration.ts'
import { giveBack } from '../delegation.ts'
import { Problem } from '../problem.ts'
import { parseRelease, parseSignoff, type Release, type Signoff } from '../settlement.ts'
import type { Envelope } from '../signed.ts'
import { requireAgent } from './authority.ts'
import {
  grants,
  heldBy,
  keys,
  lanes,
  read,
  readKnown,
  reserves,
  unclaimedIn,
  write,
  type Lane,
  type Movement,
  type Reserve,
} from './items.ts'
import { disputableUntil, requireConsent } from './seals.ts'
import { move, once, type Step } from './step.ts'
import type { View } from './view.ts'

/** @param consent the payer's sign-off, with which the payee releases a sealed lane early */
export function release(envelope: Envelope, consent?: Envelope): Step {
  const order = parseRelease(envelope)
  const signoff = consent && parseSignoff(consent)
  const { lane } = order
  if (signoff && !(lane && equal(signoff.lane, lane))) {
    throw new Problem('bad-request', 'The sign-off is of another lane.')
  }
  return once(order.id, (view, nowMs) =>
    lane ? releaseLane(view, { order, id: lane, signoff }, nowMs) : releaseUnclaimed(view, order, nowMs),
  )
}

interface LaneRelease {
  readonly order: Release
  readonly id: Bytes
  readonly signoff: Signoff | undefined
}

/**
 * By the payee whenever it likes: it gives up what is not redeemed. By the payer once nobody can redeem or dispute any
 * more; the payee of a sealed lane, too, waits for that, or for the payer's word.
 */
async function releaseLane(
  view: View,
  { order, id, signoff }: LaneRelease,
  nowMs: number,
): Promise<readonly Movement[]> {
  const lane = await readKnown(view, lanes, keys.lane(id), 'lane')
  if (!equal(lane.declaration, order.declaration))
    throw new Problem('bad-request', 'The lane belongs to another declaration.')
  await checkSide(view, lane, order, nowMs)
  if (lane.closed !== undefined) throw new Problem('closed', 'The lane is closed.')
  // The payer's own word frees the payee alone: else the payer would take back what it owes.
  if (lane.sealed && signoff && equal(order.by, lane.payee)) await requireConsent(view, lane, signoff, nowMs)
  else checkDue(lane, order, nowMs)
  await closeLane(view, id, lane, nowMs)
  const { bonds, earned, frozen } = heldBy(lane)
  await returnToAgent(view, lane.payer, lane.agent, frozen, nowMs)
  await returnToAgent(view, lane.payee, lane.sealed?.agent, bonds, nowMs)
  return [
    move(lane.payer, { available: frozen, frozen: -frozen }),
    move(lane.payee, { available: earned + bonds, bonds: -bonds, earned: -earned }),
  ]
}

/** It holds nothing from then on, and its segments stay taken. */
export async function closeLane(view: View, id: Bytes, lane: Lane, nowMs: number): Promise<void> {
  write(view, lanes, keys.lane(id), { ...lane, closed: nowMs })
  await view.delete(keys.lanes(lane.payee, id))
  const reserve = await readKnown(view, reserves, keys.declaration(lane.declaration), 'declaration')
  await settle(view, lane.declaration, lane.payer, { ...reserve, open: reserve.open - 1 })
}

async function checkSide(view: View, { payee, payer }: Lane, { by, key }: Release, nowMs: number): Promise<void> {
  if (equal(by, payee)) await requireAgent(view, payee, key, 'not-payee', nowMs)
  else if (equal(by, payer)) await requireAgent(view, payer, key, 'not-payer', nowMs)
  else throw new Problem('not-payee', 'Only the two sides of a lane release it.')
}

function checkDue(lane: Lane, { by }: Release, nowMs: number): void {
  const isBound = lane.sealed !== undefined || !equal(by, lane.payee)
  if (isBound && nowMs < disputableUntil(lane)) {
    throw new Problem('not-expired', 'The lane is released when its dispute window is over.', {
      dueMs: disputableUntil(lane),
    })
  }
}

async function releaseUnclaimed(
  view: View,
  { by, declaration: id, key }: Release,
  nowMs: number,
): Promise<readonly Movement[]> {
  const reserve = await readKnown(view, reserves, keys.declaration(id), 'declaration')
  const { payer } = readDeclaration(reserve.envelope)
  if (!equal(by, payer)) throw new Problem('not-payer', 'Only the payer releases a declaration.')
  await requireAgent(view, payer, key, 'not-payer', nowMs)
  if (reserve.closed !== undefined) throw new Problem('closed', 'The declaration is released.')
  const rest = unclaimedIn(reserve)
  await settle(view, id, payer, { ...reserve, closed: nowMs, unclaimed: 0 })
  await returnToAgent(view, payer, reserve.agent, rest, nowMs)
  return [move(payer, { available: rest, frozen: -rest })]
}

/** A declaration of which no unit is unclaimed and no lane open holds nothing any more: it leaves the payer's list. */
async function settle(view: View, id: Bytes, payer: Bytes, reserve: Reserve): Promise<void> {
  write(view, reserves, keys.declaration(id), reserve)
  if (reserve.unclaimed === 0 && reserve.open === 0) await view.delete(keys.declarations(payer, id))
}

export async function returnToAgent(
  view: View,
  payer: Bytes,
  agent: Bytes | undefined,
  amount: bigint,
  nowMs: number,
): Promise<void> {
  const place = agent && keys.delegation(payer, agent)
  const grant = place && (await read(view, grants, place))
  if (grant) write(view, grants, place, { ...grant, usage: { ...giveBack(grant.usage, amount, nowMs) } })
}
