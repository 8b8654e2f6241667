import fc, { type Scheduler } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Seller } from '../../agent/sell/sell.ts'
import { toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { tickToJson } from '../../protocol/payword.ts'
import type { Store } from '../../protocol/store.ts'
import { openMarket, outcome, PRICE, type Lane } from './market.ts'

/** Every access waits for the scheduler: what is asked first may be done last. */
const scheduled =
  (scheduler: () => Scheduler | undefined) =>
  (store: Store): Store => {
    const turn = async (label: string) => {
      await scheduler()?.schedule(Promise.resolve(), label)
    }
    return {
      ...store,
      async get(pk, sk) {
        await turn(`get ${sk}`)
        return store.get(pk, sk)
      },
      async write(changes) {
        await turn(`write ${changes.length}`)
        return store.write(changes)
      },
    }
  }

async function openRace(mode: 'credit' | 'prepaid', lanes: number, granted: number) {
  const race: { scheduler?: Scheduler } = {}
  const market = await openMarket({ wrapStore: scheduled(() => race.scheduler) })
  const payer = await market.payer('payer')
  const declared = await payer.declare(24)
  market.credit.set(toHex(payer.party.id), granted)
  const sellers = [market.seller, market.restart()]
  const ask = (seller: Seller, lane: Lane, index: number, unit: number) =>
    outcome(seller.piece(market.share.infoHash, index, lane.payment(unit), market.url(index)))
  return { ...market, race, ask, sellers, lanes: Array.from({ length: lanes }, (_, i) => declared.lane(mode, i, 1)) }
}

const request = fc.record({
  seller: fc.nat({ max: 1 }),
  lane: fc.nat({ max: 2 }),
  index: fc.nat({ max: 5 }),
  unit: fc.integer({ min: 1, max: 3 }),
})

describe('requests that race on two instances of one agent', () => {
  it('never get two pieces for one tick', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(request, { minLength: 2, maxLength: 10 }),
        async (scheduler, requests) => {
          const { race, ask, sellers, lanes } = await openRace('prepaid', 3, 0)
          race.scheduler = scheduler
          const served = new Map<string, Set<number>>()
          const asked = requests.map(async ({ seller, lane, index, unit }) => {
            const result = await ask(sellers[seller] as Seller, lanes[lane] as Lane, index, unit)
            if (result !== 'served') return
            const tick = `${lane} ${unit}`
            served.set(tick, (served.get(tick) ?? new Set()).add(index))
          })
          await scheduler.waitFor(Promise.all(asked))
          for (const pieces of served.values()) expect(pieces.size).toBe(1)
        },
      ),
      { numRuns: 30 },
    )
  })

  it('never owe more than the credit, over all lanes', async () => {
    const credit = fc.integer({ min: 0, max: 4 })
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(request, { minLength: 2, maxLength: 10 }),
        credit,
        async (scheduler, requests, granted) => {
          const { race, ask, sellers, lanes } = await openRace('credit', 3, granted)
          race.scheduler = scheduler
          const served = new Set<string>()
          const asked = requests.map(async ({ seller, lane, index }) => {
            const result = await ask(sellers[seller] as Seller, lanes[lane] as Lane, index, 0)
            if (result === 'served') served.add(`${lane} ${index}`)
          })
          await scheduler.waitFor(Promise.all(asked))
          expect(served.size).toBeLessThanOrEqual(granted)
        },
      ),
      { numRuns: 30 },
    )
  })

  it('lose no tick between a last tick, a redemption and a sign-off', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.integer({ min: 1, max: 4 }), async (scheduler, units) => {
        const { race, ask, sellers, lanes, ledger, party } = await openRace('credit', 1, 4)
        const [lane, first, second] = [lanes[0] as Lane, sellers[0] as Seller, sellers[1] as Seller]
        for (let index = 0; index < units; index++) expect(await ask(first, lane, index, 0)).toBe('served')
        await first.tick(tickToJson(lane.tick(units)))
        const before = await ledger.balance(toHex(party.id))
        race.scheduler = scheduler
        const ended = Promise.all([
          first.redeem({}),
          second.signoff(lane.signoff(units)),
          first.signoff(lane.signoff(units)),
        ])
        await scheduler.waitFor(ended)
        const after = await ledger.balance(toHex(party.id))
        expect(after.available - before.available).toBe(3n * BigInt(units))
        expect((await ended)[1]).toEqual({ lane: toHex(lane.id), redeemed: units })
        expect(await first.outstanding()).toBe(0n)
      }),
      { numRuns: 20 },
    )
  })

  it('do not hold each other up on different lanes', async () => {
    const { ask, sellers, lanes, reads } = await openRace('prepaid', 6, 0)
    const outcomes = await Promise.all(lanes.map((lane, i) => ask(sellers[0] as Seller, lane, i, 1)))
    expect(outcomes).toEqual(lanes.map(() => 'served'))
    expect(reads()).toBe(6)
  })
})

describe('of two instances, the one that sells nothing', () => {
  const UNITS = 8
  async function openBoth() {
    const market = await openMarket()
    const lane = (await (await market.payer('payer')).declare(UNITS)).lane('prepaid', 0, 2)
    const [keeper, front] = [market.seller, market.restart()]
    const buy = (seller: Seller, unit: number) =>
      outcome(seller.piece(market.share.infoHash, unit, lane.payment(unit), market.url(unit)))
    const earned = async (): Promise<bigint> => (await market.ledger.balance(toHex(market.party.id))).earned
    /** Both know the lane, and only one what is sold on it from then on. */
    async function sellBehind(): Promise<void> {
      for (let unit = 2; unit <= UNITS; unit++) expect(await buy(front, unit)).toBe('served')
    }
    expect(await buy(keeper, 1)).toBe('served')
    return { ...market, keeper, earned, sellBehind }
  }

  it('redeems at the end of the pause what the other has sold, and says when that is late', async () => {
    const { keeper, clock, earned, sellBehind } = await openBoth()
    clock.advance(limits.laneIdleMs)
    await keeper.maintain()
    expect(await earned()).toBe(PRICE)
    await sellBehind()
    clock.advance(limits.laneIdleMs + 1)
    expect(await keeper.lateMs()).toBe(1)
    await keeper.maintain()
    expect(await earned()).toBe(BigInt(UNITS) * PRICE)
    expect(await keeper.lateMs()).toBe(0)
  })

  it('redeems at once what the other has sold, at the owner’s word', async () => {
    const { keeper, sellBehind } = await openBoth()
    await keeper.redeem({})
    await sellBehind()
    expect(await keeper.redeem({})).toEqual({ redeemed: BigInt(UNITS - 1) * PRICE, lanes: 1 })
  })
})
