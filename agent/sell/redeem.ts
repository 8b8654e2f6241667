/**
 * Ticks into credits: a lane's last tick is redeemed at the ledger by hand, once the lane is idle, and before it
 * expires; signing a lane off moves what it earned into the account. Every object sent is the same when sent again, and
 * what is to be done is read from the tab, so a crash between any two steps only delays them.
 */
import { fromBase64url } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { parseSignoff, redeem as sealRedemption, release as sealRelease } from '../../protocol/settlement.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import { unitKeyOf } from './keys.ts'
import type { SaleLane, SellerLanes } from './seller-lanes.ts'
import { unredeemed, type Step, type Tab } from './tab.ts'

export interface Redeemed {
  /** Credits. */
  readonly redeemed: bigint
  readonly lanes: number
}

export interface Redeemer {
  /**
   * Serves no more on the lane, redeems its last tick and releases it.
   * @param paid units that the payer says are paid
   * @throws Problem `conflict` when a tick is missing, `peer-failed` while the ledger is away
   */
  signOff(lane: SaleLane, paid?: number): Promise<SaleLane>
  /** Redeems every tick that was accepted. @param all signs idle lanes off as well, so that what they earned is available */
  redeem(options: { readonly all?: boolean }): Promise<Redeemed>
  /** Serves no more on any lane, redeems the last tick of each, and signs off what may be. @throws as `maintain` */
  close(): Promise<void>
  /** Does what is due. @throws Problem the first that a lane met, after all have been tried */
  maintain(): Promise<void>
  /** Credits of ticks accepted, not redeemed. */
  outstanding(): Promise<bigint>
  /** For how long the tick waits that should have been redeemed first, in milliseconds; 0 where none is due. */
  lateMs(): Promise<number>
}

/** The ledger will never say otherwise. All else may pass: it is away, the owner renews a delegation. */
const FINAL: ReadonlySet<ProblemCode> = new Set([
  'expired',
  'closed',
  'not-payee',
  'not-found',
  'tick-invalid',
  'tick-replayed',
  'key-invalid',
  'bad-encoding',
  'bad-request',
])

