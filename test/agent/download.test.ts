import { describe, expect, it } from 'vitest'
import { FAUCET, filmOf, openBazaar } from './bazaar.ts'

describe('a download', () => {
  it('pays a unit a piece, and both sides agree in the end', async () => {
    const bazaar = await openBazaar(filmOf(24))
    const stand = await bazaar.stand('anna', { price: 3n })
    const buyer = await bazaar.buyer()
    const download = await buyer.fetch()
    expect(buyer.faults).toEqual([])
    expect(download).toMatchObject({ state: 'done', paid: 72n, ticks: 24, done: download.bytes, file: 'film.bin' })
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(bazaar.content.files.get('film.bin'))
    expect(await buyer.available()).toBe(FAUCET - 72n)
    expect(await buyer.frozen()).toBe(0n)
    expect(await stand.earned()).toBe(72n)
    expect([...stand.sent.values()].every((times) => times === 1)).toBe(true)
  })
})
