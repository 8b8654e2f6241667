import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cheapestWay, costOf, COSTS, placeFrom, placeUrl, waysOf, type Site } from '../../agent/storage/ways.ts'

const site = (region?: string, lends = true): Site => ({
  provider: 's3',
  hosts: ['s3.example'],
  lends,
  ...(region !== undefined && { region }),
})
const PIECE = 4 * 1024 ** 2

test('the way chosen is the cheapest of the table among those that are allowed', () => {
  const sites = fc.constantFrom(site('a'), site('b'), site(), undefined)
  const pieces = fc.integer({ min: 1, max: 64 * 1024 ** 2 })
  fc.assert(
    fc.property(sites, pieces, fc.boolean(), fc.boolean(), (home, bytes, mayLink, mayCopy) => {
      const offered = waysOf(site('a'))
      const allowed = { link: mayLink, copy: mayCopy, through: true }
      const chosen = cheapestWay(offered, home, bytes, ({ way }) => allowed[way])?.way ?? 'through'
      const costs = (['copy', 'link', 'through'] as const)
        .filter((way) => allowed[way])
        .map((way) => costOf(way, site('a'), home, bytes))
      expect(costOf(chosen, site('a'), home, bytes)).toBe(Math.min(...costs))
    }),
  )
})

test('in one region a copy is cheaper than a link, and a link than the agent; over the internet a link at least', () => {
  const all = () => true
  expect(cheapestWay(waysOf(site('a')), site('a'), PIECE, all)?.way).toBe('copy')
  expect(cheapestWay(waysOf(site('a', false)), site('a'), PIECE, all)?.way).toBe('link')
  expect(cheapestWay(waysOf(site('a', false)), undefined, PIECE, all)?.way).toBe('link')
  expect(cheapestWay([], site('a'), PIECE, all)).toBeUndefined()
})

test('every way of every provider costs something', () => {
  for (const [provider, ways] of Object.entries(COSTS)) {
    for (const way of Object.keys(ways) as (keyof typeof ways)[]) {
      expect([provider, way, costOf(way, { provider }, undefined, PIECE) > 0]).toEqual([provider, way, true])
    }
  }
})

test('a place comes back from its URL, and nothing else is one', () => {
  const source = { provider: 's3', place: 'bucket/a%20b/%C3%BC', version: 'ab-12' }
  expect(placeFrom(placeUrl(source))).toEqual(source)
  for (const url of ['', 'https://s3.example/x', 's3://', 's3://x', 's3://a b?version=1', 's3://a\r\nb?version=1']) {
    expect([url, placeFrom(url)]).toEqual([url, undefined])
  }
})
