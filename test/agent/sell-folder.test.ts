/** Selling from a real folder: what happens when the file is not what it was. */
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createLinks, type Links } from '../../agent/storage/links.ts'
import { createSeller } from '../../agent/sell/sell.ts'
import { createShares } from '../../agent/share/share.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { createUsage } from '../../agent/usage.ts'
import { equal } from '../../protocol/bytes.ts'
import { openMarket, outcome, pieceOf } from './market.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** The market's content in a folder, and a seller who shares it from there. */
async function open() {
  const market = await openMarket()
  const dir = await mkdtemp(join(tmpdir(), 'raincheck-sell-'))
  const file = join(dir, 'film.bin')
  await writeFile(file, market.content)
  const repository = { putTorrent: async () => {}, putLeaves: async () => {}, announce: async () => {} }
  const context = { ...market.context, repository } as unknown as typeof market.context
  const links: Links = createLinks(context)
  cleanups.push(
    () => rm(dir, { recursive: true }),
    () => links.close(),
  )
  await links.add('folder', { path: dir })
  const shares = createShares(context, links, market.share.pieceLength)
  const share = await shares.add({ path: 'film.bin', price: market.share.price })
  const trust = { creditFor: async () => ({ credit: 0, vouches: [] }) }
  const seller = createSeller(context, {
    shares,
    trust: trust as never,
    usage: createUsage(context),
    guard: createGuard(context),
  })
  const lane = (await (await market.payer('payer')).declare(24)).lane('prepaid', 0, 6)
  const buy = (index: number, unit: number) =>
    seller.piece(share.infoHash, index, lane.payment(unit), market.url(index))
  const raise = (price: bigint, path = 'film.bin') => shares.add({ path, price })
  return { ...market, seller, share, file, buy, raise, dir }
}

describe('a seller with a folder', () => {
  it('serves the bytes of the file', async () => {
    const { buy, share, content } = await open()
    for (const index of [0, 5, 23]) {
      const reply = await buy(index, [0, 5, 23].indexOf(index) + 1)
      expect(equal(reply.body, pieceOf(share, content, index))).toBe(true)
      reply.done()
    }
  })

  it('takes no tick once the file has shrunk, and no longer offers it', async () => {
    const { buy, seller, share, file } = await open()
    expect(await outcome(buy(0, 1))).toBe('served')
    await truncate(file, 1000)
    expect(await outcome(buy(1, 2))).toBe('content-changed')
    expect(await outcome(buy(1, 2))).toBe('content-changed')
    expect(await seller.outstanding()).toBe(share.price)
    await expect(seller.offer(share.infoHash)).rejects.toMatchObject({ code: 'content-changed' })
  })

  it('takes no tick while the file is gone', async () => {
    const { buy, seller, share, file } = await open()
    await rm(file)
    expect(await outcome(buy(0, 1))).toBe('content-changed')
    expect(await seller.outstanding()).toBe(0n)
    expect(share.pieces).toBe(24)
  })
})

describe('a price that was raised', () => {
  it('is not asked for another minute from who had read the one before', async () => {
    const { buy, raise, share, clock } = await open()
    await raise(share.price + 1n)
    clock.advance(59_999)
    expect(await outcome(buy(0, 1))).toBe('served')
    clock.advance(60_000)
    expect(await outcome(buy(1, 2))).toBe('served')
  })

  it('is asked after that minute', async () => {
    const { buy, raise, share, clock } = await open()
    await raise(share.price + 1n)
    clock.advance(60_000)
    expect(await outcome(buy(0, 1))).toBe('payment-required')
  })

  it('holds the least of the prices that may have been read, also when it is raised twice', async () => {
    const { buy, raise, share, clock } = await open()
    await raise(share.price + 1n)
    clock.advance(30_000)
    await raise(share.price + 2n)
    clock.advance(29_000)
    expect(await outcome(buy(0, 1))).toBe('served')
  })

  it('does not hold what nobody could read any more', async () => {
    const { buy, raise, share, clock } = await open()
    await raise(share.price + 1n)
    clock.advance(60_000)
    await raise(share.price + 2n)
    expect(await outcome(buy(0, 1))).toBe('payment-required')
  })

  it('holds when the same content is shared from another path', async () => {
    const { buy, raise, share, content, dir } = await open()
    await mkdir(join(dir, 'other'))
    await writeFile(join(dir, 'other', 'film.bin'), content)
    await raise(share.price + 1n, 'other/film.bin')
    expect(await outcome(buy(0, 1))).toBe('served')
  })
})
