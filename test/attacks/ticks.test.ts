/** Ticks that were spent, that are none, that were made up or stolen: nothing is served and nothing moves, wherever they are shown. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toBase64url, toHex, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { makeChain, tickToJson } from '../../protocol/payword.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import type { Answer } from './answer.ts'
import { declared, paymentOf, SEGMENT, type Bargain, type HandLane } from './hand.ts'
import { filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, type Person, type World } from './world.ts'

let world: World<HandClock>
let anna: Resident
let share: ShareJson
let payer: Person
let bought: Bargain

beforeEach(async () => {
  world = await openWorld()
  anna = await moveIn(world, 'anna')
  share = await anna.share('film.bin', filmOf(24))
  payer = await world.person('payer')
  bought = await declared(world, payer, share)
})

const piece = (index: number, headers: Record<string, string>): Promise<Answer> => anna.piece(share, index, headers)
const redemption = (order: Envelope): Promise<Answer> =>
  world.post(`${world.ledger.url}/v1/redemptions`, { redemption: envelopeToJson(order) })
const lastTick = (tick: unknown): Promise<Answer> => world.post(`${anna.url}/v1/ticks`, { tick })

/** A prepaid lane, a segment and a half of it paid and served. */
async function paidLane(): Promise<HandLane> {
  const lane = bought.laneTo(anna.person, { segments: 3 })
  for (let unit = 1; unit <= 6; unit++) expect((await piece(unit, lane.pay(unit))).code).toBe('ok')
  return lane
}

/** A lane on credit: six pieces sent, two of them paid. */
async function owedLane(): Promise<HandLane> {
  await anna.vouch([payer], 16)
  const lane = bought.laneTo(anna.person, { mode: 'credit', segments: 3 })
  for (let i = 0; i < 4; i++) expect((await piece(i, lane.pay(0))).code).toBe('ok')
  for (let i = 4; i < 6; i++) expect((await piece(i, lane.pay(2))).code).toBe('ok')
  return lane
}

const forgedLink = toBase64url(sha256(utf8('forged')))

/** What is shown for unit 7, the next, and must not count. */
const WORTHLESS: ReadonlyMap<string, (lane: HandLane) => object> = new Map([
  ['of a fraction', (lane) => lane.tickJson(7, { unit: 6.5 })],
  ['of a fraction just above a unit', (lane) => lane.tickJson(7, { unit: 7.000_000_001 })],
  ['below zero', (lane) => lane.tickJson(7, { unit: -7 })],
  ['beyond every chain', (lane) => lane.tickJson(7, { unit: 2 ** 40 })],
  ['of a number as large as numbers get', (lane) => lane.tickJson(7, { unit: 1e300 })],
  ['above its link', (lane) => ({ ...lane.tickJson(6), unit: 7 })],
  ['with the link of a later unit', (lane) => ({ ...lane.tickJson(8), unit: 7 })],
  ['above its link, with proof of another segment', (lane) => ({ ...lane.tickJson(12), unit: 7 })],
  ['with a link that is made up', (lane) => lane.tickJson(7, { link: forgedLink })],
  ['of another lane', (lane) => lane.tickJson(7, { lane: toHex(sha256(utf8('another lane'))) })],
])

