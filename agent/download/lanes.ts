/** How a flow pays: on the seller's terms (x402), with a lane that fits them. */
import type { LaneMode } from '../../protocol/commitment.ts'
import { Problem } from '../../protocol/problem.ts'
import { decodePaymentRequired, networkOf, PAYMENT_REQUIRED, type Offer } from '../../protocol/x402.ts'
import { ledgerIdOf } from '../context.ts'
import { rateOfFlow, shareOfFlow } from './room.ts'
import type { Run } from './run.ts'
import type { SellerState } from './sellers.ts'
import { requestPiece, type Failure } from './transfer.ts'
import type { PeerOffer } from './peers.ts'
import type { Lane } from '../wallet/lane.ts'

const NO_BODY = new Uint8Array(0)
/** A price may change, and a tick at the old one is lost: a lane is agreed on by what was said just now. */
const TERMS_MS = 2_000

export const isAllowed = ({ maxPrice }: Run, price: bigint): boolean => maxPrice === undefined || price <= maxPrice

const idleLanes = (run: Run, seller: SellerState): readonly Lane[] =>
  run.purse.lanes.filter((lane) => isFor(run, seller, lane) && !run.purse.busy.has(lane))

/** An idle lane whose tick has left for a piece that is still to be fetched: on any other lane it would cost another. */
export const owedLane = (run: Run, seller: SellerState): Lane | undefined =>
  idleLanes(run, seller).find(
    ({ pending }) => pending !== undefined && (run.reserved.has(pending) || run.picker.isOpen(pending)),
  )

/** An idle lane that can pay for any piece: a sealed one only when its last piece was opened. */
export const spareLane = (run: Run, seller: SellerState): Lane | undefined =>
  idleLanes(run, seller).find(({ left, mode, pending }) => left > 0 && (mode !== 'sealed' || pending === undefined))

/** Whether the lane pays what the seller asks. */
export function isFor(run: Run, seller: SellerState, lane: Lane): boolean {
  const { price } = seller.offer as PeerOffer
  const isOurs = lane.payee === seller.id && lane.state === 'open'
  const isPayable =
    lane.price >= price && isAllowed(run, lane.price) && (seller.credit !== false || lane.mode !== 'credit')
  return isOurs && isPayable
}

/** The seller's offers for this content at our ledger. Flows that ask together ask once. */
export async function askTerms(run: Run, seller: SellerState, piece: number): Promise<readonly Offer[] | Failure> {
  const nowMs = run.context.environment.clock.now()
  if (seller.termsMs + TERMS_MS <= nowMs) seller.terms = undefined
  if (!seller.terms) {
    const said = saidJustNow(seller, nowMs)
    seller.termsMs = said ? seller.offeredMs : nowMs
    seller.terms = termsAmong(run, seller, said ?? requestTerms(run, seller, piece))
  }
  try {
    const terms = await seller.terms
    if ('kind' in terms) seller.terms = undefined
    return terms
  } catch (error) {
    seller.terms = undefined
    throw error
  }
}

/** How it wants to be paid, where its offer says so and is that new. */
const saidJustNow = ({ offer, offeredMs }: SellerState, nowMs: number): readonly Offer[] | undefined =>
  offer && offer.accepts.length > 0 && offeredMs + TERMS_MS > nowMs ? offer.accepts : undefined

async function termsAmong(
  run: Run,
  seller: SellerState,
  said: readonly Offer[] | Promise<readonly Offer[] | Failure>,
): Promise<readonly Offer[] | Failure> {
  const offers = await said
  if ('kind' in offers) return offers
  const network = networkOf(await ledgerIdOf(run.context))
  const terms = offers.filter((offer) => offer.network === network && isOfThis(run, seller, offer))
  if (terms.length === 0) return { kind: 'broken', detail: 'The seller offers nothing that can be paid at our ledger.' }
  if (offerFor(terms, 'credit') && seller.peer) seller.credit ??= (await run.peers.creditFrom(seller.peer)) > 0
  return terms
}

