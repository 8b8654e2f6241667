/** A ledger that lies about what was locked for it: what it costs the other is bounded by the limit that it has there. */
import { beforeEach, expect, test } from 'vitest'
import { lock } from '../../protocol/crossing.ts'
import type { Envelope } from '../../protocol/signed.ts'
import { carryBack, carryLock } from './carriers.ts'
import { FAUCET, type TestClock } from './kit.ts'
import {
  alice,
  available,
  bob,
  carrier,
  codeOf,
  HOUR_MS,
  LIMIT,
  lockAt,
  lockTermsOf,
  meet,
  total,
  trust,
  type Locked,
  type Side,
} from './two-ledgers.ts'

let clock: TestClock
let here: Side
let there: Side

beforeEach(async () => {
  ;({ clock, here, there } = await meet('lavish', { faucet: 10n * FAUCET }))
})

const locked = (amount = 100n): Promise<Locked> => lockAt({ clock, here, there }, { amount })

/** From there to here, for Alice. */
async function bring(amount: bigint): Promise<string> {
  const terms = { amount, from: bob.id, ledger: there.id, recipient: alice.id, target: here.id }
  const order = lock(lockTermsOf({ clock, here, there }, terms), bob.signer)
  const { receipt } = await there.client.lock(order)
  await there.ledger.sequence()
  return codeOf(carryLock(there.client, receipt, here.client, carrier))
}

/** There, when it is too late to mint it. @returns asks for it back here */
async function declined({ order }: { readonly order: Envelope }): Promise<() => Promise<string>> {
  clock.advance(2 * HOUR_MS)
  const { receipt } = await there.client.decline(order)
  await there.ledger.sequence()
  return () => codeOf(carryBack(there.client, receipt, here.client, carrier))
}

test('a refund of what others came for waits until as many go there: whatever a peer locks and declines, it brings its limit and no more', async () => {
  const first = await locked(FAUCET)
  expect(await bring(FAUCET + LIMIT)).toBe('accepted')
  const refundFirst = await declined(first)
  expect([await refundFirst(), await bring(1n)]).toEqual(['limit-reached', 'limit-reached'])
  expect([await available(here), await total(here)]).toEqual([FAUCET + LIMIT, 2n * FAUCET + LIMIT])
  const second = await locked(FAUCET)
  expect(await refundFirst()).toBe('accepted')
  const refundSecond = await declined(second)
  expect([await refundSecond(), await bring(1n)]).toEqual(['limit-reached', 'limit-reached'])
  expect([await available(here), await total(here)]).toEqual([FAUCET + LIMIT, 2n * FAUCET + LIMIT])
})

test('a refund waits no longer once the limit is raised', async () => {
  const sent = await locked(FAUCET)
  expect(await bring(FAUCET + LIMIT)).toBe('accepted')
  const refunded = await declined(sent)
  expect(await refunded()).toBe('limit-reached')
  await trust(here, there, { max: FAUCET + LIMIT, seq: 2 })
  expect(await refunded()).toBe('accepted')
})

test('a refund waits for nothing where none came, though the limit was lowered', async () => {
  expect(await bring(300n)).toBe('accepted')
  const before = await available(here)
  const earlier = await locked()
  await trust(here, there, { max: 0n, seq: 2 })
  for (const one of [earlier, await locked()]) expect(await (await declined(one))()).toBe('accepted')
  expect(await available(here)).toBe(before)
})

test('a refund waits by the limit that is in force now, where others came under that', async () => {
  expect(await bring(100n)).toBe('accepted')
  await trust(here, there, { max: 0n, seq: 2 })
  const sent = await locked(400n)
  expect(await bring(300n)).toBe('accepted')
  expect(await (await declined(sent))()).toBe('limit-reached')
})
