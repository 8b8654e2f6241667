import { describe, expect, it } from 'vitest'
import { fatal, parked } from '../../agent/storage/faults.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openBazaar } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'

const HOUR_MS = 3_600_000

describe('a storage whose allowance is used up', () => {
  it('parks the download until its time, with a reason, and no piece is paid twice', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna')
    let puts = 0
    let untilMs = 0
    const capped = (inner: Storage): Storage => ({
      ...inner,
      put(...args) {
        if (++puts === 12) untilMs = bazaar.scheduler.now() + 5 * HOUR_MS
        const isOver = bazaar.scheduler.now() >= untilMs
        return isOver ? inner.put(...args) : Promise.reject(parked('The daily cap is used up.', untilMs))
      },
    })
    const buyer = await bazaar.buyer({ wrapStorage: capped })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    const waiting = await buyer.downloads.get(id)
    expect(waiting).toMatchObject({ reason: 'storage-parked', detail: 'The daily cap is used up.', until: untilMs })
    const before = puts
    await bazaar.pass(4 * HOUR_MS)
    expect(puts).toBe(before)
    await bazaar.pass(2 * HOUR_MS)
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 30n, ticks: 30 })
    expect(await stand.earned()).toBe(30n)
  })
})

describe('a storage whose refusal does not pass', () => {
  it.each([
    ['auth', 'storage-denied'],
    ['corrupt', 'storage-unavailable'],
  ] as const)('stops the download at once: %s', async (cause, reason) => {
    const bazaar = await openBazaar(filmOf(30))
    await bazaar.stand('anna')
    let puts = 0
    const shut = (inner: Storage): Storage => ({
      ...inner,
      put: (...args) => (++puts > 5 ? Promise.reject(fatal(cause, 'It is no use.')) : inner.put(...args)),
    })
    const buyer = await bazaar.buyer({ wrapStorage: shut })
    expect(await buyer.fetch()).toMatchObject({ state: 'failed', reason })
    expect(puts).toBeLessThan(12)
  })
})
