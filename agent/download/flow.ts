/**
 * One flow: piece after piece from one seller, on one lane. What a request stands for is durable before it leaves: the
 * lane's next unit and its piece are written together with the piece before, which is done by then.
 */
import { locatePiece } from '../../protocol/metainfo.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug, type ProblemCode } from '../../protocol/problem.ts'
import { PAYMENT_SIGNATURE, type Offer } from '../../protocol/x402.ts'
import type { Entry } from './journal.ts'
import { askTerms, chooseOffer, offerFor, openLane, owedLane } from './lanes.ts'
import { createOpener, type Opener } from './opener.ts'
import type { Job, Run } from './run.ts'
import { mayBePaid, type SellerState } from './sellers.ts'
import { transferPiece, type Failure, type Refused, type TransferOptions } from './transfer.ts'
import { createHttpClient } from '../clients/http-client.ts'
import type { GiveBack } from '../guard/day-cap.ts'
import type { Lane } from '../wallet/lane.ts'

interface Flow {
  readonly run: Run
  readonly seller: SellerState
  readonly buffer: Uint8Array
  /** Free content needs none. */
  readonly lane: Lane | undefined
  readonly terms: readonly Offer[]
  /** Of sealed pieces. */
  readonly opener: Opener
}

/** Whether to ask for the same piece once more. */
type Consequence = 'again' | 'over'

/** The seller may have forgotten what a tick was for, or lost our reply; more than this is a habit. */
const BURNS_FREE = 2
const BURNS_PER_PIECE = 1 / 64
const OTHER_TERMS: Failure = { kind: 'broken', detail: 'The seller no longer takes a lane of this kind.' }
const NOTHING_AT_STAKE: Failure = { kind: 'broken', detail: 'The seller wants more paid before than may be at stake.' }
const NO_WAY: Failure = {
  kind: 'broken',
  detail: 'The seller grants no credit and puts up no bond, and sells in no other way.',
}
/** A seller that refuses more lanes than that, one after the other, is left alone. */
const REFUSALS_MOST = 1

/** @param buffer holds a piece. @throws Problem of the store or the storage; a seller's failures end the flow, no more */
export async function runFlow(run: Run, job: Job, buffer: Uint8Array): Promise<void> {
  let { lane } = job
  if (lane) run.purse.busy.add(lane)
  try {
    const terms = await termsFor(run, job)
    const offer = lane ? undefined : chooseOffer(run, job.seller, terms)
    if (offer) lane = await laneFor(run, job.seller, offer)
    else if (!lane && terms.length > 0) leave(run, job.seller, offerFor(terms, 'prepaid') ? NOTHING_AT_STAKE : NO_WAY)
    const canPay = job.seller.offer?.public || (lane !== undefined && offerFor(terms, lane.mode) !== undefined)
    if (canPay)
      await fetchAll({ run, seller: job.seller, buffer, lane, terms, opener: createOpener(run, job.seller) }, job.piece)
    else run.picker.giveBack(job.piece)
  } finally {
    if (lane) run.purse.busy.delete(lane)
  }
}

/** None for free content, and where the seller does not say. */
async function termsFor(run: Run, { seller, piece, lane }: Job): Promise<readonly Offer[]> {
  if (seller.offer?.public) return []
  const terms = await unlessBlocked(run, askTerms(run, seller, piece))
  if (!terms) {
    // A lane that waits for its piece is tried again at once, and nothing else takes time here.
    await pause(run, 1)
    return []
  }
  if (!('kind' in terms)) {
    if (lane && terms.length > 0 && !offerFor(terms, lane.mode)) leave(run, seller, OTHER_TERMS)
    return terms
  }
  leave(run, seller, terms)
  return []
}

async function laneFor(run: Run, seller: SellerState, offer: Offer): Promise<Lane | undefined> {
  run.waitingForLane++
  const opening = unlessBlocked(run, openLane(run, seller, offer))
  opening.catch(() => undefined)
  // A stop does not wait for the ledger.
  return Promise.race([opening, run.stopped]).finally(() => run.waitingForLane--)
}

/** Undefined when the ledger does not freeze the credits, or cannot be reached: the download waits for it. */
async function unlessBlocked<T>(run: Run, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof Problem) || run.journal.isBroken) throw error
    const untilMs = run.context.environment.clock.now() + run.pace.fundsMs
    run.blocked = { reason: error.code, detail: error.message, untilMs }
    return undefined
  }
}

