/**
 * What passes between buyers and sellers, watched on the wire: an honest seller hands out no more than it is paid or
 * trusts, an honest buyer pays for what it holds.
 */
import { USUAL_PACE } from '../../agent/download/pace.ts'
import type { LaneRecord } from '../../agent/wallet/lane.ts'
import { fromBase64url, fromUtf8, toHex } from '../../protocol/bytes.ts'
import { parseCommitment, type LaneMode } from '../../protocol/commitment.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import { decodePayment, PAYMENT_SIGNATURE } from '../../protocol/x402.ts'
import type { Books } from './books.ts'
import type { Contents } from './contents.ts'
import type { Credit } from './credit.ts'
import { codeIn, type Exchange, type Message } from './network.ts'
import { watchSealed } from './sealed-watch.ts'
import type { World } from './world.ts'

export interface Party {
  /** Its host, and its owner's id in hex. */
  readonly host: string
  readonly id: string
  readonly isHonest: boolean
  /** How often its process died so far. */
  crashes(): number
  /** What its store says of a lane that it pays on, by id in hex: the highest unit it may have sent, and for which piece. */
  saved(lane: string): Pick<LaneRecord, 'ticks' | 'pending'> | undefined
}

export interface Trades {
  /** Ticks that are no links of their chain: what they promise is not owed. */
  forge(lane: string, unit: number, link: string): void
  /** The payee was given this tick where nobody saw it. */
  reveal(lane: string, unit: number): void
  /** By lane id, hex. */
  readonly lanes: ReadonlyMap<string, TradedLane>
}

export interface TradedLane {
  mode: LaneMode | undefined
  /** The highest unit whose genuine tick left its payer, reached its payee, was answered well by it. */
  revealed: number
  taken: number
  accepted: number
  /** On credit: pieces sent, each again not counted. */
  sent: number
  lastSent: number | undefined
  /** Prepaid: by unit, the piece sent for it, and how often. */
  readonly served: Map<number, { readonly piece: number; times: number }>
  /** Pieces that arrived as they are, and answers that were something else. */
  readonly good: Set<number>
  bad: number
  /** Refusals as replayed: the payer may spend another unit on the piece. */
  replays: number
}

/** Tick and piece of one request. */
interface PaidRequest {
  readonly lane: string
  readonly unit: number
  readonly infoHash: string | undefined
  readonly piece: number | undefined
}

export interface TradesOptions {
  readonly world: World
  readonly parties: readonly Party[]
  readonly contents: Contents
  readonly books: Books
  readonly credit: Credit
  /** Whether the seller gives the content away. */
  readonly isPublic: (seller: string, infoHash: string) => boolean
}

const PIECE_PATH = /^\/v1\/pieces\/([0-9a-f]+)\/([0-9]+)$/
/** One flow until a good piece came; each of those at work afterwards may end in a lie. */
const FLOWS_TO_A_LIAR = USUAL_PACE.lanesPerSeller

