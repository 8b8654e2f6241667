/** Freezing more than there is: beyond the balance, beyond the delegation, or beyond what was declared. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { envelopeToJson, seal, type Envelope } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { bargain, declared } from './hand.ts'
import type { Answer } from './answer.ts'
import { filmOf, moveIn, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, type Person, type World } from './world.ts'

const DAY_MS = 86_400_000

let world: World<HandClock>
let anna: Resident
let share: ShareJson

beforeEach(async () => {
  world = await openWorld()
  anna = await moveIn(world, 'anna')
  share = await anna.share('film.bin', filmOf(24))
})

const send = (declaration: Envelope): Promise<Answer> =>
  world.post(`${world.ledger.url}/v1/declarations`, { declaration: envelopeToJson(declaration) })

const freeze = (payer: Person, credits: bigint, salt = '', signer = payer.agent): Promise<Answer> =>
  send(
    bargain(
      payer,
      world,
      share,
      { unitPrice: credits, units: 1, segment: 1, salt, expires: world.clock.now() + DAY_MS },
      signer,
    ).declaration,
  )

describe('freezing', () => {
  test('beyond the balance is refused: funds-insufficient', async () => {
    const payer = await world.person('payer')
    await refused(world, () => freeze(payer, FAUCET + 1n, 'more', payer.signer), 'funds-insufficient')
    expect((await freeze(payer, FAUCET, 'all', payer.signer)).status).toBe(201)
    await refused(world, () => freeze(payer, 1n, 'one more', payer.signer), 'funds-insufficient')
    expect(await world.money(payer)).toEqual({ available: 0n, frozen: FAUCET, earned: 0n })
  })

  test('the same balance many times at once freezes it once', async () => {
    const payer = await world.person('payer')
    const half = FAUCET / 2n + 1n
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => freeze(payer, half, `try ${i}`)))
    expect(answers.map(({ code }) => code).toSorted()).toEqual([...Array<string>(11).fill('funds-insufficient'), 'ok'])
    expect(await world.money(payer)).toEqual({ available: FAUCET - half, frozen: half, earned: 0n })
  })

  test('beyond what the owner lets the agent freeze is refused: delegation-exceeded', async () => {
    const payer = await world.person('payer', { day: 100n, total: 150n })
    await refused(world, () => freeze(payer, 101n, 'a'), 'delegation-exceeded')
    expect((await freeze(payer, 100n, 'b')).status).toBe(201)
    await refused(world, () => freeze(payer, 1n, 'c'), 'delegation-exceeded')
    world.clock.advance(DAY_MS)
    await refused(world, () => freeze(payer, 51n, 'd'), 'delegation-exceeded')
    expect((await freeze(payer, 50n, 'e')).status).toBe(201)
    world.clock.advance(DAY_MS)
    await refused(world, () => freeze(payer, 1n, 'f'), 'delegation-exceeded')
    expect((await freeze(payer, 1n, 'g', payer.signer)).status).toBe(201)
  })

  test('what comes back a day later makes no day’s cap larger', async () => {
    const payer = await world.person('payer', { day: 100n, total: 10_000n })
    const terms = { unitPrice: 100n, units: 1, segment: 1, expires: world.clock.now() + 5 * DAY_MS }
    const first = await declared(world, payer, share, terms)
    world.clock.advance(DAY_MS)
    expect((await world.bank.release(first.release(payer, payer.agent))).returned).toBe(100n)
    expect((await freeze(payer, 100n, 'next day')).status).toBe(201)
    await refused(world, () => freeze(payer, 1n, 'one more'), 'delegation-exceeded')
  })

  test('with a key that nobody delegated to is refused', async () => {
    const [payer, thief] = [await world.person('payer'), await world.person('thief')]
    await refused(world, () => freeze(payer, 1n, '', thief.agent), 'unknown-key')
    await refused(world, () => freeze(payer, 1n, '', thief.signer), 'unknown-key')
  })

  test.each([
    ['a price of 2^63', { unitPrice: 2n ** 62n, units: 2 }],
    ['no units', { units: 0 }],
    ['more units than there may be', { units: 2 ** 21 }],
    ['a window without end', { disputeWindow: 2 ** 40 }],
  ])('%s is no declaration', async (_, terms) => {
    const payer = await world.person('payer')
    const honest = bargain(payer, world, share)
    const { chain } = honest
    const body = { ...honest.terms, tickRoot: chain.root, ...terms }
    await refused(world, () => send(seal('declaration', { ...body }, payer.signer)), 'bad-encoding')
  })
})

describe('a payer whose credits the ledger did not freeze', () => {
  test('is served nothing', async () => {
    const payer = await world.person('payer', { day: 10n, total: 10n })
    const beyond = bargain(payer, world, share)
    expect((await send(beyond.declaration)).code).toBe('delegation-exceeded')
    const lane = beyond.laneTo(anna.person)
    await refused(world, () => anna.piece(share, 0, lane.pay(1)), 'payment-required')
    const declaration = envelopeToJson(beyond.declaration)
    await refused(world, () => anna.piece(share, 0, lane.pay(1, { declaration })), 'payment-required')
  })

  test('cannot stretch what it did freeze over more lanes than that', async () => {
    const payer = await world.person('payer')
    const bought = await declared(world, payer, share, { units: 10, segment: 8 })
    expect((await anna.piece(share, 0, bought.laneTo(anna.person).pay(1))).code).toBe('ok')
    const beyond = bought.laneTo(anna.person, { first: 1, cap: 3 })
    await refused(world, () => anna.piece(share, 0, beyond.pay(1)), 'funds-insufficient')
    const outside = bought.laneTo(anna.person, { first: 2 })
    await refused(world, () => anna.piece(share, 0, outside.pay(0)), 'bad-request')
  })

  test('pays no less than the price, for no other content and no shorter pieces', async () => {
    const payer = await world.person('payer')
    const offers = [
      { unitPrice: 2n, salt: 'cheap' },
      { content: sha256(utf8('another film')), salt: 'other' },
      { unitBytes: 1, salt: 'short' },
      { ledger: sha256(utf8('another ledger')), salt: 'elsewhere' },
    ]
    for (const terms of offers) {
      const made = bargain(payer, world, share, terms)
      if (!terms.ledger) await world.bank.declare(made.declaration)
      const declaration = envelopeToJson(made.declaration)
      await refused(
        world,
        () => anna.piece(share, 0, made.laneTo(anna.person).pay(1, { declaration })),
        'payment-required',
      )
    }
  })
})
