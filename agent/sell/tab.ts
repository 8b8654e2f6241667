/**
 * The rules of a lane as its seller keeps it: what was agreed, the tab (the last tick accepted, what was sent for it),
 * and what one request does to them. Pure: whoever calls saves the outcome before a byte leaves.
 */
import { equal, fromBase64url, toBase64url, type Bytes } from '../../protocol/bytes.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { limits } from '../../protocol/limits.ts'
import { segmentOf, verifyLink, verifyNext, type ChainShape, type Tick } from '../../protocol/payword.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { without } from '../records.ts'
import type { CreditLine } from '../trust/trust.ts'

/** Agreed once, with the ledger as witness; never changes. */
export interface LaneTerms {
  readonly id: Bytes
  /** The same as hex: the name under which the lane is kept. */
  readonly lane: string
  readonly mode: LaneMode
  /** The ledger's id, 32 bytes. */
  readonly ledger: Bytes
  /** The declaration's id, 32 bytes. */
  readonly declaration: Bytes
  /** The payer's id, hex. */
  readonly payer: string
  /** The keys that signed the declaration and the commitment: the ledger took them for the payer's. */
  readonly payerKeys: readonly Bytes[]
  /** v2 info hash, hex. */
  readonly content: string
  readonly price: bigint
  readonly cap: number
  readonly first: number
  readonly tickRoot: Bytes
  readonly shape: ChainShape
  readonly expires: number
  /** Milliseconds after that in which the payer may dispute a sealed piece. */
  readonly disputeWindow: number
}

/** Kept as JSON; small, as it is written once a piece. */
export interface Tab {
  readonly state: 'open' | 'closing' | 'closed'
  /** Units paid: the last tick accepted, 0 before the first. */
  readonly unit: number
  /** base64url; absent before the first tick. */
  readonly link?: string
  /** Of the segment that the last tick is in, base64url each: what proves its links to the ledger. */
  readonly proof?: readonly string[]
  /** Units sent, never fewer than are paid; prepaid, those; sealed, one more at the most. */
  readonly served: number
  /** The piece sent last, and how often it was sent again. */
  readonly piece?: number
  readonly repeats: number
  /** Units redeemed at the ledger. */
  readonly redeemed: number
  /** Why the ledger will not redeem the rest, ever. */
  readonly refused?: ProblemCode
  /** The accounts of the vouches that the debt counts against besides the payer: since the first piece on credit. */
  readonly vouches?: readonly string[]
  /** When a piece or a tick last came. */
  readonly atMs: number
}

export interface Step {
  readonly tab: Tab
  /** The request is refused for this, though what it paid counts. */
  readonly refusal?: Problem
}

export interface PieceRequest {
  readonly index: number
  readonly tick: Tick | undefined
  /** With the lane's commitment, as to a seller that does not know the lane. */
  readonly bringsLane: boolean
  readonly nowMs: number
  readonly line: CreditLine
}

/** Pieces owed now on an account, over all lanes: an account for each payer (its id, hex), and for each vouch that some debt came through. */
export type Owed = (account: string) => number

export const newTab = (nowMs: number): Tab => ({
  state: 'open',
  unit: 0,
  served: 0,
  repeats: 0,
  redeemed: 0,
  atMs: nowMs,
})

/** Pieces sent and not paid. */
export const owedOn = (tab: Tab): number => tab.served - tab.unit

/** How a step changes what is owed, by account. */
export function debtChanges({ mode, payer }: LaneTerms, before: Tab, after: Tab): ReadonlyMap<string, number> {
  // What is sealed is of no use until it is paid for: nobody owes it.
  if (mode !== 'credit') return new Map()
  const changes = new Map<string, number>()
  const add = ({ vouches = [] }: Tab, pieces: number): void => {
    for (const account of [payer, ...vouches]) changes.set(account, (changes.get(account) ?? 0) + pieces)
  }
  add(before, -owedOn(before))
  add(after, owedOn(after))
  return changes
}

/** Units that the ledger would still redeem. */
export const unredeemed = (tab: Tab): number => (tab.refused ? 0 : tab.unit - tab.redeemed)

/**
 * What a request for a piece does to the tab.
 * @throws Problem `closed`, `expired`, `tick-invalid`, `tick-replayed`: nothing is served, nothing is written
 */
export function takeRequest(terms: LaneTerms, tab: Tab, request: PieceRequest, owed: Owed): Step {
  if (tab.state !== 'open') throw new Problem('closed', 'The lane is signed off.')
  if (request.nowMs >= terms.expires - limits.expiryMarginMs)
    throw new Problem('expired', 'The lane is about to expire.')
  if (terms.mode === 'prepaid') return takePrepaid(terms, tab, request)
  return terms.mode === 'sealed' ? takeSealed(terms, tab, request) : takeOnCredit(terms, tab, request, owed)
}

/**
 * Each piece takes the next unit; the latest piece is sent again for the latest unit, after a lost reply. Of requests that
 * overtake each other the later must not take the units of the others: only who brings the lane again means to skip some.
 */
function takePrepaid(terms: LaneTerms, tab: Tab, { index, tick, bringsLane, nowMs }: PieceRequest): Step {
  if (!tick) throw new Problem('payment-required', 'A prepaid piece takes a tick.')
  if (tick.unit === tab.unit && index === tab.piece) return sentAgain(acceptTick(terms, tab, tick, nowMs))
  if (tick.unit <= tab.unit) throw replayed(tab)
  if (tick.unit !== tab.unit + 1 && !bringsLane)
    throw new Problem('tick-invalid', 'A prepaid tick pays one unit more.', { unit: tab.unit })
  const step = acceptTick(terms, tab, tick, nowMs)
  return { ...step, tab: { ...step.tab, piece: index, repeats: 0 } }
}

