/** A sequencer that dies, or is overtaken, at any of its writes: whatever waits is in the log in the end, once. */
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openStore } from '../../infra/store/open.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createContext } from '../../ledger/context.ts'
import { readCommands, readPointers } from '../../ledger/pending.ts'
import { shardsOf } from '../../ledger/shards.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { putAll } from '../../protocol/items.ts'
import { problemOf } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, signerFrom } from '../../protocol/signed.ts'
import type { Item, Store } from '../../protocol/store.ts'
import { createFaultyStore, WRITE_FAULTS } from '../faults/faulty-store.ts'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { auditStore } from './audit.ts'
import {
  expectAccepted,
  FAUCET,
  LEDGER_ID,
  openLedger,
  ORIGIN,
  SECRET,
  START_MS,
  testClock,
  testEnvironment,
  type TestLedgerOptions,
} from './kit.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'
import { watchedStore } from './store-watch.ts'

interface Waiting {
  readonly items: readonly Item[]
  readonly lanes: readonly SettlingLane[]
  /** Leaf hashes of all that was acknowledged. */
  readonly promised: readonly string[]
  readonly policy: Policy
}

type Policy = NonNullable<TestLedgerOptions['policy']>

/** A log of at least `size` entries, and a dozen that wait: redemptions, a release that rests on them, registrations. */
async function prepare(size: number, policy: Policy = {}): Promise<Waiting> {
  const store = watchedStore()
  const ledger = openLedger({ store, policy })
  const promised: string[] = []
  const send: Parameters<typeof openSettlers>[0]['send'] = async (path, objects) => {
    const { receipt } = await expectAccepted(ledger.post(path, objects))
    promised.push(toHex(parseReceipt(envelopeFromJson(receipt)).entry))
  }
  const lanes = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach: 3, units: 8, send })
  const stranger = () => ({ identity: genesis([signerFrom(sha256(utf8(`stranger ${promised.length}`)))], START_MS) })
  while (promised.length < size) await send('/v1/accounts', stranger())
  await ledger.sequence()
  for (const unit of [1, 2, 5]) {
    for (const lane of lanes) await send('/v1/redemptions', { redemption: lane.redeem(unit) })
  }
  const [first] = lanes as [SettlingLane]
  await send('/v1/releases', { release: first.release(first.payee) })
  await send('/v1/accounts', stranger())
  return { items: await store.dump(), lanes, promised, policy }
}

async function copy({ items }: Waiting, store: Store): Promise<Store> {
  await putAll(store, items)
  return store
}

/** All of it is in the log, once, and nothing waits. */
async function expectAll(store: Store, { policy, promised }: Waiting): Promise<void> {
  const hashes: string[] = []
  await auditStore(store, (hash) => hashes.push(hash))
  expect(hashes.slice(1).toSorted()).toEqual(promised.toSorted())
  const environment = testEnvironment(testClock())
  const options = { environment, store, secret: SECRET, origin: ORIGIN, policy: { faucet: FAUCET, unitPrice: 1n } }
  for (const shard of shardsOf(createContext({ ...options, policy: { ...options.policy, ...policy } })))
    expect([...(await readCommands(shard.store)), ...(await readPointers(shard.store))]).toEqual([])
}

/** Before the write of this number, another does all its work. */
function interrupted(store: Store, at: number, interrupt: () => Promise<unknown>): Store & { writes(): number } {
  let writes = 0
  return {
    ...store,
    async write(changes) {
      if (writes++ === at) await interrupt()
      return store.write(changes)
    },
    writes: () => writes,
  }
}

const STORES = [
  // So that a bundle fills: a tile above it and its directory are written too.
  { name: 'SQLite', size: 250, least: 7, policy: {}, open: async () => openSqlite(':memory:') },
  {
    name: 'DynamoDB',
    size: 0,
    least: 4,
    policy: {},
    faults: ['unanswered'] as const,
    open: async () => openStore(await freshTable()),
  },
  {
    name: 'SQLite, of two shards,',
    size: 0,
    least: 9,
    policy: { shards: 2 },
    open: async () => openSqlite(':memory:'),
  },
  {
    name: 'DynamoDB, of two shards,',
    size: 0,
    least: 9,
    policy: { shards: 2 },
    faults: ['unanswered'] as const,
    open: async () => openStore(await freshTable()),
  },
]
/** Shards on DynamoDB, where each write takes a while, only where all is asked for (`.ci/parts/stores`). */
const TRIED = process.env['STORES'] === 'all' ? STORES : STORES.slice(0, -1)

