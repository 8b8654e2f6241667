import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { waitingSince } from '../../ledger/oldest.ts'
import { expectAccepted, LEDGER_ID, openLedger, START_MS } from './kit.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

test('what has waited longest for the log is told by when it was accepted, be it a command or a redemption', async () => {
  const store = openSqlite(':memory:')
  const ledger = openLedger({ store })
  const send: Parameters<typeof openSettlers>[0]['send'] = (path, objects) => expectAccepted(ledger.post(path, objects))
  const asked = { ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach: 2, units: 64, send }
  const [one, other] = (await openSettlers(asked)) as [SettlingLane, SettlingLane]
  const seconds = async () => Math.floor(((await waitingSince(store)) ?? NaN) / 1000)
  expect(await seconds()).toBe(START_MS / 1000)
  await ledger.sequence()
  expect(await waitingSince(store)).toBeUndefined()

  ledger.clock.advance(1_000)
  await send('/v1/redemptions', { redemption: one.redeem(3) })
  ledger.clock.advance(60_000)
  await send('/v1/releases', { release: other.release(other.payee) })
  // Of what comes within one millisecond, each is taken one later.
  expect(await seconds()).toBe(START_MS / 1000 + 1)
  await ledger.sequence()
  expect(await waitingSince(store)).toBeUndefined()
  store.close()
})
