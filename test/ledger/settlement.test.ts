import { expect, test } from 'vitest'
import { toHex } from '../../protocol/bytes.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { expectAccepted, FAUCET, openLedger, type TestLedger } from './kit.ts'
import { person, purchase, type Person } from './people.ts'

const alice = person('alice')
const bob = person('bob')

async function openWith(...people: Person[]): Promise<TestLedger> {
  const ledger = openLedger()
  for (const { identity } of people) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  return ledger
}

const money = async (ledger: TestLedger, { hex }: Person) => {
  const { available, frozen, earned } = (await ledger.get(`/v1/accounts/${hex}`)).body
  return { available: BigInt(String(available)), frozen: BigInt(String(frozen)), earned: BigInt(String(earned)) }
}

test('moves the price of redeemed units from payer to payee and returns the rest', async () => {
  const ledger = await openWith(alice, bob)
  const download = purchase(alice, { units: 100, unitPrice: 2n })
  const declared = await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  expect(declared['id']).toBe(toHex(download.id))
  expect(await money(ledger, alice)).toEqual({ available: FAUCET - 200n, frozen: 200n, earned: 0n })

  const lane = download.lane(bob)
  const claimed = await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  expect(claimed).toMatchObject({ lane: lane.hex, declaration: envelopeToJson(download.declaration) })

  const first = await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(5) }))
  expect(first).toMatchObject({ lane: lane.hex, unit: 5, amount: '10' })
  const second = await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(12) }))
  expect(second).toMatchObject({ unit: 12, amount: '14' })
  expect(await money(ledger, alice)).toEqual({ available: FAUCET - 200n, frozen: 176n, earned: 0n })
  expect(await money(ledger, bob)).toEqual({ available: FAUCET, frozen: 0n, earned: 24n })

  const closed = await expectAccepted(ledger.post('/v1/releases', { release: lane.release(bob) }))
  expect(closed).toMatchObject({ returned: '8', swept: '24' })
  const returned = await expectAccepted(ledger.post('/v1/releases', { release: download.release() }))
  expect(returned).toMatchObject({ returned: '168', swept: '0' })
  expect(await money(ledger, alice)).toEqual({ available: FAUCET - 24n, frozen: 0n, earned: 0n })
  expect(await money(ledger, bob)).toEqual({ available: FAUCET + 24n, frozen: 0n, earned: 0n })
  await ledger.sequence()
  expect((await ledger.get(`/v1/accounts/${bob.hex}/entries`)).body).toMatchObject({ entries: [{}, {}, {}, {}, {}] })
  await ledger.attest()
  expect(ledger.faults).toEqual([])
})
