/** A ledger whose log lags behind what it accepted accepts nothing more, until the log has caught up. */
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { expectAccepted, LEDGER_ID, openLedger, START_MS, testClock, type TestLedger } from './kit.ts'
import { person } from './people.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

/** Nobody comes to lead, so that nothing is appended but by those who insist on it. */
const leaderless = (store: Store): Store => ({
  ...store,
  write: async (changes) => changes[0]?.sk !== 'leader' && store.write(changes),
})

async function openLane(ledger: TestLedger): Promise<SettlingLane> {
  const send: Parameters<typeof openSettlers>[0]['send'] = (path, objects) => expectAccepted(ledger.post(path, objects))
  const [lane] = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach: 1, units: 16, send })
  await ledger.sequence()
  return lane as SettlingLane
}

async function open() {
  const clock = testClock()
  const ledger = openLedger({ store: leaderless(openSqlite(':memory:')), clock })
  const lane = await openLane(ledger)
  await ledger.start()
  clock.advance(1000)
  const statuses = async () => [
    (await ledger.post('/v1/redemptions', { redemption: lane.redeem(9) })).status,
    (await ledger.post('/v1/accounts', { identity: person('somebody').identity })).status,
  ]
  return { clock, ledger, lane, statuses }
}

test.each(['redemption', 'registration'])('while a %s waits for too long, it promises nothing', async (what) => {
  const { clock, ledger, lane, statuses } = await open()
  await expectAccepted(
    what === 'redemption'
      ? ledger.post('/v1/redemptions', { redemption: lane.redeem(1) })
      : ledger.post('/v1/accounts', { identity: person('waiting').identity }),
  )
  clock.advance(limits.holdBackMs - 1)
  await expectAccepted(ledger.post('/v1/accounts', { identity: person('in time').identity }))
  clock.advance(1000)
  // It may have been the machine that slept.
  await expectAccepted(ledger.post('/v1/accounts', { identity: person('at the first look').identity }))
  clock.advance(1000)
  const answer = await ledger.app.request('/v1/redemptions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redemption: envelopeToJson(lane.redeem(9)) }),
  })
  expect(answer.headers.get('retry-after')).toBe('1')
  expect(await answer.json()).toMatchObject({ status: 503, code: 'ledger-busy', retryAfterMs: 1000 })
  expect(await statuses()).toEqual([503, 503])
  await ledger.sequence()
  clock.advance(1000)
  expect(await statuses()).toEqual([201, 201])
  await ledger.stop()
})

test('what another process appended in time holds up nobody', async () => {
  const { clock, ledger, lane, statuses } = await open()
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(1) }))
  await openLedger({ store: ledger.store }).sequence()
  clock.advance(limits.holdBackMs + 1000)
  expect(await statuses()).toEqual([201, 201])
  await ledger.stop()
})

test('where nothing runs in the background, what waits holds up nobody, and is not remembered', async () => {
  const inner = openSqlite(':memory:')
  let looked = 0
  const isLookedUp = (pk: string): boolean => pk === 'pending'
  const store: Store = { ...inner, get: (pk, sk) => ((looked += Number(isLookedUp(pk))), inner.get(pk, sk)) }
  const ledger = openLedger({ store })
  const lane = await openLane(ledger)
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(1) }))
  for (const name of ['one', 'two', 'three']) {
    ledger.clock.advance(60_000)
    await expectAccepted(ledger.post('/v1/accounts', { identity: person(name).identity }))
  }
  await ledger.sequence()
  await ledger.start()
  ledger.clock.advance(60_000)
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(2) }))
  expect(looked).toBe(0)
  await ledger.stop()
})
