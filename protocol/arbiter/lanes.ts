/** Commands on the credits of a declaration: declare freezes them, claim hands a lane to a payee, redeem earns. */
import { equal, type Bytes } from '../bytes.ts'
import { emptyBitfield, hasPiece, setPiece } from '../bitfield.ts'
import { checkLane, parseCommitment, type Commitment } from '../commitment.ts'
import { parseDeclaration, priceOf, readDeclaration, type Declaration } from '../declaration.ts'
import { spend } from '../delegation.ts'
import { limits } from '../limits.ts'
import { segmentsOf, verifyLink } from '../payword.ts'
import { Problem } from '../problem.ts'
import { parseClaim, parseRedemption, type Claim, type Redemption } from '../settlement.ts'
import { envelopeToJson, type Envelope } from '../signed.ts'
import { requireAgent, requireSide, requireSpender } from './authority.ts'
import { requireHere } from './here.ts'
import {
  grants,
  heldBy,
  keys,
  laneIds,
  lanes,
  marks,
  readKnown,
  reserves,
  write,
  type Accepted,
  type Lane,
  type Movement,
  type Reserve,
} from './items.ts'
import { checkSealed, checkUnitKey, putUpBond } from './seals.ts'
import { move, once, type Step } from './step.ts'
import type { View } from './view.ts'

export function declare(envelope: Envelope): Step {
  const declaration = parseDeclaration(envelope)
  const { id, payer, segment, units, unitPrice } = declaration
  return once(id, async (view, nowMs) => {
    await checkTerms(view, declaration, nowMs)
    const agent = await charge(view, declaration, nowMs)
    const bits = emptyBitfield(segmentsOf({ segment, units }))
    const reserve = {
      ...(agent && { agent }),
      envelope: { ...envelope },
      open: 0,
      starts: bits,
      taken: bits,
      unclaimed: units,
      unitPrice,
    }
    write(view, reserves, keys.declaration(id), reserve)
    const price = priceOf(declaration)
    if (price > 0n) write(view, marks, keys.declarations(payer, id), {})
    return [move(payer, { available: -price, frozen: price })]
  })
}

async function checkTerms(view: View, { expires, ledger }: Declaration, nowMs: number): Promise<void> {
  await requireHere(view, ledger, 'declaration')
  if (expires <= nowMs) throw new Problem('expired', 'The declaration has expired.')
  if (expires > nowMs + limits.declarationMs) {
    throw new Problem('bad-request', `A declaration expires within ${limits.declarationMs} ms.`)
  }
}

/** Counts the price against the agent's caps. @returns the agent's key; undefined when the owner signed */
async function charge(view: View, declaration: Declaration, nowMs: number): Promise<Bytes | undefined> {
  const { key, payer } = declaration
  const grant = await requireSide(view, payer, key, 'unknown-key')
  if (!grant) return undefined
  const usage = { ...spend(grant, grant.usage, priceOf(declaration), undefined, nowMs) }
  write(view, grants, keys.delegation(payer, key), { ...grant, usage })
  return key
}

export function claim(commitmentEnvelope: Envelope, claimEnvelope: Envelope): Step {
  const commitment = parseCommitment(commitmentEnvelope)
  const order = parseClaim(claimEnvelope)
  const { commitment: claimed, key: claimer, payee } = order
  if (!equal(claimed, commitment.id)) throw new Problem('bad-request', 'The claim is for another commitment.')
  if (!equal(payee, commitment.payee)) throw new Problem('not-payee', 'The commitment is to another payee.')
  checkSealed(commitment, order)
  const step = once(commitment.id, async (view, nowMs) => {
    const { declaration, reserve } = await readPromised(view, commitment, nowMs)
    await requireAgent(view, payee, claimer, 'not-payee', nowMs)
    await requireRoom(view, { declaration, reserve }, commitment, nowMs)
    write(view, reserves, keys.declaration(declaration.id), withLane(reserve, commitment))
    const sealed = await putUpBond(view, order, commitment, declaration, nowMs)
    const lane = { ...laneOf(declaration, reserve, commitment, commitmentEnvelope, claimer), ...sealed }
    write(view, lanes, keys.lane(commitment.id), lane)
    write(view, laneIds, keys.segments(declaration.id, lane.first), { lane: commitment.id })
    if (lane.unitPrice > 0n) write(view, marks, keys.lanes(payee, commitment.id), {})
    const { bonds } = heldBy(lane)
    return [move(declaration.payer), move(payee, { available: -bonds, bonds })]
  })
  return {
    ...step,
    async repeated(view) {
      const before = await step.repeated(view)
      return before && (await isClaimedBy(view, order)) ? before : undefined
    },
  }
}

/** Another host of the payee's does not know the ticks that the lane was paid with: to it, the lane is taken. */
async function isClaimedBy(view: View, { commitment, key, sealed }: Claim): Promise<boolean> {
  const lane = await readKnown(view, lanes, keys.lane(commitment), 'lane')
  return equal(lane.claimer, key) && (!sealed || !lane.sealed || equal(lane.sealed.anchor, sealed.anchor))
}

interface Promised {
  readonly declaration: Declaration
  readonly reserve: Reserve
}

/**
 * The declaration that a commitment is on.
 * @throws Problem `not-found`, `bad-request` for a lane outside of it, `not-payer` or `delegation-exceeded` for its signer
 */
export async function readPromised(view: View, commitment: Commitment, nowMs: number): Promise<Promised> {
  const reserve = await readKnown(view, reserves, keys.declaration(commitment.declaration), 'declaration')
  const declaration = readDeclaration(reserve.envelope)
  checkLane(commitment, declaration)
  await requireSpender(view, declaration.payer, commitment.key, commitment.payee, nowMs)
  return { declaration, reserve }
}

