/** Several processes over one store: what they do at the same instant, with clocks that differ, on a store that fails. */
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb'
import { afterEach, describe, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { openDynamodb } from '../../infra/store/dynamodb.ts'
import { createClient } from '../../infra/store/dynamodb-table.ts'
import { openStore } from '../../infra/store/open.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { startFaultyProxy, type Answer } from '../faults/faulty-proxy.ts'
import { dynamodb, freshTable, tableName } from '../infra/dynamodb-tables.ts'
import { auditStore } from './audit.ts'
import {
  expectAccepted,
  expectProblem,
  LEDGER_ID,
  openLedger,
  START_MS,
  testClock,
  type Answer as Reply,
  type TestLedger,
} from './kit.ts'
import { person, purchase } from './people.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

const HOUR_MS = 3_600_000
const [alice, bob, cem] = [person('alice'), person('bob'), person('cem')]
const opened: Store[] = []
afterEach(() => {
  for (const store of opened.splice(0)) store.close()
})

function kept<T extends Store>(store: T): T {
  opened.push(store)
  return store
}

const lanesAt = (ledger: TestLedger, lanesEach: number): Promise<SettlingLane[]> =>
  openSettlers({
    ledger: LEDGER_ID,
    nowMs: START_MS,
    payers: 1,
    lanesEach,
    units: 16,
    send: async (path, objects) => expectAccepted(ledger.post(path, objects)),
  })

const timeOf = ({ body }: Reply): number => parseReceipt(envelopeFromJson(body['receipt'])).time

describe.each([
  ['SQLite', async () => openSqlite(':memory:')],
  ['DynamoDB', async () => openStore(await freshTable())],
])('processes over %s at the same instant', (_name, open) => {
  const openMany = async (count: number) => {
    const store = kept(await open())
    return Array.from({ length: count }, () => openLedger({ store })) as [TestLedger, ...TestLedger[]]
  }

  test('claim a lane once, and say the same of it', async () => {
    const ledgers = await openMany(4)
    const [first] = ledgers
    for (const { identity } of [alice, bob, cem]) await expectAccepted(first.post('/v1/accounts', { identity }))
    const download = purchase(alice)
    await expectAccepted(first.post('/v1/declarations', { declaration: download.declaration }))
    const [to, beside] = [download.lane(bob), download.lane(cem, { first: 1 })]
    const answers = await Promise.all(
      ledgers.map((ledger, i) => {
        const lane = i % 2 === 0 ? to : beside
        return ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim })
      }),
    )
    const won = answers.filter(({ status }) => status < 300)
    expect(won.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 201])
    expect(new Set(won.map(({ body }) => JSON.stringify(body['receipt']))).size).toBe(1)
    for (const { status, body } of answers.filter((answer) => answer.status >= 300)) {
      expect([status, body['code']]).toEqual([409, 'lane-taken'])
    }
    await first.sequence()
    await auditStore(first.store)
  })

  test('redeem a lane, each unit once, each redemption with one receipt', async () => {
    const ledgers = await openMany(4)
    const [first] = ledgers
    const [lane] = (await lanesAt(first, 1)) as [SettlingLane]
    for (const unit of [3, 9, 16]) {
      const redemption = lane.redeem(unit)
      const answers = await Promise.all(ledgers.map((ledger) => ledger.post('/v1/redemptions', { redemption })))
      expect(answers.map(({ status }) => status).toSorted((a, b) => b - a)).toEqual([201, 200, 200, 200])
      expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    }
    await Promise.all(ledgers.map((ledger) => ledger.sequence()))
    await first.sequence()
    expect((await first.get(`/v1/accounts/${lane.payee.hex}`)).body['earned']).toBe('32')
    await auditStore(first.store)
  })

  test('redeem and release a lane: whichever comes second sees the first', async () => {
    const [left, right] = (await openMany(2)) as [TestLedger, TestLedger]
    for (const lane of await lanesAt(left, 6)) {
      await expectAccepted(left.post('/v1/redemptions', { redemption: lane.redeem(1) }))
      const [redeemed, released] = await Promise.all([
        left.post('/v1/redemptions', { redemption: lane.redeem(5) }),
        right.post('/v1/releases', { release: lane.release(lane.payee) }),
      ])
      expect(released.status).toBe(201)
      expect(released.body['swept']).toBe(redeemed.status === 201 ? '10' : '2')
      if (redeemed.status !== 201) expect(redeemed.body['code']).toBe('closed')
    }
    await left.sequence()
    await auditStore(left.store)
  })
})

