import {
  decodePaymentRequiredHeader,
  decodePaymentResponseHeader,
  decodePaymentSignatureHeader,
  encodePaymentRequiredHeader,
  encodePaymentResponseHeader,
  encodePaymentSignatureHeader,
} from '@x402/core/http'
import { isPaymentPayloadV2, PaymentPayloadV2Schema, PaymentRequiredV2Schema } from '@x402/core/schemas'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, seal, signerFrom } from '../../protocol/signed.ts'
import {
  decodePayment,
  decodePaymentRequired,
  decodePaymentResponse,
  encodePayment,
  encodePaymentRequired,
  encodePaymentResponse,
  formatOffer,
  networkOf,
  parseOffer,
  sameOffer,
  transactionOf,
  type Offer,
  type OfferTerms,
  type PaymentPayload,
  type PaymentRequired,
  type PaymentResponse,
} from '../../protocol/x402.ts'
import { coded } from '../problems.ts'
import vectors from '../vectors/x402.json' with { type: 'json' }

const id = (n: number): Bytes => new Uint8Array(32).fill(n)
const base64 = (value: unknown): string => btoa(typeof value === 'string' ? value : JSON.stringify(value))

const terms: OfferTerms = {
  mode: 'prepaid',
  content: id(1),
  price: 7n,
  payee: id(2),
  unitBytes: limits.pieceBytesDefault,
  segmentMax: 64,
  ledgerUrl: 'http://127.0.0.1:8403',
  network: networkOf(id(3)),
  maxTimeoutSeconds: 60,
}
const offer = formatOffer(terms)
const required: PaymentRequired = {
  x402Version: 2,
  resource: { url: `https://agent.example/v1/pieces/${'01'.repeat(32)}/0`, mimeType: 'application/octet-stream' },
  accepts: [offer, formatOffer({ ...terms, mode: 'credit' })],
}
const envelope = envelopeToJson(seal('commitment', { cap: 64 }, signerFrom(id(4))))
const link = 'A'.repeat(43)
const payment: PaymentPayload = {
  x402Version: 2,
  accepted: offer,
  payload: {
    lane: '05'.repeat(32),
    commitment: envelope,
    declaration: envelope,
    delegation: envelope,
    tick: { lane: '05'.repeat(32), unit: 65, link, proof: Array.from({ length: 14 }, () => link) },
  },
}
const response: PaymentResponse = {
  success: true,
  transaction: transactionOf(id(5), 65),
  network: offer.network,
  payer: '06'.repeat(32),
}

describe('x402 headers', () => {
  it('are those of the vectors', () => {
    const { required: first, payment: second, response: third } = vectors
    expect(JSON.parse(atob(first.header))).toEqual(first.value)
    expect(encodePaymentRequired(decodePaymentRequired(first.header))).toBe(first.header)
    expect(encodePayment(decodePayment(second.header))).toBe(second.header)
    expect(decodePayment(second.header)).toEqual(second.value)
    expect(encodePaymentResponse(decodePaymentResponse(third.header))).toBe(third.header)
  })

  it('come back as they were', () => {
    expect(decodePaymentRequired(encodePaymentRequired(required))).toEqual(required)
    expect(decodePayment(encodePayment(payment))).toEqual(payment)
    expect(decodePaymentResponse(encodePaymentResponse(response))).toEqual(response)
  })

  it('carry text beyond ASCII', () => {
    const resource = { url: 'https://agent.example/Zoë', description: 'Дождь ☔' }
    expect(decodePaymentRequired(encodePaymentRequired({ ...required, resource })).resource).toEqual(resource)
  })

  it('leave half of the space free when everything is sent at once', () => {
    expect(encodePayment(payment).length).toBeLessThan(limits.paymentHeaderBytes / 2)
  })

  it('name lane and unit as the transaction, the ledger as the network', () => {
    expect(response.transaction).toBe(`${'05'.repeat(32)}:65`)
    expect(offer.network).toBe(`payword:${'03'.repeat(16)}`)
  })
})

