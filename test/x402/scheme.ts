/**
 * Our scheme for a public x402 client, written against that client's own interface: for each content and price one
 * declaration at the ledger, one lane to the seller, and with each payment the tick of the next unit.
 */
import type { PaymentPayloadResult, PaymentRequirements, SchemeNetworkClient } from '@x402/core/types'
import type { LedgerClient } from '../../agent/clients/ledger-client.ts'
import { fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { commit } from '../../protocol/commitment.ts'
import { declare } from '../../protocol/declaration.ts'
import type { Environment } from '../../protocol/environment.ts'
import { makeChain, segmentOf, tickToJson, type Chain, type ChainShape } from '../../protocol/payword.ts'
import { envelopeToJson, objectId, type Envelope, type Signer } from '../../protocol/signed.ts'
import { parseOffer, SCHEME, type OfferTerms } from '../../protocol/x402.ts'

export interface Purse {
  readonly environment: Pick<Environment, 'clock' | 'random'>
  readonly ledger: LedgerClient
  /** The payer's id, 32 bytes. */
  readonly payer: Bytes
  /** A key that may spend for the payer. */
  readonly signer: Signer
  /** Pieces to freeze credits for. */
  readonly units: number
}

interface OpenLane {
  readonly id: Bytes
  readonly commitment: Envelope
  readonly chain: Chain
  readonly shape: ChainShape
  /** The last one paid. */
  unit: number
}

const SEGMENT = 4
const HOUR_MS = 3_600_000

export function payWordScheme(purse: Purse): SchemeNetworkClient {
  const lanes = new Map<string, Promise<OpenLane>>()

  function laneFor(offer: OfferTerms): Promise<OpenLane> {
    const name = JSON.stringify([toHex(offer.content), toHex(offer.payee), String(offer.price), offer.mode])
    const lane = lanes.get(name) ?? openLane(purse, offer)
    lanes.set(name, lane)
    return lane
  }

  async function createPaymentPayload(
    x402Version: number,
    requirements: PaymentRequirements,
  ): Promise<PaymentPayloadResult> {
    const offer = parseOffer(requirements)
    const lane = await laneFor(offer)
    const unit = offer.mode === 'prepaid' ? ++lane.unit : 0
    return { x402Version, payload: payloadOf(lane, unit) }
  }

  return { scheme: SCHEME, createPaymentPayload }
}

async function openLane({ environment, ledger, payer, signer, units }: Purse, offer: OfferTerms): Promise<OpenLane> {
  const { random, clock } = environment
  const shape = { units, segment: Math.min(SEGMENT, offer.segmentMax) }
  const chain = makeChain(random.bytes(32), shape)
  const declaration = declare(
    {
      ...shape,
      content: offer.content,
      disputeWindow: HOUR_MS,
      expires: clock.now() + HOUR_MS,
      ledger: fromHex((await ledger.info()).id),
      nonce: random.bytes(16),
      payer,
      tickRoot: chain.root,
      unitBytes: offer.unitBytes,
      unitPrice: offer.price,
    },
    signer,
  )
  const { id } = await ledger.declare(declaration)
  const segments = Math.ceil(units / shape.segment)
  const terms = { cap: units, declaration: fromHex(id), first: 0, mode: offer.mode, payee: offer.payee, segments }
  const commitment = commit(terms, signer)
  return { id: objectId('commitment', commitment.body), commitment, chain, shape, unit: 0 }
}

function payloadOf({ id, commitment, chain, shape }: OpenLane, unit: number): Record<string, unknown> {
  const payload = { lane: toHex(id), commitment: envelopeToJson(commitment) }
  if (unit === 0) return payload
  const proof = chain.proof(segmentOf(shape, 0, unit))
  return { ...payload, tick: tickToJson({ lane: id, unit, link: chain.link(0, unit), proof }) }
}
