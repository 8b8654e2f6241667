/** The facilitator, asked by the published x402 client. */
import { HTTPFacilitatorClient } from '@x402/core/http'
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types'
import { afterEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { listen, type Listening } from '../../infra/serve.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { segmentOf, tickToJson } from '../../protocol/payword.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { formatOffer, networkOf, transactionOf, type OfferTerms } from '../../protocol/x402.ts'
import { expectAccepted, expectProblem, LEDGER_ID, openLedger, type TestLedger } from './kit.ts'
import { person, purchase, type Lane } from './people.ts'

const alice = person('alice')
const bob = person('bob')
const carol = person('carol')
const download = purchase(alice)
const lane = download.lane(bob)
const network = networkOf(LEDGER_ID)

const offerOf = (terms: Partial<OfferTerms> = {}): PaymentRequirements =>
  formatOffer({
    mode: 'credit',
    content: download.terms.content,
    price: 2n,
    payee: bob.id,
    unitBytes: download.terms.unitBytes,
    segmentMax: 64,
    ledgerUrl: 'http://127.0.0.1:8403',
    network,
    maxTimeoutSeconds: 60,
    ...terms,
  })

const tickOf = (of: Lane, unit: number) => {
  const { chain, terms } = download
  const proof = chain.proof(segmentOf(terms, of.terms.first, unit))
  return tickToJson({ lane: of.id, unit, link: chain.link(of.terms.first, unit), proof })
}

const paymentOf = (payload: Record<string, unknown>, offer = offerOf()): PaymentPayload => ({
  x402Version: 2,
  accepted: offer,
  payload: { lane: lane.hex, ...payload },
})

let server: Listening | undefined
afterEach(async () => {
  await server?.close()
})

/** Alice has declared; `isClaimed`: Bob has the lane. */
async function open(
  isClaimed = true,
): Promise<{ readonly ledger: TestLedger; readonly facilitator: HTTPFacilitatorClient }> {
  const ledger = openLedger()
  for (const { identity } of [alice, bob, carol]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  if (isClaimed) await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  server = await listen({ fetch: ledger.app.fetch, port: 0, hostname: '127.0.0.1' })
  return { ledger, facilitator: new HTTPFacilitatorClient({ url: `http://127.0.0.1:${server.port}` }) }
}

test('supports batch-settlement on its own network', async () => {
  const { facilitator } = await open()
  expect(await facilitator.getSupported()).toEqual({
    kinds: [{ x402Version: 2, scheme: 'batch-settlement', network }],
    extensions: [],
    signers: { [network]: [toHex(LEDGER_ID)] },
  })
})

describe('verifying', () => {
  test('says that a payment is good: on a claimed lane, and on a commitment alone', async () => {
    const claimed = await open()
    const good = { isValid: true, payer: alice.hex }
    expect(await claimed.facilitator.verify(paymentOf({ tick: tickOf(lane, 3) }), offerOf())).toMatchObject(good)
    expect(await claimed.facilitator.verify(paymentOf({}), offerOf())).toMatchObject(good)
    await server?.close()
    const { facilitator } = await open(false)
    const commitment = envelopeToJson(lane.commitment)
    expect(await facilitator.verify(paymentOf({ commitment, tick: tickOf(lane, 16) }), offerOf())).toMatchObject(good)
  })

  const other = sha256(utf8('other'))
  test.each<[string, PaymentPayload, PaymentRequirements]>([
    ['bad-request', paymentOf({}), offerOf({ price: 3n })],
    ['bad-request', paymentOf({}, offerOf({ network: networkOf(other) })), offerOf({ network: networkOf(other) })],
    ['bad-request', paymentOf({}, offerOf({ content: other })), offerOf({ content: other })],
    ['bad-request', paymentOf({}, offerOf({ segmentMax: 4 })), offerOf({ segmentMax: 4 })],
    ['bad-request', paymentOf({}, offerOf({ mode: 'prepaid' })), offerOf({ mode: 'prepaid' })],
    ['funds-insufficient', paymentOf({}, offerOf({ price: 3n })), offerOf({ price: 3n })],
    ['not-payee', paymentOf({}, offerOf({ payee: carol.id })), offerOf({ payee: carol.id })],
    ['not-found', paymentOf({ lane: toHex(other) }), offerOf()],
    ['tick-invalid', paymentOf({ tick: { ...tickOf(lane, 3), unit: 4 } }), offerOf()],
    ['tick-invalid', paymentOf({ tick: { ...tickOf(lane, 16), unit: 17 } }), offerOf()],
  ])('says %s and why', async (reason, payment, offer) => {
    const { facilitator } = await open()
    const verdict = await facilitator.verify(payment, offer)
    expect(verdict).toMatchObject({ isValid: false, invalidReason: reason, invalidMessage: expect.any(String) })
  })

  test('knows whose a commitment is, and what another lane has taken', async () => {
    const { facilitator } = await open()
    const verdictOn = (of: Lane) =>
      facilitator.verify(paymentOf({ lane: of.hex, commitment: envelopeToJson(of.commitment) }), offerOf())
    const overlapping = download.lane(bob, { first: 1, segments: 1 })
    expect(await verdictOn(overlapping)).toMatchObject({ isValid: false, invalidReason: 'lane-taken' })
    const forged = download.lane(bob, { first: 5 }, carol.signer)
    expect(await verdictOn(forged)).toMatchObject({ isValid: false, invalidReason: 'not-payer' })
    expect(await verdictOn(download.lane(bob, { first: 5 }))).toMatchObject({ isValid: true })
  })

  test('asks for the tick of a prepaid payment', async () => {
    const { facilitator } = await open()
    const prepaid = download.lane(bob, { first: 4, mode: 'prepaid' })
    const offer = offerOf({ mode: 'prepaid' })
    const payment = { lane: prepaid.hex, commitment: envelopeToJson(prepaid.commitment) }
    const without = await facilitator.verify(paymentOf(payment, offer), offer)
    expect(without).toMatchObject({ isValid: false, invalidReason: 'tick-invalid' })
    const paid = paymentOf({ ...payment, tick: tickOf(prepaid, 1) }, offer)
    expect(await facilitator.verify(paid, offer)).toMatchObject({ isValid: true })
  })

  test('knows what was redeemed, expired and released', async () => {
    const { facilitator, ledger } = await open()
    await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(3) }))
    const payment = paymentOf({ tick: tickOf(lane, 3) })
    expect(await facilitator.verify(payment, offerOf())).toMatchObject({
      isValid: false,
      invalidReason: 'tick-replayed',
    })
    ledger.clock.set(download.terms.expires)
    expect(await facilitator.verify(payment, offerOf())).toMatchObject({ isValid: false, invalidReason: 'expired' })
    ledger.clock.advance(-1)
    await expectAccepted(ledger.post('/v1/releases', { release: lane.release(bob) }))
    expect(await facilitator.verify(payment, offerOf())).toMatchObject({ isValid: false, invalidReason: 'closed' })
  })
})