describe('the published x402 packages', () => {
  it('accept our PAYMENT-REQUIRED', () => {
    const read = decodePaymentRequiredHeader(encodePaymentRequired(required))
    expect(PaymentRequiredV2Schema.parse(read)).toEqual(required)
  })

  it('accept our PAYMENT-SIGNATURE', () => {
    const read = decodePaymentSignatureHeader(encodePayment(payment))
    expect(isPaymentPayloadV2(read)).toBe(true)
    expect(PaymentPayloadV2Schema.parse(read)).toEqual(payment)
  })

  it('accept our PAYMENT-RESPONSE', () => {
    expect(decodePaymentResponseHeader(encodePaymentResponse(response))).toEqual(response)
  })

  it('write headers that we accept, with what their client adds', () => {
    const theirs = encodePaymentSignatureHeader({
      ...(JSON.parse(JSON.stringify(payment)) as ReturnType<typeof decodePaymentSignatureHeader>),
      resource: { url: required.resource.url, serviceName: 'films', tags: ['film'] },
      extensions: { bazaar: { info: {} } },
    })
    expect(decodePayment(theirs)).toEqual({ ...payment, resource: { url: required.resource.url } })
    const offered = JSON.parse(JSON.stringify(required)) as ReturnType<typeof decodePaymentRequiredHeader>
    expect(decodePaymentRequired(encodePaymentRequiredHeader(offered))).toEqual(required)
    expect(decodePaymentResponse(encodePaymentResponseHeader({ ...response, extensionResponses: {} }))).toEqual(
      response,
    )
  })
})

describe('an offer', () => {
  it('says the same in both forms', () => {
    expect(parseOffer(offer)).toEqual(terms)
    expect(formatOffer(parseOffer(offer))).toEqual(offer)
  })

  it('is the same offer whatever the order of its members, and another one after any change', () => {
    const reversed = Object.fromEntries(Object.entries(offer).toReversed()) as Offer
    expect(sameOffer(reversed, offer)).toBe(true)
    for (const change of [
      { price: 6n },
      { mode: 'credit' },
      { payee: id(9) },
      { content: id(9) },
      { unitBytes: 16384 },
    ] as const) {
      expect(sameOffer(formatOffer({ ...terms, ...change }), offer)).toBe(false)
    }
  })

  it('of another scheme or network is passed over', () => {
    const others = [
      { ...offer, scheme: 'exact', network: 'eip155:8453', extra: { name: 'USDC' } },
      { ...offer, network: 'eip155:1' },
      'text',
      null,
    ]
    expect(decodePaymentRequired(base64({ ...required, accepts: [...others, offer] })).accepts).toEqual([offer])
  })

  it.each<[string, object, string]>([
    ['an unknown member', { more: 1 }, ''],
    ['a negative price', { amount: '-1' }, 'amount'],
    ['a price in fractions', { amount: '0.5' }, 'amount'],
    ['a price with a leading zero', { amount: '07' }, 'amount'],
    ['a price of 2^63', { amount: String(2n ** 63n) }, 'amount'],
    ['a price that is a number', { amount: 7 }, 'amount'],
    ['another asset', { asset: 'USDC' }, 'asset'],
    ['a payee that is no id', { payTo: '0x02' }, 'payTo'],
    ['a network of another length', { network: 'payword:00' }, 'network'],
    ['no time', { maxTimeoutSeconds: 0 }, 'maxTimeoutSeconds'],
    ['an unknown mode', { extra: { ...offer.extra, mode: 'barter' } }, 'extra.mode'],
    ['a segment beyond 64', { extra: { ...offer.extra, segmentMax: 65 } }, 'extra.segmentMax'],
    ['a unit of no bytes', { extra: { ...offer.extra, unitBytes: 0 } }, 'extra.unitBytes'],
    ['a ledger that is no web address', { extra: { ...offer.extra, ledger: 'file:///etc/passwd' } }, 'extra.ledger'],
    ['an unknown extra', { extra: { ...offer.extra, discount: 1 } }, 'extra'],
  ])('of ours is refused with %s', (_, change, field) => {
    const header = base64({ ...required, accepts: [{ ...offer, ...change }] })
    expect(() => decodePaymentRequired(header)).toThrow(coded('bad-request'))
    expect(() => parseOffer({ ...offer, ...change })).toThrow(expect.objectContaining({ members: { field } }))
  })
})

