/** What settlements cost on DynamoDB, as the server counts it (ReturnConsumedCapacity), and that they share no item. */
import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { openDynamodb } from '../../infra/store/dynamodb.ts'
import { createClient } from '../../infra/store/dynamodb-table.ts'
import { readHead } from '../../ledger/log.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from '../ledger/audit.ts'
import { expectAccepted, openLedger, testClock } from '../ledger/kit.ts'
import { person, purchase, type Lane } from '../ledger/people.ts'
import { dynamodb, tableName } from './dynamodb-tables.ts'

const PAYERS = 4
const LANES_EACH = 12
const ROUNDS = 16
const MOST_UNITS = 1.5

const client = createClient()
const table = tableName()
let store: Store
/** Since it was cleared: write units by family of items, and how often each item was written. */
const units = new Map<string, number>()
const writes = new Map<string, number>()

const add = (counts: Map<string, number>, key: string, more: number) => counts.set(key, (counts.get(key) ?? 0) + more)

beforeAll(async () => {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (call) => {
        const result = await next({ ...call, input: { ...call.input, ReturnConsumedCapacity: 'TOTAL' } })
        const { ConsumedCapacity: found = [] } = result.output as {
          ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[]
        }
        const cost = [found].flat().reduce((sum, { CapacityUnits = 0 }) => sum + CapacityUnits, 0)
        if (WRITES.has(commandName ?? '')) add(units, familyIn(call.input), cost)
        return result
      },
    { step: 'initialize' },
  )
  await dynamodb()
  store = counted(await openDynamodb({ ...realEnvironment(), table, client }))
})
afterAll(() => store.close())

const WRITES = new Set(['PutItemCommand', 'DeleteItemCommand', 'TransactWriteItemsCommand'])

/** The first partition key that a request names, up to its slash. */
const familyIn = (input: object): string => /"pk":\{"S":"([^"/]*)/.exec(JSON.stringify(input))?.[1] ?? ''

const counted = (inner: Store): Store => ({
  ...inner,
  write: async (changes) => {
    for (const { pk, sk } of changes) add(writes, `${pk} ${sk}`, 1)
    return inner.write(changes)
  },
})

async function openLanes(ledger: ReturnType<typeof openLedger>): Promise<Lane[]> {
  const lanes: Lane[] = []
  for (let i = 0; i < PAYERS; i++) {
    const payer = person(`payer ${i}`)
    await expectAccepted(ledger.post('/v1/accounts', { identity: payer.identity }))
    const download = purchase(payer, { units: LANES_EACH * 16, segment: 8 })
    await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
    for (let j = 0; j < LANES_EACH; j++) {
      const payee = person(`payee ${i} ${j}`)
      await expectAccepted(ledger.post('/v1/accounts', { identity: payee.identity }))
      const lane = download.lane(payee, { first: 2 * j })
      await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
      lanes.push(lane)
    }
  }
  return lanes
}

test(`a settlement costs at most ${MOST_UNITS} write units, with all that it takes to put it in the log`, async () => {
  const real = realEnvironment().clock
  const ledger = openLedger({ store, clock: { ...testClock(), sleep: (ms, signal) => real.sleep(ms, signal) } })
  const lanes = await openLanes(ledger)
  await ledger.sequence()
  const before = (await readHead(store)).size
  units.clear()
  writes.clear()

  const settle = async (lane: Lane) => {
    for (let unit = 1; unit <= ROUNDS; unit++) {
      await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) }))
    }
  }
  const left = new Set(lanes)
  const settleAll = Promise.all(lanes.map(async (lane) => settle(lane).finally(() => left.delete(lane))))
  while (left.size > 0) await ledger.sequence()
  await settleAll
  await ledger.sequence()

  const settlements = lanes.length * ROUNDS
  expect((await readHead(store)).size - before).toBe(settlements)
  const total = [...units.values()].reduce((sum, cost) => sum + cost, 0)
  expect(total / settlements).toBeLessThanOrEqual(MOST_UNITS)
  expect(Math.max(...writes.values())).toBeLessThan(settlements / 4)
  await auditStore(store)
})