describe('settling', () => {
  test('redeems what the payee signed, once', async () => {
    const { facilitator, ledger } = await open()
    const payment = paymentOf({ redemption: envelopeToJson(lane.redeem(5)) })
    const settled = { success: true, payer: alice.hex, network, amount: '10', transaction: transactionOf(lane.id, 5) }
    expect(await facilitator.settle(payment, offerOf())).toMatchObject(settled)
    expect(await facilitator.settle(payment, offerOf())).toMatchObject(settled)
    expect((await ledger.get(`/v1/accounts/${bob.hex}`)).body['earned']).toBe('10')
  })

  test('moves nothing without the payee’s redemption, or with one that is no good', async () => {
    const { facilitator, ledger } = await open()
    const failed = (errorReason: string) => ({ success: false, errorReason, transaction: '', network })
    const settle = (payload: Record<string, unknown>) => facilitator.settle(paymentOf(payload), offerOf())
    expect(await settle({ tick: tickOf(lane, 3) })).toMatchObject(failed('not-payee'))
    const stolen = lane.redeem(5, {}, carol.signer)
    expect(await settle({ redemption: envelopeToJson(stolen) })).toMatchObject(failed('not-payee'))
    expect(await settle({ redemption: envelopeToJson(lane.redeem(17)) })).toMatchObject(failed('tick-invalid'))
    const otherLane = download.lane(bob, { first: 2 })
    expect(await settle({ redemption: envelopeToJson(otherLane.redeem(1)) })).toMatchObject(failed('bad-request'))
    expect((await ledger.get(`/v1/accounts/${bob.hex}`)).body['earned']).toBe('0')
  })

  test('refuses what is no payment of this scheme as malformed', async () => {
    const { ledger } = await open()
    const offer = { ...offerOf(), scheme: 'exact' }
    const request = { x402Version: 2, paymentPayload: paymentOf({}), paymentRequirements: offer }
    await expectProblem(ledger.postJson('/verify', request), 'bad-request')
    await expectProblem(ledger.postJson('/settle', { ...request, x402Version: 1 }), 'bad-request')
  })
})
