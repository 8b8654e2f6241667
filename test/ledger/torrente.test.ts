/** Faults of Torrente/Payfluxo that are a ledger's, each shown not to be here. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { expectAccepted, expectProblem, openLedger, type TestLedger } from './kit.ts'
import { person, purchase, type Person } from './people.ts'

const victim = person('victim')
const thief = person('thief')
const seller = person('seller')

async function open(): Promise<TestLedger> {
  const ledger = openLedger()
  for (const { identity } of [victim, thief, seller]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  return ledger
}

const holdings = async (ledger: TestLedger, { hex }: Person) => (await ledger.get(`/v1/accounts/${hex}`)).body

describe('redeeming checks that the payer of the commitment owns the intention', () => {
  test('a thief’s commitment on another’s declaration drains nothing', async () => {
    const ledger = await open()
    const download = purchase(victim)
    await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
    const before = await holdings(ledger, victim)
    const lane = download.lane(thief, {}, thief.signer)
    await expectProblem(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }), 'not-payer')
    await expectProblem(ledger.post('/v1/redemptions', { redemption: lane.redeem(1) }), 'not-found')
    expect(await holdings(ledger, victim)).toEqual(before)
  })

  test('nor does a declaration in another’s name', async () => {
    const ledger = await open()
    const download = purchase(victim, {}, thief.signer)
    await expectProblem(ledger.post('/v1/declarations', { declaration: download.declaration }), 'unknown-key')
  })

  test('nor a lane of one declaration with the chain of another', async () => {
    const ledger = await open()
    const download = purchase(victim)
    const own = purchase(thief, { nonce: sha256(utf8('own')).slice(0, 16) })
    for (const { declaration } of [download, own])
      await expectAccepted(ledger.post('/v1/declarations', { declaration }))
    const lane = download.lane(seller)
    await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
    const redemption = lane.redeem(3, { link: own.chain.link(0, 3), proof: own.chain.proof(0) })
    await expectProblem(ledger.post('/v1/redemptions', { redemption }), 'tick-invalid')
  })
})

test('expiry counts: for declaring, claiming and redeeming', async () => {
  const ledger = await open()
  const download = purchase(victim)
  const lane = download.lane(seller)
  const late = download.lane(seller, { first: 2 })
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  ledger.clock.set(download.terms.expires)
  await expectProblem(ledger.post('/v1/redemptions', { redemption: lane.redeem(5) }), 'expired')
  await expectProblem(ledger.post('/v1/claims', { commitment: late.commitment, claim: late.claim }), 'expired')
  const again = purchase(victim, { nonce: sha256(utf8('again')).slice(0, 16) })
  await expectProblem(ledger.post('/v1/declarations', { declaration: again.declaration }), 'expired')
})

test('a redemption debits what was frozen, never the free balance', async () => {
  const ledger = await open()
  const download = purchase(victim)
  const lane = download.lane(seller)
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  const before = await holdings(ledger, victim)
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(16) }))
  const after = await holdings(ledger, victim)
  expect(after['available']).toBe(before['available'])
  expect(BigInt(String(before['frozen'])) - BigInt(String(after['frozen']))).toBe(32n)
  await expectProblem(ledger.post('/v1/redemptions', { redemption: lane.redeem(17) }), 'tick-invalid')
})

test('a chain covers as many units as are declared, to the last one', async () => {
  const ledger = await open()
  const download = purchase(victim, { units: 1000, segment: 64, unitPrice: 1n })
  const lane = download.lane(seller, { segments: 16, cap: 1000 })
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  expect(await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(1000) }))).toMatchObject({
    amount: '1000',
  })
})
