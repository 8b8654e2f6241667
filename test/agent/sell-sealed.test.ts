/** A seller of sealed pieces: what leaves, what stays shut, and what it may earn. */
import { describe, expect, it } from 'vitest'
import { equal, fromBase64url, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseLabel } from '../../protocol/label.ts'
import { limits } from '../../protocol/limits.ts'
import { pieceHash } from '../../protocol/metainfo.ts'
import { tickToJson } from '../../protocol/payword.ts'
import { Problem } from '../../protocol/problem.ts'
import { isKeyOf, openPiece, partsOf, pieceShape, rootsOf } from '../../protocol/sealed.ts'
import { transfer } from '../../protocol/settlement.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { decodePaymentResponse, PAYMENT_RESPONSE } from '../../protocol/x402.ts'
import { codeOf } from '../problems.ts'
import { openMarket, outcome, pieceOf, PRICE, type Lane, type MarketOptions } from './market.ts'

const FAUCET = 1_000_000n

async function open(options: MarketOptions = {}) {
  const market = await openMarket(options)
  const { share, url, ledger, party } = market
  const buyer = await market.payer('payer')
  const declared = await buyer.declare(24)
  const lane = declared.lane('sealed', 0, 2)
  const ask = (index: number, unit: number, of = lane, seller = market.seller) =>
    outcome(seller.piece(share.infoHash, index, of.payment(unit), url(index)))

  /** The piece as it came, with all that was said of it. */
  async function take(index: number, unit: number, of: Lane = lane, seller = market.seller) {
    const { status, headers, body, done } = await seller.piece(share.infoHash, index, of.payment(unit), url(index))
    expect(status).toBe(200)
    const { extensions } = decodePaymentResponse(headers[PAYMENT_RESPONSE] as string)
    const taken = Uint8Array.from(body)
    done()
    const label = parseLabel(envelopeFromJson(extensions?.sealed?.label))
    const key = extensions?.sealed?.key
    return { body: taken, label, key: key === undefined ? undefined : fromBase64url(key) }
  }

  const pay = async (unit: number, of: Lane = lane) =>
    fromBase64url((await market.seller.tick(tickToJson(of.tick(unit)))).key as string)
  const anchor = async (of: Lane = lane): Promise<Bytes> => {
    const { sealed } = await ledger.client.lane(toHex(of.id))
    return new Uint8Array(Buffer.from((sealed as { anchor: string }).anchor, 'hex'))
  }
  const takings = async () => {
    const { available, earned } = await ledger.balance(toHex(party.id))
    return available + earned - FAUCET
  }
  return { ...market, buyer, declared, lane, ask, take, pay, anchor, takings }
}

function plainOf(
  { share }: Pick<Awaited<ReturnType<typeof open>>, 'share'>,
  body: Uint8Array,
  index: number,
  key: Bytes,
) {
  const opened = Uint8Array.from(body)
  const wrong = openPiece(opened, pieceShape(share.meta, index), key)
  return wrong === undefined ? partsOf(opened, pieceShape(share.meta, index)).bytes : undefined
}

