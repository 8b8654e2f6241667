/** A lane that an agent is offered: read, compared with what is for sale, and claimed at the ledger before anything is served. */
import { equal, toHex } from '../../protocol/bytes.ts'
import { parseCommitment, type Commitment } from '../../protocol/commitment.ts'
import { parseDeclaration, type Declaration } from '../../protocol/declaration.ts'
import { limits } from '../../protocol/limits.ts'
import { tickFromJson } from '../../protocol/payword.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { claim, leastBond } from '../../protocol/settlement.ts'
import { envelopeFromJson, type Envelope } from '../../protocol/signed.ts'
import type { PaywordPayload } from '../../protocol/x402.ts'
import type { AgentContext } from '../context.ts'
import { unitKeyOf } from './keys.ts'
import { modesOf } from './offer.ts'
import { termsOf, type SaleLane, type SellerLanes } from './seller-lanes.ts'
import { leastPrice } from '../share/price.ts'
import type { Share } from '../share/share.ts'
import { acceptTick, newTab, type LaneTerms } from './tab.ts'
import type { Trust } from '../trust/trust.ts'

export interface LaneKeeping {
  readonly context: AgentContext
  readonly lanes: SellerLanes
  readonly trust: Trust
}

/**
 * The claim is the same object each time, so a crash at any point is repaired by the payer's next request.
 * @throws Problem `payment-required` (no commitment, no tick, other content, too cheap), `tick-invalid`, `credit-exceeded`, `not-payee`,
 *   `expired`, what the ledger refuses for (`lane-taken`, `closed`, …), `peer-failed` while it does not answer
 */
export async function claimLane(
  { context, lanes, trust }: LaneKeeping,
  payload: PaywordPayload,
  share: Share,
): Promise<SaleLane> {
  if (!payload.commitment) throw new Problem('payment-required', 'The lane is not known here: send its commitment.')
  const envelope = envelopeFromJson(payload.commitment)
  const commitment = parseCommitment(envelope)
  if (toHex(commitment.id) !== payload.lane) throw new Problem('bad-request', 'The commitment is of another lane.')
  if (!equal(commitment.payee, context.owner)) throw new Problem('not-payee', 'The commitment is to another payee.')
  const declaration = await declarationOf(context, payload, commitment)
  await checkDeclaration(context, declaration, share)
  const promised = termsOf(commitment, declaration)
  if (!modesOf(context).includes(promised.mode)) refuse(`Pieces are not sold ${promised.mode}.`)
  if (promised.mode === 'credit') await requireCredit(trust, declaration)
  if (promised.mode === 'sealed') requireModestBond(promised, share)
  if (promised.mode === 'prepaid') requireTick(promised, payload, context.environment.clock.now())
  const order = claimOf(context, promised)
  const claimed = await context.ledger.claim(envelope, order).catch(refusedClaim(promised))
  // The ledger's copy names the key that really declared.
  const terms = termsOf(commitment, parseDeclaration(claimed.declaration))
  if (claimed.lane !== terms.lane) throw new Problem('peer-failed', 'The ledger claimed another lane.')
  return lanes.add(terms, { commitment: envelope, declaration: claimed.declaration, receipt: claimed.receipt })
}

function claimOf({ owner, signer }: AgentContext, terms: LaneTerms): Envelope {
  const { id, cap, mode, price } = terms
  const anchor = mode === 'sealed' && unitKeyOf(signer, terms, 0)
  const sealed = anchor && { sealed: { anchor, bond: leastBond({ cap }, price), cipher: 'aes-256-ctr' as const } }
  return claim({ commitment: id, payee: owner, ...sealed }, signer)
}

/** A lane that could not be used is not worth a claim; whether the payer really declared is for the ledger to say. */
async function requireCredit(trust: Trust, { payer }: Declaration): Promise<void> {
  const { credit } = await trust.creditFor(toHex(payer))
  if (credit === 0)
    throw new Problem('credit-exceeded', 'This payer gets no credit here: no piece may be unpaid.', { credit })
}

/** The payer says what a unit pays, and with it how many of our credits stand still, while it need not pay for any. */
function requireModestBond({ price }: LaneTerms, { price: asked }: Share): void {
  if (price > asked * BigInt(limits.sealedPriceTimes))
    refuse(`A sealed piece is sold for ${limits.sealedPriceTimes} times what it costs at the most: ${asked} credits.`)
}

/** Nor is one worth it that comes without a tick: whoever has keys enough would have us ask the ledger all day. */
function requireTick(terms: LaneTerms, { tick }: PaywordPayload, nowMs: number): void {
  if (!tick || tick.unit === 0) throw new Problem('payment-required', 'A prepaid piece takes a tick.')
  acceptTick(terms, newTab(nowMs), tickFromJson(tick), nowMs)
}

async function declarationOf(
  context: AgentContext,
  payload: PaywordPayload,
  commitment: Commitment,
): Promise<Declaration> {
  if (payload.declaration) return parseDeclaration(envelopeFromJson(payload.declaration))
  const { declaration } = await context.ledger.declaration(toHex(commitment.declaration)).catch(unknownDeclaration)
  return parseDeclaration(declaration)
}

const BOND_PROBLEMS: ReadonlySet<ProblemCode> = new Set(['funds-insufficient', 'delegation-exceeded'])

/** To the payer, `not-found` would say that the piece is not here. */
function unknownDeclaration(error: unknown): never {
  if (!(error instanceof Problem) || error.code !== 'not-found') throw error
  throw new Problem('payment-required', 'The ledger does not know the declaration.')
}

/** What a sealed lane lacks is, as far as its payer can tell, our bond: the same credits will do in another mode. */
const refusedClaim =
  ({ mode }: LaneTerms) =>
  (error: unknown): never => {
    const isBond = error instanceof Problem && BOND_PROBLEMS.has(error.code)
    if (mode === 'sealed' && isBond)
      throw new Problem('bond-missing', 'The bond of a sealed lane cannot be put up now.')
    return unknownDeclaration(error)
  }

async function checkDeclaration(context: AgentContext, declaration: Declaration, share: Share): Promise<void> {
  const { id } = await context.ledger.info()
  if (toHex(declaration.ledger) !== id) refuse('The declaration is at another ledger.')
  if (toHex(declaration.content) !== share.infoHash) refuse('The declaration is for other content.')
  if (declaration.unitBytes !== share.pieceLength) refuse('A unit pays for one piece, whole.')
  const now = context.environment.clock.now()
  if (declaration.unitPrice < leastPrice(share, now)) refuse(`A piece costs ${share.price} credits.`)
  if (declaration.expires - now <= limits.expiryMarginMs) {
    throw new Problem('expired', 'The declaration expires too soon.')
  }
}

function refuse(detail: string): never {
  throw new Problem('payment-required', detail)
}
