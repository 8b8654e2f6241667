import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { equal, toHex, utf8 } from '../../protocol/bytes.ts'
import { commit } from '../../protocol/commitment.ts'
import { limits } from '../../protocol/limits.ts'
import { makeChain, tickToJson } from '../../protocol/payword.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import type { CreditLine } from '../../agent/trust/trust.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import {
  decodePaymentRequired,
  decodePaymentResponse,
  PAYMENT_REQUIRED,
  PAYMENT_RESPONSE,
} from '../../protocol/x402.ts'
import { openMarket, outcome, pieceOf, PRICE, type Lane, type Market, type MarketOptions } from './market.ts'

/** A market with one payer who declared 24 units in segments of 4. */
async function open(options: MarketOptions = {}) {
  const market = await openMarket(options)
  const payer = await market.payer('payer')
  const declared = await payer.declare(24)
  const ask = (lane: Lane, index: number, unit: number, seller = market.seller) =>
    outcome(seller.piece(market.share.infoHash, index, lane.payment(unit), market.url(index)))
  return {
    ...market,
    buyer: payer,
    declared,
    ask,
    grant: (pieces: number) => market.credit.set(toHex(payer.party.id), pieces),
  }
}

const send = (market: Market, payment: string, index = 0) =>
  outcome(market.seller.piece(market.share.infoHash, index, payment, market.url(index)))
describe('an offer', () => {
  it('says what is for sale without being paid, by either info hash', async () => {
    const { seller, share, url } = await open()
    const offer = await seller.offer(share.infoHashV1)
    expect(offer).toMatchObject({
      infoHash: share.infoHash,
      pieces: 24,
      price: '3',
      public: false,
    })
    const asked = await seller.piece(share.infoHash, 0, undefined, url(0))
    expect(offer.accepts).toEqual(decodePaymentRequired(asked.headers[PAYMENT_REQUIRED] ?? '').accepts)
    await expect(seller.offer('0'.repeat(64))).rejects.toMatchObject({ code: 'not-found' })
  })

  it('comes with a 402 that names price, payee, content and every mode', async () => {
    const { seller, share, party, url, ledger } = await open()
    const reply = await seller.piece(share.infoHash, 3, undefined, url(3))
    expect(reply.status).toBe(402)
    const required = decodePaymentRequired(reply.headers[PAYMENT_REQUIRED] ?? '')
    expect(required.error).toBeUndefined()
    expect(required.resource.url).toBe(url(3))
    expect(required.accepts.map(({ extra }) => extra.mode)).toEqual(['prepaid', 'credit', 'sealed'])
    expect(required.accepts[0]).toMatchObject({
      amount: '3',
      payTo: toHex(party.id),
      network: `payword:${toHex(ledger.id.subarray(0, 16))}`,
      extra: { content: share.infoHash },
    })
  })

  it('says what a piece costs without asking the ledger', async () => {
    const { seller, share, url, ledger } = await open()
    ledger.fail('away')
    expect(await seller.piece(share.infoHash, 0, undefined, url(0))).toMatchObject({ status: 402 })
  })

  it('names what is wrong with a payment', async () => {
    const market = await open()
    const lane = market.declared.lane('prepaid', 0, 1, {})
    const payment = lane.payment(0)
    const reply = await market.seller.piece(market.share.infoHash, 0, payment, market.url(0))
    expect(decodePaymentRequired(reply.headers[PAYMENT_REQUIRED] ?? '').error).toBeUndefined()
    const forged = lane.payment(1, { tick: { ...tickToJson(lane.tick(2)), unit: 1 } })
    const invalid = await market.seller.piece(market.share.infoHash, 0, forged, market.url(0))
    expect(decodePaymentRequired(invalid.headers[PAYMENT_REQUIRED] ?? '').error).toBe('tick-invalid')
  })
})

describe('content that is not for sale', () => {
  it('is served to anyone, and no index beyond it', async () => {
    const { seller, share, content, url } = await open({ public: true })
    const reply = await seller.piece(share.infoHash, 23, undefined, url(23))
    expect(reply.status).toBe(200)
    expect(equal(reply.body, pieceOf(share, content, 23))).toBe(true)
    expect(await outcome(seller.piece(share.infoHash, 24, undefined, url(24)))).toBe('not-found')
  })
})

