/**
 * Paying on HTTP by x402 version 2: `PAYMENT-REQUIRED` with a 402, `PAYMENT-SIGNATURE` with the paid request,
 * `PAYMENT-RESPONSE` with its reply; each is base64 of JSON. Our scheme is `batch-settlement` (capital-backed: the
 * ledger holds the payer's credits), our network `payword:` and 32 hex digits that name a ledger.
 * What x402 leaves open (`resource`, `extensions`, others' offers) may hold what it likes; our own parts are strict.
 */
import { z } from 'zod'
import { decodeBase64, encodeBase64 } from '#primitives'
import { fromHex, fromUtf8, toHex, utf8, type Bytes } from './bytes.ts'
import { LANE_MODES, type LaneMode } from './commitment.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

export const X402_VERSION = 2
export const SCHEME = 'batch-settlement'
const NETWORK_PREFIX = 'payword:'
const ASSET = 'credit'

/** The names of the three headers. */
export const PAYMENT_REQUIRED = 'payment-required'
export const PAYMENT_SIGNATURE = 'payment-signature'
export const PAYMENT_RESPONSE = 'payment-response'

const NETWORK_REF_BYTES = 16
const MAX_TEXT = 512

const hex = (bytes: number): z.ZodString =>
  z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `must be ${bytes} bytes in hex`)
const base64url = z.string().regex(/^[\w-]*$/, 'must be base64url')
const positive = z.int().min(1)
const network = z.templateLiteral([NETWORK_PREFIX, hex(NETWORK_REF_BYTES)])
const amount = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,18})$/, { error: 'must be a decimal integer', abort: true })
  .refine((text) => BigInt(text) <= limits.integer, 'must be less than 2^63')

/** One way to pay for one piece. `amount` is its price in credits, `payTo` the seller's id in hex. */
export const offerSchema = z.strictObject({
  scheme: z.literal(SCHEME),
  network,
  amount,
  asset: z.literal(ASSET),
  payTo: hex(32),
  maxTimeoutSeconds: positive,
  extra: z.strictObject({
    mode: z.enum(LANE_MODES),
    /** v2 info hash in hex. */
    content: hex(32),
    /** The piece length: what one unit pays for. */
    unitBytes: positive.max(limits.pieceBytesMax),
    /** The longest segment of a tick chain that is taken. */
    segmentMax: positive.max(limits.segmentUnitsMax),
    /** URL of the ledger. */
    ledger: z.url({ protocol: /^https?$/ }).max(limits.urlBytes),
  }),
})
export type Offer = z.infer<typeof offerSchema>

const resourceSchema = z.object({
  url: z.string().min(1).max(limits.paymentHeaderBytes),
  description: z.string().max(MAX_TEXT).exactOptional(),
  mimeType: z.string().max(MAX_TEXT).exactOptional(),
})

export interface PaymentRequired {
  readonly x402Version: typeof X402_VERSION
  /** Why a payment that was sent does not do: a problem code. */
  readonly error?: string
  readonly resource: z.infer<typeof resourceSchema>
  /** Only those of our scheme, when decoded; the seller's first choice first. */
  readonly accepts: readonly Offer[]
}

const paymentRequiredSchema = z.object({
  x402Version: z.literal(X402_VERSION),
  error: z.string().max(MAX_TEXT).exactOptional(),
  resource: resourceSchema,
  accepts: z.array(z.unknown()).min(1).max(limits.offersPerPiece),
})

const envelopeSchema = z.strictObject({ body: base64url, key: base64url, signature: base64url })

/** `lane` goes with every request; `commitment` with the first of a lane, `declaration` and `delegation` where the seller asks; `tick` once something is paid. */
export const payloadSchema = z.strictObject({
  lane: hex(32),
  commitment: envelopeSchema.exactOptional(),
  declaration: envelopeSchema.exactOptional(),
  delegation: envelopeSchema.exactOptional(),
  tick: z
    .strictObject({
      lane: hex(32),
      /** 0 for none. Whether a chain can have it is for `tickFromJson` to say. */
      unit: z.number(),
      link: base64url,
      proof: z.array(base64url).max(64).readonly().exactOptional(),
    })
    .exactOptional(),
})
export type PaywordPayload = z.infer<typeof payloadSchema>

export const paymentPayloadSchema = z.object({
  x402Version: z.literal(X402_VERSION),
  resource: resourceSchema.exactOptional(),
  accepted: offerSchema,
  payload: payloadSchema,
})
export type PaymentPayload = z.infer<typeof paymentPayloadSchema>

/** With a sealed piece: what is said of it, signed, and once the lane's last tick has come, the key of its unit. */
const sealedSchema = z.object({ label: envelopeSchema, key: base64url.exactOptional() })
export type SealedPart = z.infer<typeof sealedSchema>