describe.each(TRIED)('a sequencer on $name', ({ faults = WRITE_FAULTS, size, least, open, policy }) => {
  let waiting: Waiting
  beforeAll(async () => {
    waiting = await prepare(size, policy)
  })

  test.each(faults)('that dies at any of its writes, %s, is replaced by another', async (fault) => {
    let doomed = 0
    for (let isDone = false; !isDone; doomed++) {
      const shared = await copy(waiting, await open())
      const store = createFaultyStore(shared)
      store.setFaults((write) => (write === doomed ? fault : undefined))
      const outcome = await openLedger({ store, policy })
        .sequence()
        .catch((error: unknown) => problemOf(error).code)
      isDone = outcome !== 'store-unavailable'
      store.kill()
      await openLedger({ store: shared, policy }).sequence()
      await expectAll(shared, waiting)
      shared.close()
    }
    expect(doomed).toBeGreaterThan(least)
  })

  test('that is overtaken before any of its writes appends nothing twice', async () => {
    for (let at = 0, isDone = false; !isDone; at++) {
      const shared = await copy(waiting, await open())
      const store = interrupted(shared, at, () => openLedger({ store: shared, policy }).sequence())
      await openLedger({ store, policy }).sequence()
      isDone = store.writes() <= at
      await expectAll(shared, waiting)
      shared.close()
    }
  })
})

describe('a redemption whose process died', () => {
  const open = async () => {
    const shared = openSqlite(':memory:')
    const waiting = await prepare(0)
    await copy(waiting, shared)
    await openLedger({ store: shared }).sequence()
    return { shared, waiting, lane: waiting.lanes[1] as SettlingLane }
  }

  test('between pointer and slot is nothing, and keeps nobody', async () => {
    const { shared, waiting, lane } = await open()
    const store = createFaultyStore(shared)
    const doomed = openLedger({ store })
    await doomed.sequence()
    const before = store.writes()
    store.setFaults((write) => (write === before + 1 ? 'lost' : undefined))
    expect((await doomed.post('/v1/redemptions', { redemption: lane.redeem(6) })).status).toBe(503)
    store.kill()

    const clock = testClock()
    const next = openLedger({ store: shared, clock })
    expect(await next.sequence()).toBe(0)
    expect(await readPointers(shared)).toHaveLength(1)
    clock.advance(5000)
    await next.sequence()
    await next.sequence()
    await expectAll(shared, waiting)
    const { receipt } = await expectAccepted(next.post('/v1/redemptions', { redemption: lane.redeem(6) }))
    await next.sequence()
    const entry = toHex(parseReceipt(envelopeFromJson(receipt)).entry)
    await expectAll(shared, { ...waiting, promised: [...waiting.promised, entry] })
  })

  test('after its slot is in the log, and is acknowledged with the same receipt when it is repeated', async () => {
    const { shared, waiting, lane } = await open()
    const store = createFaultyStore(shared)
    const doomed = openLedger({ store })
    await doomed.sequence()
    const before = store.writes()
    store.setFaults((write) => (write === before + 1 ? 'unanswered' : undefined))
    expect((await doomed.post('/v1/redemptions', { redemption: lane.redeem(6) })).status).toBe(503)
    store.kill()

    const next = openLedger({ store: shared })
    await next.sequence()
    const { status, body } = await next.post('/v1/redemptions', { redemption: lane.redeem(6) })
    expect(status).toBe(200)
    expect(await next.sequence()).toBe(0)
    const entry = toHex(parseReceipt(envelopeFromJson(body['receipt'])).entry)
    await expectAll(shared, { ...waiting, promised: [...waiting.promised, entry] })
  })

  test('or is slow finds its slot filled, and takes the next', async () => {
    const { shared, waiting, lane } = await open()
    const clock = testClock()
    const other = openLedger({ store: shared, clock })
    await other.sequence()
    const fill = async () => {
      await other.sequence()
      clock.advance(5000)
      await other.sequence()
    }
    const slow = openLedger({ store: interrupted(shared, 1, fill) })
    const { receipt } = await expectAccepted(slow.post('/v1/redemptions', { redemption: lane.redeem(6) }))
    await other.sequence()
    await other.sequence()
    const entry = toHex(parseReceipt(envelopeFromJson(receipt)).entry)
    await expectAll(shared, { ...waiting, promised: [...waiting.promised, entry] })
  })
})