async function fetchAll(flow: Flow, first: number): Promise<void> {
  const { run, lane } = flow
  let known = false
  let done: readonly Entry[] = []
  for (let piece: number | undefined = first; piece !== undefined; piece = next(flow)) {
    const giveBack = await mayAsk(run, lane?.takesUnit(piece) ? lane.price : 0n)
    if (!giveBack) {
      run.picker.giveBack(piece)
      break
    }
    const begun = await run.sink.prepare(piece)
    await run.journal.write([...done, ...begun, ...(lane ? [lane.assign(piece)] : [])])
    const bytes = await obtain(flow, piece, known)
    if (!bytes) {
      // A tick that has not left by now leaves no more.
      if (lane && lane.state !== 'open' && lane.ticks < lane.unit) giveBack()
      return run.picker.giveBack(piece)
    }
    known = true
    await run.sink.put(piece, bytes)
    done = finish(flow, piece, bytes.length)
  }
  await run.journal.write(done)
  const mayPay = !run.signal.aborted && !run.isDistrusted(flow.seller.id)
  if (lane?.mode === 'credit' && lane.ticks > 0 && mayPay) await sendLastTick(flow, lane)
}

/** @param credits that the piece's tick takes. @returns undefined when the owner's switch or cap forbids to ask for it */
async function mayAsk(run: Run, credits: bigint): Promise<GiveBack | undefined> {
  try {
    await run.guard.requireRunning()
    return await run.guard.spend(credits)
  } catch (error) {
    if (!isHalt(error)) throw error
    run.halt = error
    return undefined
  }
}

/** The owner's word, and no failure. */
export const isHalt = (error: unknown): error is Problem =>
  error instanceof Problem && (error.code === 'stopped' || error.code === 'cap-reached')

/** What is owed on a lane at rest is missing from the credit of the others. If it does not arrive, the end of the download sends it again. */
async function sendLastTick({ run, seller }: Flow, lane: Lane): Promise<void> {
  const http = createHttpClient(run.context.environment, seller.url, limits.peerReplyBytes)
  const json = { tick: lane.lastTick() }
  await http.bytes({ method: 'POST', path: '/v1/ticks', json, attempts: 1 }).catch(unlessBug)
}

/** The flow ends where another lane, or another seller, should have the next piece. */
function next({ run, seller, lane }: Flow): number | undefined {
  if (run.signal.aborted || !run.sellers.isUsable(seller)) return undefined
  if (lane && (lane.left === 0 || owedLane(run, seller))) return undefined
  if (seller.status === 'slow' && run.servedByOthers(seller)) return undefined
  return run.picker.pick(seller.id)
}

function finish({ run, seller, lane }: Flow, piece: number, bytes: number): readonly Entry[] {
  run.picker.done(piece)
  run.usage?.fetched(seller.id, bytes)
  run.usage?.stored(bytes)
  // Its first good piece makes room for more flows.
  if (seller.pieces++ === 0) run.wake()
  seller.bytes += bytes
  seller.leaves = 0
  seller.refusals = 0
  return [run.progress.mark(piece), run.sellers.entry(seller), ...(lane ? [lane.verified()] : [])]
}

/** @param known the seller has seen the lane in this flow. @returns the verified piece, in the flow's buffer */
async function obtain(flow: Flow, piece: number, known: boolean): Promise<Uint8Array | undefined> {
  const { run, seller, lane } = flow
  for (let attempt = 1; ; attempt++) {
    if (run.isDistrusted(seller.id)) return undefined
    const isWhole = !known || attempt > 1
    const came = await transfer(flow, piece, paymentOf(flow, isWhole))
    if (!('kind' in came)) return came
    if (lane && !isWhole && mayHaveForgotten(came)) continue
    if ((await consequence(flow, came, attempt)) === 'over') return undefined
  }
}

/** A seller whose store was put back: the same tick once more, with all that it takes to know the lane. */
const mayHaveForgotten = (failure: Failure): boolean =>
  failure.kind === 'refused' && (failure.code === 'payment-required' || failure.code === 'tick-invalid')

/** @returns the verified piece, or why it did not come */
async function transfer(
  { run, seller, lane, buffer, opener }: Flow,
  piece: number,
  headers: TransferOptions['headers'],
): Promise<Uint8Array | Failure> {
  if (lane?.mode === 'sealed') return opener.obtain(lane, { piece, into: buffer, headers })
  const into = buffer.subarray(0, locatePiece(run.meta, piece).length)
  return (await transferPiece(run, seller, { piece, into, headers })) ?? into
}

function paymentOf({ lane, terms }: Flow, whole: boolean): Record<string, string> {
  const offer = lane && offerFor(terms, lane.mode)
  return lane && offer ? { [PAYMENT_SIGNATURE]: lane.payment(offer, whole) } : {}
}

