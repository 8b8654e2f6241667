/** A buyer whose store is put back as it was in the midst of a download: it has forgotten what it spent since. */
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { scratch } from '../local/scratch.ts'
import { openBazaar, type Buyer } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'

const folder = scratch()
const PRICE = 10n
const [PIECES, COPIED, DIED] = [40, 10, 30]

/** @returns the buyer over the copy, which goes on */
async function restored(mode: LaneMode, sellers: number) {
  const dir = folder()
  const [used, copy] = [join(dir, 'used.sqlite'), join(dir, 'copy.sqlite')]
  const bazaar = await openBazaar(filmOf(PIECES))
  const terms = { price: PRICE, modes: [mode], ...(mode === 'credit' && { credit: 64 }) }
  for (let i = 0; i < sellers; i++) await bazaar.stand(`seller${i}`, terms)
  const store = openSqlite(used)
  const first = await bazaar.buyer({ wrapStore: () => store })
  const { id } = await bazaar.happen(first.downloads.start({ source: bazaar.content.infoHash }))
  const pieces = async ({ downloads }: Buyer): Promise<number> => (await downloads.get(id))?.piecesDone ?? 0
  await bazaar.until(async () => (await pieces(first)) >= COPIED)
  const database = new DatabaseSync(used)
  database.exec(`VACUUM INTO '${copy}'`)
  database.close()
  await bazaar.until(async () => (await pieces(first)) >= DIED)
  first.kill()
  const again = openSqlite(copy)
  const buyer = await bazaar.buyer({ wrapStore: () => again })
  await bazaar.happen(buyer.downloads.resumeAll())
  return { bazaar, buyer, id }
}

describe('a buyer that is put back in the midst of a download', () => {
  it.each(['credit', 'sealed'] as const)(
    'pays anew for the pieces that it has forgotten, and hardly more: %s',
    async (mode) => {
      const { bazaar, buyer, id } = await restored(mode, 3)
      await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'done')
      const { ticks = 0 } = (await buyer.downloads.get(id)) ?? {}
      expect(ticks).toBeGreaterThanOrEqual(PIECES)
      expect(ticks).toBeLessThanOrEqual(PIECES + 6)
    },
  )

  it('whom the only seller takes no tick from any more may cancel the download, and begin it anew', async () => {
    const { bazaar, buyer, id } = await restored('sealed', 1)
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    const { sellers } = (await buyer.downloads.get(id)) ?? {}
    expect(sellers?.[0]).toMatchObject({ detail: 'The tick was already spent.' })
    await bazaar.happen(buyer.downloads.cancel(id))
    expect(await buyer.fetch()).toMatchObject({ state: 'done', piecesDone: PIECES })
  })
})