export function watchTrades({ world, parties, contents, books, credit, isPublic }: TradesOptions): Trades {
  const { network } = world
  const lanes = new Map<string, TradedLane>()
  const forged = new Set<string>()
  const lies = new Map<string, number>()
  const read = new WeakMap<Headers, PaidRequest>()
  const honest = new Set(parties.filter(({ isHonest }) => isHonest).map(({ id }) => id))
  const sealed = watchSealed(world, contents, books, (id) => honest.has(id))
  const partyAt = new Map(parties.map((party) => [party.host, party]))

  function laneOf(id: string): TradedLane {
    const known = lanes.get(id)
    if (known) return known
    const lane: TradedLane = {
      mode: undefined,
      revealed: 0,
      taken: 0,
      accepted: 0,
      sent: 0,
      lastSent: undefined,
      served: new Map(),
      good: new Set<number>(),
      bad: 0,
      replays: 0,
    }
    lanes.set(id, lane)
    return lane
  }

  /** Looked at in each place that the message passes. */
  function requestIn(message: Message): PaidRequest | undefined {
    const known = read.get(message.headers)
    if (known !== undefined) return known
    const request = readRequest(message)
    if (request) read.set(message.headers, request)
    return request
  }

  function readRequest(message: Message): PaidRequest | undefined {
    const [, infoHash, index] = PIECE_PATH.exec(message.url.pathname) ?? []
    const header = message.headers.get(PAYMENT_SIGNATURE)
    const isTick = message.url.pathname === '/v1/ticks' && message.method === 'POST'
    try {
      if (isTick) return tickOf((JSON.parse(fromUtf8(message.body)) as { tick: WireTick }).tick, undefined, undefined)
      if (infoHash === undefined || header === null) return undefined
      const { payload } = decodePayment(header)
      const commitment = payload.commitment && parseCommitment(envelopeFromJson(payload.commitment))
      if (commitment && toHex(commitment.id) === payload.lane) laneOf(payload.lane).mode = commitment.mode
      return tickOf(payload.tick ?? { lane: payload.lane, unit: 0, link: '' }, infoHash, Number(index))
    } catch {
      return undefined
    }
  }

  function tickOf(
    { lane, unit, link }: WireTick,
    infoHash: string | undefined,
    piece: number | undefined,
  ): PaidRequest {
    return { lane, unit: forged.has(`${lane} ${unit} ${link}`) ? 0 : unit, infoHash, piece }
  }

  network.onSend((message) => {
    const request = requestIn(message)
    if (!request) return
    const lane = laneOf(request.lane)
    if (request.unit > lane.revealed) {
      world.count('ticks', request.unit - lane.revealed)
      lane.revealed = request.unit
    }
    const buyer = partyAt.get(message.from)
    if (!buyer?.isHonest) return
    checkSaved(buyer, request)
    checkPaid(message, request, lane)
  })

  /** What a request stands for is durable before it leaves. */
  function checkSaved(buyer: Party, { lane, unit, piece }: PaidRequest): void {
    const { ticks = 0, pending } = buyer.saved(lane) ?? {}
    if (unit > ticks || (piece !== undefined && piece !== pending))
      world.fail(`${buyer.host} asks on lane ${lane} for piece ${piece} with unit ${unit} before it saved that`)
  }

  /** On credit, and sealed, a tick follows its piece; prepaid, one unit is ahead, and one more for each that the seller calls spent. */
  function checkPaid({ from, to }: Message, { lane: id, unit }: PaidRequest, lane: TradedLane): void {
    const most = lane.good.size + (lane.mode === 'prepaid' ? 1 + lane.replays : 0)
    if (unit > most)
      world.fail(`${from} pays ${to} ${unit} units on lane ${id} (${lane.mode}) for ${lane.good.size} good pieces`)
  }

  network.onDelivery((message) => {
    const request = requestIn(message)
    if (!request) return
    const lane = laneOf(request.lane)
    lane.taken = Math.max(lane.taken, request.unit)
  })

  network.onExchange((exchange) => {
    world.count('messages')
    const seller = partyAt.get(exchange.to)
    const request = requestIn(exchange)
    const { status } = exchange.answer
    if (seller?.isHonest) checkFree(exchange, seller, request)
    if (!request) return
    const lane = laneOf(request.lane)
    if (status === 200) lane.accepted = Math.max(lane.accepted, request.unit)
    if (status === 409 && codeIn(exchange.answer) === 'tick-replayed') lane.replays++
    if (status >= 400) world.count('refusals')
    if (status !== 200 || !seller?.isHonest) return
    if (request.piece !== undefined) checkServed(exchange, seller, request, lane)
    else if (books.lanes.get(request.lane)?.mode === 'sealed') checkKey(exchange, request)
  })

  function checkKey({ to, answer }: Exchange, { lane }: PaidRequest): void {
    const { key } = JSON.parse(fromUtf8(answer.body)) as { key?: string }
    if (key === undefined) world.fail(`${to} takes a tick of lane ${lane} and keeps the key`)
    else sealed.revealed(to, lane, fromBase64url(key), laneOf(lane).taken)
  }

  /** What is not public is not sent without a lane. */
  function checkFree({ url, answer }: Exchange, { host, id }: Party, request: PaidRequest | undefined): void {
    const [, infoHash] = PIECE_PATH.exec(url.pathname) ?? []
    if (infoHash === undefined || answer.status !== 200 || request) return
    if (!isPublic(id, contents.hashOf(infoHash))) world.fail(`${host} gives a piece of ${infoHash} away`)
  }

  function checkServed(
    exchange: Exchange,
    seller: Party,
    { lane: id, unit, piece = 0, infoHash = '' }: PaidRequest,
    lane: TradedLane,
  ): void {
    if (isPublic(seller.id, contents.hashOf(infoHash))) return
    const booked = books.lanes.get(id)
    const { host } = seller
    if (booked?.payee !== seller.id) return world.fail(`${host} serves on lane ${id}, which is not claimed for it`)
    if (booked.mode === 'sealed') return checkSealed(exchange, infoHash, piece, lane)
    if (booked.mode === 'prepaid') checkPrepaid(host, id, unit, piece, lane)
    else checkCredit(seller, id, unit, piece, lane)
    if (!contents.isPiece(infoHash, piece, exchange.answer.body))
      world.fail(`${host} sends something else as piece ${piece}`)
  }

  function checkSealed(exchange: Exchange, infoHash: string, piece: number, { taken }: TradedLane): void {
    const said = sealed.read(exchange.answer)
    if (said) sealed.sent(exchange, infoHash, piece, said, taken)
    else world.fail(`${exchange.to} sends a sealed piece without its label`)
  }

  function checkPrepaid(host: string, id: string, unit: number, piece: number, lane: TradedLane): void {
    const known = lane.served.get(unit)
    if (unit === 0) return world.fail(`${host} serves on the prepaid lane ${id} without a tick`)
    if (known && known.piece !== piece)
      return world.fail(`${host} serves pieces ${known.piece} and ${piece} for unit ${unit} of lane ${id}`)
    const times = (known?.times ?? 0) + 1
    lane.served.set(unit, { piece, times })
    if (times > 1 + limits.repeatsPerTick)
      world.fail(`${host} serves piece ${piece} ${times} times for unit ${unit} of lane ${id}`)
  }

  function checkCredit({ host, id: seller }: Party, id: string, unit: number, piece: number, lane: TradedLane): void {
    const isRepeat = lane.lastSent === piece && unit < lane.sent
    if (!isRepeat) lane.sent++
    lane.lastSent = piece
    const { payer } = books.lanes.get(id) ?? { payer: '' }
    const owed = owedBy([payer], seller)
    if (owed > credit.of(seller, payer))
      world.fail(`${host} lets ${payer} owe ${owed} pieces, and trusts it for ${credit.of(seller, payer)}`)
    const { payers, most } = credit.groupOf(seller, payer) ?? { payers: [], most: 0 }
    if (owedBy(payers, seller) > most)
      world.fail(`${host} is owed ${owedBy(payers, seller)} pieces through a vouch for ${most}`)
  }

  const owedBy = (payers: readonly string[], seller: string): number =>
    [...books.lanes]
      .filter(([, booked]) => payers.includes(booked.payer) && booked.payee === seller && booked.mode === 'credit')
      .reduce((sum, [lane]) => sum + Math.max(0, laneOf(lane).sent - laneOf(lane).taken), 0)

  network.onArrival((exchange) => {
    const buyer = partyAt.get(exchange.from)
    const [, infoHash, index] = PIECE_PATH.exec(exchange.url.pathname) ?? []
    if (infoHash === undefined || exchange.answer.status !== 200) return
    const said = sealed.read(exchange.answer)
    const isGood = said
      ? sealed.isAsLabelled(infoHash, Number(index), exchange.answer.body, said.label)
      : contents.isPiece(infoHash, Number(index), exchange.answer.body)
    const request = requestIn(exchange)
    if (request) {
      const lane = laneOf(request.lane)
      if (isGood) lane.good.add(Number(index))
      else lane.bad++
    }
    if (isGood) world.count('pieces')
    // What is sealed and wrong is not paid for.
    else if (!said && buyer?.isHonest && contents.isAsLong(infoHash, Number(index), exchange.answer.body))
      checkLies(exchange, buyer, infoHash)
  })

  /** Who sent other bytes is not asked again, but for what was under way, and what a crash made forget. */
  function checkLies({ from, to }: Exchange, buyer: Party, infoHash: string): void {
    const key = `${from} ${to} ${infoHash}`
    const times = (lies.get(key) ?? 0) + 1
    lies.set(key, times)
    if (times > FLOWS_TO_A_LIAR * (1 + buyer.crashes())) world.fail(`${from} takes ${times} lies from ${to}`)
  }

  books.onLane((id, { redeemed }) => {
    const { revealed } = laneOf(id)
    if (redeemed > revealed) world.fail(`lane ${id} is redeemed up to unit ${redeemed}, its payer gave ${revealed}`)
  })

  return {
    lanes,
    forge: (lane, unit, link) => void forged.add(`${lane} ${unit} ${link}`),
    reveal(id, unit) {
      const lane = laneOf(id)
      lane.revealed = Math.max(lane.revealed, unit)
    },
  }
}

interface WireTick {
  readonly lane: string
  readonly unit: number
  readonly link: string
}
