import { describe, expect, it } from 'vitest'
import { createDownloads } from '../../agent/download/download.ts'
import { createJournal } from '../../agent/download/journal.ts'
import type { LedgerClient, LedgerLane } from '../../agent/clients/ledger-client.ts'
import type { Links } from '../../agent/storage/links.ts'
import type { Lane } from '../../agent/wallet/lane.ts'
import type { Parked } from '../../agent/wallet/parked.ts'
import { createWallet } from '../../agent/wallet/wallet.ts'
import { Problem } from '../../protocol/problem.ts'
import { sealedBytes } from '../../protocol/sealed.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import type { StandOptions } from './bazaar-stand.ts'
import { filmOf, PIECE_BYTES } from './bazaar-content.ts'

const HOUR_MS = 3_600_000
const PACE = { refreshMs: 600_000, laneMs: 1, lanesPerSeller: 1 }

async function hours(bazaar: Bazaar, { wallet }: Buyer, count: number): Promise<void> {
  for (let hour = 0; hour < count; hour++) {
    await bazaar.pass(HOUR_MS)
    await bazaar.happen(wallet.maintain())
  }
}

const start = async ({ happen, content }: Pick<Bazaar, 'happen' | 'content'>, { downloads }: Buyer): Promise<string> =>
  (await happen(downloads.start({ source: content.infoHash }))).id

const piecesOf = async ({ downloads }: Buyer, id: string): Promise<number> => (await downloads.get(id))?.piecesDone ?? 0

const isDone = async ({ downloads }: Buyer, id: string): Promise<boolean> => (await downloads.get(id))?.state === 'done'

/** A download whose declaration holds every credit that its owner has, some pieces on. */
async function allFrozen(terms: StandOptions) {
  const bazaar = await openBazaar(filmOf(40))
  const stand = await bazaar.stand('anna', terms)
  const buyer = await bazaar.buyer({ pace: PACE })
  const id = await start(bazaar, buyer)
  await bazaar.until(async () => (await piecesOf(buyer, id)) >= 10)
  return { bazaar, stand, buyer, id }
}

describe('what is frozen for a download that goes on', () => {
  it.each(['sealed', 'prepaid'] as const)(
    'is given back once it has expired, and then pays for the rest: %s',
    async (mode) => {
      const { bazaar, stand, buyer, id } = await allFrozen({ price: FAUCET / 40n, modes: [mode] })
      stand.leave()
      await hours(bazaar, buyer, 24)
      const paid = (await buyer.downloads.get(id))?.paid ?? 0n
      expect(await buyer.available()).toBe(0n)
      await hours(bazaar, buyer, 3)
      expect(await buyer.downloads.get(id)).toMatchObject({ state: 'waiting', reason: 'no-sellers' })
      expect(await buyer.frozen()).toBe(0n)
      expect(await buyer.available()).toBeGreaterThanOrEqual(FAUCET - paid)
      stand.comeBack()
      await hours(bazaar, buyer, 2)
      expect(await buyer.downloads.get(id)).toMatchObject({ state: 'done' })
      expect(await buyer.frozen()).toBe(0n)
      expect(await stand.earned()).toBe(FAUCET - (await buyer.available()))
    },
  )

  it('is given back when the seller asks another price, and there is not enough for both', async () => {
    const terms = { price: 20_000n }
    const { bazaar, stand, buyer, id } = await allFrozen(terms)
    terms.price++
    const done = await buyer.rest(id)
    expect(done).toMatchObject({ state: 'done', ticks: 40 })
    await hours(bazaar, buyer, 1)
    expect(await buyer.frozen()).toBe(0n)
    expect(FAUCET - (await buyer.available())).toBe(done.paid)
    expect(await stand.earned()).toBe(done.paid)
  })

  it('is given back though the buyer is killed at any write', async () => {
    let deaths = 0
    while (await dieAt(deaths + 1)) deaths++
    expect(deaths).toBeGreaterThan(10)
  })

  /** At its `at`th write after the price has changed. @returns whether it lived so long */
  async function dieAt(at: number): Promise<boolean> {
    const terms = { price: 105_000n }
    const bazaar = await openBazaar(filmOf(8))
    const stand = await bazaar.stand('anna', terms)
    let writes = -Infinity
    const mortal = (inner: Store): Store => ({
      ...inner,
      async write(changes) {
        if (++writes < at) return inner.write(changes)
        await inner.write(changes)
        first.kill()
        return new Promise<never>(() => undefined)
      },
    })
    const first = await bazaar.buyer({ pace: PACE, wrapStore: mortal })
    const id = await start(bazaar, first)
    await bazaar.until(async () => (await piecesOf(first, id)) >= 3)
    terms.price++
    writes = 0
    await bazaar.until(async () => writes >= at || (await isDone(first, id)))
    if (writes < at) return false
    const second = await bazaar.buyer({ pace: PACE })
    await bazaar.happen(second.downloads.resumeAll())
    const isOver = async () => (await isDone(second, id)) && (await second.frozen()) === 0n
    // A sealed piece whose key was not heard may be disputed until its lane has expired.
    for (let hour = 0; hour < 27 && !(await isOver()); hour++) await hours(bazaar, second, 1)
    expect(await isOver(), `death ${at}`).toBe(true)
    const paid = FAUCET - (await second.available())
    expect(await stand.earned()).toBe(paid)
    // A tick that had left at the old price may not be used again.
    expect(paid).toBeLessThanOrEqual(9n * terms.price)
    expect(await second.context.store.list('wallet', { limit: 10 })).toEqual([])
    return true
  }
})