describe('a prepaid piece', () => {
  it('is served for the next tick, with a receipt that names lane and unit', async () => {
    const { seller, share, content, declared, url, buyer } = await open()
    const lane = declared.lane('prepaid', 0, 2)
    const reply = await seller.piece(share.infoHash, 5, lane.payment(1), url(5))
    expect(equal(reply.body, pieceOf(share, content, 5))).toBe(true)
    expect(decodePaymentResponse(reply.headers[PAYMENT_RESPONSE] ?? '')).toMatchObject({
      success: true,
      transaction: `${toHex(lane.id)}:1`,
      payer: toHex(buyer.party.id),
    })
  })

  it('is claimed once at the ledger, whatever comes after', async () => {
    const { declared, ask, ledger } = await open()
    const lane = declared.lane('prepaid', 0, 2)
    for (const unit of [1, 2, 3, 4, 5]) expect(await ask(lane, unit, unit)).toBe('served')
    expect(ledger.calls.get('claims')).toBe(1)
  })

  it('is not served twice for one tick, but for the same piece again', async () => {
    const { declared, ask } = await open()
    const lane = declared.lane('prepaid', 0, 2)
    expect(await ask(lane, 1, 1)).toBe('served')
    expect(await ask(lane, 2, 1)).toBe('tick-replayed')
    expect(await ask(lane, 1, 1)).toBe('served')
    expect(await ask(lane, 2, 2)).toBe('served')
    expect(await ask(lane, 1, 1)).toBe('tick-replayed')
  })

  it('remembers what was spent over a restart', async () => {
    const { declared, ask, restart } = await open()
    const lane = declared.lane('prepaid', 0, 2)
    expect(await ask(lane, 1, 1)).toBe('served')
    expect(await ask(lane, 2, 1, restart())).toBe('tick-replayed')
    expect(await ask(lane, 2, 2, restart())).toBe('served')
  })

  it('takes no tick when the piece cannot be read', async () => {
    const { declared, ask, faults } = await open()
    const lane = declared.lane('prepaid', 0, 2)
    for (const code of ['storage-unavailable', 'content-changed'] as const) {
      faults.read = new Problem(code, 'No.')
      expect(await ask(lane, 1, 1)).toBe(code)
    }
    delete faults.read
    expect(await ask(lane, 2, 1)).toBe('served')
  })
})

describe('a piece on credit', () => {
  it('comes before its tick, for as many as trust grants; no other is read', async () => {
    const { declared, ask, grant, reads } = await open()
    grant(2)
    const lane = declared.lane('credit', 0, 2)
    expect(await ask(lane, 1, 0)).toBe('served')
    expect(await ask(lane, 2, 0)).toBe('served')
    expect(await ask(lane, 3, 0)).toBe('credit-exceeded')
    expect(reads()).toBe(2)
    expect(await ask(lane, 3, 2)).toBe('served')
  })

  it('is refused to who has no credit, over any number of fresh keys', async () => {
    const market = await open()
    const names = Array.from({ length: 20 }, (_, i) => `sybil ${i}`)
    const outcomes = await Promise.all(
      names.map(async (name) => {
        const lane = (await (await market.payer(name)).declare(4)).lane('credit', 0, 1)
        return market.ask(lane, 0, 0)
      }),
    )
    expect(new Set(outcomes)).toEqual(new Set(['credit-exceeded']))
    expect(market.reads()).toBe(0)
  })

  it('is owed by the payer over all lanes, not by lane', async () => {
    const { declared, ask, grant } = await open()
    grant(3)
    const lanes = [0, 1, 2, 3].map((first) => declared.lane('credit', first, 1))
    const outcomes = []
    for (const lane of lanes) outcomes.push(await ask(lane, 1, 0))
    expect(outcomes).toEqual(['served', 'served', 'served', 'credit-exceeded'])
  })

  it('is owed by whoever vouches as well: any number of keys behind one vouch share its credit', async () => {
    const market = await open()
    const vouches = [{ account: 'the one vouch', most: 3 }]
    const outcomes = []
    for (let i = 0; i < 6; i++) {
      const sybil = await market.payer(`sybil ${i}`)
      market.lines.set(toHex(sybil.party.id), { credit: 2, vouches })
      const lane = (await sybil.declare(4)).lane('credit', 0, 1)
      outcomes.push(await market.ask(lane, 0, 0), await market.ask(lane, 1, 0))
    }
    expect(outcomes.filter((outcome) => outcome === 'served')).toHaveLength(3)
  })

  it('moves with its payer to another vouch, debt and all', async () => {
    const { ask, declared, buyer, lines } = await open()
    const payer = toHex(buyer.party.id)
    const lane = declared.lane('credit', 0, 2)
    const [one, other] = ['one', 'other'].map((account) => ({ credit: 9, vouches: [{ account, most: 2 }] }))
    lines.set(payer, one as CreditLine)
    expect(await ask(lane, 0, 0)).toBe('served')
    expect(await ask(lane, 1, 0)).toBe('served')
    lines.set(payer, other as CreditLine)
    expect(await ask(lane, 2, 0)).toBe('credit-exceeded')
    expect(await ask(lane, 2, 1)).toBe('served')
    lines.set(payer, one as CreditLine)
    expect(await ask(lane, 3, 3)).toBe('served')
    expect(await ask(declared.lane('credit', 2, 1), 4, 0)).toBe('served')
    expect(await ask(declared.lane('credit', 3, 1), 5, 0)).toBe('credit-exceeded')
  })

  it('stays owed when its lane is signed off unpaid', async () => {
    const { declared, ask, grant, seller } = await open()
    grant(1)
    const lane = declared.lane('credit', 0, 1)
    expect(await ask(lane, 1, 0)).toBe('served')
    await seller.signoff(lane.signoff(0))
    expect(await ask(declared.lane('credit', 1, 1), 2, 0)).toBe('credit-exceeded')
  })

  it('is settled by a last tick on its own, which may come twice', async () => {
    const { declared, ask, grant, seller } = await open()
    grant(1)
    const lane = declared.lane('credit', 0, 1)
    expect(await ask(lane, 1, 0)).toBe('served')
    const tick = tickToJson(lane.tick(1))
    expect(await seller.tick(tick)).toEqual({ lane: toHex(lane.id), unit: 1 })
    expect(await seller.tick(tick)).toEqual({ lane: toHex(lane.id), unit: 1 })
    expect(await ask(declared.lane('credit', 1, 1), 2, 0)).toBe('served')
  })

  it('counts the tick even when the piece cannot be read', async () => {
    const { declared, ask, grant, faults, seller } = await open()
    grant(1)
    const lane = declared.lane('credit', 0, 1)
    expect(await ask(lane, 1, 0)).toBe('served')
    faults.read = new Problem('storage-unavailable', 'No.')
    expect(await ask(lane, 2, 1)).toBe('storage-unavailable')
    expect(await seller.outstanding()).toBe(PRICE)
  })
})

