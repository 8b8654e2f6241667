import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDayCap } from '../../agent/guard/day-cap.ts'
import { createGuard, type DayCaps, type Guard } from '../../agent/guard/guard.ts'
import type { AgentContext } from '../../agent/context.ts'
import { openStore } from '../../infra/store/open.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { scheduledStore } from '../ledger/store-watch.ts'
import { handClock, START_MS, type HandClock } from './hand-clock.ts'

const DAY_MS = 86_400_000
const SECOND_MS = 1000
const sqlite = async (): Promise<Store> => openSqlite(':memory:')
const dynamodb = async (): Promise<Store> => openStore(await freshTable(), { createTable: true })

const contextOf = (store: Store, clock: HandClock): Pick<AgentContext, 'environment' | 'store'> => ({
  store,
  environment: {
    clock,
    random: { bytes: (n) => new Uint8Array(n) },
    transport: () => Promise.reject(new Error('none')),
  },
})
const guardOf = (store: Store, clock: HandClock, caps?: DayCaps): Guard =>
  createGuard(contextOf(store, clock) as AgentContext, { caps })
/** How many of these are let through. */
async function through(takes: readonly Promise<unknown>[]): Promise<number> {
  const answers = await Promise.allSettled(takes)
  for (const answer of answers) {
    if (answer.status === 'rejected') expect((answer.reason as Problem).code).toBe('cap-reached')
  }
  return answers.filter(({ status }) => status === 'fulfilled').length
}
const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

describe.each([
  ['SQLite', sqlite],
  ['DynamoDB', dynamodb],
])('a day’s cap on %s', (_, open) => {
  it('lets through what is below it and nothing above, however many instances ask at once', async () => {
    const [store, clock] = [await open(), handClock()]
    const guards = times(5, () => guardOf(store, clock, { spend: 100n }))
    let sold = 0
    for (let round = 0; round < 8; round++) {
      sold += await through(times(20, async (i) => guards[i % 5]?.spend(1n)))
      // What an instance holds and does not use is there for the others.
      for (const guard of guards) await guard.release()
      clock.advance(3 * SECOND_MS)
    }
    expect(sold).toBe(100)
    expect((await guardOf(store, clock, { spend: 100n }).state()).used.spend).toBe(100n)
    store.close()
  })

  it('begins anew at midnight UTC, and says so', async () => {
    const [store, clock] = [await open(), handClock(START_MS + 20 * 3_600_000)]
    const guard = guardOf(store, clock, { serve: 1000n })
    await guard.serve(1000)
    const refusal = (await guard.serve(1).catch((error: unknown) => error)) as Problem
    expect([refusal.code, refusal.members]).toEqual([
      'cap-reached',
      { parkUntil: START_MS + DAY_MS, retryAfterMs: 4 * 3_600_000 },
    ])
    clock.advance(4 * 3_600_000)
    await guard.serve(1000)
    await expect(guard.serve(1)).rejects.toMatchObject({ code: 'cap-reached' })
    store.close()
  })

  it('and a switch outlive the instance that was told', async () => {
    const [store, clock] = [await open(), handClock()]
    const before = guardOf(store, clock, { spend: 10n })
    await before.change({ stopped: true, spend: 3n, serve: null })
    const after = guardOf(store, clock, { spend: 10n, serve: 1n })
    expect(await after.state()).toMatchObject({ stopped: true, stoppedMs: START_MS, caps: { spend: 3n } })
    await expect(after.requireRunning()).rejects.toMatchObject({ code: 'stopped' })
    await after.serve(5_000_000)
    expect(await through(times(5, () => after.spend(1n)))).toBe(3)
    await after.change({ stopped: false })
    await after.requireRunning()
    store.close()
  })
})

