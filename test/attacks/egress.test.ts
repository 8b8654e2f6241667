/** Bytes that leave a cloud cost its owner money: nobody can make an agent send more of them than its owner means it to. */
import { beforeEach, describe, expect, test } from 'vitest'
import { openStore } from '../../infra/store/open.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { buy, declared, type HandLane } from './hand.ts'
import { download, filmOf, moveIn, PIECE_BYTES, type Resident, type ShareJson } from './resident.ts'
import { openWorld, refused, type Person, type World } from './world.ts'
import type { HandClock } from '../agent/hand-clock.ts'

const PIECES = 24
/** Of a day, in pieces. */
const CAP = 40
const HOUR_MS = 3_600_000

interface GuardJson {
  readonly stopped: boolean
  readonly serve: { readonly most?: number; readonly used: number }
  readonly spend: { readonly most?: string; readonly used: string }
}

describe.each([
  ['SQLite', async (): Promise<Store> => openSqlite(':memory:')],
  ['DynamoDB', async (): Promise<Store> => openStore(await freshTable(), { createTable: true })],
])('an agent with a cap, on %s', (_, open) => {
  let world: World<HandClock>
  let seller: Resident
  let free: ShareJson
  let film: ShareJson
  let payer: Person
  let lane: HandLane

  beforeEach(async () => {
    world = await openWorld()
    seller = await moveIn(world, 'anna', { caps: { serve: BigInt(CAP * PIECE_BYTES) }, store: await open() })
    free = await seller.share(
      'free.bin',
      filmOf(PIECES).map((byte) => byte ^ 1),
      { public: true },
    )
    film = await seller.share('film.bin', filmOf(PIECES))
    payer = await world.person('payer')
    lane = (await declared(world, payer, film)).laneTo(seller.person, { segments: 6 })
  })

  const served = async (): Promise<number> => (await world.state()).served['anna'] ?? 0

  test('cannot be drained by who takes its free content again and again: half of the day is for those who pay', async () => {
    for (let i = 0; i < 50; i++) await seller.piece(free, i % PIECES)
    expect(await served()).toBeLessThanOrEqual((CAP / 2) * PIECE_BYTES)
    expect(await served()).toBeGreaterThan((CAP / 2 - 2) * PIECE_BYTES)
    const refusal = await refused(world, () => seller.piece(free, 0), 'cap-reached')
    expect([refusal.status, Number(refusal.headers.get('retry-after'))]).toEqual([429, 24 * 3600])
    expect((await buy(seller, film, lane, 16)).status).toBe(200)
    world.clock.advance(24 * HOUR_MS)
    expect((await seller.piece(free, 0)).status).toBe(200)
  })

  test('cannot be drained by who takes a torrent again and again', async () => {
    const url = `${seller.url}/v1/contents/${film.infoHash}/torrent`
    const bytes = async () => (await world.ask(url)).body.length
    const used = async () => (await seller.owner.ask<GuardJson>('GET', '/v1/guard')).serve.used
    expect((await world.ask(url, { method: 'HEAD' })).status).toBe(200)
    expect(await used()).toBe(0)
    expect(await bytes()).toBe(await used())
    await seller.owner.ask('PUT', '/v1/guard', { serve: 4 * (await used()) })
    await bytes()
    await refused(world, () => world.ask(url), 'cap-reached')
    await seller.owner.ask('PUT', '/v1/guard', { serve: null, stopped: true })
    await refused(world, () => world.ask(url), 'stopped')
  })

  test('sells up to the cap; the tick of a piece beyond it stays good', async () => {
    await seller.owner.ask('PUT', '/v1/guard', { serve: 10 * PIECE_BYTES })
    expect((await buy(seller, film, lane, 10)).status).toBe(200)
    await refused(world, () => seller.piece(film, 10, lane.pay(11)), 'cap-reached')
    await refused(world, () => seller.piece(film, 10), 'cap-reached')
    const { serve } = await seller.owner.ask<GuardJson>('GET', '/v1/guard')
    expect(serve).toEqual({ most: 10 * PIECE_BYTES, used: 10 * PIECE_BYTES })
    await seller.owner.ask('PUT', '/v1/guard', { serve: 11 * PIECE_BYTES })
    expect((await seller.piece(film, 10, lane.pay(11))).status).toBe(200)
  })

  test('counts nothing that it does not send', async () => {
    for (let i = 0; i < 20; i++) {
      const url = `${seller.url}/v1/pieces/${free.infoHash}/${i % PIECES}`
      expect((await world.ask(url, { method: 'HEAD' })).status).toBe(200)
      expect((await seller.piece(film, i % PIECES)).code).toBe('payment-required')
      expect((await seller.piece(film, 0, lane.pay(1, { tick: { ...lane.tickJson(2), unit: 1 } }))).status).toBe(402)
    }
    expect((await seller.owner.ask<GuardJson>('GET', '/v1/guard')).serve.used).toBe(0)
    expect(await seller.owner.ask('GET', '/v1/usage')).toMatchObject({ served: 0 })
  })

  test('that is stopped sells and gives nothing until its owner starts it', async () => {
    await seller.piece(film, 0, lane.pay(1))
    await seller.owner.ask('PUT', '/v1/guard', { stopped: true })
    for (const share of [free, film]) {
      await refused(world, () => seller.piece(share, 1), 'stopped')
      await refused(world, () => world.ask(`${seller.url}/v1/pieces/${share.infoHash}`), 'stopped')
    }
    await refused(world, () => seller.piece(film, 1, lane.pay(2)), 'stopped')
    expect(await seller.owner.ask<GuardJson>('PUT', '/v1/guard', { stopped: false })).toMatchObject({ stopped: false })
    expect((await seller.piece(film, 1, lane.pay(2))).status).toBe(200)
  })
})

test('an agent that is stopped buys nothing until its owner starts it', async () => {
  const world = await openWorld()
  const seller = await moveIn(world, 'anna')
  const film = await seller.share('film.bin', filmOf(PIECES))
  const buyer = await moveIn(world, 'bert')
  await buyer.owner.ask('PUT', '/v1/guard', { stopped: true })
  const waiting = await download(world, buyer, film.infoHash, 60_000)
  expect(waiting).toMatchObject({ state: 'waiting', reason: 'stopped', ticks: 0, paid: '0' })
  expect((await world.money(buyer.person)).frozen).toBe(0n)
  await buyer.owner.ask('PUT', '/v1/guard', { stopped: false })
  expect(await download(world, buyer, film.infoHash)).toMatchObject({ state: 'done', ticks: PIECES })
})

test('nobody but the owner moves the switch or the caps', async () => {
  const world = await openWorld()
  const seller = await moveIn(world, 'anna')
  const stop = { method: 'PUT', body: '{"stopped":true}', headers: { 'content-type': 'application/json' } }
  expect((await world.ask(`${seller.url}/v1/guard`, stop)).status).toBe(401)
  expect((await world.ask(`${seller.url}/v1/guard`)).status).toBe(401)
  for (const wrong of [
    { spend: -1 },
    { spend: '-1' },
    { serve: 1.5 },
    { serve: '1' },
    { stopped: 'no' },
    { more: 1 },
  ]) {
    await expect(seller.owner.ask('PUT', '/v1/guard', wrong)).rejects.toMatchObject({ code: 'bad-request' })
  }
})
