/** Crashes, lost answers, several processes and clocks that lie: the log stays one, whole and replayable. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { readHead } from '../../ledger/log.ts'
import type { MemoryReplica } from '../../protocol/arbiter/replica.ts'
import { stateRoot } from '../../protocol/arbiter/state-root.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, seal, signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { createFaultyStore, WRITE_FAULTS } from '../faults/faulty-store.ts'
import { auditStore } from './audit.ts'
import { expectAccepted, openLedger, START_MS, testClock, type Answer, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase } from './people.ts'
import { scheduledStore, watchedStore } from './store-watch.ts'

const alice = person('alice')
const bob = person('bob')
const stranger = (i: number) => genesis([signerFrom(sha256(utf8(`stranger ${i}`)))], START_MS)

async function audit(store: Store): Promise<{ readonly replica: MemoryReplica; readonly hashes: readonly string[] }> {
  const hashes: string[] = []
  const replica = await auditStore(store, (hash) => hashes.push(hash))
  expect(new Set(hashes).size).toBe(hashes.length)
  return { replica, hashes }
}

const entryNamed = ({ body }: Answer): string => toHex(parseReceipt(envelopeFromJson(body['receipt'])).entry)

describe.each(WRITE_FAULTS)('a sequencer whose write fails, %s,', (fault) => {
  test('appends every entry once when it runs again', async () => {
    const store = createFaultyStore(watchedStore())
    const ledger = openLedger({ store })
    const answers: Answer[] = []
    for (let i = 0; i < 150; i++) answers.push(await ledger.post('/v1/accounts', { identity: stranger(i) }))
    const begin = store.writes()
    for (let crashes = 0; crashes < 3; crashes++) {
      store.setFaults((write) => (write === begin + crashes ? fault : undefined))
      await expect(ledger.sequence()).rejects.toThrow('did not answer')
      await audit(store)
    }
    store.setFaults(() => undefined)
    await ledger.sequence()
    const { hashes } = await audit(store)
    expect(hashes.slice(1).toSorted()).toEqual(answers.map(entryNamed).toSorted())
    expect(await ledger.sequence()).toBe(0)
  })
})

test('what one process accepted before it died, the next one sequences', async () => {
  const store = openSqlite(':memory:')
  const first = openLedger({ store })
  for (let i = 0; i < 5; i++) await expectAccepted(first.post('/v1/accounts', { identity: stranger(i) }))
  await openLedger({ store }).sequence()
  expect((await audit(store)).hashes).toHaveLength(6)
})

test('a log is opened by its own key alone, and keeps the policy that it was begun with', async () => {
  const store = openSqlite(':memory:')
  await openLedger({ store, faucet: 5n }).sequence()
  expect((await openLedger({ store, faucet: 6n }).get('/v1/ledger')).body['faucet']).toBe('5')
  const other = openLedger({ store, secret: sha256(utf8('another')) })
  await expect(other.sequence()).rejects.toThrow('another key')
})

test.each([
  ['one log', {}],
  ['a log in two shards', { shards: 2 }],
  ['a log in five shards', { shards: 5 }],
])('two processes that accept and sequence at once make %s that replays', async (_, policy) => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const store = watchedStore()
      await openLedger({ store, policy }).sequence()
      const clocks = [testClock(START_MS + 50), testClock(START_MS - 3_600_000)] as const
      const [left, right] = clocks.map((clock) =>
        openLedger({ store: scheduledStore(store, scheduler), clock, policy }),
      ) as [TestLedger, TestLedger]
      const answers = await scheduler.waitFor(race(left, right))
      const last = openLedger({ store, policy })
      await last.sequence()
      const { replica, hashes } = await audit(store)
      for (const answer of answers.filter(({ status }) => status < 300)) expect(hashes).toContain(entryNamed(answer))
      expect(stateRoot(replica.items())).toEqual(stateRoot(await store.state()))
    }),
    { numRuns: 12 },
  )
})

/** Two processes at the same accounts: a rotation races what the old key signs, an agent its cap. */
async function race(left: TestLedger, right: TestLedger): Promise<Answer[]> {
  const fresh = signerFrom(sha256(utf8('fresh')))
  const rotation = seal(
    'identity',
    { created: START_MS, id: alice.id, keys: [fresh.key], prev: alice.id, seq: 1 },
    alice.signer,
  )
  const answers = [
    await left.post('/v1/accounts', { identity: alice.identity }),
    await right.post('/v1/accounts', { identity: bob.identity }),
    await right.post('/v1/delegations', { delegation: delegation(alice, { day: 300n, total: 300n }) }),
  ]
  const racing = [
    left.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }),
    right.post('/v1/transfers', { transfer: gift(bob, alice, 5n) }),
    left.post('/v1/declarations', { declaration: purchase(alice, {}, alice.agent).declaration }),
    right.post('/v1/declarations', { declaration: purchase(alice, { unitPrice: 1n }, alice.agent).declaration }),
    right.post('/v1/rotations', { identity: rotation }),
    left.sequence().then(() => []),
    right.sequence().then(() => []),
    left.post('/v1/transfers', { transfer: gift(alice, bob, 4n, alice.signer, 'second') }),
  ]
  return [...answers, ...(await Promise.all(racing)).flat()]
}

test('a clock that steps back an hour, or ahead, puts nothing before what it rests on', async () => {
  const ledger = openLedger()
  await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
  await expectAccepted(ledger.post('/v1/accounts', { identity: bob.identity }))
  const steps = [5_000, -3_600_000, 1, 7_200_000, -7_200_000, 0, 0]
  for (const [i, step] of steps.entries()) {
    ledger.clock.advance(step)
    await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 1n, alice.signer, `gift ${i}`) }))
    if (i % 2 === 0) await ledger.sequence()
  }
  await ledger.sequence()
  const { entries } = (await ledger.get(`/v1/accounts/${bob.hex}/entries`)).body
  const times = (entries as { time: number }[]).map(({ time }) => time)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(new Set(times).size).toBe(times.length)
  await audit(ledger.store)
})

describe('the ledger at work by itself', () => {
  test('sequences what it accepts within the merge delay, without being asked', async () => {
    const ledger = openLedger()
    await ledger.start()
    await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
    await expect.poll(async () => (await readHead(ledger.store)).size).toBeGreaterThanOrEqual(2)
    await ledger.stop()
    await audit(ledger.store)
    expect(ledger.faults).toEqual([])
  })
})
