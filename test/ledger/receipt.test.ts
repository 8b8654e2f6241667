/** A receipt promises an entry from the time of its decision on: however slow the store is, that is not long ago. */
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { limits } from '../../protocol/limits.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import { expectAccepted, LEDGER_ID, openLedger, START_MS, testClock, type Answer } from './kit.ts'
import { person } from './people.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

const [alice, bob] = [person('alice'), person('bob')]

/** A ledger whose store takes its time, once, where it is told to. */
async function open() {
  const [clock, inner] = [testClock(), openSqlite(':memory:')]
  let slow: { readonly at: 'get' | 'write'; readonly pk: string; readonly ms: number } | undefined
  const pass = (at: 'get' | 'write', pk: string): void => {
    if (slow?.at !== at || !pk.startsWith(slow.pk)) return
    clock.advance(slow.ms)
    slow = undefined
  }
  const store: Store = {
    ...inner,
    async get(pk, sk) {
      pass('get', pk)
      return inner.get(pk, sk)
    },
    async write(changes) {
      pass('write', changes[0]?.pk ?? '')
      return inner.write(changes)
    },
  }
  const ledger = openLedger({ store, clock })
  await ledger.sequence()
  return { clock, inner, ledger, slowDown: (how: NonNullable<typeof slow>) => void (slow = how) }
}

const timeOf = ({ receipt }: Answer['body']): number => parseReceipt(envelopeFromJson(receipt)).time

test('a command is decided anew where what it rests on was read too long ago', async () => {
  const { clock, inner, ledger, slowDown } = await open()
  slowDown({ at: 'get', pk: 'identity', ms: 2 * limits.decisionMs })
  const body = await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
  expect(timeOf(body)).toBe(clock.now())
  await ledger.sequence()
  expect((await auditStore(inner)).size()).toBe(2)
})

test('a redemption is decided anew where its pointer took too long', async () => {
  const { clock, inner, ledger, slowDown } = await open()
  const send: Parameters<typeof openSettlers>[0]['send'] = (path, objects) => expectAccepted(ledger.post(path, objects))
  const terms = { ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach: 1, units: 16 }
  const [lane] = (await openSettlers({ ...terms, send })) as [SettlingLane]
  slowDown({ at: 'write', pk: 'pointers', ms: 2 * limits.decisionMs })
  const body = await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(1) }))
  expect(timeOf(body)).toBe(clock.now())
  await ledger.sequence()
  await auditStore(inner)
})

test('none is given for what was written when its merge delay was over; the command again tells what became of it', async () => {
  const { inner, ledger, slowDown } = await open()
  await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
  slowDown({ at: 'write', pk: 'pending', ms: 2 * limits.mergeDelayMs })
  const post = () => ledger.post('/v1/accounts', { identity: bob.identity })
  expect(await post()).toMatchObject({ status: 503, body: { code: 'store-unavailable' } })
  await ledger.sequence()
  expect((await post()).status).toBe(200)
  expect((await auditStore(inner)).size()).toBe(3)
})
