/**
 * The ledger as an x402 version 2 facilitator of scheme `batch-settlement` on its own network: a seller that knows
 * x402 and not our endpoints asks whether a payment is good, and settles it. As only the payee may redeem, a payment to
 * settle carries, besides the buyer's payload, the seller's signed `redemption`.
 */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { equal, fromHex, toHex, type Bytes } from '../protocol/bytes.ts'
import { parseCommitment } from '../protocol/commitment.ts'
import { parseDeclaration, type Declaration } from '../protocol/declaration.ts'
import { keys, lanes, read, readKnown, reserves, type Lane } from '../protocol/arbiter/items.ts'
import { readPromised, requireRedeemable, requireRoom } from '../protocol/arbiter/lanes.ts'
import type { View } from '../protocol/arbiter/view.ts'
import { tickFromJson, verifyLink, type Tick } from '../protocol/payword.ts'
import { Problem, problemOf } from '../protocol/problem.ts'
import { jsonBody, ok } from '../protocol/route.ts'
import { wire } from '../protocol/service.ts'
import { parseRedemption } from '../protocol/settlement.ts'
import { envelopeFromJson } from '../protocol/signed.ts'
import {
  networkOf,
  offerSchema,
  parseOffer,
  payloadSchema,
  paymentPayloadSchema,
  sameOffer,
  SCHEME,
  transactionOf,
  X402_VERSION,
  type OfferTerms,
  type PaywordPayload,
} from '../protocol/x402.ts'
import { viewOf } from './state.ts'
import { sumOf, type Books } from './books.ts'

const payload = payloadSchema.extend({ redemption: wire.envelope.exactOptional() })
const paymentSchema = z.object({
  x402Version: z.literal(X402_VERSION),
  paymentPayload: paymentPayloadSchema.extend({ payload }),
  paymentRequirements: offerSchema,
})
type Payment = z.output<typeof paymentSchema>

const verdictSchema = z.object({
  isValid: z.boolean(),
  invalidReason: z.string().optional().openapi({ description: 'A problem code' }),
  invalidMessage: z.string().optional(),
  payer: wire.id.optional(),
})
const settlementSchema = z.object({
  success: z.boolean(),
  errorReason: z.string().optional().openapi({ description: 'A problem code' }),
  errorMessage: z.string().optional(),
  transaction: z.string().openapi({ description: 'Lane and unit; empty when nothing was settled' }),
  network: z.string(),
  payer: wire.id.optional(),
  amount: wire.money.optional().openapi({ description: 'What this settlement earned' }),
})
const supportedSchema = z.object({
  kinds: z.array(z.object({ x402Version: z.int(), scheme: z.string(), network: z.string() })),
  extensions: z.array(z.string()),
  signers: z.record(z.string(), z.array(z.string())),
})

const body = { body: jsonBody(paymentSchema) }

const supportedRoute = createRoute({
  method: 'get',
  path: '/supported',
  summary: 'What this facilitator settles (x402)',
  responses: ok('Scheme and network', supportedSchema),
})
const verifyRoute = createRoute({
  method: 'post',
  path: '/verify',
  summary: 'Whether a payment is good (x402)',
  request: body,
  responses: ok('The verdict', verdictSchema),
})
const settleRoute = createRoute({
  method: 'post',
  path: '/settle',
  summary: 'Redeem a payment that carries the payee’s redemption (x402)',
  request: body,
  responses: ok('What came of it', settlementSchema),
})

export function addFacilitator(app: OpenAPIHono, books: Books): void {
  const network = networkOf(books.context.id)
  app.openapi(supportedRoute, (c) =>
    c.json(
      {
        kinds: [{ x402Version: X402_VERSION, scheme: SCHEME, network }],
        extensions: [],
        signers: { [network]: [toHex(books.context.id)] },
      },
      200,
    ),
  )
  app.openapi(verifyRoute, async (c) => {
    const verdict = await verify(books, c.req.valid('json')).catch(refusal)
    return c.json('payer' in verdict ? { isValid: true, ...verdict } : invalid(verdict), 200)
  })
  app.openapi(settleRoute, async (c) => {
    const settled = await settle(books, c.req.valid('json')).catch(refusal)
    return c.json('payer' in settled ? { success: true, network, ...settled } : failed(settled, network), 200)
  })
}

const invalid = ({ code, message }: Problem) => ({ isValid: false, invalidReason: code, invalidMessage: message })
const failed = ({ code, message }: Problem, network: string) => ({
  success: false,
  errorReason: code,
  errorMessage: message,
  transaction: '',
  network,
})