describe('a lane', () => {
  it('that the ledger does not know, or knows for other money, opens nothing', async () => {
    const market = await open()
    const { buyer, share } = market
    const dear = await buyer.declare(4, { unitPrice: PRICE - 1n })
    const undeclared = await buyer.declare(4, {}, false)
    const otherContent = await buyer.declare(4, { content: sha256(utf8('another film')) })
    const otherUnits = await buyer.declare(4, { unitBytes: 1 })
    for (const declared of [dear, undeclared, otherContent, otherUnits]) {
      const lane = declared.lane('prepaid', 0, 1)
      const declaration = envelopeToJson(declared.declaration)
      expect(await send(market, lane.payment(1))).toBe('payment-required')
      expect(await send(market, lane.payment(1, { declaration }))).toBe('payment-required')
    }
    expect(market.reads()).toBe(0)
    expect(share.pieces).toBe(24)
  })

  it('is not taken for another payee, without its commitment, or under another name', async () => {
    const market = await open()
    const lane = market.declared.lane('prepaid', 0, 1)
    const elsewhere = market.declared.lane('prepaid', 0, 1, { payee: market.buyer.party.id })
    expect(await send(market, elsewhere.payment(1))).toBe('not-payee')
    expect(await send(market, lane.payment(1, { commitment: envelopeToJson(elsewhere.commitment) }))).toBe(
      'bad-request',
    )
    const { payload } = JSON.parse(atob(lane.payment(1))) as { payload: { commitment?: unknown } }
    delete payload.commitment
    const bare = JSON.parse(atob(lane.payment(1))) as Record<string, unknown>
    expect(await send(market, btoa(JSON.stringify({ ...bare, payload })))).toBe('payment-required')
  })

  it('promised by who may not spend for the payer is refused by the ledger, before anything is served', async () => {
    const market = await open()
    const thief = signerFrom(sha256(utf8('thief')))
    const lane = market.declared.lane('prepaid', 0, 1)
    const terms = {
      cap: 4,
      declaration: market.declared.id,
      first: 0,
      mode: 'prepaid',
      payee: market.party.id,
      segments: 1,
    } as const
    const forged = commit(terms, thief)
    // The same body has the same id: what differs is who signed it.
    expect(equal(objectId('commitment', forged.body), lane.id)).toBe(true)
    expect(await send(market, lane.payment(1, { commitment: envelopeToJson(forged) }))).toBe('not-payer')
    expect(market.reads()).toBe(0)
    expect(await send(market, lane.payment(1))).toBe('served')
  })

  it('whose segments another lane has is refused with proof of the double promise', async () => {
    const market = await open()
    expect(await send(market, market.declared.lane('prepaid', 0, 2).payment(1))).toBe('served')
    const overlapping = market.declared.lane('prepaid', 1, 1)
    await expect(
      market.seller.piece(market.share.infoHash, 0, overlapping.payment(1), market.url(0)),
    ).rejects.toMatchObject({ code: 'lane-taken', members: { commitment: { body: expect.any(String) } } })
  })

  it('is served only after the ledger has answered', async () => {
    const { declared, ask, ledger, reads } = await open()
    const lane = declared.lane('prepaid', 0, 1)
    ledger.fail('away')
    expect(await ask(lane, 0, 1)).toBe('peer-failed')
    ledger.fail('mute')
    expect(await ask(lane, 0, 1)).toBe('peer-failed')
    expect(reads()).toBe(0)
    ledger.fail(undefined)
    expect(await ask(lane, 0, 1)).toBe('served')
  })

  it('needs no ledger once it is claimed', async () => {
    const { declared, ask, ledger, restart } = await open()
    const lane = declared.lane('prepaid', 0, 1)
    expect(await ask(lane, 0, 1)).toBe('served')
    ledger.fail('away')
    expect(await ask(lane, 1, 2)).toBe('served')
    expect(await ask(lane, 2, 3, restart())).toBe('served')
  })

  it('pays for its own content only, and with its own ticks only', async () => {
    const market = await open()
    const [lane, other] = [market.declared.lane('prepaid', 0, 1), market.declared.lane('prepaid', 1, 1)]
    expect(await send(market, lane.payment(1, { tick: tickToJson(other.tick(1)) }))).toBe('tick-invalid')
    const moved = { ...tickToJson(other.tick(1)), lane: toHex(lane.id) }
    expect(await send(market, lane.payment(1, { tick: moved }))).toBe('tick-invalid')
    const forged = makeChain(sha256(utf8('guess')), { units: 24, segment: 4 })
    const tick = tickToJson({ lane: lane.id, unit: 1, link: forged.link(0, 1), proof: forged.proof(0) })
    expect(await send(market, lane.payment(1, { tick }))).toBe('tick-invalid')
    expect(market.reads()).toBe(0)
  })

  it('close to its expiry buys nothing', async () => {
    const { buyer, ask, clock } = await open()
    const soon = await buyer.declare(4, { expires: clock.now() + limits.expiryMarginMs })
    expect(await ask(soon.lane('prepaid', 0, 1), 0, 1)).toBe('expired')
    const later = (await buyer.declare(4, { expires: clock.now() + 2 * limits.expiryMarginMs })).lane('prepaid', 0, 1)
    expect(await ask(later, 0, 1)).toBe('served')
    clock.advance(limits.expiryMarginMs)
    expect(await ask(later, 1, 2)).toBe('expired')
  })
})

