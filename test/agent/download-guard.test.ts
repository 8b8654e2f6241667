import { describe, expect, it } from 'vitest'
import { createDownloads } from '../../agent/download/download.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'
import { START_MS } from './hand-clock.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const begin = async (bazaar: Bazaar, { downloads }: Buyer): Promise<string> =>
  (await bazaar.happen(downloads.start({ source: bazaar.content.infoHash }))).id

describe('a day’s cap on credits', () => {
  it('parks a download until midnight, with a reason, and it goes on by itself', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna', { price: 3n })
    await bazaar.pass(20 * HOUR_MS)
    const buyer = await bazaar.buyer({ caps: { spend: 36n } })
    const id = await begin(bazaar, buyer)
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    expect(await buyer.downloads.get(id)).toMatchObject({
      reason: 'cap-reached',
      until: START_MS + DAY_MS,
      paid: 36n,
      ticks: 12,
      piecesDone: 12,
    })
    await bazaar.pass(3 * HOUR_MS)
    expect(await buyer.downloads.get(id)).toMatchObject({ paid: 36n })
    await bazaar.pass(HOUR_MS)
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    expect(await buyer.downloads.get(id)).toMatchObject({ paid: 72n, until: START_MS + 2 * DAY_MS })
    await bazaar.happen(buyer.guard.change({ spend: 100n }))
    await bazaar.happen(buyer.downloads.takeUp())
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 90n, ticks: 30 })
    expect(await stand.earned()).toBe(90n)
    expect(buyer.faults).toEqual([])
  })

  it('does not keep it from what is free', async () => {
    const bazaar = await openBazaar(filmOf(30))
    await bazaar.stand('anna', { price: 3n, pieces: Array.from({ length: 15 }, (_, i) => i) })
    await bazaar.stand('bert', { public: true, pieces: Array.from({ length: 20 }, (_, i) => i + 10) })
    const buyer = await bazaar.buyer({ caps: { spend: 6n } })
    const id = await begin(bazaar, buyer)
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    const { paid, piecesDone = 0 } = (await buyer.downloads.get(id)) ?? {}
    expect([paid, piecesDone]).toEqual([6n, expect.any(Number)])
    expect(piecesDone).toBeGreaterThanOrEqual(20)
  })

  it('is kept by several instances that buy at once', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    const buyer = await bazaar.buyer({ caps: { spend: 10n } })
    const worker = createDownloads(buyer.context, buyer.parts)
    const front = createDownloads(buyer.context, { ...buyer.parts, wake: async () => undefined })
    const { id } = await bazaar.happen(front.start({ source: bazaar.content.infoHash }))
    const rest = await bazaar.happen(worker.work(id, new AbortController().signal))
    expect(rest).toEqual({ isOver: false, untilMs: START_MS + DAY_MS })
    expect(await front.get(id)).toMatchObject({ state: 'waiting', reason: 'cap-reached', paid: 10n })
  })
})

/** A download of 60 pieces whose agent is stopped in its midst. @param answerMs what the seller takes for a piece */
async function stopMidway({ answerMs, isFree = false }: { answerMs: number; isFree?: boolean }) {
  const bazaar = await openBazaar(filmOf(60))
  const stand = await bazaar.stand('anna', { public: isFree })
  stand.spoil = async (_, answer) => {
    await bazaar.scheduler.sleep(answerMs)
    return answer()
  }
  const buyer = await bazaar.buyer()
  const id = await begin(bazaar, buyer)
  await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) > 5)
  await bazaar.happen(buyer.guard.change({ stopped: true }))
  await bazaar.pass(10_000)
  const stopped = await buyer.downloads.get(id)
  expect(stopped).toMatchObject({ state: 'waiting', reason: 'stopped' })
  return { bazaar, stand, buyer, id, stopped }
}

