/** What a process keeps at hand of lanes never differs from what the store holds. */
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import { expectAccepted, expectProblem, LEDGER_ID, openLedger, START_MS } from './kit.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

async function open() {
  const store = openSqlite(':memory:')
  const read: string[] = []
  const get: Store['get'] = (pk, sk) => (read.push(pk), store.get(pk, sk))
  const [here, elsewhere] = [openLedger({ store: { ...store, get } }), openLedger({ store })]
  const [lane] = (await openSettlers({
    ledger: LEDGER_ID,
    nowMs: START_MS,
    payers: 1,
    lanesEach: 1,
    units: 16,
    send: (path, objects) => expectAccepted(elsewhere.post(path, objects)),
  })) as [SettlingLane]
  return { store, here, elsewhere, lane, slots: () => read.filter((pk) => pk.startsWith('lane/')).length }
}

test('of a lane that is settled again and again, the slot that holds it whole is read once', async () => {
  const { here, lane, slots, store } = await open()
  for (let unit = 1; unit <= 8; unit++)
    await expectAccepted(here.post('/v1/redemptions', { redemption: lane.redeem(unit) }))
  expect(slots()).toBe(1)
  await here.sequence()
  await auditStore(store)
})

test('a lane that was closed by another process is closed here at once', async () => {
  const { elsewhere, here, lane } = await open()
  for (let unit = 1; unit <= 4; unit++)
    await expectAccepted(here.post('/v1/redemptions', { redemption: lane.redeem(unit) }))
  await expectAccepted(elsewhere.post('/v1/releases', { release: lane.release(lane.payee) }))
  await expectProblem(here.post('/v1/redemptions', { redemption: lane.redeem(5) }), 'closed')
  expect((await here.get(`/v1/lanes/${lane.hex}`)).body).toEqual((await elsewhere.get(`/v1/lanes/${lane.hex}`)).body)
})
