import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createJournal } from '../../agent/download/journal.ts'
import type { LaneTerms, Purse } from '../../agent/wallet/wallet.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import { parseDeclaration } from '../../protocol/declaration.ts'
import { limits } from '../../protocol/limits.ts'
import { segmentOf, tickFromJson, verifyLink } from '../../protocol/payword.ts'
import { decodePayment, type Offer } from '../../protocol/x402.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { filmOf, PIECE_BYTES } from './bazaar-content.ts'

const PAYEE = 'ab'.repeat(32)
const HOUR_MS = 3_600_000

const termsOf = (bazaar: Bazaar, changes: Partial<LaneTerms> = {}): LaneTerms => ({
  content: bazaar.content.infoHash,
  unitBytes: PIECE_BYTES,
  price: 2n,
  payee: PAYEE,
  url: 'https://anna.example',
  mode: 'prepaid',
  segmentMax: 64,
  units: 4,
  unitsLeft: 100,
  ...changes,
})
const offer: Offer = {
  scheme: 'batch-settlement',
  network: `payword:${'0'.repeat(32)}`,
  amount: '2',
  asset: 'credit',
  payTo: PAYEE,
  maxTimeoutSeconds: 60,
  extra: { mode: 'prepaid', content: PAYEE, unitBytes: PIECE_BYTES, segmentMax: 64, ledger: 'https://ledger.example' },
}

const openPurse = (bazaar: Bazaar, { wallet, context }: Buyer, id = 'one'): Promise<Purse> =>
  bazaar.happen(wallet.open(id, createJournal(context.store)))

