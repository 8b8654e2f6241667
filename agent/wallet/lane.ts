/**
 * One lane as its payer keeps it: which unit may have left, for which piece. Every change is an entry for the
 * download's journal; it must be durable before the request it stands for leaves.
 */
import { fromHex } from '../../protocol/bytes.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { tickToJson, type Chain, type TickJson } from '../../protocol/payword.ts'
import type { EnvelopeJson } from '../../protocol/signed.ts'
import { encodePayment, X402_VERSION, type Offer } from '../../protocol/x402.ts'
import type { Entry } from '../download/journal.ts'
import { encodeRecord, without } from '../records.ts'

/** `open` lanes are used, `left` ones no longer; `settling` ones wait for their end, of which `closed` ones have had word. */
export type LaneState = 'open' | 'left' | 'settling' | 'closed'

export interface LaneRecord {
  /** Of the commitment, hex. */
  readonly id: string
  /** Which of the download's declarations. */
  readonly declaration: number
  readonly first: number
  /** How many segments the lane has, and how many units each. */
  readonly segments: number
  readonly segment: number
  /** Units; also how many pieces may be asked for. */
  readonly cap: number
  readonly mode: LaneMode
  /** The seller's id, hex, and where it was reached. */
  readonly payee: string
  readonly url: string
  /** Credits a unit, decimal. */
  readonly price: string
  readonly commitment: EnvelopeJson
  readonly state: LaneState
  /** Pieces asked for; prepaid and sealed, each has taken a unit. */
  readonly asked: number
  /** The highest unit whose tick may have left; once closed, the highest that was redeemed. */
  readonly ticks: number
  /** The piece asked for last, while it is not verified. */
  readonly pending?: number
  /** Its unit was meant for another piece at first, and may have been taken for that one. */
  readonly moved?: boolean
}

export interface Lane {
  readonly id: string
  /** Which of the download's declarations. */
  readonly declaration: number
  readonly mode: LaneMode
  readonly payee: string
  readonly price: bigint
  /** Units. */
  readonly cap: number
  readonly state: LaneState
  readonly ticks: number
  readonly pending: number | undefined
  /** Of the pending piece, where each piece has its own. */
  readonly unit: number
  /** The unit of the pending piece was meant for another one at first. */
  readonly moved: boolean
  /** Pieces that can still be asked for. */
  readonly left: number
  /** Whether asking for the piece takes a unit that nothing was asked for yet. */
  takesUnit(piece: number): boolean
  /**
   * Asks for a piece with the next unit; with the same one when it is pending. Prepaid, the unit of a pending piece that
   * is no longer wanted goes to this one: the seller may never have had the request. Sealed, a unit is its piece's for good.
   */
  assign(piece: number): Entry
  /** The sealed piece is what it should be: its tick may leave now. */
  pay(): Entry
  /** The unit of the pending piece is spent at the seller: the same piece takes the next one. */
  burn(): Entry
  /** The pending piece is there and right. On credit its tick may leave now. */
  verified(): Entry
  /** No more pieces on this lane. */
  leave(): Entry
  /** Its end is the settler's from now on. */
  end(): Entry
  /** The value of PAYMENT-SIGNATURE for the pending piece. @param whole with what a seller needs that does not know the lane yet */
  payment(offer: Offer, whole: boolean): string
  /** The tick of the last unit, for a lane that has one. */
  lastTick(): TickJson
}

export const laneEntry = (pk: string, record: LaneRecord): Entry => ({
  pk,
  sk: `lane/${padded(record.declaration)}/${padded(record.first)}`,
  body: encodeRecord(record),
})

export const walletKey = (download: string): string => `wallet/${download}`

/** Sort keys of numbers list in their order. */
export const padded = (number: number): string => String(number).padStart(7, '0')

/** Of the lane's declaration. */
export interface DeclarationParts {
  readonly chain: () => Chain
  readonly envelope: () => EnvelopeJson
}

export function createLane(pk: string, initial: LaneRecord, { chain, envelope }: DeclarationParts): Lane {
  let record = initial

  function become(changes: Partial<LaneRecord>): Entry {
    record = { ...record, ...changes }
    return laneEntry(pk, record)
  }

  const takesUnit = (piece: number): boolean =>
    record.pending === undefined || (record.mode !== 'prepaid' && record.pending !== piece)

  function ask(piece: number): Entry {
    const asked = record.asked + 1
    return become({ pending: piece, moved: false, asked, ...(record.mode === 'prepaid' && { ticks: asked }) })
  }

  return {
    id: record.id,
    declaration: record.declaration,
    mode: record.mode,
    payee: record.payee,
    price: BigInt(record.price),
    cap: record.cap,
    get state() {
      return record.state
    },
    get ticks() {
      return record.ticks
    },
    get pending() {
      return record.pending
    },
    get unit() {
      return record.asked
    },
    get moved() {
      return record.moved ?? false
    },
    get left() {
      return record.cap - record.asked
    },
    takesUnit,
    assign(piece) {
      if (takesUnit(piece)) return ask(piece)
      return become({ pending: piece, moved: record.moved === true || record.pending !== piece })
    },
    pay: () => become({ ticks: record.asked }),
    burn: () => ask(record.pending as number),
    verified() {
      record = without(record, 'pending')
      return become(record.mode === 'credit' ? { ticks: record.ticks + 1 } : {})
    },
    leave: () => become({ state: 'left' }),
    end: () => become({ state: 'settling' }),
    payment: (offer, whole) =>
      encodePayment({
        x402Version: X402_VERSION,
        accepted: offer,
        payload: {
          lane: record.id,
          ...(whole && { commitment: record.commitment, declaration: envelope() }),
          ...(record.ticks > 0 && { tick: tickOf(record, chain(), whole) }),
        },
      }),
    lastTick: () => tickOf(record, chain(), true),
  }
}

/** The tick of the last unit. @param proven with the proof that the payer declared its segment, else only where it opens one */
export function tickOf(record: LaneRecord, chain: Chain, proven: boolean): TickJson {
  const { first, segment, ticks: unit } = record
  const opens = (unit - 1) % segment === 0
  const proof = opens || proven ? { proof: chain.proof(first + Math.floor((unit - 1) / segment)) } : {}
  return tickToJson({ lane: fromHex(record.id), unit, link: chain.link(first, unit), ...proof })
}
