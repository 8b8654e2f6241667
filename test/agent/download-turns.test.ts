import { describe, expect, it } from 'vitest'
import { toBase64url } from '../../protocol/bytes.ts'
import { openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES } from './bazaar-content.ts'

const MINUTE_MS = 60_000
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