describe('a prepaid tick', () => {
  test('that is none buys nothing: tick-invalid', async () => {
    const lane = await paidLane()
    for (const [kind, forge] of WORTHLESS) {
      await refused(world, () => piece(9, lane.pay(7, { tick: forge(lane) })), 'tick-invalid', kind)
    }
    expect((await piece(9, lane.pay(7))).code).toBe('ok')
  })

  test('that was spent, or a lower one, buys no other piece: tick-replayed', async () => {
    const lane = await paidLane()
    for (const unit of [1, 2, 5, 6]) await refused(world, () => piece(9, lane.pay(unit)), 'tick-replayed')
  })

  test('that was spent buys the very same piece no second time, unless it is the latest', async () => {
    const lane = await paidLane()
    await refused(world, () => piece(5, lane.pay(5)), 'tick-replayed')
    for (let again = 0; again < limits.repeatsPerTick; again++) expect((await piece(6, lane.pay(6))).code).toBe('ok')
    await refused(world, () => piece(6, lane.pay(6)), 'tick-replayed')
    await refused(world, () => piece(6, lane.pay(6, { tick: lane.tickJson(6, { link: forgedLink }) })), 'tick-invalid')
  })

  test('that skips a unit, or is missing, buys nothing', async () => {
    const lane = await paidLane()
    await refused(world, () => piece(9, lane.pay(8, { commitment: undefined })), 'tick-invalid')
    await refused(world, () => piece(9, lane.pay(0)), 'payment-required')
  })

  test('that skips units buys one piece for all of them where the lane is brought again, and no other piece for one of them', async () => {
    const lane = await paidLane()
    expect((await piece(9, lane.pay(9))).code).toBe('ok')
    for (const unit of [7, 8]) await refused(world, () => piece(unit, lane.pay(unit)), 'tick-replayed')
    await refused(world, () => piece(8, lane.pay(9)), 'tick-replayed')
    expect((await world.state()).served).toEqual({ anna: 7 * PIECE_BYTES })
    expect((await world.post(`${anna.url}/v1/signoffs`, lane.signoff(9))).json).toMatchObject({ redeemed: 9 })
  })

  test('beyond the cap of its lane buys nothing', async () => {
    const lane = bought.laneTo(anna.person, { segments: 2, cap: 6 })
    for (let unit = 1; unit <= 6; unit++) expect((await piece(unit, lane.pay(unit))).code).toBe('ok')
    await refused(world, () => piece(9, lane.pay(7)), 'tick-invalid')
  })

  test('for one content buys no other, nor opens a lane for it', async () => {
    const other = await anna.share('other.bin', filmOf(5))
    const lane = await paidLane()
    await refused(world, () => anna.piece(other, 0, lane.pay(7)), 'payment-required')
    await refused(
      world,
      () => anna.piece(other, 0, bought.laneTo(anna.person, { first: 4 }).pay(1)),
      'payment-required',
    )
  })

  test('that is none opens no lane: the ledger is not even asked', async () => {
    const lane = bought.laneTo(anna.person)
    const forged = lane.tickJson(1, { link: forgedLink })
    await refused(world, () => piece(0, lane.pay(1, { tick: forged })), 'tick-invalid')
    await refused(world, () => piece(0, lane.pay(0)), 'payment-required')
    expect((await piece(0, lane.pay(1))).code).toBe('ok')
  })

  test('on a chain of its own making, proof and all, buys nothing', async () => {
    const lane = await paidLane()
    const forged = makeChain(sha256(utf8('forged')), bought.terms)
    const steps = [7, 9].map((unit) => {
      const segment = Math.floor((unit - 1) / SEGMENT)
      return tickToJson({ lane: lane.id, unit, link: forged.link(0, unit), proof: forged.proof(segment) })
    })
    await refused(world, () => piece(9, lane.pay(7, { tick: steps[0] })), 'tick-invalid')
    for (const unit of [7, 8]) expect((await piece(unit, lane.pay(unit))).code).toBe('ok')
    await refused(world, () => piece(9, lane.pay(9, { tick: steps[1] })), 'tick-invalid')
    const tick = { lane: lane.hex, unit: 9, link: lane.tickJson(9).link }
    await refused(world, () => piece(9, lane.pay(9, { tick })), 'tick-invalid')
  })

  test('shown to many at once is served once', async () => {
    const lane = await paidLane()
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => piece(8 + i, lane.pay(7))))
    expect(answers.filter(({ code }) => code === 'ok')).toHaveLength(1)
    expect(answers.filter(({ code }) => code === 'tick-replayed')).toHaveLength(11)
    expect((await world.state()).served).toEqual({ anna: 7 * PIECE_BYTES })
  })
})

describe('a tick on credit', () => {
  test('that is none pays nothing and brings nothing: tick-invalid', async () => {
    const lane = await owedLane()
    for (const [kind, forge] of WORTHLESS) {
      await refused(world, () => piece(9, lane.pay(6, { tick: forge(lane) })), 'tick-invalid', kind)
      if (kind === 'of another lane') continue
      await refused(world, () => lastTick(forge(lane)), 'tick-invalid', kind)
    }
  })

  test('for more than was sent is taken, and buys no credit: what it pays for counts as sent', async () => {
    const lane = await owedLane()
    expect((await lastTick(lane.tickJson(9))).json).toMatchObject({ unit: 9 })
    for (let i = 0; i < 3; i++) expect((await piece(6 + i, lane.pay(9))).code).toBe('ok')
    await refused(world, () => lastTick(lane.tickJson(13)), 'tick-invalid', 'beyond the cap')
    expect((await piece(9, lane.pay(9))).code).toBe('limit-reached')
  })

  test('that is lower was spent', async () => {
    const lane = await owedLane()
    await refused(world, () => lastTick(lane.tickJson(1)), 'tick-replayed')
    await refused(world, () => piece(9, lane.pay(1)), 'tick-replayed')
    await refused(world, () => piece(9, lane.pay(0)), 'tick-replayed')
  })

  test('does not end a prepaid lane, and none is taken for a lane that nobody knows', async () => {
    const lane = await paidLane()
    await refused(world, () => lastTick(lane.tickJson(7)), 'bad-request')
    await refused(world, () => lastTick(bought.laneTo(anna.person, { first: 4 }).tickJson(1)), 'not-found')
  })
})