/** What the seller answers when nothing is paid. */
async function requestTerms(run: Run, seller: SellerState, piece: number): Promise<readonly Offer[] | Failure> {
  const answer = await requestPiece(run, seller, { piece, into: NO_BODY, headers: {} })
  if ('kind' in answer) return answer
  const header = answer.headers.get(PAYMENT_REQUIRED)
  if (answer.status !== 402 || header === null) {
    return { kind: 'broken', detail: `An unpaid request was answered with status ${answer.status}.` }
  }
  try {
    return decodePaymentRequired(header).accepts
  } catch (error) {
    if (error instanceof Problem) return []
    throw error
  }
}

const isOfThis = ({ infoHash, meta }: Run, seller: SellerState, { payTo, amount, extra }: Offer): boolean =>
  payTo === seller.id &&
  amount === String(seller.offer?.price) &&
  extra.content === infoHash &&
  extra.unitBytes === meta.pieceLength

export const offerFor = (terms: readonly Offer[], mode: LaneMode): Offer | undefined =>
  terms.find(({ extra }) => extra.mode === mode)

/**
 * On credit where the seller trusts us, sealed where it does not: then nothing is at stake on either side. Prepaid, a
 * unit is, so that is for sellers that can do no better, and for as much as the owner lets be at stake.
 */
export function chooseOffer({ context }: Run, seller: SellerState, terms: readonly Offer[]): Offer | undefined {
  const onCredit = seller.credit ? offerFor(terms, 'credit') : undefined
  const sealed = seller.sealed ? offerFor(terms, 'sealed') : undefined
  const prepaid = offerFor(terms, 'prepaid')
  const mayStake = context.stakeMost === undefined || BigInt(prepaid?.amount ?? 0) <= context.stakeMost
  return onCredit ?? sealed ?? (mayStake ? prepaid : undefined)
}

/**
 * A new lane: what the seller has earned, but never more than the flow's share of what is left.
 * @throws Problem as `Purse.openLane`
 */
export function openLane(run: Run, seller: SellerState, offer: Offer): Promise<Lane> {
  const { purse, meta, infoHash } = run
  const price = BigInt(offer.amount)
  const share = flowShare(run, seller)
  return purse.openLane({
    content: infoHash,
    unitBytes: meta.pieceLength,
    price,
    payee: seller.id,
    url: seller.url,
    mode: offer.extra.mode,
    segmentMax: offer.extra.segmentMax,
    units: Math.min(earnedUnits(run, seller), share),
    // Where others have lanes for all of it, this one helps them: a piece at a time would be a declaration a piece.
    unitsLeft: Math.max(uncovered(run), share),
  })
}

/** A few until a good piece came; then what a flow brings in a while at the seller's rate, or some times as long a lane as the longest. */
function earnedUnits(run: Run, seller: SellerState): number {
  const { pace, meta, purse } = run
  if (seller.pieces === 0) return pace.firstLaneUnits
  const longest = Math.max(0, ...purse.lanes.filter(({ payee }) => payee === seller.id).map(({ cap }) => cap))
  const soon = (rateOfFlow(run, seller) * pace.laneMs) / 1_000 / meta.pieceLength
  return Math.max(pace.firstLaneUnits, longest * pace.laneGrowth, Math.floor(soon))
}

/** Pieces that no lane at work has a unit for. */
function uncovered({ picker, waitingForLane, purse }: Run): number {
  const covered = [...purse.busy].reduce((sum, { left }) => sum + left, 0)
  return picker.open + waitingForLane - covered
}

/** Of all pieces to come, by how fast the seller is, so that the flows are through with them together. */
function flowShare(run: Run, seller: SellerState): number {
  const { picker, waitingForLane } = run
  return Math.ceil((picker.open + waitingForLane) * shareOfFlow(run, seller))
}