describe('a purse without enough for another declaration', () => {
  const PAYEE = 'ab'.repeat(32)

  /** Three lanes of one declaration that nobody uses: one whose piece came, one whose tick has left, one of another seller. */
  async function threeLanes(ledger: Partial<LedgerClient> = {}) {
    const bazaar = await openBazaar(filmOf(1))
    const { context, frozen } = await bazaar.buyer()
    const wallet = createWallet({ ...context, ledger: { ...context.ledger, ...ledger } })
    const journal = createJournal(context.store)
    const purse = await bazaar.happen(wallet.open('one', journal))
    const open = (price: bigint, payee = PAYEE) => {
      const wish = {
        content: bazaar.content.infoHash,
        unitBytes: PIECE_BYTES,
        price,
        payee,
        url: 'https://anna.example',
      }
      return bazaar.happen(purse.openLane({ ...wish, mode: 'sealed', segmentMax: 4, units: 4, unitsLeft: 100 }))
    }
    const [read, paid, other] = [await open(2n), await open(2n), await open(2n, 'cd'.repeat(32))]
    for (const lane of [read, paid, other]) {
      await bazaar.happen(journal.write([lane.assign(0)]))
      await bazaar.happen(journal.write([lane.pay()]))
    }
    await bazaar.happen(journal.write([read.verified(), other.verified()]))
    const body = new Uint8Array(sealedBytes({ length: PIECE_BYTES }))
    // Any envelope does: nobody reads the label.
    await bazaar.happen(purse.parking.park(parkedOn(paid, context.delegation), body))
    const states = () => [read, paid, other].map(({ state }) => state)
    return { bazaar, purse, open, states, frozen }
  }

  const parkedOn = ({ id, unit }: Lane, label: Envelope): Parked => ({
    lane: id,
    unit,
    shape: { piece: 0, length: PIECE_BYTES, levels: 0 },
    label: envelopeToJson(label),
  })

  it('ends the lanes that the seller takes no more, but for one whose piece may still come', async () => {
    const { purse, open, states, frozen } = await threeLanes()
    purse.busy.clear()
    expect(await frozen()).toBe(200n)
    await expect(open(FAUCET)).rejects.toMatchObject({ code: 'funds-insufficient' })
    expect(states()).toEqual(['settling', 'open', 'open'])
    expect(await frozen()).toBe(0n)
    // What came sealed is kept for its key.
    expect(await purse.parking.list()).toHaveLength(1)
  })

  it('leaves a sealed piece whose key is shown by now to the download that waits for it', async () => {
    const sealed = { key: 'ab'.repeat(32) }
    const lane = async (): Promise<LedgerLane> => ({ redeemed: 1, closed: false, sealed }) as unknown as LedgerLane
    const { purse, open, states } = await threeLanes({ lane })
    purse.busy.clear()
    await expect(open(FAUCET)).rejects.toMatchObject({ code: 'funds-insufficient' })
    expect(states()).toEqual(['settling', 'open', 'open'])
    expect(await purse.parking.list()).toHaveLength(1)
  })

  it('leaves a declaration alone of which a lane is in use', async () => {
    const { purse, open, states, frozen } = await threeLanes()
    for (const lane of [...purse.busy].slice(1)) purse.busy.delete(lane)
    await expect(open(FAUCET)).rejects.toMatchObject({ code: 'funds-insufficient' })
    expect(states()).toEqual(['open', 'open', 'open'])
    expect(await frozen()).toBe(200n)
  })

  it.each([
    ['is published', { redeemed: 1 }, 'open'],
    ['may be, as the ledger does not answer', new Problem('peer-failed', 'It does not answer.'), 'open'],
    ['will not be', { redeemed: 0 }, 'settling'],
    ['will not be, as the lane was never claimed', new Problem('not-found', 'It knows no such lane.'), 'settling'],
  ] as const)('once all has expired, asks whether the key of a sealed piece %s', async (_, said, state) => {
    const lane = async (): Promise<LedgerLane> => {
      if (said instanceof Problem) throw said
      return { ...said, closed: false } as LedgerLane
    }
    const { bazaar, purse, states } = await threeLanes({ lane })
    purse.busy.clear()
    await bazaar.pass(24 * HOUR_MS)
    await bazaar.happen(purse.giveBackExpired())
    expect(states()).toEqual(['open', 'open', 'open'])
    await bazaar.pass(HOUR_MS)
    await bazaar.happen(purse.giveBackExpired())
    expect(states()).toEqual(['settling', state, 'settling'])
  })
})

