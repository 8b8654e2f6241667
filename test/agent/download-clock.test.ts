/** A buyer whose clock is set back while a download is under way. */
import { describe, expect, it } from 'vitest'
import { openBazaar } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'

const MINUTE_MS = 60_000
const PIECES = 60

/** A download from one seller that has begun. */
async function begun() {
  const bazaar = await openBazaar(filmOf(PIECES))
  const stand = await bazaar.stand('anna')
  let setBackMs = 0
  const buyer = await bazaar.buyer({ wrapClock: (clock) => ({ ...clock, now: () => clock.now() - setBackMs }) })
  const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
  await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) >= 20)
  const setBack = () => void (setBackMs = 600 * MINUTE_MS)
  const isDone = async () => (await buyer.downloads.get(id))?.state === 'done'
  return { bazaar, buyer, id, stand, setBack, isDone }
}

describe('a clock that is set back ten hours during a download', () => {
  it('leaves a seller that failed before alone no longer than it was to be', async () => {
    const { bazaar, stand, setBack, isDone } = await begun()
    stand.leave()
    await bazaar.pass(MINUTE_MS)
    setBack()
    stand.comeBack()
    await bazaar.pass(MINUTE_MS)
    expect(await isDone()).toBe(true)
  })

  it('keeps a request that stalls no longer than any other', async () => {
    const { bazaar, stand, setBack, isDone } = await begun()
    stand.spoil = () => new Promise(() => undefined)
    await bazaar.pass(5_000)
    setBack()
    stand.spoil = undefined
    await bazaar.pass(2 * MINUTE_MS)
    expect(await isDone()).toBe(true)
  })

  it('asks a seller that was away as soon as ever to let go of what is frozen', async () => {
    const { bazaar, buyer, id, stand, setBack } = await begun()
    const settle = async (minutes: number): Promise<void> => {
      for (let minute = 0; minute < minutes; minute++) {
        await bazaar.pass(MINUTE_MS)
        await bazaar.happen(buyer.wallet.maintain())
      }
    }
    stand.leave()
    await bazaar.happen(buyer.downloads.cancel(id))
    await settle(5)
    expect(await buyer.frozen()).toBeGreaterThan(0n)
    setBack()
    stand.comeBack()
    await settle(30)
    expect(await buyer.frozen()).toBe(0n)
  })
})
