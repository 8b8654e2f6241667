/** Keeps a download's sellers up to date: who is announced, who answers, what they have and charge. */
import { countPieces } from '../../protocol/bitfield.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { isAllowed } from './lanes.ts'
import { openParked } from './opener.ts'
import { releasePending } from './plan.ts'
import type { Run } from './run.ts'
import { mayBePaid, type SellerState } from './sellers.ts'
import type { PeerOffer } from './peers.ts'

/** How long an offer is taken for current, while it leaves something to hope for. */
const OFFER_MS = 30_000

/** Asks who sells, then the sellers that may have something new, until the signal aborts. */
export async function followSwarm(run: Run, signal: AbortSignal): Promise<void> {
  const { clock } = run.context.environment
  let lookedMs = clock.now()
  for (let round = 0; !signal.aborted; round++) {
    const nowMs = clock.now()
    if (nowMs < lookedMs) forgetTimes(run)
    lookedMs = nowMs
    await findPeers(run, round === 0)
    await openParked(run)
    await run.purse.giveBackExpired()
    for (const seller of run.sellers.all()) if (isWorthAsking(run, seller)) void ask(run, seller)
    releasePending(run)
    run.wake()
    await clock.sleep(run.pace.refreshMs, signal).catch(() => undefined)
  }
}

/** Those of before the clock was set back may be far ahead: whoever was left alone until then is not any more. */
function forgetTimes(run: Run): void {
  run.blocked = undefined
  for (const seller of run.sellers.all()) seller.untilMs = seller.offeredMs = 0
}

/** Not waited for: a seller that takes its time keeps nobody else. */
async function ask(run: Run, seller: SellerState): Promise<void> {
  run.asking.add(seller)
  await askOffer(run, seller).catch((error: unknown) => run.fail(error))
  run.asking.delete(seller)
  run.wake()
}

/**
 * The owner's brokers are asked first, and have the first round for themselves where they name anybody. A repository that
 * does not answer leaves us with the sellers we know.
 */
async function findPeers(run: Run, isFirst: boolean): Promise<void> {
  const brokered = (await run.peers.brokered(run.meta.infoHash).catch(unlessBug)) ?? []
  const isEnough = isFirst && brokered.length > 0
  const others = isEnough ? [] : ((await run.peers.swarm(run.meta.infoHash).catch(unlessBug)) ?? [])
  for (const peer of [...others, ...brokered]) run.sellers.get(peer.id).peer = peer
}

function isWorthAsking(run: Run, seller: SellerState): boolean {
  const { id, peer, status, untilMs, offer, offeredMs } = seller
  const nowMs = run.context.environment.clock.now()
  const isOut = status === 'lied' || !mayBePaid(seller) || run.isDistrusted(id)
  if (!peer || run.asking.has(seller) || isOut || untilMs > nowMs) return false
  if (!offer || status === 'gone') return true
  const isOpenEnded = status === 'dear' || countPieces(offer.bitfield) < run.meta.pieces
  return isOpenEnded && offeredMs + OFFER_MS <= nowMs
}

async function askOffer(run: Run, seller: SellerState): Promise<void> {
  if (!seller.peer) return
  try {
    take(run, seller, await run.peers.offer(seller.peer, run.meta))
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    run.sellers.leave(seller, 'gone', error.message)
    run.picker.leave(seller.id)
  }
}

function take(run: Run, seller: SellerState, offer: PeerOffer): void {
  if (seller.offer?.price !== offer.price || seller.url !== offer.url) seller.terms = undefined
  seller.offer = offer
  seller.offeredMs = run.context.environment.clock.now()
  seller.url = offer.url
  run.picker.offer(seller.id, offer.bitfield)
  const isDear = !offer.public && !isAllowed(run, offer.price)
  if (isDear) become(seller, 'dear', `A piece costs ${offer.price} credits.`)
  else if (seller.status !== 'slow') become(seller, 'good', undefined)
}

function become(seller: SellerState, status: SellerState['status'], detail: string | undefined): void {
  seller.status = status
  seller.detail = detail
}