describe('what is frozen for a download that is cancelled', () => {
  it.each(['before', 'after'] as const)('is given back when the store fails %s a write of its end', async (when) => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna', { price: 3n })
    let isAway = false
    const wrapStore = (store: Store): Store => ({
      ...store,
      async write(changes) {
        if (!isAway || changes.every(({ pk }) => pk !== 'wallet')) return store.write(changes)
        isAway = false
        if (when === 'after') await store.write(changes)
        throw new Problem('store-unavailable', 'The store did not answer.')
      },
    })
    const buyer = await bazaar.buyer({ pace: PACE, wrapStore })
    const id = await start(bazaar, buyer)
    await bazaar.until(async () => (await piecesOf(buyer, id)) >= 5)
    isAway = true
    await bazaar.happen(buyer.downloads.cancel(id))
    if (when === 'before') await bazaar.happen(buyer.downloads.cancel(id))
    await hours(bazaar, buyer, 2)
    expect(await buyer.frozen()).toBe(0n)
    expect(buyer.faults).toHaveLength(1)
  })

  it('is given back though the link that it went to is gone', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna', { price: 3n })
    const { context, parts, available, frozen } = await bazaar.buyer({ pace: PACE })
    let isGone = false
    const open: Links['open'] = (name) =>
      isGone ? Promise.reject(new Problem('not-found', 'There is no such link.')) : parts.links.open(name)
    const downloads = createDownloads(context, { ...parts, links: { open } as Links })
    const { id } = await bazaar.happen(downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => ((await downloads.get(id))?.piecesDone ?? 0) >= 5)
    isGone = true
    expect(await bazaar.happen(downloads.cancel(id))).toMatchObject({ state: 'cancelled' })
    await bazaar.pass(60_000)
    expect(await frozen()).toBe(0n)
    expect(await available()).toBe(FAUCET - (await stand.earned()))
  })
})