export function createRedeemer(context: AgentContext, lanes: SellerLanes): Redeemer {
  const { clock } = context.environment
  /** When a lane was tended a short while ago: one that meets a fault must not take every round. */
  const tended = new Map<string, number>()

  /** @returns the lane afterwards, and the credits earned */
  async function redeemLane(known: SaleLane): Promise<readonly [SaleLane, bigint]> {
    if (unredeemed(known.tab) === 0) return [known, 0n]
    // Another instance may have sold on it since.
    const lane = (await lanes.latest(known.terms.lane)) ?? known
    const { unit } = lane.tab
    const answer = await context.ledger.redeem(redemptionOf(lane)).catch(finalRefusal)
    if (answer instanceof Problem) return [await markRefused(lane, unit, answer.code), 0n]
    return [await markRedeemed(lane, unit), answer.amount]
  }

  /** Of a tab with a tick, which has its link and its proof. */
  function redemptionOf({ terms, tab: { link = '', proof = [], unit } }: SaleLane): Envelope {
    const key = terms.mode === 'sealed' && { unitKey: unitKeyOf(context.signer, terms, unit) }
    const hashes = proof.map((hash) => fromBase64url(hash))
    const body = { lane: terms.id, link: fromBase64url(link), payee: context.owner, proof: hashes, unit, ...key }
    return sealRedemption(body, context.signer)
  }

  const markRedeemed = (lane: SaleLane, unit: number): Promise<SaleLane> =>
    lanes.update(lane, (tab) => ({ tab: { ...tab, redeemed: Math.max(tab.redeemed, unit) } }))

  /** What the ledger holds is asked for, as a refusal may mean that more was redeemed than the tab knows. */
  async function markRefused(lane: SaleLane, unit: number, code: ProblemCode): Promise<SaleLane> {
    const { redeemed, closed } = await context.ledger.lane(lane.terms.lane).catch(goneLane)
    return lanes.update(lane, (tab) => ({
      tab: {
        ...tab,
        redeemed: Math.max(tab.redeemed, Math.min(redeemed, tab.unit)),
        ...(redeemed < unit && { refused: code }),
        ...(closed && { state: 'closed' as const }),
      },
    }))
  }

  async function signOff(lane: SaleLane, paid = 0): Promise<SaleLane> {
    const closing = await lanes.update(lane, (tab) => beginClosing(tab, paid))
    if (closing.tab.state === 'closed') return closing
    const [redeemed] = await redeemLane(closing)
    const signoff = await lanes.signoff(lane.terms.lane)
    if (redeemed.tab.state === 'closed' || !mayLeave(redeemed, signoff)) return redeemed
    await release(redeemed, hasRead(redeemed, signoff) ? signoff : undefined)
    return lanes.update(redeemed, (tab) => ({ tab: { ...tab, state: 'closed' } }))
  }

  /** The payee of a sealed lane waits until the payer has read all that was redeemed, or may dispute nothing any more. */
  function mayLeave(lane: SaleLane, signoff: Envelope | undefined): boolean {
    const { expires, disputeWindow, mode } = lane.terms
    return mode !== 'sealed' || clock.now() >= expires + disputeWindow || hasRead(lane, signoff)
  }

  /** @param consent the payer's, where the ledger is to take it before nobody may dispute any more */
  async function release({ terms }: SaleLane, consent: Envelope | undefined): Promise<void> {
    const body = { by: context.owner, declaration: terms.declaration, lane: terms.id }
    try {
      await context.ledger.release(sealRelease(body, context.signer), consent)
    } catch (error) {
      // The payer may have released the lane after its dispute window.
      if (!isProblem(error, 'closed') && !isProblem(error, 'not-found')) throw error
    }
  }

  async function redeem({ all = false }: { readonly all?: boolean }): Promise<Redeemed> {
    let redeemed = 0n
    let count = 0
    for await (const lane of lanes.open()) {
      const [after, earned] = await redeemLane(lane)
      redeemed += earned
      if (earned > 0n) count++
      if (all && isIdle(after) && mayLeave(after, undefined)) await signOff(after)
    }
    return { redeemed, lanes: count }
  }

  const isIdle = ({ tab }: SaleLane): boolean => clock.now() - tab.atMs >= limits.laneIdleMs

  async function maintain(): Promise<void> {
    for (const [lane, atMs] of tended) if (clock.now() - atMs >= limits.redeemPauseMs) tended.delete(lane)
    const faults = await eachOpen(tend)
    await lanes.sweep(clock.now())
    if (faults.length > 0) throw faults[0]
  }

  async function close(): Promise<void> {
    const faults = await eachOpen(signOff)
    if (faults.length > 0) throw faults[0]
  }

  async function eachOpen(work: (lane: SaleLane) => Promise<unknown>): Promise<readonly unknown[]> {
    const faults: unknown[] = []
    for await (const lane of lanes.open()) await work(lane).catch((fault: unknown) => faults.push(fault))
    return faults
  }

  async function tend(lane: SaleLane): Promise<void> {
    const now = clock.now()
    const { terms, tab } = lane
    if (tended.has(terms.lane)) return
    const ends = tab.state === 'closing' || now >= terms.expires - limits.expiryMarginMs
    const due = unredeemed(tab) > 0 && now >= dueMs(lane)
    if (!ends && !due) return
    tended.set(terms.lane, now)
    await (ends ? signOff(lane) : redeemLane(lane))
  }

  async function outstanding(): Promise<bigint> {
    let sum = 0n
    for await (const { terms, tab } of lanes.open()) sum += BigInt(unredeemed(tab)) * terms.price
    return sum
  }

  async function lateMs(): Promise<number> {
    let late = 0
    for await (const lane of lanes.open())
      if (unredeemed(lane.tab) > 0) late = Math.max(late, clock.now() - dueMs(lane))
    return late
  }

  return { signOff, redeem, close, lateMs, maintain, outstanding }
}

/** The payer of a sealed lane says that it has read all that was redeemed. */
const hasRead = ({ terms, tab }: SaleLane, signoff: Envelope | undefined): signoff is Envelope =>
  terms.mode === 'sealed' && signoff !== undefined && parseSignoff(signoff).unit >= tab.redeemed

/** Once the lane is idle, and before it expires. */
const dueMs = ({ terms, tab }: SaleLane): number =>
  Math.min(tab.atMs + limits.laneIdleMs, terms.expires - limits.redeemAheadMs)

function beginClosing(tab: Tab, paid: number): Step {
  if (tab.state !== 'open') return { tab }
  if (paid > tab.unit) throw new Problem('conflict', 'The last tick is missing: send it first.', { unit: tab.unit })
  return { tab: { ...tab, state: 'closing' } }
}

const isProblem = (error: unknown, code: ProblemCode): boolean => error instanceof Problem && error.code === code

/** A ledger that has lost a lane will not find it again. */
function goneLane(error: unknown): { redeemed: number; closed: boolean } {
  if (isProblem(error, 'not-found')) return { redeemed: 0, closed: true }
  throw error
}

function finalRefusal(error: unknown): Problem {
  if (error instanceof Problem && FINAL.has(error.code)) return error
  throw error
}
