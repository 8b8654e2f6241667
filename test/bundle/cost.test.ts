import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { costOf, type Way } from '../../agent/storage/ways.ts'
import {
  boughtTib,
  costTables,
  dollars,
  idleMonth,
  ledgerMonth,
  PRICES,
  soldTib,
  watchMonth,
  witnessMonth,
} from './cost.ts'

const PAGE = fileURLToPath(new URL('../../docs/COST.md', import.meta.url))

describe('the cost of an agent', () => {
  it('is below ten cents a month while nobody asks anything of it', () => {
    expect(dollars(idleMonth())).toBeLessThan(0.1)
  })

  it('is a few dollars for a ledger and a witness that are busy all month', () => {
    expect(dollars(ledgerMonth(true)) + dollars(witnessMonth(true))).toBeLessThan(0.5)
    expect(dollars(ledgerMonth(false)) + dollars(witnessMonth(false))).toBeLessThan(3)
  })

  it('is less than a dollar more to be told what is wrong', () => {
    for (const stack of ['agent', 'repository', 'ledger', 'witness'] as const) {
      expect(dollars(watchMonth(stack, false))).toBeLessThan(1)
    }
  })

  it('is nearly all egress where it sends to the internet, and small in one region', () => {
    expect(dollars(soldTib('internet', true))).toBeGreaterThan(90)
    expect(dollars(soldTib('same region', true)) + dollars(boughtTib('bucket'))).toBeLessThan(3)
  })

  it('is egress too where what it buys goes to a drive elsewhere', () => {
    expect(dollars(boughtTib('drive'))).toBeGreaterThan(90)
  })

  it('takes from S3 the prices by which an agent chooses its way', () => {
    const [bytes, from] = [1024 ** 3, { provider: 's3' }]
    const perGiB = (way: Way) => (costOf(way, from, undefined, bytes) - costOf(way, from, undefined, 0)) / 1e6
    expect(perGiB('link')).toBeCloseTo(PRICES.egressGb)
    expect(perGiB('copy')).toBeCloseTo(PRICES.otherRegionGb)
    expect(costOf('copy', from, undefined, 0) / 1e6).toBeCloseTo(PRICES.s3Put, 9)
  })

  it('stands in COST.md as it is computed', async () => {
    let page = readFileSync(PAGE, 'utf8')
    for (const [name, table] of Object.entries(costTables())) {
      const place = new RegExp(`(<!-- table: ${name} -->\n)[^]*?(\n?<!-- /table -->)`)
      expect(page).toMatch(place)
      page = page.replace(place, (_, start: string) => `${start}\n${table}\n\n<!-- /table -->`)
    }
    await expect(page).toMatchFileSnapshot(PAGE)
  })
})