describe('a sealed piece', () => {
  it('is unreadable until it is paid for, and then it is the piece', async () => {
    const market = await open()
    const { share, content, take, pay, anchor } = market
    const { body, label, key } = await take(23, 0)
    expect(key).toBeUndefined()
    const shape = pieceShape(share.meta, 23)
    expect(label).toMatchObject({ ...shape, ...rootsOf(body, shape), unit: 1, lane: market.lane.id })
    expect(label.plainRoot).toEqual(pieceHash(share.meta, 23))
    expect(label.key).toEqual(market.party.agent.key)
    expect(equal(partsOf(body, shape).bytes, pieceOf(share, content, 23))).toBe(false)
    const paid = await pay(1)
    expect(isKeyOf({ unit: 0, key: await anchor() }, 1, paid)).toBe(true)
    expect(plainOf(market, body, 23, paid)).toEqual(pieceOf(share, content, 23))
  })

  it('brings the key of the one before', async () => {
    const market = await open()
    const first = await market.take(4, 0)
    const second = await market.take(9, 1)
    expect(second.label.unit).toBe(2)
    expect(plainOf(market, first.body, 4, second.key as Bytes)).toEqual(pieceOf(market.share, market.content, 4))
    expect(plainOf(market, second.body, 9, second.key as Bytes)).toBeUndefined()
  })

  it('is the only one that is unpaid: no other leaves, whatever is asked', async () => {
    const { ask } = await open()
    expect(await ask(0, 0)).toBe('served')
    for (let index = 1; index < 24; index++) expect(await ask(index, 0)).toBe('payment-required')
    expect(await ask(1, 1)).toBe('served')
    expect(await ask(2, 0)).toBe('tick-replayed')
  })

  it('is had by no link and from no place, whatever is preferred', async () => {
    const { seller, share, lane, url } = await open({ place: 'https://bucket.example/film.bin' })
    for (const way of ['link', 'copy']) {
      const { status, done } = await seller.piece(share.infoHash, 3, lane.payment(0), url(3), way)
      done()
      expect(status).toBe(200)
    }
  })

  it('is sent again a few times, the same bytes, also after a restart', async () => {
    const { ask, take, restart } = await open()
    const first = await take(7, 0)
    const again = await take(7, 0, undefined, restart())
    expect(again.body).toEqual(first.body)
    for (let i = 2; i <= limits.repeatsPerTick; i++) expect(await ask(7, 0)).toBe('served')
    expect(await ask(7, 0)).toBe('tick-replayed')
  })

  it('comes with its key when its tick has come', async () => {
    const market = await open()
    await market.take(7, 0)
    const { body, key, label } = await market.take(7, 1)
    expect(label.unit).toBe(1)
    expect(plainOf(market, body, 7, key as Bytes)).toEqual(pieceOf(market.share, market.content, 7))
    expect(await market.pay(1)).toEqual(key)
  })

  it('never shares bytes of its cipher with another', async () => {
    const { take } = await open()
    const [a, b] = [await take(3, 0), await take(4, 1)]
    expect(a.body).not.toEqual(b.body)
  })

  it('is not sent when the file is not what was shared, and takes no unit', async () => {
    const { ask, content } = await open()
    content[3 * 16_384] = (content[3 * 16_384] as number) ^ 1
    expect(await ask(3, 0)).toBe('content-changed')
    content[3 * 16_384] = (content[3 * 16_384] as number) ^ 1
    expect(await ask(4, 0)).toBe('served')
  })
})