describe('processes whose clocks are an hour apart', () => {
  test('give a lane receipts whose times only rise', async () => {
    const store = kept(openSqlite(':memory:'))
    const clocks = [0, HOUR_MS, -HOUR_MS].map((offMs) => testClock(START_MS + offMs))
    const ledgers = clocks.map((clock) => openLedger({ store, clock })) as [TestLedger, TestLedger, TestLedger]
    const [lane] = (await lanesAt(ledgers[0], 1)) as [SettlingLane]
    const times: number[] = []
    for (let unit = 1; unit <= 12; unit++) {
      const ledger = ledgers[unit % 3] as TestLedger
      const answer = await ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) })
      expect(answer.status).toBe(201)
      times.push(timeOf(answer))
      await ledgers[(unit + 1) % 3]?.sequence()
    }
    expect(times.every((time, i) => i === 0 || time > (times[i - 1] as number))).toBe(true)
    await auditStore(store)
  })

  test('refuse a lane that runs out by the clock that is ahead, and no refusal leaves a trace', async () => {
    const store = kept(openSqlite(':memory:'))
    const [right, ahead] = [openLedger({ store }), openLedger({ store, clock: testClock(START_MS + HOUR_MS) })]
    for (const { identity } of [alice, bob]) await expectAccepted(right.post('/v1/accounts', { identity }))
    const download = purchase(alice, { expires: START_MS + HOUR_MS / 2 })
    await expectAccepted(right.post('/v1/declarations', { declaration: download.declaration }))
    const lane = download.lane(bob)
    await expectAccepted(right.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
    await expectProblem(ahead.post('/v1/redemptions', { redemption: lane.redeem(4) }), 'expired')
    await expectAccepted(right.post('/v1/redemptions', { redemption: lane.redeem(4) }))
  })
})

describe('a ledger whose DynamoDB', () => {
  const refusal = (name: string): Answer => ({
    status: 400,
    headers: { 'content-type': 'application/x-amz-json-1.0' },
    body: Buffer.from(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: name })),
  })

  const open = async () => {
    const proxy = await startFaultyProxy((await dynamodb()).endpoint)
    const table = tableName()
    const client = createClient({ endpoint: proxy.url })
    const store = kept(await openDynamodb({ ...realEnvironment(), table, client }))
    const ledger = openLedger({ store })
    return { proxy, table, ledger, lanes: await lanesAt(ledger, 4) }
  }

  test('says that the table is gone answers store-unavailable, loses nothing, and goes on when it is back', async () => {
    const { proxy, ledger, lanes } = await open()
    const settle = (unit: number) =>
      Promise.all(lanes.map((lane) => ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) })))
    expect((await settle(2)).map(({ status }) => status)).toEqual([201, 201, 201, 201])
    proxy.setFaults(() => ({ refused: refusal('ResourceNotFoundException') }))
    for (const { status, body } of await settle(5)) {
      expect([status, body['code'], body['detail']]).toEqual([503, 'store-unavailable', "The store's table is gone."])
    }
    await expect(ledger.sequence()).rejects.toMatchObject({ code: 'store-unavailable' })
    proxy.setFaults(() => undefined)
    expect((await settle(5)).map(({ status }) => status)).toEqual([201, 201, 201, 201])
    await ledger.sequence()
    await auditStore(ledger.store)
    for (const lane of lanes) expect((await ledger.get(`/v1/lanes/${lane.hex}`)).body['redeemed']).toBe(5)
    await proxy.stop()
  })

  test('refuses every third request for now settles all the same', async () => {
    const { proxy, ledger, lanes } = await open()
    let requests = 0
    const busy = refusal('ProvisionedThroughputExceededException')
    proxy.setFaults(() => (requests++ % 3 === 0 ? { refused: busy } : undefined))
    for (const unit of [2, 5]) {
      const answers = lanes.map((lane) => ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) }))
      expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([201, 201, 201, 201])
    }
    await ledger.sequence()
    proxy.setFaults(() => undefined)
    await auditStore(ledger.store)
    await proxy.stop()
  })

  test('lost its table for good begins no other log in a new one', async () => {
    const { proxy, table, ledger, lanes } = await open()
    const client = createClient()
    await client.send(new DeleteTableCommand({ TableName: table }))
    client.destroy()
    const [lane] = lanes as [SettlingLane]
    await expectUnavailable(ledger.post('/v1/redemptions', { redemption: lane.redeem(2) }))
    const again = kept(await openDynamodb({ ...realEnvironment(), table, client: createClient() }))
    expect(await ledger.sequence()).toBe(0)
    await expectProblem(ledger.post('/v1/redemptions', { redemption: lane.redeem(2) }), 'not-found')
    expect(await again.get('log', 'head')).toBeUndefined()
    await proxy.stop()
  })
})

async function expectUnavailable(answer: Promise<Reply>): Promise<void> {
  const { status, body } = await answer
  expect([status, body['code']]).toEqual([503, 'store-unavailable'])
}
