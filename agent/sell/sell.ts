/** Selling: a piece for a tick (or on credit), the ends of lanes, and turning ticks into credits. */
import { equal, toBase64url, toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { locatePiece, pieceHash } from '../../protocol/metainfo.ts'
import { tickFromJson, type Tick, type TickJson } from '../../protocol/payword.ts'
import { Problem } from '../../protocol/problem.ts'
import { partsOf, pieceShape, sealedBytes, type PieceShape } from '../../protocol/sealed.ts'
import { parseSignoff } from '../../protocol/settlement.ts'
import type { Envelope } from '../../protocol/signed.ts'
import {
  decodePayment,
  encodePaymentResponse,
  networkOf,
  PAYMENT_RESPONSE,
  transactionOf,
  type SealedPart,
  type PaymentPayload,
  type PaywordPayload,
} from '../../protocol/x402.ts'
import { createBufferPool, type BufferLease } from './buffers.ts'
import { claimLane } from './claim.ts'
import type { AgentContext } from '../context.ts'
import { unitKeyOf } from './keys.ts'
import { pieceOffers, refusalWithOffer, shareOffer, type ShareOffer } from './offer.ts'
import { createRedeemer, type Redeemed } from './redeem.ts'
import { sealedPart, sealGoods, type Goods } from './goods.ts'
import { createSellerLanes, type SaleLane, type TabRule } from './seller-lanes.ts'
import type { GiveBack } from '../guard/day-cap.ts'
import type { Guard } from '../guard/guard.ts'
import { createSerial } from '../serial.ts'
import type { Share, Shares } from '../share/share.ts'
import { acceptTick, takeLastTick, takeRequest, type LaneTerms, type PieceRequest, type Tab } from './tab.ts'
import type { CreditLine, Trust } from '../trust/trust.ts'
import type { ByteRange } from '../storage/storage.ts'
import type { Way } from '../storage/ways.ts'
import { ANYONE, type Usage } from '../usage.ts'

export interface PieceReply {
  readonly status: 200 | 402 | 307
  readonly headers: Record<string, string>
  readonly body: Uint8Array
  /** The body's buffer may be used again. */
  readonly done: () => void
  /** How the sending may be cut short, where others wait for the buffer. */
  readonly cutBy?: BufferLease['cutBy']
}

/** Bytes on their way out, in a buffer that waits to be given back. */
export type Sendable = Pick<PieceReply, 'body' | 'done' | 'cutBy'>

export interface PieceHead extends Pick<PieceReply, 'status' | 'headers'> {
  /** Of the body. */
  readonly length: number
}

export interface TickAnswer {
  readonly lane: string
  readonly unit: number
  /** Of a sealed lane: the unit's, base64url. */
  readonly key?: string
}

export interface Seller {
  /** @param infoHash v2 or v1. @throws Problem `not-found`, `content-changed`, `stopped` */
  offer(infoHash: string): Promise<ShareOffer>
  /**
   * A piece, once it is paid or owed and that is saved. Whatever is wrong with the payment, nothing is served.
   * @param payment the PAYMENT-SIGNATURE header
   * @param url of the piece, as the reader knows it
   * @param way how the reader would rather have it (RFC 7240 Prefer): `link` or `copy`
   * @throws Problem any but those of status 402, which are replies with the offer in PAYMENT-REQUIRED
   */
  piece(infoHash: string, index: number, payment: string | undefined, url: string, way?: string): Promise<PieceReply>
  /** What `piece` would answer without payment: nothing is read for it, as nothing is counted. */
  head(infoHash: string, index: number, url: string): Promise<PieceHead>
  /**
   * What anybody may have for nothing, and now.
   * @throws Problem `not-found`, also for what has a price or is for a circle; `content-changed`, `stopped`, `cap-reached`
   */
  free(infoHash: string): Promise<Share>
  /**
   * Bytes of one of its pieces. All of the piece is charged to the day's cap: each read costs the owner a request, however
   * little it brings.
   * @throws Problem as `free`, and `storage-unavailable`, `limit-reached`
   */
  freePart(infoHash: string, index: number, within: ByteRange): Promise<Sendable>
  /** The last tick of a lane on credit, or that of a sealed piece. @throws Problem `not-found`, `closed`, `tick-invalid`, `tick-replayed`, `bad-request` */
  tick(json: unknown): Promise<TickAnswer>
  /** The payer's word that a lane is done. @throws Problem `not-found`, `not-payer`, `conflict` (a tick is missing), `peer-failed` */
  signoff(envelope: Envelope): Promise<{ lane: string; redeemed: number }>
  redeem(options: { readonly all?: boolean }): Promise<Redeemed>
  /** Ends every lane, as far as that is the seller's to do. @throws Problem `conflict`, `peer-failed` while the ledger is away */
  close(): Promise<void>
  maintain(): Promise<void>
  outstanding(): Promise<bigint>
  /** As of the redeemer. */
  lateMs(): Promise<number>
  /** Pieces owed now on an account: of a payer, or of a vouch that debts came through. */
  owed(account: string): Promise<number>
}

export interface SellerParts {
  readonly shares: Shares
  readonly trust: Trust
  readonly usage: Usage
  readonly guard: Guard
}

interface Ready {
  /** Of a sealed lane. */
  readonly goods: Goods | undefined
  readonly lease: BufferLease
  /** Where the piece may be had instead. */
  readonly location?: string
}

/** `giveBack`: it is not sent after all. */
type Counted<T> = T & { readonly giveBack: GiveBack }

const NO_CREDIT: CreditLine = { credit: 0, vouches: [] }
const NOTHING: BufferLease = { buffer: new Uint8Array(0), release: () => undefined, cutBy: () => undefined }
const OCTETS = { 'content-type': 'application/octet-stream' }

export function createSeller(context: AgentContext, { shares, trust, usage, guard }: SellerParts): Seller {
  const { clock } = context.environment
  const lanes = createSellerLanes(context)
  const redeemer = createRedeemer(context, lanes)
  const pool = createBufferPool({
    bytes: limits.servingBytes,
    waiting: limits.servingQueue,
    patienceMs: limits.sendPatienceMs,
    clock,
  })
  const oneAtATime = createSerial()

  async function shared(infoHash: string, isMeant: (share: Share) => boolean = () => true): Promise<Share> {
    const share = await shares.get(infoHash)
    if (!share || !isMeant(share)) throw new Problem('not-found', 'This content is not shared here.')
    if (share.withdrawn !== undefined) throw new Problem('content-changed', share.withdrawn)
    return share
  }

  async function free(infoHash: string): Promise<Share> {
    await guard.requireRunning()
    const share = await shared(infoHash, (one) => one.public && one.circle === undefined)
    await guard.requireRoom(true)
    return share
  }

  async function onOffer(infoHash: string, index: number): Promise<Share> {
    await guard.requireRunning()
    const share = await shared(infoHash)
    if (index >= share.pieces) throw new Problem('not-found', `The content has ${share.pieces} pieces.`)
    await guard.requireRoom(share.public)
    return share
  }

  async function piece(
    infoHash: string,
    index: number,
    payment: string | undefined,
    url: string,
    way?: string,
  ): Promise<PieceReply> {
    const share = await onOffer(infoHash, index)
    if (share.public) return freePiece(share, index)
    try {
      if (payment === undefined) throw unpaid(share)
      return await paidPiece(share, index, decodePayment(payment), wayIn(way))
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 402) throw error
      return refusal(error, share, url)
    }
  }

  async function head(infoHash: string, index: number, url: string): Promise<PieceHead> {
    const share = await onOffer(infoHash, index)
    if (share.public) return { status: 200, headers: OCTETS, length: locatePiece(share.meta, index).length }
    const { status, headers, body } = await refusal(unpaid(share), share, url)
    return { status, headers, length: body.length }
  }

  async function refusal(problem: Problem, share: Share, url: string): Promise<PieceReply> {
    const offers = await pieceOffers(context, share)
    return { status: 402, ...refusalWithOffer(problem, offers, url), done: () => undefined }
  }

  const freePiece = async (share: Share, index: number): Promise<PieceReply> => ({
    status: 200,
    headers: { ...OCTETS },
    ...(await readFree(share, index)),
  })

  async function readFree(share: Share, index: number, within?: ByteRange): Promise<Sendable> {
    const giveBack = await guard.serve(locatePiece(share.meta, index).length, true)
    const { buffer, release, cutBy } = await read(share, index, within).catch(returning(giveBack))
    usage.served(ANYONE, buffer.length)
    return { body: buffer, done: release, cutBy }
  }

  async function paidPiece(share: Share, index: number, { payload }: PaymentPayload, way: Way): Promise<PieceReply> {
    const lane = (await lanes.find(payload.lane)) ?? (await oneAtATime(payload.lane, () => openLane(share, payload)))
    const { content, mode, payer } = lane.terms
    if (content !== share.infoHash) throw new Problem('payment-required', 'The lane pays for other content.')
    const tick = payload.tick && payload.tick.unit !== 0 ? tickOn(lane, payload.tick) : undefined
    const line = mode === 'credit' ? await trust.creditFor(payer) : NO_CREDIT
    const bringsLane = payload.commitment !== undefined
    return oneAtATime(payload.lane, () => sell(share, lane, { index, tick, bringsLane, line, nowMs: clock.now() }, way))
  }

  async function openLane(share: Share, payload: PaywordPayload): Promise<SaleLane> {
    return (await lanes.find(payload.lane)) ?? claimLane({ context, lanes, trust }, payload, share)
  }

  /** The piece is read first: a tick is never taken for what cannot be read. Then the tab is saved, then the bytes leave. */
  async function sell(share: Share, lane: SaleLane, request: PieceRequest, way: Way): Promise<PieceReply> {
    const rule: TabRule = (tab, owed) => takeRequest(lane.terms, tab, request, owed)
    const vouches = request.line.vouches.map(({ account }) => account)
    const checked = await lanes.check(lane, rule, vouches)
    const { refusal, tab: next } = checked.step
    if (refusal) return keepTick(lane, request, refusal)
    const { goods, lease, location, giveBack } = await ready(share, lane, request, next.served, way).catch(
      (fault: unknown) => keepTick(lane, request, fault),
    )
    try {
      const { terms, tab } = await lanes.update(lane, rule, vouches, checked)
      if (goods && goods.unit !== tab.served) throw new Problem('conflict', 'Another request came first; try again.')
      usage.served(terms.payer, pieceShape(share.meta, request.index).length)
      if (location !== undefined) return awayReply(terms, tab, location)
      return paidReply(terms, tab, lease, goods && sealedPart(context.signer, terms, tab, goods))
    } catch (error) {
      lease.release()
      giveBack()
      throw error
    }
  }

  /** What is to be sent for a unit: counted as sent from here on. */
  async function ready(
    share: Share,
    lane: SaleLane,
    { index }: PieceRequest,
    unit: number,
    way: Way,
  ): Promise<Counted<Ready>> {
    const shape = pieceShape(share.meta, index)
    const giveBack = await guard.serve(lane.terms.mode === 'sealed' ? sealedBytes(shape) : shape.length)
    const prepared = await prepare(share, lane, shape, unit, way).catch(returning(giveBack))
    return { ...prepared, giveBack }
  }

  async function prepare(share: Share, { terms }: SaleLane, shape: PieceShape, unit: number, way: Way): Promise<Ready> {
    const index = shape.piece
    if (terms.mode !== 'sealed') {
      const location = way === 'through' ? undefined : await shares.locate(share, index, way)
      if (location !== undefined) return { goods: undefined, lease: NOTHING, location }
      return { goods: undefined, lease: await read(share, index) }
    }
    const seal = async (body: Uint8Array): Promise<Goods> => {
      await shares.readPiece(share, index, partsOf(body, shape).bytes)
      return sealGoods(context.signer, terms, { unit, shape, hash: pieceHash(share.meta, index) }, body)
    }
    const [lease, goods] = await fill(sealedBytes(shape), seal)
    return { goods, lease }
  }

  /** On credit, and sealed, a tick pays for what was sent before, so it counts even when this piece is not sent. */
  async function keepTick({ terms }: SaleLane, { tick, nowMs }: PieceRequest, fault: unknown): Promise<never> {
    const lane = await lanes.find(terms.lane)
    if (lane && tick && terms.mode !== 'prepaid') {
      await lanes.update(lane, (tab) => acceptTick(terms, tab, tick, nowMs))
    }
    throw fault
  }

  async function read(share: Share, index: number, within?: ByteRange): Promise<BufferLease> {
    const { length } = within ?? locatePiece(share.meta, index)
    const [lease] = await fill(length, (buffer) => shares.readPiece(share, index, buffer, within))
    return lease
  }

  async function fill<T>(bytes: number, into: (buffer: Uint8Array) => Promise<T>): Promise<readonly [BufferLease, T]> {
    const lease = await pool.lease(bytes)
    try {
      return [lease, await into(lease.buffer)]
    } catch (error) {
      lease.release()
      throw error
    }
  }

  async function known(name: string): Promise<SaleLane> {
    const lane = await lanes.find(name)
    if (!lane) throw new Problem('not-found', 'The lane is not known here.')
    return lane
  }

  async function tick(json: unknown): Promise<TickAnswer> {
    const last = tickFromJson(json)
    const lane = await known(toHex(last.lane))
    const { terms } = lane
    if (terms.mode === 'prepaid') throw new Problem('bad-request', 'On a prepaid lane, a tick asks for its piece.')
    const { tab } = await lanes.update(lane, (tab) => takeLastTick(terms, tab, last, clock.now()))
    const key = terms.mode === 'sealed' && { key: toBase64url(unitKeyOf(context.signer, terms, tab.unit)) }
    return { lane: terms.lane, unit: tab.unit, ...key }
  }

  async function signoff(envelope: Envelope): Promise<{ lane: string; redeemed: number }> {
    const { lane: id, unit } = parseSignoff(envelope)
    const lane = await known(toHex(id))
    if (!lane.terms.payerKeys.some((key) => equal(key, envelope.key))) {
      throw new Problem('not-payer', 'Only the payer may end a lane.')
    }
    if (lane.terms.mode === 'sealed' && lane.tab.state !== 'closed') await lanes.keepSignoff(lane.terms.lane, envelope)
    const { tab } = await redeemer.signOff(lane, unit)
    return { lane: lane.terms.lane, redeemed: tab.redeemed }
  }

  return {
    async offer(infoHash) {
      await guard.requireRunning()
      return shareOffer(context, shares, await shared(infoHash))
    },
    piece,
    head,
    free,
    freePart: async (infoHash, index, within) => readFree(await free(infoHash), index, within),
    tick,
    signoff,
    redeem: (options) => redeemer.redeem(options),
    close: () => redeemer.close(),
    maintain: () => redeemer.maintain(),
    outstanding: () => redeemer.outstanding(),
    lateMs: () => redeemer.lateMs(),
    owed: (account) => lanes.owed(account),
  }
}

