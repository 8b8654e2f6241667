/** What is for sale and how it is paid: readable by anyone, without paying (x402 v2). */
import { fromHex, toBase64url, utf8 } from '../../protocol/bytes.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { limits } from '../../protocol/limits.ts'
import { unlessBug, type Problem } from '../../protocol/problem.ts'
import {
  encodePaymentRequired,
  formatOffer,
  networkOf,
  PAYMENT_REQUIRED,
  X402_VERSION,
  type Offer,
} from '../../protocol/x402.ts'
import { ledgerIdOf, type AgentContext } from '../context.ts'
import { PRICE_HOLDS_MS } from '../share/price.ts'
import type { Share, Shares } from '../share/share.ts'
import type { Way } from '../storage/ways.ts'

/** `GET /v1/pieces/{infoHash}` */
export interface ShareOffer {
  readonly infoHash: string
  readonly pieceLength: number
  readonly pieces: number
  /** base64url; the first piece is the highest bit (BEP 3). */
  readonly bitfield: string
  /** Credits a piece, decimal. */
  readonly price: string
  readonly public: boolean
  /** How a piece is paid, as a 402 says it: none of public content, or while the ledger is not known. */
  readonly accepts: Offer[]
  /** How pieces may be had besides being sent by the agent. */
  readonly ways?: { way: Way; provider: string; region?: string; hosts: string[] }[]
}

export async function shareOffer(context: AgentContext, shares: Shares, share: Share): Promise<ShareOffer> {
  const ways = await shares.ways(share).catch(unlessBug)
  return {
    infoHash: share.infoHash,
    pieceLength: share.pieceLength,
    pieces: share.pieces,
    bitfield: toBase64url(await shares.bitfield(share)),
    price: share.price.toString(),
    public: share.public,
    accepts: share.public ? [] : ((await pieceOffers(context, share).catch(unlessBug)) ?? []),
    ...(ways && ways.length > 0 && { ways: ways.map((way) => ({ ...way, hosts: [...way.hosts] })) }),
  }
}

/** A client that knows nothing of trust takes the first offer: so the one that anybody can pay. */
const OFFERED: readonly LaneMode[] = ['prepaid', 'credit', 'sealed']

export const modesOf = ({ modes }: AgentContext): LaneMode[] => OFFERED.filter((mode) => !modes || modes.includes(mode))

/** One offer a mode. Credit is offered to anybody; how much of it a payer gets is a matter of trust. */
export async function pieceOffers(context: AgentContext, share: Share): Promise<Offer[]> {
  const network = networkOf(await ledgerIdOf(context))
  return modesOf(context).map((mode) =>
    formatOffer({
      mode,
      content: fromHex(share.infoHash),
      price: share.price,
      payee: context.owner,
      unitBytes: share.pieceLength,
      segmentMax: limits.segmentUnitsMax,
      ledgerUrl: context.ledger.url,
      network,
      maxTimeoutSeconds: PRICE_HOLDS_MS / 1000,
    }),
  )
}

export interface Refusal {
  readonly headers: Record<string, string>
  readonly body: Uint8Array
}

/**
 * The reply to a request that does not pay: the problem, and the offer in `PAYMENT-REQUIRED`.
 * @param url of the piece
 */
export function refusalWithOffer(problem: Problem, offers: readonly Offer[], url: string): Refusal {
  const required = encodePaymentRequired({
    x402Version: X402_VERSION,
    ...(problem.code === 'payment-required' ? {} : { error: problem.code }),
    resource: { url, mimeType: 'application/octet-stream' },
    accepts: offers,
  })
  return {
    headers: { 'content-type': 'application/problem+json', [PAYMENT_REQUIRED]: required },
    body: utf8(JSON.stringify(problem)),
  }
}
