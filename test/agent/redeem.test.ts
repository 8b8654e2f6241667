import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import type { Seller } from '../../agent/sell/sell.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { tickToJson } from '../../protocol/payword.ts'
import { Problem } from '../../protocol/problem.ts'
import { release } from '../../protocol/settlement.ts'
import { signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { codeOf } from '../problems.ts'
import { openMarket, outcome, PRICE, type Lane, type Market, type MarketOptions } from './market.ts'
import { FAUCET, openLocalLedger } from './local-ledger.ts'

const money = ({ ledger, party }: Pick<Market, 'ledger' | 'party'>) => ledger.balance(toHex(party.id))

/** A seller that has taken `units` ticks on one prepaid lane of 8. */
async function sold(units: number, options: MarketOptions = {}) {
  const market = await openMarket(options)
  const payer = await market.payer('payer')
  const declared = await payer.declare(8)
  const lane = declared.lane('prepaid', 0, 2)
  const buy = (from: number, to: number, seller = market.seller) => buyUnits(seller, market, lane, from, to)
  await buy(1, units)
  const balance = async () => (await money(market)).available
  const earned = async () => (await money(market)).earned
  return { ...market, buyer: payer, declared, lane, buy, balance, earned }
}

async function buyUnits(seller: Seller, market: { share: { infoHash: string } }, lane: Lane, from: number, to: number) {
  for (let unit = from; unit <= to; unit++) {
    expect(await outcome(seller.piece(market.share.infoHash, unit, lane.payment(unit), 'http://seller.test'))).toBe(
      'served',
    )
  }
}

describe('redeeming', () => {
  it('by hand turns every tick accepted into credits, once', async () => {
    const { seller, ledger, earned } = await sold(5)
    expect(await seller.outstanding()).toBe(5n * PRICE)
    expect(await seller.redeem({})).toEqual({ redeemed: 5n * PRICE, lanes: 1 })
    expect(await earned()).toBe(5n * PRICE)
    expect(await seller.outstanding()).toBe(0n)
    expect(await seller.redeem({})).toEqual({ redeemed: 0n, lanes: 0 })
    expect(ledger.calls.get('redemptions')).toBe(1)
  })

  it('goes on after it, on the same lane', async () => {
    const { seller, buy, earned } = await sold(3)
    await seller.redeem({})
    await buy(4, 8)
    expect(await seller.outstanding()).toBe(5n * PRICE)
    await seller.redeem({})
    expect(await earned()).toBe(8n * PRICE)
  })

  it('of all moves what idle lanes earned into the account, and leaves lanes in use open', async () => {
    const { seller, clock, balance, buy } = await sold(2)
    await seller.redeem({ all: true })
    expect(await balance()).toBe(FAUCET)
    await buy(3, 3)
    clock.advance(limits.laneIdleMs)
    await seller.redeem({})
    expect(await balance()).toBe(FAUCET)
    await seller.redeem({ all: true })
    expect(await balance()).toBe(FAUCET + 3n * PRICE)
  })

  it('at the end signs lanes in use off too, and takes no tick on them any more', async () => {
    const { seller, balance, lane, share, url, restart } = await sold(3)
    await seller.close()
    expect(await balance()).toBe(FAUCET + 3n * PRICE)
    expect(await outcome(seller.piece(share.infoHash, 4, lane.payment(4), url(4)))).toBe('closed')
    await restart().close()
    expect(await balance()).toBe(FAUCET + 3n * PRICE)
  })

  it('at the end is done later where the ledger is away, and no tick comes in between', async () => {
    const { seller, balance, lane, share, url, ledger, restart } = await sold(3)
    ledger.fail('away')
    expect(await codeOf(seller.close())).toBe('peer-failed')
    ledger.fail(undefined)
    expect(await outcome(seller.piece(share.infoHash, 4, lane.payment(4), url(4)))).toBe('closed')
    await restart().close()
    expect(await balance()).toBe(FAUCET + 3n * PRICE)
  })

  it('happens by itself once a lane is idle, not before', async () => {
    const { seller, clock, restart, earned } = await sold(2)
    clock.advance(limits.laneIdleMs - 1)
    await seller.maintain()
    expect(await earned()).toBe(0n)
    clock.advance(1)
    await restart().maintain()
    expect(await earned()).toBe(2n * PRICE)
  })

  it('happens by itself before a lane expires, even while it is in use', async () => {
    const market = await openMarket()
    const payer = await market.payer('payer')
    const expires = market.clock.now() + limits.redeemAheadMs + 1000
    const lane = (await payer.declare(8, { expires })).lane('prepaid', 0, 2)
    await buyUnits(market.seller, market, lane, 1, 1)
    await market.seller.maintain()
    expect((await money(market)).earned).toBe(0n)
    market.clock.advance(1000)
    await market.seller.maintain()
    expect((await money(market)).earned).toBe(PRICE)
    market.clock.advance(limits.redeemAheadMs - limits.expiryMarginMs)
    await market.seller.maintain()
    expect((await money(market)).available).toBe(FAUCET + PRICE)
  })

  it('does not hammer a ledger that is away, and catches up when it is back', async () => {
    const { seller, clock, ledger, earned } = await sold(2)
    clock.advance(limits.laneIdleMs)
    ledger.fail('away')
    expect(await codeOf(seller.maintain())).toBe('peer-failed')
    for (let i = 0; i < 5; i++) await seller.maintain()
    clock.advance(1_000)
    expect(await seller.lateMs()).toBe(1_000)
    expect(ledger.calls.get('redemptions')).toBe(limits.callAttempts)
    expect(await seller.outstanding()).toBe(2n * PRICE)
    ledger.fail(undefined)
    clock.advance(limits.redeemPauseMs)
    await seller.maintain()
    expect(await earned()).toBe(2n * PRICE)
    expect(await seller.lateMs()).toBe(0)
  })

  it('that the ledger took without our hearing of it is not lost', async () => {
    const { seller, ledger, restart, earned } = await sold(2)
    ledger.fail('mute')
    expect(await codeOf(seller.redeem({}))).toBe('peer-failed')
    ledger.fail(undefined)
    expect(await restart().redeem({})).toEqual({ redeemed: 2n * PRICE, lanes: 1 })
    expect(await earned()).toBe(2n * PRICE)
  })

  it('that is refused for good is written off and never tried again', async () => {
    const { seller, clock, ledger, lane } = await sold(2)
    clock.advance(2 * 24 * 60 * 60 * 1000)
    expect(await seller.redeem({})).toEqual({ redeemed: 0n, lanes: 0 })
    expect(await seller.outstanding()).toBe(0n)
    await seller.redeem({})
    await seller.maintain()
    await seller.maintain()
    expect(ledger.calls.get('redemptions')).toBe(1)
    expect(await seller.signoff(lane.signoff(2))).toEqual({ lane: toHex(lane.id), redeemed: 0 })
  })

  it('that is refused for now is tried again', async () => {
    const { seller, ledger, restart, earned } = await sold(2)
    const redeem = () => Promise.reject(new Problem('ledger-busy', 'Later.'))
    const busy = restart({ ...ledger, client: { ...ledger.client, redeem } })
    expect(await codeOf(busy.redeem({}))).toBe('ledger-busy')
    await seller.redeem({})
    expect(await earned()).toBe(2n * PRICE)
  })

  it('of less than the ledger knows of learns what it knows, and goes on', async () => {
    const { seller, restart, store, lane, buy, earned } = await sold(2)
    const pk = `sale/lane/${toHex(lane.id)}`
    const past = await store.get(pk, 'tab')
    await buy(3, 3)
    await seller.redeem({})
    await store.write([{ pk, sk: 'tab', expect: 'any', body: past?.body as Bytes }])
    const again = restart()
    expect(await again.redeem({})).toEqual({ redeemed: 0n, lanes: 0 })
    expect(await again.outstanding()).toBe(0n)
    expect(await earned()).toBe(3n * PRICE)
    await buy(3, 8, again)
    await again.redeem({})
    expect(await earned()).toBe(8n * PRICE)
  })
})

describe('signing a lane off', () => {
  it('redeems, releases and answers the same however often it comes', async () => {
    const { seller, lane, balance, restart, buyer, ledger } = await sold(5)
    const answer = { lane: toHex(lane.id), redeemed: 5 }
    expect(await seller.signoff(lane.signoff(5))).toEqual(answer)
    expect(await balance()).toBe(FAUCET + 5n * PRICE)
    expect(await seller.signoff(lane.signoff(5))).toEqual(answer)
    expect(await restart().signoff(lane.signoff(0))).toEqual(answer)
    expect(await money({ ledger, party: buyer.party })).toEqual({
      available: FAUCET - 5n * PRICE,
      frozen: 0n,
      earned: 0n,
    })
  })

  it('is for the payer alone, and only with the last tick', async () => {
    const { seller, lane } = await sold(2)
    const stranger = signerFrom(sha256(utf8('stranger')))
    expect(await codeOf(seller.signoff(lane.signoff(2, stranger)))).toBe('not-payer')
    expect(await codeOf(seller.signoff({ ...lane.signoff(2), key: stranger.key }))).toBe('bad-signature')
    expect(await codeOf(seller.signoff(lane.signoff(3)))).toBe('conflict')
    expect(await seller.outstanding()).toBe(2n * PRICE)
  })

  it('of a lane that is not known is not-found', async () => {
    const { seller, declared } = await sold(1)
    expect(await codeOf(seller.signoff(declared.lane('credit', 0, 1).signoff(0)))).toBe('not-found')
  })

  it('serves nothing more', async () => {
    const { seller, lane, share, url } = await sold(2)
    await seller.signoff(lane.signoff(2))
    expect(await outcome(seller.piece(share.infoHash, 3, lane.payment(3), url(3)))).toBe('closed')
    expect(await codeOf(seller.tick(tickToJson(lane.tick(3))))).toBe('bad-request')
  })

  it('is finished by maintenance when the ledger was away', async () => {
    const { seller, lane, ledger, balance, restart } = await sold(2)
    ledger.fail('away')
    expect(await codeOf(seller.signoff(lane.signoff(2)))).toBe('peer-failed')
    ledger.fail(undefined)
    await restart().maintain()
    expect(await balance()).toBe(FAUCET + 2n * PRICE)
  })

  it('is finished by maintenance when the ledger was away for the release alone', async () => {
    const { seller, lane, ledger, balance } = await sold(2)
    await seller.redeem({})
    ledger.fail('away')
    expect(await codeOf(seller.signoff(lane.signoff(2)))).toBe('peer-failed')
    ledger.fail(undefined)
    await seller.maintain()
    expect(await balance()).toBe(FAUCET + 2n * PRICE)
  })

  it('leaves nothing behind once nobody may dispute any more', async () => {
    const { seller, lane, store, clock, declared } = await sold(2)
    await seller.signoff(lane.signoff(2))
    const kept = (pk: string) => store.list(pk, { limit: 10 })
    expect(await kept('sale/open')).toEqual([])
    clock.advance(declared.terms.expires + limits.disputeWindowMs - clock.now() - 1)
    await seller.maintain()
    expect(await kept(`sale/lane/${toHex(lane.id)}`)).not.toEqual([])
    clock.advance(1)
    await seller.maintain()
    expect(await kept(`sale/lane/${toHex(lane.id)}`)).toEqual([])
    expect(await kept('sale/closed')).toEqual([])
  })

  it('ends even at a ledger that has lost the lane', async () => {
    const { restart, lane, clock } = await sold(2)
    const seller = restart(await openLocalLedger(clock))
    expect(await seller.signoff(lane.signoff(2))).toEqual({ lane: toHex(lane.id), redeemed: 0 })
    expect(await seller.outstanding()).toBe(0n)
  })

  it.each([
    ['before it was redeemed', false, 0],
    ['after it was redeemed', true, 2],
  ])('takes a lane that the payer has taken back for closed: %s', async (_, isRedeemed, redeemed) => {
    const { seller, lane, declared, buyer, clock, ledger, store } = await sold(2)
    if (isRedeemed) await seller.redeem({})
    clock.advance(2 * 24 * 60 * 60 * 1000)
    await ledger.client.release(
      release({ by: buyer.party.id, declaration: declared.id, lane: lane.id }, buyer.party.agent),
    )
    expect(await seller.signoff(lane.signoff(2))).toEqual({ lane: toHex(lane.id), redeemed })
    expect(await seller.outstanding()).toBe(0n)
    expect(await store.list('sale/open', { limit: 10 })).toEqual([])
  })
})

describe('a crash between any two steps', () => {
  /** Fails the n-th write, made or not made, and all after it, until it is told to go on. */
  function failing() {
    const state = { left: Infinity, made: false }
    const wrap = (store: Store): Store => ({
      ...store,
      async write(changes) {
        if (--state.left > 0) return store.write(changes)
        if (state.left === 0 && state.made) await store.write(changes)
        throw new Problem('store-unavailable', 'Crashed.')
      },
    })
    return { state, wrap }
  }

  const crashes = [1, 2, 3, 4, 5, 6, 7].flatMap((write) => [true, false].map((made) => ({ write, made })))

  it.each(crashes)('loses no tick and no credit: write $write, made: $made', async ({ write, made }) => {
    const { state, wrap } = failing()
    const { seller, restart, share, lane, url, balance, ledger, buyer } = await sold(2, { wrapStore: wrap })
    Object.assign(state, { left: write, made })
    const buy = (from: Seller) => outcome(from.piece(share.infoHash, 3, lane.payment(3), url(3)))
    const bought = await buy(seller)
    await seller.redeem({}).catch(() => undefined)
    await seller.signoff(lane.signoff(3)).catch(() => undefined)
    state.left = Infinity
    const again = restart()
    const paid = bought === 'served' || (await buy(again)) === 'served' ? 3 : 2
    expect(await again.signoff(lane.signoff(paid))).toEqual({ lane: toHex(lane.id), redeemed: paid })
    expect(await balance()).toBe(FAUCET + BigInt(paid) * PRICE)
    const payer = await money({ ledger, party: buyer.party })
    expect(payer).toEqual({ available: FAUCET - BigInt(paid) * PRICE, frozen: 0n, earned: 0n })
  })
})
