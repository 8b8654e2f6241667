import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { floorOf } from '../../agent/share/floor.ts'
import { createShares } from '../../agent/share/share.ts'
import { COSTS, costOf, DEAREST } from '../../agent/storage/ways.ts'
import { limits } from '../../protocol/limits.ts'
import { pattern } from '../pattern.ts'
import { MiB, openShop, type Shop } from './shop.ts'

const NOW = 1_800_000_000_000
const ordered = { unitPrice: 3n, price: { seq: 2, unitPrice: 8n, effective: NOW } }
const UNIT = limits.pieceBytesDefault

describe('what a piece costs', () => {
  test('is a unit’s price for 4 MiB sent from the dearest provider, and more for more', () => {
    expect(floorOf(ordered, DEAREST, UNIT, NOW)).toBe(8n)
    expect(floorOf(ordered, DEAREST, 4 * UNIT, NOW)).toBe(32n)
    expect(floorOf(ordered, DEAREST, 1, NOW)).toBe(1n)
    for (const provider of Object.keys(COSTS)) {
      expect(costOf('through', { provider }, undefined, UNIT)).toBeLessThanOrEqual(
        costOf('through', { provider: DEAREST }, undefined, UNIT),
      )
    }
  })

  test('goes by the price in effect, of a ledger that has ordered one', () => {
    expect(floorOf(ordered, DEAREST, UNIT, NOW - 1)).toBe(3n)
    expect(floorOf({ ...ordered, price: { ...ordered.price, seq: 1 } }, DEAREST, UNIT, NOW - 1)).toBe(0n)
    expect(floorOf({ unitPrice: 3n }, DEAREST, UNIT, NOW)).toBe(0n)
  })

  test('is nothing where sending is free, such as at home', () => {
    expect(floorOf(ordered, 'drive', UNIT, NOW)).toBe(0n)
  })

  test('never falls as pieces grow or units get dearer', () => {
    const amount = fc.bigInt({ min: 0n, max: 2n ** 62n })
    const bytes = fc.integer({ min: 1, max: limits.pieceBytesMax })
    fc.assert(
      fc.property(amount, amount, bytes, bytes, (a, b, c, d) => {
        const floor = (unitPrice: bigint, size: number): bigint =>
          floorOf({ unitPrice: 0n, price: { seq: 1, unitPrice, effective: 0 } }, DEAREST, size, NOW)
        const [low, high] = a < b ? [a, b] : [b, a]
        expect(floor(low, Math.min(c, d))).toBeLessThanOrEqual(floor(high, Math.max(c, d)))
      }),
    )
  })
})

describe('a seller', () => {
  let shop: Shop
  const price = { seq: 1, unitPrice: 8n, effective: 0 }
  beforeEach(async () => {
    shop = await openShop(undefined, { sendsFrom: DEAREST })
    shop.prices = async () => ({ unitPrice: 5n, price })
    await shop.plant('film', pattern(5 * MiB))
  })
  afterEach(() => shop.close())

  test('asks no less than a piece costs, and says what that is', async () => {
    const refusal = { code: 'below-cost', members: { least: '8' } }
    await expect(shop.shares.add({ path: 'film', price: 7n })).rejects.toMatchObject(refusal)
    expect(await shop.shares.list()).toEqual([])
    expect(await shop.shares.add({ path: 'film', price: 8n })).toMatchObject({ price: 8n })
  })

  test('follows the ledger’s orders, and asks nothing of it where sending is free', async () => {
    await shop.shares.add({ path: 'film', price: 8n })
    shop.prices = async () => ({ unitPrice: 9n, price: { ...price, unitPrice: 9n } })
    await expect(shop.shares.add({ path: 'film', price: 8n })).rejects.toMatchObject({ members: { least: '9' } })
    const home = await openShop()
    home.prices = () => Promise.reject(new Error('It was asked.'))
    await home.plant('film', pattern(5))
    expect(await home.shares.add({ path: 'film', price: 1n })).toMatchObject({ price: 1n })
    await home.close()
  })

  test('goes by the storage that it shares from, where it sends from home', async () => {
    const { storage } = await shop.links.open()
    const lent = { ...storage, site: async () => ({ provider: DEAREST, hosts: [], lends: false }) }
    const links = { ...shop.links, open: async () => ({ name: 'folder', storage: lent }) }
    const { sendsFrom: _, ...home } = shop.context
    const shares = createShares(home, links)
    await expect(shares.add({ path: 'film', price: 7n })).rejects.toMatchObject({ members: { least: '8' } })
  })

  test('that names no price asks what a piece costs where that is more than the usual', async () => {
    expect(await shop.shares.add({ path: 'film' })).toMatchObject({ price: 8n })
  })

  test('asks less when told to, and goes on with it; and may give away', async () => {
    expect(await shop.shares.add({ path: 'film', price: 2n, belowCost: true })).toMatchObject({ price: 2n })
    expect(await shop.shares.add({ path: 'film' })).toMatchObject({ price: 2n })
    expect(await shop.shares.add({ path: 'film', public: true })).toMatchObject({ price: 0n, public: true })
  })
})
