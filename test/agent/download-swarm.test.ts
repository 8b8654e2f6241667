import { describe, expect, it } from 'vitest'
import { USUAL_PACE, type DownloadPace } from '../../agent/download/pace.ts'
import type { Problem } from '../../protocol/problem.ts'
import { FAUCET, openBazaar, type Stand } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'

const never = new Promise<never>(() => undefined)

function sendGarbage(stand: Stand): void {
  stand.spoil = async (_, answer) => {
    const response = await answer()
    if (response.status !== 200) return response
    const bytes = new Uint8Array(await response.arrayBuffer())
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
    return new Response(bytes, { headers: response.headers })
  }
}

/** Sends so many pieces, then what `then` does. */
function after(stand: Stand, pieces: number, then: (request: Request) => Promise<Response>): void {
  let left = pieces
  stand.spoil = async (request, answer) => {
    if (!request.headers.has('payment-signature')) return answer()
    return left-- > 0 ? answer() : then(request)
  }
}

describe('many sellers', () => {
  it('share the work', async () => {
    const bazaar = await openBazaar(filmOf(60))
    const stands = [await bazaar.stand('anna'), await bazaar.stand('berta'), await bazaar.stand('cleo')]
    const download = await (await bazaar.buyer()).fetch()
    expect(download).toMatchObject({ state: 'done', paid: 60n, ticks: 60 })
    const sent = stands.flatMap((stand) => [...stand.sent.keys()])
    expect(sent).toHaveLength(60)
    expect(new Set(sent).size).toBe(60)
    for (const stand of stands) expect(stand.sent.size).toBeGreaterThan(10)
  })

  it('of which one lies, one stalls and one disappears leave the download to an honest one and one that comes later', async () => {
    const bazaar = await openBazaar(filmOf(80))
    const liar = await bazaar.stand('liar')
    const staller = await bazaar.stand('staller')
    const deserter = await bazaar.stand('deserter')
    sendGarbage(liar)
    after(staller, 3, () => never)
    after(deserter, 5, () => {
      deserter.leave()
      throw new TypeError('connection reset')
    })
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(20_000)
    const honest = await bazaar.stand('honest')
    const download = await buyer.rest(id)

    expect(buyer.faults).toEqual([])
    expect(download).toMatchObject({ state: 'done', piecesDone: 80 })
    const report = new Map(download.sellers.map((seller) => [seller.id, seller]))
    expect(report.get(liar.id)).toMatchObject({
      status: 'lied',
      pieces: 0,
      ticks: 0,
      detail: expect.stringContaining('hash'),
    })
    expect(report.get(staller.id)).toMatchObject({ status: 'slow', pieces: 3, detail: expect.stringContaining('byte') })
    expect(report.get(deserter.id)).toMatchObject({ status: 'gone' })
    expect(report.get(deserter.id)?.pieces).toBeGreaterThan(5 - USUAL_PACE.lanesPerSeller)
    expect(report.get(honest.id)).toMatchObject({ status: 'good' })
    // Prepaid, a tick a flow for what did not come; never two.
    const { lanesPerSeller } = USUAL_PACE
    expect(download.paid).toBeLessThanOrEqual(BigInt(80 + 1 + 2 * lanesPerSeller))
    expect(await bazaar.total()).toMatchObject({ held: FAUCET * 5n, issued: FAUCET * 5n })
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(bazaar.content.files.get('film.bin'))
  })

  it('of which one lied are known to an agent that is started again, and it is asked for nothing', async () => {
    const bazaar = await openBazaar(filmOf(10))
    const liar = await bazaar.stand('liar')
    sendGarbage(liar)
    const first = await bazaar.buyer()
    const { id } = await bazaar.happen(first.downloads.start({ source: bazaar.content.infoHash }))
    const reported = async () => (await first.downloads.get(id))?.sellers.map(({ status }) => status)
    await bazaar.until(async () => (await reported())?.includes('lied') === true)
    let asked = 0
    liar.spoil = (_, answer) => {
      asked++
      return answer()
    }
    await bazaar.stand('honest')
    const second = await bazaar.buyer()
    await bazaar.happen(second.downloads.resumeAll())
    expect(await second.rest(id)).toMatchObject({ state: 'done', paid: 10n })
    expect(asked).toBe(0)
  })

  it('have different pieces, and the rarest is not left for last', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const order: number[] = []
    let isHeardOf = false
    const whole = await bazaar.stand('whole')
    const some = await bazaar.stand('some', { pieces: Array.from({ length: 30 }, (_, i) => i) })
    some.spoil = async (_, answer) => {
      isHeardOf = true
      return answer()
    }
    whole.spoil = async (request, answer) => {
      if (isHeardOf && request.headers.has('payment-signature')) order.push(Number(request.url.split('/').at(-1)))
      return answer()
    }
    const download = await (await bazaar.buyer()).fetch()
    expect(download).toMatchObject({ state: 'done', paid: 40n })
    // Some others are on their way when the other seller's answer arrives.
    expect(order.findLastIndex((piece) => piece >= 30)).toBeLessThan(12)
    expect([...some.sent.keys()].every((piece) => piece < 30)).toBe(true)
  })

  it('that leave their terms out of the offer are asked for them', async () => {
    const bazaar = await openBazaar(filmOf(12))
    const terse = await bazaar.stand('terse')
    let unpaid = 0
    terse.isTerse = true
    terse.spoil = async (request, answer) => {
      if (!request.headers.has('payment-signature')) unpaid++
      return answer()
    }
    expect(await (await bazaar.buyer()).fetch()).toMatchObject({ state: 'done', paid: 12n })
    expect(unpaid).toBe(1)
  })

  it('are left when slow beside the others, and their piece is asked of another', async () => {
    const bazaar = await openBazaar(filmOf(120))
    await bazaar.stand('quick')
    const snail = await bazaar.stand('snail')
    snail.spoil = async (request, answer) => {
      if (request.headers.has('payment-signature')) await bazaar.scheduler.sleep(9_000)
      return answer()
    }
    const pace: Partial<DownloadPace> = {
      slow: { afterMs: 1_000, floorBytesPerSecond: 64 * 1024, share: 0.25 },
      refreshMs: 500,
    }
    const started = bazaar.scheduler.now()
    const download = await (await bazaar.buyer({ pace })).fetch()
    expect(download.state).toBe('done')
    expect(download.sellers.find(({ id }) => id === snail.id)).toMatchObject({
      status: 'slow',
      detail: expect.stringContaining('KiB/s'),
    })
    expect(bazaar.scheduler.now() - started).toBeLessThan(9_000)
    expect(download.paid).toBeLessThanOrEqual(122n)
  })

  it('that are dearer than another get no more than they must', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('cheap', { price: 1n })
    await bazaar.stand('dear', { price: 9n, pieces: [7] })
    const download = await (await bazaar.buyer()).fetch()
    expect(download.state).toBe('done')
    expect(download.paid).toBeLessThanOrEqual(39n + 9n)
  })

  it('that say again and again that a tick was spent are left after a unit or two', async () => {
    const bazaar = await openBazaar(filmOf(20))
    const cheat = await bazaar.stand('cheat')
    const spent: Problem['code'] = 'tick-replayed'
    after(cheat, 0, async () => Response.json({ code: spent, detail: 'The tick was already spent.' }, { status: 409 }))
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(600_000)
    const download = await buyer.downloads.get(id)
    expect(download).toMatchObject({ state: 'waiting', reason: 'no-sellers', piecesDone: 0 })
    expect(download?.ticks).toBeLessThanOrEqual(10)
  })

  it('that come back after a while go on with the same tick', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna')
    after(stand, 10, () => {
      stand.leave()
      stand.spoil = undefined
      return never
    })
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    stand.comeBack()
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 30n, ticks: 30 })
    expect(await stand.earned()).toBe(30n)
  })
})
