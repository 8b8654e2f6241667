/** What the world's x402 has to do with ours: their client buys a piece, their schemas read our 402, their facilitator client settles. */
import { x402Client } from '@x402/core/client'
import { decodePaymentRequiredHeader, HTTPFacilitatorClient } from '@x402/core/http'
import {
  isPaymentPayloadV2,
  parsePaymentRequired,
  PaymentRequiredV2Schema,
  PaymentRequirementsV2Schema,
} from '@x402/core/schemas'
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types'
import { decodePaymentResponseHeader, wrapFetchWithPayment } from '@x402/fetch'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { sendPieceNode } from '../../agent/sell/piece-server-node.ts'
import { parseTorrent } from '../../protocol/metainfo.ts'
import { verifyPiece } from '../../protocol/piece.ts'
import { redeem } from '../../protocol/settlement.ts'
import { fromBase64url, fromHex } from '../../protocol/bytes.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { networkOf } from '../../protocol/x402.ts'
import { onSockets } from '../attacks/ground.ts'
import { filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from '../attacks/resident.ts'
import { openWorldOn, type Person, type World } from '../attacks/world.ts'
import { payWordScheme } from './scheme.ts'

let world: World
let anna: Resident
let share: ShareJson

beforeAll(async () => {
  world = await openWorldOn(onSockets())
  anna = await moveIn(world, 'anna', { sendPiece: sendPieceNode })
  share = await anna.share('film.bin', filmOf(24))
})
afterAll(async () => {
  await anna.service.stop()
  await world.ground.close()
})

const urlOf = (piece: number): string => `${anna.url}/v1/pieces/${share.infoHash}/${piece}`

/** A client as its README has it; all that is ours is the scheme. */
function clientOf(payer: Person): x402Client {
  const environment = world.environmentOf(`${payer.name}’s client`)
  const ledger = createLedgerClient({ environment, url: world.ledger.url })
  const client = payWordScheme({ environment, ledger, payer: payer.id, signer: payer.agent, units: 24 })
  return x402Client.fromConfig({ spendControls: { allowedAssets: true }, schemes: [{ network: 'payword:*', client }] })
}

async function isPiece(piece: number, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const meta = parseTorrent(await world.library.torrent(share.infoHash))
  return verifyPiece(meta, piece, bytes)
}

describe('the published client, with our scheme registered', () => {
  test('buys pieces over sockets, and reads what it paid', async () => {
    const payer = await world.person('payer')
    const pay = wrapFetchWithPayment(fetch, clientOf(payer))
    for (const piece of [0, 5, 23]) {
      const response = await pay(urlOf(piece))
      expect(response.status).toBe(200)
      const bytes = new Uint8Array(await response.arrayBuffer())
      expect(bytes.length).toBe(piece === 23 ? PIECE_BYTES - 100 : PIECE_BYTES)
      expect(await isPiece(piece, bytes)).toBe(true)
      const paid = decodePaymentResponseHeader(response.headers.get('payment-response') ?? '')
      expect(paid).toMatchObject({ success: true, payer: payer.hex, network: expect.stringMatching(/^payword:/) })
    }
    expect(await anna.service.seller.redeem({})).toEqual({ redeemed: 3n * PRICE, lanes: 1 })
    expect((await world.money(anna.person)).earned).toBe(3n * PRICE)
  })

  test('pays nothing for what is free, and hears why it is refused', async () => {
    const payer = await world.person('poor', { day: 1n, total: 1n })
    const pay = wrapFetchWithPayment(fetch, clientOf(payer))
    await expect(pay(urlOf(0))).rejects.toThrow('At most 1 credits may be spent')
    const free = await anna.share('free.bin', filmOf(2).toReversed(), { public: true })
    const response = await pay(`${anna.url}/v1/pieces/${free.infoHash}/0`)
    expect([response.status, response.headers.get('payment-response')]).toEqual([200, null])
  })
})

describe('the published schemas', () => {
  async function required(headers: Record<string, string> = {}) {
    const response = await fetch(urlOf(0), { headers })
    expect(response.status).toBe(402)
    return decodePaymentRequiredHeader(response.headers.get('payment-required') ?? '')
  }

  test('read our 402, and each of its offers', async () => {
    const parsed = PaymentRequiredV2Schema.parse(await required())
    expect(parsed).toMatchObject({ x402Version: 2, resource: { url: urlOf(0), mimeType: 'application/octet-stream' } })
    expect(parsed.accepts.map(({ extra }) => extra?.['mode'])).toEqual(['prepaid', 'credit', 'sealed'])
    for (const offer of parsed.accepts) {
      expect(PaymentRequirementsV2Schema.parse(offer)).toMatchObject({
        scheme: 'batch-settlement',
        network: networkOf(fromHex((await world.bank.info()).id)),
        amount: String(PRICE),
        payTo: anna.person.hex,
      })
    }
    expect(parsePaymentRequired(await required()).success).toBe(true)
  })

  test('read why a payment was refused', async () => {
    const payer = await world.person('late payer')
    const client = clientOf(payer)
    const payload = await client.createPaymentPayload(await required())
    expect(isPaymentPayloadV2(payload)).toBe(true)
    const send = () => required({ 'payment-signature': btoa(JSON.stringify(payload)) })
    payload.payload['tick'] = { ...(payload.payload['tick'] as object), unit: 2 }
    expect(PaymentRequiredV2Schema.parse(await send())).toMatchObject({ error: 'tick-invalid' })
  })
})

describe('the published facilitator client, at the ledger', () => {
  async function payment(name: string): Promise<[PaymentPayload, PaymentRequirements, Person]> {
    const payer = await world.person(name)
    const response = await fetch(urlOf(3))
    const required = decodePaymentRequiredHeader(response.headers.get('payment-required') ?? '')
    const payload = await clientOf(payer).createPaymentPayload(required)
    return [payload, payload.accepted, payer]
  }

  /** What the seller adds, as only the payee may redeem. */
  function redeemed({ payload, ...rest }: PaymentPayload): PaymentPayload {
    const { lane, unit, link, proof } = payload['tick'] as { lane: string; unit: number; link: string; proof: string[] }
    const terms = {
      lane: fromHex(lane),
      link: fromBase64url(link),
      payee: anna.person.id,
      proof: proof.map((hash) => fromBase64url(hash)),
      unit,
    }
    return { ...rest, payload: { ...payload, redemption: envelopeToJson(redeem(terms, anna.person.agent)) } }
  }

  const facilitator = (): HTTPFacilitatorClient => new HTTPFacilitatorClient({ url: world.ledger.url })

  test('learns what it settles', async () => {
    const { kinds, signers } = await facilitator().getSupported()
    const { id, network } = await world.bank.info()
    expect(kinds).toEqual([{ x402Version: 2, scheme: 'batch-settlement', network }])
    expect(signers).toEqual({ [network]: [id] })
  })

  test('verifies a payment before the lane is claimed, and settles it after', async () => {
    const [paid, offer, payer] = await payment('verified')
    expect(await facilitator().verify(paid, offer)).toMatchObject({ isValid: true, payer: payer.hex })
    const response = await fetch(urlOf(3), { headers: { 'payment-signature': btoa(JSON.stringify(paid)) } })
    expect(response.status).toBe(200)
    const before = (await world.money(anna.person)).earned
    const settled = await facilitator().settle(redeemed(paid), offer)
    expect(settled).toMatchObject({
      success: true,
      payer: payer.hex,
      transaction: expect.stringMatching(/^[0-9a-f]{64}:1$/),
    })
    expect((await world.money(anna.person)).earned).toBe(before + PRICE)
    expect(await facilitator().settle(redeemed(paid), offer)).toMatchObject({ success: true })
    expect((await world.money(anna.person)).earned).toBe(before + PRICE)
  })

  test('is told what is wrong with a payment that is no good', async () => {
    const [paid, offer] = await payment('forger')
    const tick = { ...(paid.payload['tick'] as object), link: 'A'.repeat(43) }
    const forged = { ...paid, payload: { ...paid.payload, tick } }
    expect(await facilitator().verify(forged, offer)).toMatchObject({ isValid: false, invalidReason: 'tick-invalid' })
    const dear = { ...offer, amount: String(PRICE + 1n) }
    expect(await facilitator().verify({ ...paid, accepted: dear }, dear)).toMatchObject({ isValid: false })
    expect(await facilitator().settle(paid, offer)).toMatchObject({ success: false, errorReason: 'not-payee' })
  })
})