describe('a day’s cap', () => {
  it('is never exceeded, and nothing of it is lost, in any order of reads and writes', async () => {
    const amounts = fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 9 }), fc.boolean()), { maxLength: 24 })
    await fc.assert(
      fc.asyncProperty(amounts, fc.integer({ min: 0, max: 60 }), fc.scheduler(), async (asks, most, scheduler) => {
        const [store, clock] = [openSqlite(':memory:'), handClock()]
        const context = contextOf(scheduledStore(store, scheduler), clock)
        const caps = times(3, () => createDayCap(context, 'x', { what: 'They' }))
        let used = 0
        const all = asks.map(async ([who, amount, isReturned]) => {
          const giveBack = await caps[who]?.take(BigInt(amount), BigInt(most)).catch(() => undefined)
          if (!giveBack) return
          used += amount
          expect(used).toBeLessThanOrEqual(most)
          if (!isReturned) return
          used -= amount
          giveBack()
        })
        await scheduler.waitFor(Promise.all(all))
        for (const cap of caps) await scheduler.waitFor(cap.release())
        expect(await scheduler.waitFor(createDayCap(context, 'x', { what: 'They' }).used())).toBe(BigInt(used))
      }),
      { numRuns: 150 },
    )
  })

  it('costs a write for every 64 pieces once an instance is at it', async () => {
    const clock = handClock()
    let writes = 0
    const inner = openSqlite(':memory:')
    const store: Store = { ...inner, write: (changes) => (writes++, inner.write(changes)) }
    const guard = guardOf(store, clock, { serve: 1n << 40n })
    for (let piece = 0; piece < 1000; piece++) await guard.serve(4 << 20)
    expect(writes).toBeLessThan(21)
  })

  it('asks the store no more than every few seconds once it is reached', async () => {
    const clock = handClock()
    let reads = 0
    const inner = openSqlite(':memory:')
    const store: Store = { ...inner, get: (pk, sk) => (reads++, inner.get(pk, sk)) }
    const guard = guardOf(store, clock, { serve: 10n })
    await guard.serve(10)
    await expect(guard.serve(1)).rejects.toMatchObject({ code: 'cap-reached' })
    const before = reads
    expect(await through(times(100, () => guard.serve(1)))).toBe(0)
    await expect(guard.requireRoom(false)).rejects.toMatchObject({ code: 'cap-reached' })
    expect(reads).toBe(before)
  })

  it('counts anew when the owner sets another, up to what that one leaves', async () => {
    const [store, clock] = [openSqlite(':memory:'), handClock()]
    const guard = guardOf(store, clock, { spend: 5n })
    expect(await through(times(9, () => guard.spend(1n)))).toBe(5)
    await guard.change({ spend: 7n })
    expect(await through(times(9, () => guard.spend(1n)))).toBe(2)
    await guard.change({ spend: 1n })
    expect(await through(times(3, () => guard.spend(1n)))).toBe(0)
    await guard.change({ spend: null })
    expect(await through(times(50, () => guard.spend(1n)))).toBe(50)
  })

  it('takes over nothing of what an instance held yesterday', async () => {
    const [store, clock] = [openSqlite(':memory:'), handClock()]
    const guard = guardOf(store, clock, { spend: 160n })
    const spend = (count: number) => through(times(count, () => guard.spend(1n)))
    expect(await spend(1)).toBe(1)
    clock.advance(DAY_MS)
    expect(await spend(200)).toBe(160)
  })

  it('keeps half of the day for those who pay', async () => {
    const guard = guardOf(openSqlite(':memory:'), handClock(), { serve: 100n })
    expect(await through(times(100, () => guard.serve(1, true)))).toBe(50)
    expect(await through(times(100, () => guard.serve(1)))).toBe(50)
  })

  it('hears of another instance’s switch within seconds', async () => {
    const [store, clock] = [openSqlite(':memory:'), handClock()]
    const [here, there] = [guardOf(store, clock), guardOf(store, clock)]
    await here.requireRunning()
    await there.change({ stopped: true })
    clock.advance(2 * SECOND_MS)
    await expect(here.requireRunning()).rejects.toMatchObject({ code: 'stopped' })
  })

  it('refuses while the store does not answer, and asks again', async () => {
    const inner = openSqlite(':memory:')
    let isAway = true
    const store: Store = {
      ...inner,
      get: (pk, sk) => (isAway ? Promise.reject(new Problem('store-unavailable', 'Away.')) : inner.get(pk, sk)),
    }
    const guard = guardOf(store, handClock())
    await expect(guard.requireRunning()).rejects.toMatchObject({ code: 'store-unavailable' })
    isAway = false
    await guard.requireRunning()
  })
})