/** A payment that is no good is an answer; a fault of ours is not. */
function refusal(error: unknown): Problem {
  const problem = problemOf(error)
  if (problem.status >= 500) throw error
  return problem
}

/** @throws Problem saying why the payment is no good */
async function verify(
  books: Books,
  { paymentPayload, paymentRequirements }: Payment,
): Promise<{ readonly payer: string }> {
  const { accepted, payload: payment } = paymentPayload
  const offer = parseOffer(paymentRequirements)
  if (!sameOffer(accepted, paymentRequirements)) refuse('The payment is for another offer.')
  if (offer.network !== networkOf(books.context.id)) refuse('The payment is for another ledger.')
  const nowMs = books.context.environment.clock.now()
  const lane = await readLane(viewOf(books.context.store), payment, nowMs)
  checkOffer(lane, offer)
  const tick = payment.tick && tickFromJson(payment.tick)
  if (!tick && lane.mode === 'prepaid') throw new Problem('tick-invalid', 'A prepaid payment carries its tick.')
  requireRedeemable(lane, tick?.unit ?? lane.redeemed + 1, nowMs)
  if (tick) checkTick(lane, tick)
  return { payer: toHex(lane.declaration.payer) }
}

/** A lane that is claimed, or that the payee's claim of a commitment would open now. */
interface OfferedLane extends Pick<Lane, 'cap' | 'closed' | 'expires' | 'first' | 'mode' | 'payee' | 'redeemed'> {
  readonly id: Bytes
  readonly declaration: Declaration
}

async function readLane(view: View, payment: PaywordPayload, nowMs: number): Promise<OfferedLane> {
  const id = fromHex(payment.lane)
  const claimed = await read(view, lanes, keys.lane(id))
  if (claimed) {
    const { envelope } = await readKnown(view, reserves, keys.declaration(claimed.declaration), 'declaration')
    return { ...claimed, id, declaration: parseDeclaration(envelope) }
  }
  if (!payment.commitment) throw new Problem('not-found', 'The lane is not claimed and comes without its commitment.')
  const commitment = parseCommitment(envelopeFromJson(payment.commitment))
  if (!equal(commitment.id, id)) refuse('The commitment is to another lane.')
  const promised = await readPromised(view, commitment, nowMs)
  await requireRoom(view, promised, commitment, nowMs)
  const { declaration } = promised
  return { ...commitment, declaration, expires: declaration.expires, redeemed: 0 }
}

function checkOffer({ declaration, mode, payee }: OfferedLane, offer: OfferTerms): void {
  const { content, segment, unitBytes, unitPrice } = declaration
  if (!equal(payee, offer.payee)) throw new Problem('not-payee', 'The lane is to another payee.')
  if (unitPrice < offer.price) throw new Problem('funds-insufficient', 'The declared price is below the offer’s.')
  const fits = equal(content, offer.content) && unitBytes === offer.unitBytes && mode === offer.mode
  if (!fits || segment > offer.segmentMax) refuse('The declaration is not for what is offered.')
}

function checkTick({ declaration, first, id }: OfferedLane, { lane, link, proof = [], unit }: Tick): void {
  if (!equal(lane, id)) refuse('The tick is of another lane.')
  verifyLink(declaration.tickRoot, declaration, { first }, unit, link, proof)
}

interface Settled {
  readonly payer: string
  readonly transaction: string
  readonly amount: string
}

async function settle(books: Books, { paymentPayload }: Payment): Promise<Settled> {
  const { lane: id, redemption } = paymentPayload.payload
  if (!redemption) throw new Problem('not-payee', 'To settle, the payload carries the payee’s signed redemption.')
  const envelope = envelopeFromJson(redemption)
  const { lane, unit } = parseRedemption(envelope)
  if (toHex(lane) !== id) refuse('The redemption is of another lane.')
  if (paymentPayload.accepted.network !== networkOf(books.context.id)) refuse('The payment is for another ledger.')
  const { accepted } = await books.submit({ kind: 'redeem', parts: [envelope] })
  const { payer } = await readKnown(viewOf(books.context.store), lanes, keys.lane(lane), 'lane')
  return { payer: toHex(payer), transaction: transactionOf(lane, unit), amount: String(sumOf(accepted, 'earned')) }
}

function refuse(detail: string): never {
  throw new Problem('bad-request', detail)
}