describe('an agent that is stopped', () => {
  it('ends what is on its way within seconds, cleanly, and pays no piece twice when it starts again', async () => {
    const { bazaar, stand, buyer, id, stopped } = await stopMidway({ answerMs: 500 })
    // No tick is out for a piece that did not come.
    expect(stopped?.ticks).toBe(stopped?.piecesDone)
    await bazaar.pass(HOUR_MS)
    expect((await buyer.downloads.get(id))?.piecesDone).toBe(stopped?.piecesDone)
    await bazaar.happen(buyer.guard.change({ stopped: false }))
    await bazaar.happen(buyer.downloads.takeUp())
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', ticks: 60, paid: 60n })
    expect(await stand.earned()).toBe(60n)
  })

  it('asks for nothing, not even for what is free', async () => {
    const { bazaar, buyer, id, stopped } = await stopMidway({ answerMs: 2_000, isFree: true })
    await bazaar.pass(HOUR_MS)
    expect((await buyer.downloads.get(id))?.piecesDone).toBe(stopped?.piecesDone)
    expect(stopped?.piecesDone).toBeLessThan(60)
  })

  it('goes on once it may with what was under way when it was killed', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna')
    const before = await bazaar.buyer()
    const id = await begin(bazaar, before)
    await bazaar.until(async () => ((await before.downloads.get(id))?.piecesDone ?? 0) >= 10)
    // Killed before the download has noticed.
    await bazaar.happen(before.guard.change({ stopped: true }))
    const buyer = await bazaar.buyer()
    await bazaar.happen(buyer.downloads.resumeAll())
    await bazaar.pass(HOUR_MS)
    expect((await buyer.downloads.get(id))?.piecesDone).toBeLessThan(40)
    await bazaar.happen(buyer.guard.change({ stopped: false }))
    await bazaar.happen(buyer.downloads.takeUp())
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', ticks: 40, paid: 40n })
    expect(await stand.earned()).toBe(40n)
  })

  it('does not tidy up twice after a download that was cancelled a moment before it may go on', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna')
    const before = await bazaar.buyer()
    const id = await begin(bazaar, before)
    await bazaar.until(async () => ((await before.downloads.get(id))?.piecesDone ?? 0) >= 10)
    let isRemoved = false
    const wrapStorage = (inner: Storage): Storage => ({
      ...inner,
      async abort(write) {
        isRemoved = true
        return inner.abort(write)
      },
    })
    stand.leave()
    await bazaar.happen(before.guard.change({ stopped: true }))
    const buyer = await bazaar.buyer({ wrapStorage })
    void buyer.downloads.cancel(id)
    await bazaar.until(() => isRemoved)
    // What it wrote is gone, and its lanes are being settled.
    await bazaar.pass(5)
    isRemoved = false
    await bazaar.happen(buyer.guard.change({ stopped: false }))
    await bazaar.happen(buyer.downloads.takeUp())
    await bazaar.pass(60_000)
    expect([isRemoved, buyer.faults]).toEqual([false, []])
    expect(bazaar.disk.unfinished.size).toBe(0)
  })

  it('stays stopped through a restart, and wakes no worker', async () => {
    const bazaar = await openBazaar(filmOf(20))
    await bazaar.stand('anna')
    const before = await bazaar.buyer()
    await bazaar.happen(before.guard.change({ stopped: true }))
    const id = await begin(bazaar, before)
    const buyer = await bazaar.buyer()
    const woken: string[] = []
    const wake = async (one: string): Promise<void> => void woken.push(one)
    const front = createDownloads(buyer.context, { ...buyer.parts, wake })
    await bazaar.happen(front.resumeAll())
    expect(woken).toEqual([])
    const work = () => bazaar.happen(buyer.downloads.work(id, new AbortController().signal))
    expect(await work()).toEqual({ isOver: true })
    expect(await front.get(id)).toMatchObject({ state: 'waiting', reason: 'stopped', ticks: 0 })
    await bazaar.happen(buyer.guard.change({ stopped: false }))
    await bazaar.happen(front.takeUp())
    expect(woken).toEqual([id])
    await work()
    expect(await front.get(id)).toMatchObject({ state: 'done', ticks: 20 })
  })
})