describe('a payment header', () => {
  it('that is malformed changes nothing', async () => {
    const market = await open()
    const headers = ['', '%%%', btoa('{}'), btoa('[]'), btoa('null'), 'A'.repeat(100_000), btoa('{"x402Version":1}')]
    for (const header of headers) {
      expect(['bad-request', 'bad-encoding', 'too-large']).toContain(await send(market, header))
    }
    expect(market.reads()).toBe(0)
  })
})

describe('buffers', () => {
  it('are used again once a reply is done, and not before', async () => {
    const { seller, share, content, url } = await open({ public: true })
    const [first, second] = [
      await seller.piece(share.infoHash, 0, undefined, url(0)),
      await seller.piece(share.infoHash, 1, undefined, url(1)),
    ]
    expect(first.body.buffer).not.toBe(second.body.buffer)
    expect(equal(first.body, pieceOf(share, content, 0))).toBe(true)
    first.done()
    first.done()
    const third = await seller.piece(share.infoHash, 2, undefined, url(2))
    expect(third.body.buffer).toBe(first.body.buffer)
    expect(equal(second.body, pieceOf(share, content, 1))).toBe(true)
  })

  it('are used again, and count for nothing in the day’s cap, when a piece cannot be read or sent', async () => {
    const fault = new Problem('store-unavailable', 'No.')
    let isAway = false
    const wrapStore = (store: Store): Store => ({
      ...store,
      write: async (changes) =>
        isAway && changes.some(({ sk }) => sk === 'tab') ? Promise.reject(fault) : store.write(changes),
    })
    const { seller, share, context, declared, ask, url, faults } = await open({ wrapStore })
    await createGuard(context).change({ serve: BigInt(3 * share.pieceLength) })
    const lane = declared.lane('prepaid', 0, 1)
    const buy = (unit: number) => seller.piece(share.infoHash, unit, lane.payment(unit), url(unit))
    const first = await buy(1)
    first.done()
    faults.read = fault
    expect(await ask(lane, 2, 2)).toBe('store-unavailable')
    delete faults.read
    isAway = true
    expect(await ask(lane, 2, 2)).toBe('store-unavailable')
    isAway = false
    const second = await buy(2)
    expect(second.body.buffer).toBe(first.body.buffer)
    expect(await ask(lane, 3, 3)).toBe('served')
    expect(await ask(lane, 4, 4)).toBe('cap-reached')
  })
})
