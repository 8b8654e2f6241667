/** What a seller must withstand, over HTTP: the payment rows of the attack table, and how others have failed. */
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { mountPublicApi, sendPieceCopy } from '../../agent/api/public-api.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { commit, parseCommitment } from '../../protocol/commitment.ts'
import { declare, parseDeclaration } from '../../protocol/declaration.ts'
import { makeChain, tickToJson } from '../../protocol/payword.ts'
import { verifyPiece } from '../../protocol/piece.ts'
import { createService } from '../../protocol/service.ts'
import { redeem } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { decodePaymentRequired, encodePayment, decodePayment, type PaywordPayload } from '../../protocol/x402.ts'
import { openMarket, PRICE, type Lane, type Market, type MarketOptions } from './market.ts'

interface Answer {
  readonly status: number
  readonly code: string
  readonly body: Uint8Array
  readonly headers: Headers
}

/** A seller on HTTP and a payer who declared 24 units. */
async function open(options: MarketOptions = {}) {
  const market = await openMarket(options)
  const app = createService({ title: 'seller', description: 'A seller.' })
  mountPublicApi(app, market.context, market.seller, sendPieceCopy)
  const buyer = await market.payer(`buyer of ${options.name ?? 'seller'}`)
  const declared = await buyer.declare(24)

  async function request(path: string, init?: RequestInit): Promise<Answer> {
    const response = await app.fetch(new Request(`http://seller.test${path}`, init))
    const body = new Uint8Array(await response.arrayBuffer())
    const isProblem = response.headers.get('content-type') === 'application/problem+json'
    const code = isProblem ? (JSON.parse(new TextDecoder().decode(body)) as { code: string }).code : 'ok'
    return { status: response.status, code, body, headers: response.headers }
  }
  const piece = (index: number, payment?: string, headers: Record<string, string> = {}) =>
    request(`/v1/pieces/${market.share.infoHash}/${index}`, {
      headers: { ...headers, ...(payment !== undefined && { 'payment-signature': payment }) },
    })
  const post = (path: string, json: unknown) =>
    request(path, { method: 'POST', body: JSON.stringify(json), headers: { 'content-type': 'application/json' } })
  return { ...market, buyer, declared, piece, post, request }
}

/** The same payment with another payload. */
function altered(payment: string, change: (payload: PaywordPayload) => object): string {
  const parsed = decodePayment(payment)
  return btoa(JSON.stringify({ ...parsed, payload: change(parsed.payload) }))
}

const withTick = (lane: Lane, unit: number, change: object): string =>
  altered(lane.payment(unit), (payload) => ({ ...payload, tick: { ...payload.tick, ...change } }))

const earned = async ({ ledger, party }: Market) => (await ledger.balance(toHex(party.id))).earned

describe('an honest sale over HTTP', () => {
  it('goes from the offer to the credits', async () => {
    const market = await open()
    const { piece, post, declared, share, party, ledger } = market
    const offer = await piece(0)
    expect(offer.status).toBe(402)
    expect(decodePaymentRequired(offer.headers.get('payment-required') ?? '').accepts).toHaveLength(3)
    const lane = declared.lane('prepaid', 0, 2)
    for (let unit = 1; unit <= 8; unit++) {
      const { status, body, headers } = await piece(unit - 1, lane.payment(unit))
      expect(status).toBe(200)
      expect(headers.get('content-type')).toBe('application/octet-stream')
      expect(verifyPiece(share.meta, unit - 1, body)).toBe(true)
    }
    const ended = await post('/v1/signoffs', { signoff: envelopeToJson(lane.signoff(8)) })
    expect(ended.status).toBe(200)
    expect(await ledger.balance(toHex(party.id))).toEqual({
      available: 1_000_000n + 8n * PRICE,
      frozen: 0n,
      earned: 0n,
    })
  })
})

