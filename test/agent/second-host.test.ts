/** One owner at two hosts: each has a key and a store of its own, and knows nothing of the ticks that the other was paid with. */
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { createSeller, type Seller } from '../../agent/sell/sell.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { createUsage } from '../../agent/usage.ts'
import type { Shares } from '../../agent/share/share.ts'
import type { Trust } from '../../agent/trust/trust.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import { limits } from '../../protocol/limits.ts'
import { tickToJson } from '../../protocol/payword.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { openMarket, outcome, pieceOf, PRICE, type Market } from './market.ts'

const UNITS = 8

async function secondHost({ clock, content, context, ledger, party, share }: Market): Promise<Seller> {
  const signer = signerFrom(sha256(utf8('second host')))
  const caps = { day: 10n ** 9n, total: 10n ** 9n, issued: clock.now(), expires: clock.now() + limits.delegationMs }
  const terms = { ...caps, agent: signer.key, owner: party.id, may: ['spend', 'announce'] as const }
  const delegation = delegate({ ...terms, ledger: ledger.id }, party.owner)
  await ledger.client.delegate(delegation)
  const here = { ...context, signer, delegation, store: openSqlite(':memory:') }
  const shares: Partial<Shares> = {
    get: async () => share,
    readPiece: async (_, index) => pieceOf(share, content, index),
  }
  const trust: Partial<Trust> = { creditFor: async () => ({ credit: 0, vouches: [] }) }
  const world = { shares: shares as Shares, trust: trust as Trust }
  return createSeller(here, { ...world, usage: createUsage(here), guard: createGuard(here) })
}

describe('a lane that the first host of an owner has claimed', () => {
  it('buys nothing at the second: its ticks are paid once, and buy once', async () => {
    const market = await openMarket()
    const lane = (await (await market.payer('payer')).declare(24)).lane('prepaid', 0, 2)
    const buy = (seller: Seller, index: number, unit: number) =>
      outcome(seller.piece(market.share.infoHash, index, lane.payment(unit), market.url(index)))
    for (let unit = 1; unit <= UNITS; unit++) expect(await buy(market.seller, unit - 1, unit)).toBe('served')
    await market.seller.redeem({})
    const second = await secondHost(market)
    for (let unit = 1; unit <= UNITS; unit++) expect(await buy(second, UNITS + unit - 1, unit)).toBe('lane-taken')
    expect((await market.ledger.balance(toHex(market.party.id))).earned).toBe(BigInt(UNITS) * PRICE)
  })

  it('gets no sealed piece from the second, whose keys the ledger would not take', async () => {
    const market = await openMarket()
    const lane = (await (await market.payer('payer')).declare(24)).lane('sealed', 0, 2)
    const ask = (seller: Seller) => outcome(seller.piece(market.share.infoHash, 0, lane.payment(0), market.url(0)))
    expect(await ask(market.seller)).toBe('served')
    const second = await secondHost(market)
    expect(await ask(second)).toBe('lane-taken')
    await expect(second.tick(tickToJson(lane.tick(1)))).rejects.toMatchObject({ code: 'not-found' })
  })
})