const paymentResponseSchema = z.object({
  success: z.boolean(),
  errorReason: z.string().max(MAX_TEXT).exactOptional(),
  /** Lane and unit, by `transactionOf`; empty when it failed. */
  transaction: z.string().max(MAX_TEXT),
  network,
  /** The payer's id in hex. */
  payer: hex(32).exactOptional(),
  extensions: z.object({ sealed: sealedSchema.exactOptional() }).exactOptional(),
})
export type PaymentResponse = z.infer<typeof paymentResponseSchema>

/** What an offer says, in the types that the rest of the code uses. */
export interface OfferTerms {
  readonly mode: LaneMode
  /** v2 info hash, 32 bytes. */
  readonly content: Bytes
  /** Credits a piece. */
  readonly price: bigint
  /** The seller's id, 32 bytes. */
  readonly payee: Bytes
  readonly unitBytes: number
  readonly segmentMax: number
  readonly ledgerUrl: string
  /** `payword:…` as `networkOf` gives it. */
  readonly network: Offer['network']
  readonly maxTimeoutSeconds: number
}

export const formatOffer = (terms: OfferTerms): Offer => ({
  scheme: SCHEME,
  network: terms.network,
  amount: String(terms.price),
  asset: ASSET,
  payTo: toHex(terms.payee),
  maxTimeoutSeconds: terms.maxTimeoutSeconds,
  extra: {
    mode: terms.mode,
    content: toHex(terms.content),
    unitBytes: terms.unitBytes,
    segmentMax: terms.segmentMax,
    ledger: terms.ledgerUrl,
  },
})

/** @throws Problem `bad-request` unless it is an offer of ours */
export function parseOffer(value: unknown): OfferTerms {
  const { extra, ...offer } = check(offerSchema, value)
  return {
    mode: extra.mode,
    content: fromHex(extra.content),
    price: BigInt(offer.amount),
    payee: fromHex(offer.payTo),
    unitBytes: extra.unitBytes,
    segmentMax: extra.segmentMax,
    ledgerUrl: extra.ledger,
    network: offer.network,
    maxTimeoutSeconds: offer.maxTimeoutSeconds,
  }
}

/** Whether a payment's `accepted` is this very offer. */
export const sameOffer = (a: Offer, b: Offer): boolean =>
  JSON.stringify(offerSchema.parse(a)) === JSON.stringify(offerSchema.parse(b))

/** @param ledgerId 32 bytes; the network is named by its first 16 */
export const networkOf = (ledgerId: Uint8Array): Offer['network'] =>
  `${NETWORK_PREFIX}${toHex(ledgerId.subarray(0, NETWORK_REF_BYTES))}`

/** `<lane hex>:<unit>`, the `transaction` of a reply. */
export const transactionOf = (lane: Uint8Array, unit: number): string => `${toHex(lane)}:${unit}`

export const encodePaymentRequired = (required: PaymentRequired): string => encodeHeader(required)

/** @throws Problem `too-large`, `bad-encoding` (no base64 of JSON), `bad-request` (its member `field` names what is wrong) */
export function decodePaymentRequired(header: string): PaymentRequired {
  const required = check(paymentRequiredSchema, decodeHeader(header))
  return { ...required, accepts: offersIn(required.accepts) }
}

/** Those of our scheme. @throws Problem `bad-request` when one of them is not as it should be */
export const offersIn = (accepts: readonly unknown[]): Offer[] =>
  accepts.filter(isOurs).map((offer) => check(offerSchema, offer))

export const encodePayment = (payment: PaymentPayload): string => encodeHeader(payment)

/** @throws Problem `too-large`, `bad-encoding`, `bad-request` as `decodePaymentRequired` */
export const decodePayment = (header: string): PaymentPayload => check(paymentPayloadSchema, decodeHeader(header))

export const encodePaymentResponse = (response: PaymentResponse): string => encodeHeader(response)

/** @throws Problem `too-large`, `bad-encoding`, `bad-request` as `decodePaymentRequired` */
export const decodePaymentResponse = (header: string): PaymentResponse =>
  check(paymentResponseSchema, decodeHeader(header))

function encodeHeader(value: object): string {
  const header = encodeBase64(utf8(JSON.stringify(value)))
  return checkLength(header)
}

function decodeHeader(header: string): unknown {
  const bytes = decodeBase64(checkLength(header))
  if (encodeBase64(bytes) !== header) throw new Problem('bad-encoding', 'The header is not base64.')
  const text = fromUtf8(bytes)
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem('bad-encoding', 'The header does not hold JSON.')
  }
}

function checkLength(header: string): string {
  if (header.length > limits.paymentHeaderBytes) {
    throw new Problem('too-large', `A payment header has at most ${limits.paymentHeaderBytes} bytes.`)
  }
  return header
}

const ourOffer = z.object({ scheme: z.literal(SCHEME), network: z.string().startsWith(NETWORK_PREFIX) })
const isOurs = (offer: unknown): boolean => ourOffer.safeParse(offer).success

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const field = issue?.path.join('.') ?? ''
  throw new Problem('bad-request', `The payment's "${field}" is wrong: ${issue?.message ?? 'it does not parse'}.`, {
    field,
  })
}