describe('a payment header is refused when', () => {
  it.each<[string, string, string]>([
    ['it is empty', '', 'bad-encoding'],
    ['it is no base64', '{"x402Version":2}', 'bad-encoding'],
    ['it is base64url', base64({ a: '???>>>' }).replaceAll('/', '_').replaceAll('+', '-'), 'bad-encoding'],
    ['it lacks its padding', base64('{} ').replace(/=*$/, '').slice(0, -1), 'bad-encoding'],
    ['it holds no JSON', base64('{'), 'bad-encoding'],
    ['it holds no UTF-8', base64('"\u00ff"'), 'bad-encoding'],
    ['it is too long', base64({ ...payment, extensions: 'x'.repeat(limits.paymentHeaderBytes) }), 'too-large'],
    ['it holds null', base64('null'), 'bad-request'],
    ['it is of version 1', base64({ ...payment, x402Version: 1 }), 'bad-request'],
    ['it accepts nothing', base64({ ...payment, accepted: undefined }), 'bad-request'],
    [
      'its payload has an unknown member',
      base64({ ...payment, payload: { ...payment.payload, free: true } }),
      'bad-request',
    ],
    ['it names no lane', base64({ ...payment, payload: {} }), 'bad-request'],
    ['its lane is no hash', base64({ ...payment, payload: { lane: '05' } }), 'bad-request'],
    [
      'its commitment is no signed object',
      base64({ ...payment, payload: { ...payment.payload, commitment: {} } }),
      'bad-request',
    ],
    [
      'its tick has no number',
      base64({ ...payment, payload: { ...payment.payload, tick: { lane: '05'.repeat(32), unit: '1', link } } }),
      'bad-request',
    ],
  ])('%s', (_, header, code) => {
    expect(() => decodePayment(header)).toThrow(coded(code))
  })

  it('there would be too many offers, or none', () => {
    expect(() => decodePaymentRequired(base64({ ...required, accepts: [] }))).toThrow(coded('bad-request'))
    const many = Array.from({ length: limits.offersPerPiece + 1 }, () => 1)
    expect(() => decodePaymentRequired(base64({ ...required, accepts: many }))).toThrow(coded('bad-request'))
  })

  it('it is nested a thousand times', () => {
    expect(() => decodePayment(base64('['.repeat(1000)))).toThrow(coded('bad-encoding'))
    expect(() => decodePayment(base64(`${'['.repeat(1000)}${']'.repeat(1000)}`))).toThrow(coded('bad-request'))
  })

  it('we would send one that is too long', () => {
    const resource = { url: 'x'.repeat(limits.paymentHeaderBytes) }
    expect(() => encodePaymentRequired({ ...required, resource })).toThrow(coded('too-large'))
  })

  it('it is garbage: nothing but problems comes of it', () => {
    const decoders = [decodePayment, decodePaymentRequired, decodePaymentResponse]
    const known = [encodePayment(payment), encodePaymentRequired(required), encodePaymentResponse(response)]
    const spliced = fc
      .tuple(fc.constantFrom(...known), fc.nat(), fc.base64String({ maxLength: 12 }))
      .map(
        ([header, at, text]) =>
          header.slice(0, at % header.length) + text + header.slice((at % header.length) + text.length),
      )
    const garbage = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => base64(JSON.stringify(value).replaceAll(/[^ -~]/g, ''))),
      spliced,
    )
    fc.assert(
      fc.property(garbage, fc.constantFrom(...decoders), (header, decode) => {
        try {
          expect(decode(header)).toHaveProperty(decode === decodePaymentResponse ? 'success' : 'x402Version')
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
      }),
      { numRuns: 500 },
    )
  })
})