describe('a sealed lane', () => {
  it('is claimed with the bond, and none without credits for it', async () => {
    const { ask, declared, ledger, party } = await open()
    await ask(0, 0)
    const { sealed } = await ledger.client.lane(toHex(declared.lane('sealed', 0, 2).id))
    expect(sealed).toMatchObject({ bond: 4n * PRICE })
    expect(await ledger.client.account(toHex(party.id))).toMatchObject({ bonds: 4n * PRICE })
  })

  it('is redeemed with the key, which the ledger shows', async () => {
    const market = await open()
    const { body } = await market.take(5, 0)
    await market.pay(1)
    await market.seller.redeem({})
    expect(await market.takings()).toBe(PRICE - 4n * PRICE)
    const { sealed } = await market.ledger.client.lane(toHex(market.lane.id))
    const key = new Uint8Array(Buffer.from(sealed?.key as string, 'hex'))
    expect(plainOf(market, body, 5, key)).toEqual(pieceOf(market.share, market.content, 5))
  })

  it('ends when the payer has signed off all that is redeemed', async () => {
    const { take, pay, seller, lane, ledger, takings } = await open()
    await take(5, 0)
    await pay(1)
    expect(await seller.signoff(lane.signoff(0))).toMatchObject({ redeemed: 1 })
    expect((await ledger.client.lane(toHex(lane.id))).closed).toBe(false)
    expect(await seller.signoff(lane.signoff(1))).toMatchObject({ redeemed: 1 })
    expect((await ledger.client.lane(toHex(lane.id))).closed).toBe(true)
    expect(await takings()).toBe(PRICE)
  })

  it('ends by itself when nobody can dispute any more', async () => {
    const { take, pay, seller, lane, ledger, takings, clock } = await open()
    await take(5, 0)
    await pay(1)
    clock.advance(24 * 3_600_000 - limits.expiryMarginMs)
    await seller.maintain()
    expect((await ledger.client.lane(toHex(lane.id))).closed).toBe(false)
    clock.advance(limits.expiryMarginMs + 1000)
    await seller.maintain()
    expect((await ledger.client.lane(toHex(lane.id))).closed).toBe(true)
    expect(await takings()).toBe(PRICE)
  })

  it('is refused where sealed pieces are not sold, and offered nowhere else', async () => {
    const { ask, seller, share, ledger, lane } = await open({ modes: ['prepaid'] })
    const { accepts } = await seller.offer(share.infoHash)
    expect(accepts.map(({ extra }) => extra.mode)).toEqual(['prepaid'])
    expect(await ask(0, 0)).toBe('payment-required')
    expect(await codeOf(ledger.client.lane(toHex(lane.id)))).toBe('not-found')
  })

  it('is refused without credits for its bond, and serves nothing: bond-missing', async () => {
    const market = await open()
    const { ask, buyer, ledger, party } = market
    const { id } = await ledger.client.info()
    const gift = { from: party.id, to: buyer.party.id, ledger: fromHex(id), nonce: new Uint8Array(16) }
    await ledger.client.transfer(transfer({ ...gift, amount: FAUCET }, party.owner))
    expect(await ask(0, 0)).toBe('bond-missing')
  })
})

describe('a seller of sealed pieces that dies at a write', () => {
  /** A store whose `at`th write from when it is armed on fails, done or not. */
  function mortal(at: number, isDone: boolean) {
    const life = { isArmed: false, isDead: false, writes: 0 }
    const wrapStore = (inner: Store): Store => ({
      ...inner,
      async write(changes) {
        if (!life.isArmed || life.isDead || ++life.writes !== at) return inner.write(changes)
        life.isDead = true
        if (isDone) await inner.write(changes)
        throw new Problem('store-unavailable', 'The process died.')
      },
    })
    return { life, wrapStore }
  }

  it.each([
    ['before', false],
    ['after', true],
  ])('%s it is done, sends the same again, loses no key and no credit', async (_, isDone) => {
    let deaths = 0
    for (let at = 1; at === deaths + 1; at++) {
      const { life, wrapStore } = mortal(at, isDone)
      const market = await open({ wrapStore })
      life.isArmed = true
      let seller = market.seller
      /** What the buyer does when no answer comes. */
      async function again<T>(ask: (by: typeof seller) => Promise<T>): Promise<T> {
        const wasDead = life.isDead
        try {
          return await ask(seller)
        } catch (error) {
          if (wasDead || !life.isDead) throw error
          seller = market.restart()
          return ask(seller)
        }
      }
      const first = await again((by) => market.take(4, 0, market.lane, by))
      const paid = await again((by) => by.tick(tickToJson(market.lane.tick(1))))
      expect(plainOf(market, first.body, 4, fromBase64url(paid.key as string))).toEqual(
        pieceOf(market.share, market.content, 4),
      )
      const second = await again((by) => market.take(9, 1, market.lane, by))
      const last = await again((by) => by.tick(tickToJson(market.lane.tick(2))))
      expect(plainOf(market, second.body, 9, fromBase64url(last.key as string))).toEqual(
        pieceOf(market.share, market.content, 9),
      )
      expect(await again((by) => by.signoff(market.lane.signoff(2)))).toMatchObject({ redeemed: 2 })
      expect(await market.ledger.client.account(toHex(market.party.id))).toMatchObject({
        available: FAUCET + 2n * PRICE,
        bonds: 0n,
      })
      if (life.isDead) deaths++
    }
    expect(deaths).toBeGreaterThan(6)
  })
})