async function consequence(flow: Flow, failure: Failure, attempt: number): Promise<Consequence> {
  const { run, seller, lane } = flow
  if (failure.kind === 'refused' && lane) {
    const refused = await refusal(flow, lane, failure)
    if (refused) return refused
  }
  if (failure.kind === 'lied') return ban(flow, failure)
  if (failure.kind === 'withheld' && lane) return giveUp(flow, lane, failure)
  if (failure.kind === 'cut' || attempt >= run.pace.attempts) return leave(run, seller, failure)
  await pause(run, attempt)
  return run.signal.aborted || seller.status === 'lied' ? 'over' : 'again'
}

/** What a refusal is about: trust, the tick, the lane, or what the seller has, or may send now. Any other may pass by itself. */
const REFUSALS: Partial<Record<ProblemCode, 'credit' | 'bond' | 'tick' | 'lane' | 'offer' | 'content'>> = {
  'credit-exceeded': 'credit',
  'bond-missing': 'bond',
  'tick-replayed': 'tick',
  'tick-invalid': 'lane',
  'lane-taken': 'lane',
  'not-payee': 'lane',
  closed: 'lane',
  expired: 'lane',
  'payment-required': 'offer',
  'not-found': 'content',
  'content-changed': 'content',
  'cap-reached': 'content',
  stopped: 'content',
}

/** @returns undefined when it may pass by itself */
async function refusal(flow: Flow, lane: Lane, failure: Refused): Promise<Consequence | undefined> {
  const { run, seller } = flow
  const about = REFUSALS[failure.code]
  if (about === undefined) return undefined
  if (about === 'content') return leave(run, seller, failure)
  if (about === 'tick' && lane.moved && lane.left > 0 && mayBurn(seller) && (await mayAsk(run, lane.price))) {
    seller.burns++
    await run.journal.write([lane.burn()])
    return 'again'
  }
  if (about === 'offer') seller.offer = seller.terms = undefined
  if (await isLost(run, lane)) seller.lost++
  if (about === 'credit' && lane.mode === 'credit') seller.credit = false
  else if (about === 'bond' && lane.mode === 'sealed') seller.sealed = false
  else if (++seller.refusals > REFUSALS_MOST || !mayBePaid(seller)) leave(run, seller, failure)
  await run.journal.write([lane.leave()])
  return 'over'
}

/** Whether the seller has a tick of us for a piece that did not come: not when the lane ended at the ledger without it. */
async function isLost({ context }: Run, lane: Lane): Promise<boolean> {
  const hasTick = lane.mode === 'prepaid' || (lane.mode === 'sealed' && lane.ticks === lane.unit)
  if (!hasTick || lane.pending === undefined) return false
  const known = await context.ledger.lane(lane.id).catch(unlessBug)
  const isOver = known && (known.closed || known.expires <= context.environment.clock.now())
  return !isOver || known.redeemed >= lane.ticks
}

const mayBurn = ({ burns, pieces }: SellerState): boolean => burns < BURNS_FREE + pieces * BURNS_PER_PIECE

/** The sealed piece is kept: should the seller redeem its tick after all, the ledger shows the key. */
async function giveUp({ run, seller }: Flow, lane: Lane, failure: Failure): Promise<Consequence> {
  seller.lost++
  await run.journal.write([lane.leave()])
  return leave(run, seller, failure)
}

/** Nothing is asked of it any more, and what is on its way from it is cut. */
export function banSeller(run: Run, seller: SellerState, detail: string): void {
  run.sellers.leave(seller, 'lied', detail)
  for (const transfer of run.transfers) if (transfer.seller === seller) transfer.cut('banned')
}

/** At once and for good: of all that it has been paid, one unit a flow at most was for nothing. */
async function ban({ run, seller, lane }: Flow, { detail }: Failure): Promise<Consequence> {
  banSeller(run, seller, detail)
  await run.liars.tell(seller.id)
  await run.journal.write([run.sellers.entry(seller), ...(lane ? [lane.leave()] : [])])
  return 'over'
}

/** A seller that stalls is slow, one that fails is gone; who was cut for another reason has been dealt with. */
function leave(run: Run, seller: SellerState, failure: Failure): 'over' {
  if (failure.kind !== 'cut') run.sellers.leave(seller, 'gone', failure.detail)
  else if (failure.why === 'stalled') run.sellers.leave(seller, 'slow', failure.detail)
  return 'over'
}

/** Doubles each time; half of it is random, so that flows do not come back in step. */
async function pause({ context, pace, signal }: Run, attempt: number): Promise<void> {
  const { clock, random } = context.environment
  const [jitter = 0] = random.bytes(1)
  const ms = pace.retryMs * 2 ** (attempt - 1) * (0.5 + jitter / 512)
  await clock.sleep(ms, signal).catch(() => undefined)
}