describe('a wallet', () => {
  it('hands out lanes that do not overlap and whose caps are the declared units', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const buyer = await bazaar.buyer()
    const wishes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 })
    let downloads = 0
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), wishes, async (unitsLeft, units) => {
        const purse = await openPurse(bazaar, buyer, `download ${downloads++}`)
        await bazaar.happen(
          Promise.all(units.map((some) => purse.openLane(termsOf(bazaar, { units: some, unitsLeft })))),
        )
        const taken = new Map<string, number>()
        const caps = new Map<string, number>()
        for (const lane of purse.lanes) {
          lane.assign(0)
          const { payload } = decodePayment(lane.payment(offer, true))
          const { declaration, first, segments, cap } = parseCommitment(envelopeFromJson(payload.commitment))
          const name = Buffer.from(declaration).toString('hex')
          expect(first).toBe(taken.get(name) ?? 0)
          taken.set(name, first + segments)
          caps.set(name, (caps.get(name) ?? 0) + cap)
          expect(cap).toBe(lane.cap)
        }
        for (const cap of caps.values()) expect(cap).toBeLessThanOrEqual(unitsLeft)
        await bazaar.happen(buyer.wallet.finish(`download ${downloads - 1}`, 60_000))
      }),
      { numRuns: 20 },
    )
    expect(await buyer.frozen()).toBe(0n)
  })

  it('lists a new lane as one that is used, so that nobody takes it before its opener goes on', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const purse = await openPurse(bazaar, await bazaar.buyer())
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar)))
    expect([...purse.busy]).toEqual([lane])
  })

  it('makes ticks that the declared root proves, each for the next unit', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const buyer = await bazaar.buyer()
    const purse = await openPurse(bazaar, buyer)
    await bazaar.happen(purse.openLane(termsOf(bazaar, { units: 10 })))
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar, { units: 10 })))
    const [id] = (await bazaar.account(buyer.id)).declarations
    const { declaration } = await bazaar.happen(buyer.context.ledger.declaration(id as string))
    const { tickRoot, units, segment } = parseDeclaration(declaration)
    const shape = { units, segment }
    for (let unit = 1; unit <= lane.cap; unit++) {
      lane.assign(unit)
      const { commitment, tick } = decodePayment(lane.payment(offer, true)).payload
      const { first } = parseCommitment(envelopeFromJson(commitment))
      const { link, proof = [] } = tickFromJson(tick)
      expect(tick).toMatchObject({ lane: lane.id, unit })
      verifyLink(tickRoot, shape, { first }, unit, link, proof)
      const opens = unit === 1 || segmentOf(shape, first, unit) > segmentOf(shape, first, unit - 1)
      expect(decodePayment(lane.payment(offer, false)).payload.tick?.proof !== undefined).toBe(opens)
      lane.verified()
    }
    expect(lane.left).toBe(0)
  })

  it('asks for a pending piece with the same unit, and gives that unit to another piece when the first came elsewhere', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const purse = await openPurse(bazaar, await bazaar.buyer())
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar)))
    lane.assign(7)
    lane.assign(7)
    expect(lane).toMatchObject({ ticks: 1, pending: 7 })
    lane.assign(8)
    expect(lane).toMatchObject({ ticks: 1, pending: 8 })
    lane.burn()
    expect(lane).toMatchObject({ ticks: 2, pending: 8 })
    lane.verified()
    expect(lane).toMatchObject({ ticks: 2, pending: undefined })
  })

  it('on credit ticks only for what is verified', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const purse = await openPurse(bazaar, await bazaar.buyer())
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar, { mode: 'credit' })))
    lane.assign(3)
    expect(lane).toMatchObject({ ticks: 0, left: lane.cap - 1 })
    expect(decodePayment(lane.payment(offer, true)).payload.tick).toBeUndefined()
    lane.assign(4)
    lane.verified()
    expect(lane).toMatchObject({ ticks: 1, left: lane.cap - 2 })
  })

  it('never puts a secret in what it stores', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const { context, wallet } = await bazaar.buyer()
    const purse = await bazaar.happen(wallet.open('one', createJournal(context.store)))
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar)))
    const stored = await context.store.list('wallet/one', { limit: 100 })
    lane.assign(0)
    const { link } = tickFromJson(decodePayment(lane.payment(offer, true)).payload.tick)
    const text = stored.map(({ body }) => Buffer.from(body).toString('latin1')).join()
    expect(text).not.toContain(Buffer.from(link).toString('base64url'))
    expect(Object.keys(JSON.parse(Buffer.from(stored[0]?.body ?? []).toString()) as object)).not.toContain('seed')
  })

  it('opens the same lanes after a restart, and declares once', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const first = await bazaar.buyer()
    const before = await openPurse(bazaar, first)
    const lane = await bazaar.happen(before.openLane(termsOf(bazaar)))
    lane.assign(0)
    const second = await bazaar.buyer()
    const after = await openPurse(bazaar, second)
    const [again] = after.lanes
    again?.assign(0)
    expect(again?.payment(offer, true)).toBe(lane.payment(offer, true))
    await bazaar.happen(after.openLane(termsOf(bazaar)))
    expect((await bazaar.account(second.id)).declarations).toHaveLength(1)
  })

  it('declares anew when the segments are used up or about to end, at another price, and for shorter segments', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const buyer = await bazaar.buyer()
    const purse = await openPurse(bazaar, buyer)
    const declared = async () => (await bazaar.account(buyer.id)).declarations.length
    await bazaar.happen(purse.openLane(termsOf(bazaar, { unitsLeft: 512, units: 512 })))
    await bazaar.happen(purse.openLane(termsOf(bazaar, { unitsLeft: 512 })))
    expect(await declared()).toBe(2)
    await bazaar.happen(purse.openLane(termsOf(bazaar, { unitsLeft: 512, price: 3n })))
    expect(await declared()).toBe(3)
    await bazaar.happen(purse.openLane(termsOf(bazaar, { unitsLeft: 512, segmentMax: 2 })))
    expect(await declared()).toBe(4)
    await bazaar.pass(24 * HOUR_MS - limits.redeemAheadMs)
    await bazaar.happen(purse.openLane(termsOf(bazaar, { unitsLeft: 512 })))
    expect(await declared()).toBe(5)
    expect(purse.paid()).toEqual({ ticks: 0, credits: 0n })
  })

  it('asks again for the declaration that the ledger refused, and for no other as long as it is what is needed', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const buyer = await bazaar.buyer()
    const purse = await openPurse(bazaar, buyer)
    const asked = new Set<string>()
    bazaar.network.onSend(({ url, body }) => {
      if (url.pathname === '/v1/declarations') asked.add(Buffer.from(body).toString())
    })
    const open = (price: bigint) => bazaar.happen(purse.openLane(termsOf(bazaar, { price, unitsLeft: 10 })))
    for (let tries = 0; tries < 3; tries++) {
      await expect(open(FAUCET)).rejects.toMatchObject({ code: 'funds-insufficient' })
    }
    expect(asked.size).toBe(1)
    expect(purse.lanes).toHaveLength(0)
    expect((await open(FAUCET / 10n)).price).toBe(FAUCET / 10n)
  })
})

