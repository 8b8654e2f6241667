/** What writes cost, as the server counts it (ReturnConsumedCapacity). */
import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { openDynamodb } from '../../infra/store/dynamodb.ts'
import { createClient } from '../../infra/store/dynamodb-table.ts'
import { keys } from '../../protocol/arbiter/items.ts'
import { limits } from '../../protocol/limits.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { expectAccepted, openLedger } from '../ledger/kit.ts'
import { delegation, person, purchase } from '../ledger/people.ts'
import { dynamodb, tableName } from './dynamodb-tables.ts'

const client = createClient()
let store: Store
let units = 0

beforeAll(async () => {
  client.middlewareStack.add(
    (next) => async (call) => {
      const counted = { ...call, input: { ...call.input, ReturnConsumedCapacity: 'TOTAL' } }
      const result = await next(counted)
      const { ConsumedCapacity: found = [] } = result.output as {
        ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[]
      }
      for (const { CapacityUnits = 0 } of [found].flat()) units += CapacityUnits
      return result
    },
    { step: 'initialize' },
  )
  await dynamodb()
  store = await openDynamodb({ ...realEnvironment(), table: tableName(), client })
})
afterAll(() => store.close())

/** @returns the write units */
async function costOf(...changes: Change[]): Promise<number> {
  units = 0
  expect(await store.write(changes)).toBe(true)
  return units
}

const put = (sk: string, expected: Change['expect'], bytes: number): Change => ({
  pk: 'p',
  sk,
  expect: expected,
  body: new Uint8Array(bytes),
})

test('one item under a condition costs a unit for each KiB, several items twice that', async () => {
  expect(await costOf(put('a', 0, 900))).toBe(1)
  expect(await costOf(put('a', 1, 900))).toBe(1)
  expect(await costOf(put('a', 2, 1100))).toBe(2)
  expect(await costOf(put('a', 3, 900), put('b', 0, 900))).toBe(6)
  expect(await costOf(put('b', 'any', 900))).toBe(2)
  expect(await costOf({ pk: 'p', sk: 'b', expect: 2 })).toBe(1)
  expect(await costOf({ pk: 'p', sk: 'a', expect: 'any' })).toBe(2)
})

test('a redemption costs one unit, for a purchase of 256 GiB as well', async () => {
  const ledger = openLedger({ store, faucet: 2n ** 60n })
  const [alice, bob] = [person('alice'), person('bob')]
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  const caps = { day: 2n ** 60n, total: 2n ** 60n }
  await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(alice, caps) }))
  const terms = { units: 2 ** 16, segment: limits.segmentUnitsMax, unitPrice: 2n ** 40n }
  const download = purchase(alice, terms, alice.agent)
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  const lane = download.lane(bob, { cap: terms.units, segments: 2 ** 10 }, alice.agent)
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(terms.units) }))
  const [latest] = await store.list(keys.lane(lane.id).pk, { reverse: true, limit: 1 })
  if (!latest) throw new Error('the lane is not there')
  expect(await costOf({ pk: latest.pk, sk: latest.sk, expect: latest.version, body: latest.body })).toBe(1)
})
