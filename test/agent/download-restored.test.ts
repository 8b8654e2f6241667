/** A buyer, or a seller, whose store is put back as it was in the midst of a download: it has forgotten what was paid since. */
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

function copyStore(from: string, to: string): void {
  const database = new DatabaseSync(from)
  database.exec(`VACUUM INTO '${to}'`)
  database.close()
}

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
  copyStore(used, copy)
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

/** @returns what the seller is paid for all pieces, and what is still frozen for them */
async function soldByRestored(mode: LaneMode) {
  const dir = folder()
  const [used, copy] = [join(dir, 'used.sqlite'), join(dir, 'copy.sqlite')]
  const bazaar = await openBazaar(filmOf(PIECES))
  const terms = { price: PRICE, modes: [mode], ...(mode === 'credit' && { credit: 64 }) }
  const before = await bazaar.stand('seller', { ...terms, store: openSqlite(used) })
  const buyer = await bazaar.buyer()
  const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
  const pieces = async () => (await buyer.downloads.get(id))?.piecesDone ?? 0
  await bazaar.until(async () => (await pieces()) >= COPIED)
  copyStore(used, copy)
  await bazaar.until(async () => (await pieces()) >= DIED)
  before.announced = false
  const after = await bazaar.stand('seller', { ...terms, store: openSqlite(copy) })
  const { state, ticks } = await buyer.rest(id)
  await bazaar.pass(60_000)
  return { state, ticks, earned: await after.earned(), frozen: await buyer.frozen() }
}

describe('a seller that is put back in the midst of a download', () => {
  it.each(['prepaid', 'credit', 'sealed'] as const)(
    'sells the rest, and is paid for what it has forgotten: %s',
    async (mode) => {
      const sold = { state: 'done', ticks: PIECES, earned: BigInt(PIECES) * PRICE, frozen: 0n }
      expect(await soldByRestored(mode)).toEqual(sold)
    },
  )
})