describe('the end of a download', () => {
  it('gives back what a vanished seller claimed, once its time has passed and the ledger is there', async () => {
    const bazaar = await openBazaar(filmOf(1_000))
    const stand = await bazaar.stand('anna', { price: 5n })
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) >= 10)
    stand.leave()
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    const frozen = await buyer.frozen()
    expect(frozen).toBeGreaterThan(0n)
    // Of 5,000 credits: what it would have sent in the next 15 seconds, about.
    expect(frozen).toBeLessThanOrEqual(1_250n)
    for (let hours = 0; hours < 24; hours++) {
      await bazaar.pass(HOUR_MS)
      await bazaar.happen(buyer.wallet.maintain())
    }
    expect(await buyer.frozen()).toBe(frozen)
    bazaar.setLedgerUp(false)
    await bazaar.pass(2 * HOUR_MS)
    await bazaar.happen(buyer.wallet.maintain())
    await bazaar.pass(HOUR_MS)
    bazaar.setLedgerUp(true)
    await bazaar.happen(buyer.wallet.maintain())
    expect(await buyer.frozen()).toBe(0n)
    expect(await buyer.available()).toBe(FAUCET)
    expect(await buyer.context.store.list('wallet', { limit: 10 })).toEqual([])
  })

  it('is settled when the seller comes back', async () => {
    const bazaar = await openBazaar(filmOf(20))
    const stand = await bazaar.stand('anna', { price: 5n })
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) >= 10)
    stand.leave()
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(300_000)
    stand.comeBack()
    for (let tries = 0; tries < 3; tries++) {
      await bazaar.happen(buyer.wallet.maintain())
      await bazaar.pass(300_000)
    }
    expect(await buyer.frozen()).toBe(0n)
    const earned = await stand.earned()
    expect(earned).toBeGreaterThanOrEqual(50n)
    expect(await buyer.available()).toBe(FAUCET - earned)
  })

  it('gives all back at once though the last tick has not reached its seller', async () => {
    const bazaar = await openBazaar(filmOf(20))
    const stand = await bazaar.stand('anna', { modes: ['prepaid'] })
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) >= 5)
    stand.spoil = async () => Response.json({ code: 'internal', detail: 'Sorry.' }, { status: 500 })
    await bazaar.pass(10_000)
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    expect(await buyer.frozen()).toBe(0n)
    expect(await buyer.available()).toBe(FAUCET - (await stand.earned()))
    expect((await buyer.downloads.get(id))?.paid).toBe(await stand.earned())
  })

  it('does not wait longer for a seller than it has patience', async () => {
    const bazaar = await openBazaar(filmOf(6))
    const stand = await bazaar.stand('anna', { modes: ['prepaid'] })
    const buyer = await bazaar.buyer({ pace: { patienceMs: 2_000 } })
    let arrived = 0
    bazaar.network.onArrival(({ headers, answer }) => {
      if (headers.has('payment-signature') && answer.status === 200 && ++arrived === 6) stand.leave()
    })
    const started = bazaar.scheduler.now()
    expect(await buyer.fetch()).toMatchObject({ state: 'done' })
    expect(bazaar.scheduler.now() - started).toBeLessThan(10_000)
  })

  it('takes a declaration back that no seller has claimed of', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const buyer = await bazaar.buyer()
    const purse = await openPurse(bazaar, buyer)
    const lane = await bazaar.happen(purse.openLane(termsOf(bazaar, { payee: PAYEE })))
    expect(fromHex(lane.id)).toHaveLength(32)
    expect(await buyer.frozen()).toBe(200n)
    await bazaar.happen(buyer.wallet.finish('one', 60_000))
    expect(await buyer.frozen()).toBe(0n)
    await bazaar.happen(buyer.wallet.finish('one', 60_000))
    expect(await buyer.available()).toBe(FAUCET)
  })
})
