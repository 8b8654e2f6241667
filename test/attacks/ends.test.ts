/** Redeeming late, releasing early, closing twice: the ends of lanes and declarations, and who may bring them about. */
import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import type { Answer } from './answer.ts'
import { buy, declared, type Bargain, type HandLane } from './hand.ts'
import { filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, unmoved, type Person, type World } from './world.ts'

let world: World<HandClock>
let anna: Resident
let share: ShareJson
let payer: Person
let bought: Bargain
let lane: HandLane

/** Four pieces are paid and served; the seller has redeemed nothing yet. */
beforeEach(async () => {
  world = await openWorld()
  anna = await moveIn(world, 'anna')
  share = await anna.share('film.bin', filmOf(24))
  payer = await world.person('payer')
  bought = await declared(world, payer, share)
  lane = bought.laneTo(anna.person, { segments: 2 })
  await buy(anna, share, lane, 4)
})

const redemption = (order: Envelope): Promise<Answer> =>
  world.post(`${world.ledger.url}/v1/redemptions`, { redemption: envelopeToJson(order) })
const release = (order: Envelope): Promise<Answer> =>
  world.post(`${world.ledger.url}/v1/releases`, { release: envelopeToJson(order) })
const signoff = (units: number): Promise<Answer> => world.post(`${anna.url}/v1/signoffs`, lane.signoff(units))
const untilExpiry = (beforeMs = 0): void => world.clock.advance(bought.terms.expires - beforeMs - world.clock.now())

test('what is sold here is worth its price', async () => {
  expect((await world.state()).served).toEqual({ anna: 4 * PIECE_BYTES })
  expect(await world.money(payer)).toEqual({ available: FAUCET - 24n * PRICE, frozen: 24n * PRICE, earned: 0n })
})

describe('redeeming late', () => {
  test('is refused by the ledger’s clock, to the millisecond: expired', async () => {
    untilExpiry(1)
    expect((await redemption(lane.redeem(3, {}, anna.person.agent))).status).toBe(201)
    world.clock.advance(1)
    await refused(world, () => redemption(lane.redeem(4, {}, anna.person.agent)), 'expired')
  })

  test('does not happen to a seller that keeps house: it redeems before', async () => {
    untilExpiry(limits.redeemAheadMs / 2)
    await anna.service.maintain()
    expect((await world.money(anna.person)).earned).toBe(4n * PRICE)
  })

  test('brings a payer nothing who lets a lane run out while it is served', async () => {
    untilExpiry(limits.expiryMarginMs)
    await refused(world, () => anna.piece(share, 5, lane.pay(5)), 'expired')
    const late = bought.laneTo(anna.person, { first: 2 })
    await refused(world, () => anna.piece(share, 5, late.pay(1)), 'expired')
  })
})

describe('releasing early', () => {
  test('a lane, by its payer, before the window for disputes is over: not-expired', async () => {
    await refused(world, () => release(lane.release(payer, payer.agent)), 'not-expired')
    untilExpiry()
    await refused(world, () => release(lane.release(payer)), 'not-expired')
    world.clock.advance(bought.terms.disputeWindow - 1)
    await refused(world, () => release(lane.release(payer)), 'not-expired')
    world.clock.advance(1)
    expect((await release(lane.release(payer))).json).toMatchObject({ returned: String(8n * PRICE) })
  })

  test('the declaration takes nothing from a lane that is open', async () => {
    expect((await release(bought.release(payer, payer.agent))).json).toMatchObject({ returned: String(16n * PRICE) })
    expect((await anna.piece(share, 5, lane.pay(5))).code).toBe('ok')
    expect((await signoff(5)).json).toMatchObject({ redeemed: 5 })
    expect((await world.money(anna.person)).available).toBe(FAUCET + 5n * PRICE)
  })

  test('the declaration ends all that no seller has claimed', async () => {
    expect((await release(bought.release(payer, payer.agent))).status).toBe(201)
    const next = bought.laneTo(anna.person, { first: 2 })
    await refused(world, () => anna.piece(share, 5, next.pay(1)), 'closed')
  })

  test('by another is refused, whatever they release', async () => {
    const thief = await world.person('thief')
    await refused(world, () => release(lane.release(thief)), 'not-payee')
    await refused(world, () => release(lane.release(payer, thief.signer)), 'not-payer')
    await refused(world, () => release(lane.release(anna.person, thief.agent)), 'not-payee')
    await refused(world, () => release(bought.release(thief)), 'not-payer')
    await refused(world, () => release(bought.release(anna.person)), 'not-payer')
    await refused(world, () => release(bought.release(payer, anna.person.agent)), 'not-payer')
  })
})

describe('closing twice', () => {
  test('a lane: closed, whoever asks again, and nothing is paid out a second time', async () => {
    expect((await signoff(4)).json).toMatchObject({ redeemed: 4 })
    const settled = await world.money(anna.person)
    expect(settled).toEqual({ available: FAUCET + 4n * PRICE, frozen: 0n, earned: 0n })
    untilExpiry(-bought.terms.disputeWindow)
    await refused(world, () => release(lane.release(payer)), 'closed')
    // By the payee again, it is the order that was carried out.
    const again = await unmoved(world, () => release(lane.release(anna.person, anna.person.signer)))
    expect(again).toMatchObject({ status: 200, json: { returned: String(4n * PRICE), swept: String(4n * PRICE) } })
    await refused(world, () => redemption(lane.redeem(5, {}, anna.person.agent)), 'closed')
    expect(await world.money(anna.person)).toEqual(settled)
  })

  test('a lane at its seller answers the same again, and sells no more', async () => {
    const first = await signoff(4)
    expect((await signoff(4)).json).toEqual(first.json)
    await refused(world, () => anna.piece(share, 5, lane.pay(5)), 'closed')
    await refused(world, () => anna.piece(share, 4, lane.pay(4)), 'closed')
  })

  test('a declaration has the same receipt again, and no more comes back', async () => {
    const order = bought.release(payer, payer.agent)
    const first = await release(order)
    const again = await release(order)
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.json).toEqual(first.json)
    const byOwner = await unmoved(world, () => release(bought.release(payer)))
    expect(byOwner.json).toEqual(first.json)
  })

  test('is not for the payer to force on a seller that has a tick in hand', async () => {
    const { json } = await signoff(0)
    expect(json).toMatchObject({ redeemed: 4 })
    expect((await world.money(anna.person)).available).toBe(FAUCET + 4n * PRICE)
  })

  test('by one who only says so is refused: a stranger, or with a tick that never came', async () => {
    const thief = await world.person('thief')
    const forged = lane.signoff(4, thief.agent)
    await refused(world, () => world.post(`${anna.url}/v1/signoffs`, forged), 'not-payer')
    await refused(world, () => signoff(5), 'conflict')
    expect((await anna.piece(share, 5, lane.pay(5))).code).toBe('ok')
  })
})
