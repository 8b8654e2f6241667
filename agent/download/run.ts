/** What the parts of one running download share. */
import type { Metainfo } from '../../protocol/metainfo.ts'
import type { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import type { Journal } from './journal.ts'
import type { Liars } from './liars.ts'
import type { DownloadPace, Meter } from './pace.ts'
import type { Progress } from './progress.ts'
import type { Sellers, SellerState } from './sellers.ts'
import type { Sink } from './sink.ts'
import type { Span } from './stretches.ts'
import type { Peers } from './peers.ts'
import type { Picker } from './picker.ts'
import type { PieceClient } from './piece-client.ts'
import type { Guard } from '../guard/guard.ts'
import type { Usage } from '../usage.ts'
import type { Lane } from '../wallet/lane.ts'
import type { Purse } from '../wallet/wallet.ts'

export interface Run {
  readonly context: AgentContext
  readonly pace: DownloadPace
  readonly peers: Peers
  readonly pieceClient: PieceClient
  readonly guard: Pick<Guard, 'requireRunning' | 'spend'>
  readonly usage?: Pick<Usage, 'fetched' | 'stored'>
  readonly meta: Metainfo
  /** The pieces that are this run's to fetch. */
  readonly span: Span
  /** v2, hex. */
  readonly infoHash: string
  /** The most a piece may cost, in credits. */
  readonly maxPrice: bigint | undefined
  readonly journal: Journal
  readonly purse: Purse
  readonly progress: Progress
  readonly sink: Sink
  readonly sellers: Sellers
  /** Among them, those that lied to other workers of the download too. */
  readonly liars: Liars
  readonly picker: Picker
  /** Of the whole download. */
  readonly meter: Meter
  /** Requests under way. */
  readonly transfers: Set<Transfer>
  /** Pieces kept for the lane that asked for them before a crash: its tick has left. */
  readonly reserved: Set<number>
  /** Sellers that are being asked what they have. */
  readonly asking: Set<SellerState>
  /** Flows that have a piece to fetch and no lane yet. */
  waitingForLane: number
  /** Why no lane can be opened for now. */
  blocked: { readonly reason: string; readonly detail: string; readonly untilMs: number } | undefined
  /** Why no tick may leave any more, or, `stopped`, nothing be asked: what is on its way comes to its end, then the run does. */
  halt: Problem | undefined
  /** Whether the owner distrusts a seller: nothing is asked of it, and no tick sent, from that moment on. */
  readonly isDistrusted: (id: string) => boolean
  readonly signal: AbortSignal
  /** Resolves when the signal aborts. */
  readonly stopped: Promise<undefined>
  /** Whether nobody is asked for anything more: all is there, it was stopped, or it failed. */
  isOver(): boolean
  /** Whether some other seller, not slow, has a piece to fetch. */
  servedByOthers(seller: SellerState): boolean
  /** Ends the run with a fault that is not a seller's. */
  fail(error: unknown): void
  /** Something changed: whoever plans shall look again. */
  wake(): void
}

/** `stalled`: no byte for too long. `given-up`: the piece is asked of a faster seller. `banned`: the seller lied meanwhile. `pruned`: it is distrusted. */
export type Cut = 'stalled' | 'given-up' | 'banned' | 'pruned' | 'stopped'

export interface Transfer {
  readonly seller: SellerState
  readonly piece: number
  cut(why: Cut): void
}

/** One flow's next piece, and the lane that has asked for it already. */
export interface Job {
  readonly seller: SellerState
  readonly piece: number
  readonly lane: Lane | undefined
}
