/** The sellers of one download: what each has, what it has sent, who is left alone and for how long. */
import type { Clock } from '../../protocol/environment.ts'
import type { Item } from '../../protocol/store.ts'
import type { Offer } from '../../protocol/x402.ts'
import type { Entry } from './journal.ts'
import { createMeter, type DownloadPace, type Meter } from './pace.ts'
import type { Failure } from './transfer.ts'
import type { Peer, PeerOffer } from './peers.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

/** `lied`: sent bytes that are not the piece; never asked again. `dear`: costs more than allowed. `gone`: does not answer as it should. */
export type SellerStatus = 'good' | 'slow' | 'lied' | 'gone' | 'dear'

export interface SellerState {
  /** The owner's id, hex. */
  readonly id: string
  readonly meter: Meter
  url: string
  /** Verified pieces and their bytes. */
  pieces: number
  bytes: number
  status: SellerStatus
  /** Why it is not `good`. */
  detail: string | undefined
  /** As announced; undefined until it is heard of. */
  peer: Peer | undefined
  /** What it has, and when it said so. */
  offer: PeerOffer | undefined
  offeredMs: number
  /** How it wants to be paid (x402), once looked into, and when it said so. */
  terms: Promise<readonly Offer[] | Failure> | undefined
  termsMs: number
  /** Whether it may give us credit: undefined until that is looked into. */
  credit: boolean | undefined
  /** Whether it can sell us sealed pieces, as far as we know. */
  sealed: boolean
  /** Flows at work. */
  workers: number
  /** Left alone until then; `leaves` counts how often in a row. */
  untilMs: number
  leaves: number
  /** Ticks that it said were spent on another piece. */
  burns: number
  /** Units that it took and sent nothing for, since this run began. */
  lost: number
  /** Lanes that it refused since its last good piece. */
  refusals: number
}

export interface Sellers {
  all(): readonly SellerState[]
  /** Known from now on. */
  get(id: string): SellerState
  /** Its share of the report, for the journal. */
  entry(seller: SellerState): Entry
  /** Nothing is asked of it for a while; each time in a row for twice as long. */
  leave(seller: SellerState, status: 'slow' | 'gone' | 'lied', detail: string): void
  /** Whether pieces may be asked of it now. */
  isUsable(seller: SellerState): boolean
}

/** One unit may go astray; who makes a habit of it is paid no more. */
const PIECES_PER_LOSS = 64

export const mayBePaid = ({ lost, pieces }: Pick<SellerState, 'lost' | 'pieces'>): boolean =>
  lost <= pieces / PIECES_PER_LOSS

type SellerRecord = Pick<SellerState, 'id' | 'url' | 'pieces' | 'bytes' | 'status'> & { readonly detail?: string }

/** A stranger's words, shown on the owner's terminal. */
const DETAIL_CHARACTERS = 200
export const SELLER_PREFIX = 'seller/'

export interface SellersOptions {
  readonly clock: Clock
  readonly pace: DownloadPace
  readonly pk: string
  readonly isDistrusted: (id: string) => boolean
  /** Of `SELLER_PREFIX` under `pk`. */
  readonly items: readonly Item[]
}

export function createSellers({ clock, pace, pk, isDistrusted, items }: SellersOptions): Sellers {
  const states = new Map<string, SellerState>()
  for (const item of items) {
    const { id, ...known } = decodeRecord<SellerRecord>(item)
    Object.assign(get(id), known)
  }

  function get(id: string): SellerState {
    const known = states.get(id)
    if (known) return known
    const state: SellerState = {
      id,
      meter: createMeter(clock, pace.smoothingMs),
      url: '',
      pieces: 0,
      bytes: 0,
      status: 'good',
      detail: undefined,
      peer: undefined,
      offer: undefined,
      offeredMs: 0,
      terms: undefined,
      termsMs: 0,
      credit: undefined,
      sealed: true,
      workers: 0,
      untilMs: 0,
      leaves: 0,
      burns: 0,
      lost: 0,
      refusals: 0,
    }
    states.set(id, state)
    return state
  }

  return {
    all: () => [...states.values()],
    get,
    entry({ id, url, pieces, bytes, status, detail }) {
      const record: SellerRecord = { id, url, pieces, bytes, status, ...(detail !== undefined && { detail }) }
      return { pk, sk: SELLER_PREFIX + id, body: encodeRecord(record) }
    },
    leave(seller, status, detail) {
      seller.status = status
      seller.detail = detail.replaceAll(/\p{C}/gu, ' ').slice(0, DETAIL_CHARACTERS)
      seller.untilMs = clock.now() + Math.min(pace.leaveMostMs, pace.leaveMs * 2 ** seller.leaves)
      seller.leaves++
    },
    isUsable: (seller) => {
      const { id, status, offer, untilMs } = seller
      if (isDistrusted(id)) return false
      const isAnswering = (status === 'good' || status === 'slow') && untilMs <= clock.now()
      return offer !== undefined && isAnswering && (offer.public || mayBePaid(seller))
    },
  }
}
