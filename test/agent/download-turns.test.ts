import { describe, expect, it } from 'vitest'
import { createDownloads } from '../../agent/download/download.ts'
import { USUAL_PACE } from '../../agent/download/pace.ts'
import type { Links } from '../../agent/storage/links.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { toBase64url } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import { openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES } from './bazaar-content.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** As many downloads as run at once. */
const TURNS = 4

/** Downloads of what nobody sells. */
async function startUnsold(bazaar: Bazaar, { downloads }: Buyer, count = TURNS): Promise<void> {
  for (let n = 0; n < count; n++) {
    const name = `unsold${n}.bin`
    const { torrent } = contentOf(name, { [name]: bytesOf(4 * PIECE_BYTES, n) })
    await bazaar.happen(downloads.start({ source: toBase64url(torrent) }))
  }
}

describe('a download that waits for the end of the day', () => {
  it.each(['pause', 'cancel'] as const)('takes a %s while others have all turns', async (order) => {
    const bazaar = await openBazaar(filmOf(10))
    await bazaar.stand('anna')
    const buyer = await bazaar.buyer({ caps: { spend: 3n } })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await buyer.downloads.get(id))?.reason === 'cap-reached')
    await startUnsold(bazaar, buyer)
    await bazaar.pass(MINUTE_MS)
    const state = order === 'pause' ? 'paused' : 'cancelled'
    expect(await bazaar.happen(buyer.downloads[order](id))).toMatchObject({ state })
  })
})

describe('downloads that wait', () => {
  it('for sellers do not hold up one that is for sale', async () => {
    const bazaar = await openBazaar(filmOf(10))
    await bazaar.stand('anna')
    const buyer = await bazaar.buyer()
    await startUnsold(bazaar, buyer)
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(MINUTE_MS)
    expect(await buyer.downloads.get(id)).toMatchObject({ state: 'done', paid: 10n })
  })

  it('for a storage that does not answer do not hold up one to another storage', async () => {
    const bazaar = await openBazaar(filmOf(10))
    await bazaar.stand('anna')
    const { parts, context } = await bazaar.buyer()
    const { storage } = await parts.links.open()
    const put: Storage['put'] = () => Promise.reject(new Problem('storage-unavailable', 'It does not answer.'))
    const links: Pick<Links, 'open'> = {
      open: async (name = 'folder') => ({ name, storage: name === 'folder' ? storage : { ...storage, put } }),
    }
    const downloads = createDownloads(context, { ...parts, links: links as Links })
    const start = (link: string) => bazaar.happen(downloads.start({ source: bazaar.content.infoHash, link }))
    for (let n = 0; n < TURNS; n++) await start(`bucket ${n}`)
    await bazaar.pass(MINUTE_MS)
    const { id } = await start('folder')
    await bazaar.pass(MINUTE_MS)
    expect(await downloads.get(id)).toMatchObject({ state: 'done', paid: 10n })
  })

  it('rest longer and longer while others have more need of their turns, and find who sells in the end', async () => {
    const bazaar = await openBazaar(filmOf(10))
    const stand = await bazaar.stand('anna')
    stand.announced = false
    const buyer = await bazaar.buyer()
    await startUnsold(bazaar, buyer, 2 * TURNS)
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    let asked = 0
    bazaar.network.onSend(({ url }) => void (asked += Number(url.pathname.endsWith('/swarm'))))
    await bazaar.pass(HOUR_MS)
    const askedByFour = (TURNS * HOUR_MS) / USUAL_PACE.refreshMs
    expect(asked).toBeLessThan(1.1 * askedByFour)
    stand.announced = true
    await bazaar.pass(HOUR_MS)
    expect(await buyer.downloads.get(id)).toMatchObject({ state: 'done', paid: 10n })
    expect(await stand.earned()).toBe(10n)
  })

  it('keep their turns, and look out all the time, where nobody else needs them', async () => {
    const bazaar = await openBazaar(filmOf(10))
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await startUnsold(bazaar, buyer, TURNS - 1)
    await bazaar.pass(HOUR_MS)
    await bazaar.stand('anna')
    await bazaar.pass(MINUTE_MS)
    expect(await buyer.downloads.get(id)).toMatchObject({ state: 'done' })
  })
})
