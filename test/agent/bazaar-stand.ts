/** A seller at a bazaar: the real one, behind its HTTP side, with content that is in memory. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { AgentContext } from '../../agent/context.ts'
import { mountPublicApi, sendPieceCopy } from '../../agent/api/public-api.ts'
import { createSeller, type Seller } from '../../agent/sell/sell.ts'
import type { Share, Shares } from '../../agent/share/share.ts'
import type { OfferedWay } from '../../agent/storage/ways.ts'
import type { Trust } from '../../agent/trust/trust.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { createUsage } from '../../agent/usage.ts'
import { emptyBitfield, fullBitfield, setPiece } from '../../protocol/bitfield.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { createService } from '../../protocol/service.ts'
import type { Store } from '../../protocol/store.ts'
import { pieceOf, type Content } from './bazaar-content.ts'

/** Looked at anew with each request. */
export interface StandOptions {
  readonly price?: bigint
  readonly public?: boolean
  /** All unless given. */
  readonly pieces?: readonly number[]
  /** Pieces that the buyer may owe, and for which it is vouched. */
  readonly credit?: number
  /** In which it sells; in all of them unless given. */
  readonly modes?: readonly LaneMode[]
  /** One of its own unless given. */
  readonly store?: Store
  /** Where pieces may be had without the stand. */
  readonly elsewhere?: { readonly ways: readonly OfferedWay[]; readonly place: (piece: number) => string }
}

export interface OpenStand {
  readonly app: OpenAPIHono
  readonly seller: Seller
  /** How often each piece was sent. */
  readonly sent: Map<number, number>
}

export function openStand(agent: AgentContext, content: Content, options: StandOptions): OpenStand {
  const context = { ...agent, ...(options.modes && { modes: options.modes }) }
  const sent = new Map<number, number>()
  const credit = options.credit ?? 0
  const trust: Pick<Trust, 'creditFor'> = {
    creditFor: async (payer) => ({ credit, vouches: [{ account: `vouch for ${payer}`, most: credit }] }),
  }
  const parts = {
    shares: sharesOf(content, options, sent),
    trust: trust as Trust,
    usage: createUsage(context),
    guard: createGuard(context),
  }
  const seller = createSeller(context, parts)
  const app = createService({ title: 'Seller', description: 'A seller.' })
  mountPublicApi(app, context, seller, sendPieceCopy)
  return { app, seller, sent }
}

function sharesOf(content: Content, options: StandOptions, sent: Map<number, number>): Shares {
  const { meta, infoHash } = content
  const share = {
    infoHash,
    infoHashV1: toHex(meta.infoHashV1),
    name: meta.name,
    link: 'folder',
    path: meta.name,
    get price() {
      return options.price ?? 1n
    },
    public: options.public ?? false,
    bytes: meta.bytes,
    pieceLength: meta.pieceLength,
    pieces: meta.pieces,
    meta,
    files: [],
  } as unknown as Share
  const held = options.pieces ? emptyBitfield(meta.pieces) : fullBitfield(meta.pieces)
  for (const piece of options.pieces ?? []) setPiece(held, piece)
  const shares: Pick<Shares, 'get' | 'bitfield' | 'readPiece' | 'ways' | 'locate'> = {
    ways: async () => options.elsewhere?.ways ?? [],
    locate: async (_, piece) => options.elsewhere?.place(piece),
    get: async (hash) => (hash === infoHash ? share : undefined),
    bitfield: async () => held,
    async readPiece(_, index, into) {
      const piece = pieceOf(content, index)
      sent.set(index, (sent.get(index) ?? 0) + 1)
      into?.set(piece)
      return into ?? piece
    },
  }
  return shares as Shares
}
