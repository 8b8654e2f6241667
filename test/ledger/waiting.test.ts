/** What waits is appended in parts: each rests on nothing outside, and none is much larger than asked for. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readPointers } from '../../ledger/pending.ts'
import { createSequencer } from '../../ledger/sequencer.ts'
import { createCollector, type Wanted } from '../../ledger/waiting.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import { contextOf, expectAccepted, LEDGER_ID, openLedger, START_MS, testClock } from './kit.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'

async function openLanes(store: Store, lanesEach: number): Promise<readonly SettlingLane[]> {
  const ledger = openLedger({ store })
  const send: Parameters<typeof openSettlers>[0]['send'] = (path, objects) => expectAccepted(ledger.post(path, objects))
  const lanes = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 1, lanesEach, units: 64, send })
  await ledger.sequence()
  return lanes
}

/** A sequencer that takes parts of so many pointers, and shows each once it is in the log. */
function inParts(store: Store, most: number, clock = testClock()) {
  const context = contextOf(store, clock)
  const collect = createCollector(context)
  const sizes: number[] = []
  const sequencer = createSequencer(context, async (wanted) => {
    await auditStore(store)
    const part = await collect({ ...wanted, most })
    sizes.push(part.waiting.length)
    return part
  })
  return { ...sequencer, sizes }
}

test('whoever wrote it, by whatever clock, each part of what waits rests on nothing outside', async () => {
  const step = fc.record({
    lane: fc.nat(3),
    /** Which of two processes takes it, one of which is an hour behind. */
    process: fc.nat(1),
    pauseMs: fc.constantFrom(0, 1, 1000),
    isLast: fc.integer({ min: 0, max: 9 }).map((digit) => digit === 0),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      async (steps, most) => {
        const store = openSqlite(':memory:')
        const lanes = await openLanes(store, 4)
        const clocks = [testClock(), testClock(START_MS - 3_600_000)]
        const ledgers = clocks.map((clock) => openLedger({ store, clock }))
        const units = lanes.map(() => 0)
        for (const { isLast, lane: at, pauseMs, process } of steps) {
          for (const clock of clocks) clock.advance(pauseMs)
          const [lane, ledger] = [lanes[at] as SettlingLane, ledgers[process]]
          const unit = (units[at] as number) + 1
          if (unit > 64) continue
          units[at] = isLast ? Infinity : unit
          const [path, objects] = isLast
            ? ['/v1/releases', { release: lane.release(lane.payee) }]
            : ['/v1/redemptions', { redemption: lane.redeem(unit) }]
          await expectAccepted((ledger as (typeof ledgers)[0]).post(path, objects))
        }
        await inParts(store, most).sequence()
        await auditStore(store)
        expect(await readPointers(store)).toEqual([])
        store.close()
      },
    ),
    { numRuns: 8 },
  )
})

test('a part is no larger than asked for, however much waits', async () => {
  const store = openSqlite(':memory:')
  const lanes = await openLanes(store, 4)
  const ledger = openLedger({ store })
  for (let unit = 1; unit <= 64; unit++) {
    ledger.clock.advance(1)
    await Promise.all(
      lanes.map((lane) => expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) }))),
    )
  }
  const { sequence, sizes } = inParts(store, 32)
  expect(await sequence()).toBe(256)
  expect(Math.max(...sizes)).toBeLessThan(32 + lanes.length)
  expect(sizes).toHaveLength(8)
})

test('pointers to nothing, however many, keep no part from what comes after them', async () => {
  const store = openSqlite(':memory:')
  const lanes = await openLanes(store, 8)
  const ledger = openLedger({ store })
  const doomed = openLedger({
    store: { ...store, write: async (changes) => (changes[0]?.pk.startsWith('lane/') ? hang() : store.write(changes)) },
  })
  for (const lane of lanes.slice(1)) void doomed.post('/v1/redemptions', { redemption: lane.redeem(1) })
  await expect.poll(async () => (await readPointers(store)).flatMap(({ value }) => value)).toHaveLength(7)
  ledger.clock.advance(1000)
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: (lanes[0] as SettlingLane).redeem(1) }))
  expect(await inParts(store, 1).sequence()).toBe(1)
})

const hang = (): Promise<never> => new Promise(() => {})

test('parts grow while they are quickly done, and shrink where they are not', async () => {
  const store = openSqlite(':memory:')
  await openLanes(store, 1)
  const clock = testClock()
  const asked: number[] = []
  let tookMs = 0
  const collect = async ({ most }: Wanted) => {
    asked.push(most)
    clock.advance(tookMs)
    return { waiting: [], isAll: true }
  }
  const { sequence } = createSequencer(contextOf(store, clock), collect)
  for (let part = 0; part < 5; part++) await sequence()
  expect(asked).toEqual([64, 128, 256, 512, 1024])
  tookMs = 400
  for (let part = 0; part < 6; part++) await sequence()
  expect(asked.slice(5)).toEqual([1024, 512, 256, 128, 64, 64])
})