describe('at the ledger, a tick', () => {
  test('that was redeemed, or a lower one: tick-replayed', async () => {
    const lane = await paidLane()
    expect((await redemption(lane.redeem(6, {}, anna.person.agent))).status).toBe(201)
    for (const unit of [1, 4, 5]) {
      await refused(world, () => redemption(lane.redeem(unit, {}, anna.person.agent)), 'tick-replayed')
    }
    expect(await world.money(anna.person)).toEqual({ available: FAUCET, frozen: 0n, earned: 6n * PRICE })
  })

  test('above its link, beyond the cap, on a forged chain: tick-invalid', async () => {
    const lane = await paidLane()
    const forged = makeChain(sha256(utf8('forged')), bought.terms)
    const orders = [
      lane.redeem(7, { link: lane.tick(6).link }),
      lane.redeem(12, { unit: 13 }),
      lane.redeem(7, { link: forged.link(0, 7), proof: forged.proof(1) }),
      lane.redeem(7, { link: sha256(lane.tick(7).link) }),
      lane.redeem(7, { proof: [] }),
    ]
    for (const { body } of orders) {
      const message = new Uint8Array([...utf8('raincheck/redemption/v1\0'), ...body])
      const { agent } = anna.person
      await refused(world, () => redemption({ body, key: agent.key, signature: agent.sign(message) }), 'tick-invalid')
    }
  })

  test('of a fraction is no redemption: bad-encoding', async () => {
    const lane = await paidLane()
    const { agent } = anna.person
    const text = String.fromCharCode(...lane.redeem(7).body)
    for (const unit of ['i6.5e', 'i-7e', 'i7e0e', 'i07e', '1:7']) {
      const body = Uint8Array.from(text.replace('4:uniti7e', `4:unit${unit}`), (letter) => letter.charCodeAt(0))
      const signature = agent.sign(new Uint8Array([...utf8('raincheck/redemption/v1\0'), ...body]))
      await refused(world, () => redemption({ body, key: agent.key, signature }), 'bad-encoding')
    }
  })
})

describe('a stolen tick', () => {
  test('redeems nothing for another, whoever it is: not-payee', async () => {
    const lane = await paidLane()
    const thief = await world.person('thief')
    const orders = [
      lane.redeem(6, { payee: thief.id }, thief.agent),
      lane.redeem(6, { payee: thief.id }, thief.signer),
      lane.redeem(6, {}, thief.agent),
      lane.redeem(6, {}, payer.agent),
      lane.redeem(6, { payee: payer.id }, payer.signer),
    ]
    for (const order of orders) await refused(world, () => redemption(order), 'not-payee')
  })

  test('buys nothing elsewhere, nor on another lane at the same seller', async () => {
    const bert = await moveIn(world, 'bert')
    await bert.share('film.bin', filmOf(24))
    const lane = await paidLane()
    await refused(world, () => bert.piece(share, 9, lane.pay(7)), 'not-payee')
    const thief = await world.person('thief')
    const own = (await declared(world, thief, share)).laneTo(anna.person, { segments: 2 })
    expect((await piece(1, own.pay(1))).code).toBe('ok')
    await refused(world, () => piece(2, own.pay(2, { tick: lane.tickJson(2) })), 'tick-invalid')
    await refused(world, () => piece(2, own.pay(2, { tick: lane.tickJson(2, { lane: own.hex }) })), 'tick-invalid')
  })

  test('on its own lane brings the thief no more than the piece it paid for, and the payer notices', async () => {
    const lane = await paidLane()
    const seen = lane.tickJson(7)
    const { declaration, terms } = { declaration: bought.terms, terms: lane.terms }
    const shown = paymentOf({ declaration, mode: 'prepaid', payee: terms.payee }, { lane: lane.hex, tick: seen })
    expect((await piece(20, shown)).code).toBe('ok')
    await refused(world, () => piece(7, lane.pay(7)), 'tick-replayed')
    expect((await piece(7, lane.pay(8))).code).toBe('ok')
  })
})