const unpaid = ({ price }: Share): Problem => new Problem('payment-required', `This piece costs ${price} credits.`)

const returning =
  (giveBack: GiveBack) =>
  (error: unknown): never => {
    giveBack()
    throw error
  }

/** Anything else is sent by the agent itself. */
const wayIn = (preferred: string | undefined): Way =>
  preferred === 'link' || preferred === 'copy' ? preferred : 'through'

/** The bytes go from the storage to the buyer and never pass the agent. */
function awayReply(terms: LaneTerms, tab: Tab, location: string): PieceReply {
  const { headers, body, done } = paidReply(terms, tab, NOTHING, undefined)
  const { [PAYMENT_RESPONSE]: paid = '' } = headers
  return { status: 307, headers: { location, 'cache-control': 'no-store', [PAYMENT_RESPONSE]: paid }, body, done }
}

function paidReply(
  { id, ledger, payer }: LaneTerms,
  { unit }: Tab,
  lease: BufferLease,
  sealed: SealedPart | undefined,
): PieceReply {
  const response = encodePaymentResponse({
    success: true,
    transaction: transactionOf(id, unit),
    network: networkOf(ledger),
    payer,
    ...(sealed && { extensions: { sealed } }),
  })
  const { buffer: body, release: done, cutBy } = lease
  return { status: 200, headers: { ...OCTETS, [PAYMENT_RESPONSE]: response }, body, done, cutBy }
}

function tickOn({ terms }: SaleLane, json: TickJson): Tick {
  const tick = tickFromJson(json)
  if (!equal(tick.lane, terms.id)) throw new Problem('tick-invalid', 'The tick is of another lane.')
  return tick
}