/**
 * Whether the declaration still has the segments and the units of a lane.
 * @throws Problem `lane-taken`, `closed`, `expired`, `funds-insufficient`
 */
export async function requireRoom(
  view: View,
  { declaration: { expires }, reserve }: Promised,
  commitment: Commitment,
  nowMs: number,
): Promise<void> {
  await requireFree(view, reserve, commitment)
  if (reserve.closed !== undefined) throw new Problem('closed', 'The payer has released the declaration.')
  if (nowMs >= expires) throw new Problem('expired', 'The declaration has expired.')
  if (commitment.cap > reserve.unclaimed) {
    throw new Problem('funds-insufficient', `The declaration has ${reserve.unclaimed} units left.`)
  }
}

/** @throws Problem `lane-taken` with the commitment that came first: two of one payer for the same segment */
async function requireFree(
  view: View,
  { starts, taken }: Reserve,
  { declaration, first, id, segments }: Commitment,
): Promise<void> {
  const end = first + segments
  let segment = first
  while (segment < end && !hasPiece(taken, segment)) segment++
  if (segment === end) return
  while (!hasPiece(starts, segment)) segment--
  const { lane } = await readKnown(view, laneIds, keys.segments(declaration, segment), 'segment')
  const { commitment } = await readKnown(view, lanes, keys.lane(lane), 'lane')
  const detail = equal(lane, id)
    ? 'This lane was claimed before, by another key or with another anchor.'
    : 'Another commitment to these segments was claimed first.'
  throw new Problem('lane-taken', detail, { commitment: envelopeToJson(commitment) })
}

function withLane(reserve: Reserve, { cap, first, segments }: Commitment): Reserve {
  const [starts, taken] = [reserve.starts.slice(), reserve.taken.slice()]
  setPiece(starts, first)
  for (let i = 0; i < segments; i++) setPiece(taken, first + i)
  return { ...reserve, open: reserve.open + 1, starts, taken, unclaimed: reserve.unclaimed - cap }
}

const laneOf = (
  { disputeWindow, expires, payer, segment, tickRoot, unitPrice, units }: Declaration,
  { agent }: Reserve,
  { cap, declaration, first, mode, payee }: Commitment,
  commitment: Envelope,
  claimer: Bytes,
): Lane => ({
  ...(agent && { agent }),
  cap,
  claimer,
  commitment: { ...commitment },
  declaration,
  disputeWindow,
  expires,
  first,
  mode,
  payee,
  payer,
  redeemed: 0,
  segment,
  tickRoot,
  unitPrice,
  units,
})

/** Reads and writes the lane alone: the lane remembers the answer itself, that of its latest redemption. */
export function redeem(envelope: Envelope): Step {
  const redemption = parseRedemption(envelope)
  const known = (view: View) => readKnown(view, lanes, keys.lane(redemption.lane), 'lane')
  return {
    async repeated(view) {
      const lane = await known(view)
      if (!lane.last || !equal(lane.last.id, redemption.id)) return undefined
      return { entry: lane.last.entry, moves: earn(lane, lane.last.amount), time: lane.last.time }
    },
    async apply(view, nowMs) {
      const lane = await known(view)
      await checkRedeemer(view, lane, redemption, nowMs)
      requireRedeemable(lane, redemption.unit, nowMs)
      verifyLink(lane.tickRoot, lane, lane, redemption.unit, redemption.link, redemption.proof)
      checkUnitKey(lane, redemption)
      return earn(lane, BigInt(redemption.unit - lane.redeemed) * lane.unitPrice)
    },
    async remember(view, accepted) {
      write(view, lanes, keys.lane(redemption.lane), redeemedLane(await known(view), redemption, accepted))
    },
  }
}

/** What a redemption makes of its lane. Of the lane, what no redemption changes is enough. */
export function redeemedLane(lane: Lane, redemption: Redemption, { entry, moves, time }: Accepted): Lane {
  const { id, unit, unitKey } = redemption
  const amount = moves.reduce((sum, { earned }) => sum + earned, 0n)
  const sealed = lane.sealed && unitKey && { sealed: { ...lane.sealed, key: unitKey } }
  return { ...lane, last: { amount, entry, id, time }, redeemed: unit, ...sealed }
}

const earn = ({ payee, payer }: Lane, amount: bigint): Movement[] => [
  move(payer, { frozen: -amount }),
  move(payee, { earned: amount }),
]

async function checkRedeemer(
  view: View,
  { claimer, payee }: Lane,
  redemption: Redemption,
  nowMs: number,
): Promise<void> {
  if (!equal(redemption.payee, payee)) throw new Problem('not-payee', 'The lane belongs to another payee.')
  if (!equal(redemption.key, claimer)) await requireAgent(view, payee, redemption.key, 'not-payee', nowMs)
}

/**
 * Whether a lane can still be redeemed up to a unit.
 * @throws Problem `closed`, `expired`, `tick-replayed`, `tick-invalid` beyond its cap
 */
export function requireRedeemable(
  lane: Pick<Lane, 'cap' | 'closed' | 'expires' | 'redeemed'>,
  unit: number,
  nowMs: number,
): void {
  if (lane.closed !== undefined) throw new Problem('closed', 'The lane is closed.')
  if (nowMs >= lane.expires) throw new Problem('expired', 'The lane has expired.')
  if (unit <= lane.redeemed) {
    throw new Problem('tick-replayed', `The lane is redeemed up to unit ${lane.redeemed}.`, { redeemed: lane.redeemed })
  }
  if (unit > lane.cap) throw new Problem('tick-invalid', `The lane ends with unit ${lane.cap}.`)
}
