/** Requests that were good once, sent again, sent elsewhere, or with one signed object in the place of another. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { createLedger } from '../../ledger/ledger.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { envelopeToJson, type EnvelopeJson } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { FAUCET, testEnvironment } from '../ledger/kit.ts'
import { gift } from '../ledger/people.ts'
import { watchedStore } from '../ledger/store-watch.ts'
import type { Answer } from './answer.ts'
import type { Sent } from './ground.ts'
import { declared } from './hand.ts'
import { download, filmOf, moveIn } from './resident.ts'
import { openWorld, refused, unmoved, type World } from './world.ts'

/** Two downloads, one prepaid and one on credit, all the way to their settlement. */
async function tradedWorld(): Promise<World<HandClock>> {
  const world = await openWorld()
  const [anna, you] = [await moveIn(world, 'anna'), await moveIn(world, 'you')]
  const films = [await anna.share('film.bin', filmOf(24)), await anna.share('short.bin', filmOf(5))]
  expect(await download(world, you, films[0]?.infoHash ?? '')).toMatchObject({ state: 'done' })
  await anna.vouch([you.person], 16)
  expect(await download(world, await moveIn(world, 'other'), films[1]?.infoHash ?? '')).toMatchObject({ state: 'done' })
  await anna.service.seller.redeem({ all: true })
  await world.ledger.sequence()
  return world
}

async function again(world: World, { url, method, headers, body }: Sent): Promise<Answer> {
  return world.ask(url.href, { method, headers, ...(body && { body: await body }) })
}

test('every request of two downloads, sent once more, changes nothing and brings nothing', async () => {
  const world = await tradedWorld()
  const before = [...world.ground.sent]
  expect(before.length).toBeGreaterThan(100)
  const paid = before.filter(({ headers }) => headers.has('payment-signature'))
  const owned = before.filter(({ headers }) => headers.has('signature'))
  expect(paid.length).toBeGreaterThan(20)
  for (const request of before) {
    const { status } = await unmoved(world, () => again(world, request))
    expect(status, `${request.method} ${request.url.href}`).toBeLessThan(500)
  }
  for (const request of paid) expect((await again(world, request)).code).toBe('closed')
  for (const request of owned) expect((await again(world, request)).code).toBe('stale-request')
})

describe('a signed object', () => {
  test('is taken for what it is signed as, and for nothing else', async () => {
    const world = await openWorld()
    const anna = await moveIn(world, 'anna')
    const share = await anna.share('film.bin', filmOf(24))
    const payer = await world.person('payer')
    const bought = await declared(world, payer, share)
    const lane = bought.laneTo(anna.person)
    expect((await anna.piece(share, 0, lane.pay(1))).code).toBe('ok')
    const objects: Readonly<Record<string, EnvelopeJson>> = {
      identity: envelopeToJson(payer.identity),
      delegation: envelopeToJson(payer.delegation),
      declaration: envelopeToJson(bought.declaration),
      commitment: envelopeToJson(lane.commitment),
      claim: envelopeToJson(lane.claim),
      redemption: envelopeToJson(lane.redeem(1, {}, anna.person.agent)),
      release: envelopeToJson(lane.release(anna.person, anna.person.agent)),
      signoff: lane.signoff(1).signoff,
      transfer: envelopeToJson(gift(payer, anna.person, 1n)),
    }
    const places: readonly (readonly [string, string])[] = [
      ['/v1/accounts', 'identity'],
      ['/v1/rotations', 'identity'],
      ['/v1/delegations', 'delegation'],
      ['/v1/declarations', 'declaration'],
      ['/v1/redemptions', 'redemption'],
      ['/v1/releases', 'release'],
      ['/v1/transfers', 'transfer'],
    ]
    for (const [path, name] of places) {
      for (const [kind, object] of Object.entries(objects)) {
        if (kind === name) continue
        const post = (): Promise<Answer> => world.post(world.ledger.url + path, { [name]: object })
        await refused(world, post, 'bad-signature', `a ${kind} at ${path}`)
      }
    }
    for (const [kind, object] of Object.entries(objects)) {
      if (kind === 'signoff') continue
      await refused(world, () => world.post(`${anna.url}/v1/signoffs`, { signoff: object }), 'bad-signature', kind)
    }
  })

  test('for one ledger is nothing to another', async () => {
    const world = await openWorld()
    const anna = await moveIn(world, 'anna')
    const share = await anna.share('film.bin', filmOf(24))
    const payer = await world.person('payer')
    const bought = await declared(world, payer, share)
    const store = watchedStore()
    const other = createLedger({
      environment: testEnvironment(world.clock),
      store,
      secret: sha256(utf8('another ledger')),
      origin: 'other.example/ledger',
      policy: { faucet: FAUCET, unitPrice: 1n },
    })
    const url = await world.host('other', (request) => other.app.fetch(request), store)
    for (const { identity } of [payer, anna.person]) {
      expect((await world.post(`${url}/v1/accounts`, { identity: envelopeToJson(identity) })).status).toBe(201)
    }
    const declaration = envelopeToJson(bought.declaration)
    await refused(world, () => world.post(`${url}/v1/declarations`, { declaration }), 'wrong-ledger')
    const transfer = envelopeToJson(gift(payer, anna.person, 1n))
    await refused(world, () => world.post(`${url}/v1/transfers`, { transfer }), 'wrong-ledger')
    const delegation = envelopeToJson(payer.delegation)
    await refused(world, () => world.post(`${url}/v1/delegations`, { delegation }), 'wrong-ledger')
    const lane = bought.laneTo(anna.person)
    const [commitment, claim] = [envelopeToJson(lane.commitment), envelopeToJson(lane.claim)]
    await refused(world, () => world.post(`${url}/v1/claims`, { commitment, claim }), 'not-found')
    const redemption = envelopeToJson(lane.redeem(1, {}, anna.person.signer))
    await refused(world, () => world.post(`${url}/v1/redemptions`, { redemption }), 'not-found')
  })
})