/**
 * The next piece is sealed once the one before is paid for, and takes a unit for good: its key opens whatever was sealed
 * under it. The latest is sent again, paid for or not.
 */
function takeSealed(terms: LaneTerms, tab: Tab, { index, tick, nowMs }: PieceRequest): Step {
  if (!tick && tab.unit > 0) throw tickMissing(tab)
  const step = tick ? acceptTick(terms, tab, tick, nowMs) : { tab }
  if (step.tab.served > 0 && index === step.tab.piece) return sentAgain(step)
  if (owedOn(step.tab) > 0) {
    return { ...step, refusal: new Problem('payment-required', 'The sealed piece sent last is not paid.') }
  }
  if (step.tab.served >= terms.cap) return { ...step, refusal: new Problem('limit-reached', 'The lane is used up.') }
  return { ...step, tab: { ...step.tab, served: step.tab.served + 1, piece: index, repeats: 0, atMs: nowMs } }
}

/** The tick pays for pieces before; this one is owed, within the credit of the payer and of each vouch on the way to it. */
function takeOnCredit(terms: LaneTerms, tab: Tab, { index, tick, nowMs, line }: PieceRequest, owed: Owed): Step {
  if (!tick && tab.unit > 0) throw tickMissing(tab)
  const step = tick ? acceptTick(terms, tab, tick, nowMs) : { tab }
  if (owedOn(step.tab) > 0 && index === tab.piece) return sentAgain(step)
  if (step.tab.served >= terms.cap) return { ...step, refusal: new Problem('limit-reached', 'The lane is used up.') }
  const vouches = line.vouches.map(({ account }) => account)
  const served = { ...step.tab, served: step.tab.served + 1, piece: index, repeats: 0, vouches, atMs: nowMs }
  const changes = debtChanges(terms, tab, served)
  const fits = (account: string, most: number): boolean => owed(account) + (changes.get(account) ?? 0) <= most
  const isWithin = fits(terms.payer, line.credit) && line.vouches.every(({ account, most }) => fits(account, most))
  if (isWithin) return { ...step, tab: served }
  return {
    ...step,
    refusal: new Problem('credit-exceeded', `At most ${line.credit} pieces may be unpaid.`, { credit: line.credit }),
  }
}

/** A tick without a request: at the end of a lane on credit, or for a sealed piece. @throws Problem `closed`, `tick-invalid`, `tick-replayed` */
export function takeLastTick(terms: LaneTerms, tab: Tab, tick: Tick, nowMs: number): Step {
  const step = acceptTick(terms, tab, tick, nowMs)
  if (step.tab !== tab && tab.state !== 'open') throw new Problem('closed', 'The lane is signed off.')
  return step
}

function sentAgain({ tab }: Step): Step {
  if (tab.repeats < limits.repeatsPerTick) return { tab: { ...tab, repeats: tab.repeats + 1 } }
  const detail = `A piece is sent again ${limits.repeatsPerTick} times at most.`
  return { tab, refusal: new Problem('tick-replayed', detail, { unit: tab.unit }) }
}

/**
 * The tab after a tick; a tick that was taken already changes nothing. One of more units than were sent, as far as the tab
 * knows, pays for them all the same, and they count as sent: the tab may be an older one that was put back, and the
 * payer alone would lose by it.
 * @throws Problem `tick-invalid`, `tick-replayed`
 */
export function acceptTick(terms: LaneTerms, tab: Tab, tick: Tick, nowMs: number): Step {
  if (tick.unit < tab.unit) throw replayed(tab)
  if (tick.unit === tab.unit) {
    if (tab.link !== undefined && equal(fromBase64url(tab.link), tick.link)) return { tab }
    throw new Problem('tick-invalid', 'The tick is not the one taken before.')
  }
  if (tick.unit > terms.cap) throw new Problem('tick-invalid', 'The tick pays for more than the lane has.')
  const proof = checkChain(terms, tab, tick)
  const paid = { ...tab, unit: tick.unit, link: toBase64url(tick.link), proof, atMs: nowMs }
  // Which piece the last of them was for is not known: none is sent again for it.
  return { tab: tick.unit > tab.served ? { ...without(paid, 'piece'), served: tick.unit, repeats: 0 } : paid }
}

/**
 * Within a segment the links hash to each other; the first of a segment brings the proof that the payer declared it.
 * @returns the segment's proof
 */
function checkChain(terms: LaneTerms, tab: Tab, tick: Tick): readonly string[] {
  const { shape, tickRoot, first } = terms
  const isSameSegment = segmentOf(shape, first, tab.unit) === segmentOf(shape, first, tick.unit)
  if (tab.link !== undefined && tab.proof && isSameSegment) {
    verifyNext(shape, { unit: tab.unit, link: fromBase64url(tab.link) }, tick)
    return tab.proof
  }
  if (!tick.proof) throw new Problem('tick-invalid', 'The first tick of a segment brings its proof.')
  verifyLink(tickRoot, shape, { first }, tick.unit, tick.link, tick.proof)
  return tick.proof.map(toBase64url)
}

/** As old as a request with a lower tick. */
const tickMissing = ({ unit }: Tab): Problem =>
  new Problem('tick-replayed', `The request carries no tick: each brings the last one, of unit ${unit}.`, { unit })

const replayed = (tab: Tab): Problem => new Problem('tick-replayed', 'The tick was already spent.', { unit: tab.unit })