describe('a payer that cheats', () => {
  it('with one lane for two sellers: the second is told who was first, and serves nothing', async () => {
    const one = await open()
    const two = await open({ beside: one, name: 'second seller' })
    const terms = { cap: 4, declaration: one.declared.id, first: 0, mode: 'prepaid', segments: 1 } as const
    const promise = (to: Market) => envelopeToJson(commit({ ...terms, payee: to.party.id }, one.buyer.party.agent))
    const lane = one.declared.lane('prepaid', 0, 1)
    expect((await one.piece(0, lane.payment(1))).status).toBe(200)
    const second = one.declared.lane('prepaid', 0, 1, { payee: two.party.id })
    const refused = await two.piece(0, second.payment(1))
    expect(refused.code).toBe('lane-taken')
    const proof = JSON.parse(new TextDecoder().decode(refused.body)) as { commitment: unknown }
    const shown = parseCommitment(envelopeFromJson(proof.commitment))
    expect(shown.payee).toEqual(one.party.id)
    expect(toHex(shown.key)).toBe(toHex(one.buyer.party.agent.key))
    expect(promise(one)).toEqual(proof.commitment)
    expect(two.reads()).toBe(0)
  })

  it('with a replayed, lower, fractional, negative, huge or misplaced tick gets nothing and moves nothing', async () => {
    const market = await open()
    const { piece, declared } = market
    const lane = declared.lane('prepaid', 0, 2)
    expect((await piece(0, lane.payment(1))).code).toBe('ok')
    expect((await piece(1, lane.payment(2))).code).toBe('ok')
    const reads = market.reads()
    const attempts: [string, string][] = [
      [lane.payment(2), 'tick-replayed'],
      [lane.payment(1), 'tick-replayed'],
      [withTick(lane, 3, { unit: 2.5 }), 'tick-invalid'],
      [withTick(lane, 3, { unit: -1 }), 'tick-invalid'],
      [withTick(lane, 3, { unit: 2 ** 40 }), 'tick-invalid'],
      [withTick(lane, 3, { unit: 4 }), 'tick-invalid'],
      [withTick(lane, 2, { unit: 3 }), 'tick-invalid'],
      [withTick(lane, 5, { unit: 3 }), 'tick-invalid'],
      [withTick(lane, 3, { link: lane.payment(3).slice(0, 8) }), 'bad-encoding'],
      [withTick(lane, 3, { lane: '0'.repeat(64) }), 'tick-invalid'],
    ]
    for (const [payment, code] of attempts) expect((await piece(5, payment)).code).toBe(code)
    expect(market.reads()).toBe(reads)
    expect(await market.seller.outstanding()).toBe(2n * PRICE)
    expect(await earned(market)).toBe(0n)
  })

  it('with a chain of its own making under a real declaration gets nothing', async () => {
    const market = await open()
    const lane = market.declared.lane('prepaid', 0, 1)
    const chain = makeChain(sha256(utf8('forged')), { units: 24, segment: 4 })
    const tick = tickToJson({ lane: lane.id, unit: 1, link: chain.link(0, 1), proof: chain.proof(0) })
    expect((await market.piece(0, lane.payment(1, { tick }))).code).toBe('tick-invalid')
    expect(market.reads()).toBe(0)
  })

  it('with a declaration that it made up, or altered, gets nothing', async () => {
    const market = await open()
    const lane = market.declared.lane('prepaid', 0, 1)
    const cheap = declare({ ...market.declared.terms, unitPrice: 0n }, market.buyer.party.agent)
    const altering = { ...market.declared.declaration, signature: cheap.signature }
    expect((await market.piece(0, lane.payment(1, { declaration: envelopeToJson(cheap) }))).code).toBe(
      'payment-required',
    )
    expect((await market.piece(0, lane.payment(1, { declaration: envelopeToJson(altering) }))).code).toBe(
      'bad-signature',
    )
    expect(market.reads()).toBe(0)
  })

  it('by pledging what is another’s gets nothing: the payer of a promise must own what it promises', async () => {
    const market = await open()
    const thief = await market.payer('thief')
    const body = {
      cap: 4,
      declaration: market.declared.id,
      first: 0,
      mode: 'prepaid',
      payee: market.party.id,
      segments: 1,
    } as const
    const commitment = envelopeToJson(commit(body, thief.party.agent))
    const lane = market.declared.lane('prepaid', 0, 1)
    expect((await market.piece(0, lane.payment(1, { commitment }))).code).toBe('not-payer')
    expect(market.reads()).toBe(0)
  })

  it('by taking a first piece on credit under a thousand fresh keys reads none', async () => {
    const market = await open()
    const codes = new Set<string>()
    for (let i = 0; i < 1000; i++) {
      const key = signerFrom(sha256(utf8(`fresh ${i}`)))
      const declaration = declare({ ...market.declared.terms, payer: sha256(key.key) }, key)
      const { id } = parseDeclaration(declaration)
      const commitment = commit(
        { cap: 4, declaration: id, first: 0, mode: 'credit', payee: market.party.id, segments: 1 },
        key,
      )
      const payload = {
        lane: toHex(parseCommitment(commitment).id),
        commitment: envelopeToJson(commitment),
        declaration: envelopeToJson(declaration),
      }
      codes.add(
        (
          await market.piece(
            i % 24,
            altered(market.declared.lane('credit', 0, 1).payment(0), () => payload),
          )
        ).code,
      )
    }
    expect(codes).toEqual(new Set(['credit-exceeded']))
    expect(market.reads()).toBe(0)
    expect(market.ledger.calls.get('claims')).toBeUndefined()
  })

  it('by coming from ever new addresses owes no more: debts are by payer', async () => {
    const market = await open()
    market.credit.set(toHex(market.buyer.party.id), 2)
    const codes = []
    for (let i = 0; i < 6; i++) {
      const lane = market.declared.lane('credit', i, 1)
      codes.push((await market.piece(i, lane.payment(0), { 'x-forwarded-for': `203.0.113.${i}` })).code)
    }
    expect(codes).toEqual(['ok', 'ok', ...Array<string>(4).fill('credit-exceeded')])
  })
})

