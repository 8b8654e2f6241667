/** What a process takes to know of a lane that it settled on before, alone and beside others. */
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import { expectAccepted, expectProblem, LEDGER_ID, openLedger, START_MS, testClock, type TestLedger } from './kit.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

/** A store, and how often one process asked for the latest slot of a lane, read a slot, or put one where another lay. */
function watched(store: Store) {
  const counts = { latest: 0, slots: 0, refused: 0 }
  const isOfLane = ({ pk }: { readonly pk: string }): boolean => pk.startsWith('lane/')
  return {
    counts,
    store: {
      ...store,
      async get(pk, sk) {
        if (isOfLane({ pk })) counts.slots++
        return store.get(pk, sk)
      },
      async list(...[pk, range]: Parameters<Store['list']>) {
        if (isOfLane({ pk })) counts.latest++
        return store.list(pk, range)
      },
      async write(changes: Parameters<Store['write']>[0]) {
        const isWritten = await store.write(changes)
        if (!isWritten && changes.some(isOfLane)) counts.refused++
        return isWritten
      },
    } satisfies Store,
  }
}

async function openBoth() {
  const store = openSqlite(':memory:')
  const [left, right] = [watched(store), watched(store)]
  const clock = testClock()
  const ledgers = [openLedger({ clock, store: left.store }), openLedger({ clock, store: right.store })] as const
  const send = async (path: string, objects: Parameters<TestLedger['post']>[1]) =>
    expectAccepted(ledgers[0].post(path, objects))
  const [lane] = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach: 1, units: 16, send })
  return { store, clock, ledgers, counts: [left.counts, right.counts] as const, lane: lane as SettlingLane }
}

const settle = (ledger: TestLedger, lane: SettlingLane, unit: number) =>
  ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) })

test('a process that alone settles on a lane does not ask which slot is its latest', async () => {
  const { counts, lane, ledgers, store } = await openBoth()
  for (const unit of [1, 2, 7]) await expectAccepted(settle(ledgers[0], lane, unit))
  expect(counts[0]).toMatchObject({ latest: 0, refused: 0 })
  await ledgers[0].sequence()
  await auditStore(store)
})

test('of a lane that is settled again and again, the slot that holds it whole is read once', async () => {
  const { counts, lane, ledgers, store } = await openBoth()
  for (let unit = 1; unit <= 8; unit++) await expectAccepted(settle(ledgers[1], lane, unit))
  expect(counts[1].slots).toBe(1)
  await ledgers[1].sequence()
  await auditStore(store)
})

test('a lane that others settle on too is read each time, once that was seen', async () => {
  const { clock, counts, lane, ledgers, store } = await openBoth()
  for (let unit = 1; unit <= 16; unit++) {
    clock.advance(1000)
    await expectAccepted(settle(ledgers[unit % 2] as TestLedger, lane, unit))
  }
  expect(counts).toMatchObject([
    { latest: 8, refused: 1 },
    { latest: 8, refused: 1 },
  ])
  await ledgers[0].sequence()
  expect((await ledgers[1].get(`/v1/accounts/${lane.payee.hex}`)).body['earned']).toBe('32')
  await auditStore(store)
})

test('a process refuses, or answers again, by what the store holds, also where it knew less', async () => {
  const { lane, ledgers, store } = await openBoth()
  const [left, right] = ledgers
  await expectAccepted(settle(left, lane, 5))
  await expectAccepted(settle(right, lane, 9))
  expect(await settle(left, lane, 5)).toEqual(await settle(right, lane, 5))
  expect(await settle(left, lane, 9)).toEqual(await settle(right, lane, 9))
  await expectAccepted(right.post('/v1/releases', { release: lane.release(lane.payee) }))
  await expectProblem(settle(left, lane, 12), 'closed')
  await left.sequence()
  await auditStore(store)
})

test('a lane that was closed by another process is closed here at once', async () => {
  const { lane, ledgers } = await openBoth()
  const [elsewhere, here] = ledgers
  for (let unit = 1; unit <= 4; unit++) await expectAccepted(settle(here, lane, unit))
  await expectAccepted(elsewhere.post('/v1/releases', { release: lane.release(lane.payee) }))
  await expectProblem(settle(here, lane, 5), 'closed')
  expect((await here.get(`/v1/lanes/${lane.hex}`)).body).toEqual((await elsewhere.get(`/v1/lanes/${lane.hex}`)).body)
})