describe('a thief', () => {
  it('with a tick that it saw redeems nothing and buys nothing elsewhere', async () => {
    const one = await open()
    const two = await open({ beside: one, name: 'second seller' })
    const lane = one.declared.lane('prepaid', 0, 1)
    expect((await one.piece(0, lane.payment(1))).code).toBe('ok')
    const { link, proof = [], unit } = lane.tick(1)
    const order = redeem({ lane: lane.id, link, payee: two.party.id, proof, unit }, two.party.agent)
    await expect(one.ledger.client.redeem(order)).rejects.toMatchObject({ code: 'not-payee' })
    expect((await two.piece(0, lane.payment(1))).code).toBe('not-payee')
    expect((await one.piece(1, lane.payment(1))).code).toBe('tick-replayed')
  })

  it('cannot end a lane that is not its own, nor with another’s word', async () => {
    const market = await open()
    const thief = await market.payer('thief')
    const [lane, other] = [market.declared.lane('prepaid', 0, 1), market.declared.lane('prepaid', 1, 1)]
    expect((await market.piece(0, lane.payment(1))).code).toBe('ok')
    expect((await market.piece(1, other.payment(1))).code).toBe('ok')
    const signoff = (signed: object) => market.post('/v1/signoffs', { signoff: signed })
    expect((await signoff(envelopeToJson(lane.signoff(1, thief.party.agent)))).code).toBe('not-payer')
    const swapped = { ...envelopeToJson(lane.signoff(1)), body: envelopeToJson(other.signoff(1)).body }
    expect((await signoff(swapped)).code).toBe('bad-signature')
    expect((await market.piece(2, lane.payment(2))).code).toBe('ok')
  })
})

describe('malformed requests', () => {
  it('are problems with a stable code and change nothing', async () => {
    const market = await open()
    const lane = market.declared.lane('prepaid', 0, 1)
    const path = `/v1/pieces/${market.share.infoHash}`
    const statuses = await Promise.all([
      market.piece(0, 'x'),
      market.piece(0, btoa('[]')),
      market.piece(0, 'A'.repeat(20_000)),
      market.request(`${path}/-1`),
      market.request(`${path}/1e9`),
      market.request(`${path}/999999999`),
      market.request(`${path}/99999999999999999999`),
      market.request('/v1/pieces/zz/0'),
      market.request(`/v1/pieces/${'0'.repeat(64)}/0`),
      market.post('/v1/ticks', {}),
      market.post('/v1/ticks', { tick: tickToJson(lane.tick(1)) }),
      market.post('/v1/signoffs', { signoff: { body: '', key: '', signature: '' } }),
      market.post('/v1/signoffs', { signoff: envelopeToJson(lane.signoff(1)) }),
      market.request('/v1/signoffs', { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } }),
    ])
    for (const { status, code } of statuses) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
      expect(code).not.toBe('ok')
    }
    expect(market.reads()).toBe(0)
    expect(encodePayment(decodePayment(lane.payment(1)))).toBe(lane.payment(1))
  })
})
