import { describe, expect, it } from 'vitest'
import { USUAL_PACE } from '../../agent/download/pace.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { createChance } from '../simulation/chance.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import type { StandOptions } from './bazaar-stand.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES, type Content } from './bazaar-content.ts'

type Death = 'before the write' | 'after the write'
type Terms = StandOptions & { readonly price: bigint }

/** Runs a download whose process dies at its `at`th durable write, and starts it again. @returns whether it died */
async function dieAt(at: number, death: Death, content: Content, terms: Terms): Promise<boolean> {
  const { price } = terms
  const bazaar = await openBazaar(content)
  const stand = await bazaar.stand('anna', terms)
  let writes = 0
  let isDead = false
  const mortal = (inner: Store): Store => ({
    ...inner,
    async write(changes) {
      if (++writes !== at) return inner.write(changes)
      if (death === 'after the write') await inner.write(changes)
      isDead = true
      first.kill()
      return new Promise<never>(() => undefined)
    },
  })
  const first = await bazaar.buyer({ wrapStore: mortal })
  let started: string | undefined
  void first.downloads.start({ source: bazaar.content.infoHash }).then(({ id }) => (started = id))
  await bazaar.until(async () => isDead || (started !== undefined && (await isDone(first, started))))
  if (!isDead) return false

  const second = await bazaar.buyer()
  void second.downloads.resumeAll()
  await bazaar.pass(1)
  const [known] = await second.downloads.list()
  const { id } = known ?? (await bazaar.happen(second.downloads.start({ source: bazaar.content.infoHash })))
  const download = await second.rest(id)
  await bazaar.until(async () => (await second.frozen()) === 0n || !(await mend(bazaar, second)))

  const cost = BigInt(content.meta.pieces) * price
  expect(download, `death ${death} ${at}`).toMatchObject({ state: 'done', paid: cost, ticks: content.meta.pieces })
  expect(new Map([...bazaar.disk.files].map(([name, { bytes }]) => [name, bytes]))).toEqual(content.files)
  expect(bazaar.disk.unfinished.size).toBeLessThanOrEqual(1)
  expect(await second.available()).toBe(FAUCET - cost)
  expect(await stand.earned()).toBe(cost)
  expect(second.faults).toEqual([])
  return true
}

const isDone = async (buyer: Buyer, id: string): Promise<boolean> => (await buyer.downloads.get(id))?.state === 'done'

async function mend(bazaar: Bazaar, buyer: Buyer): Promise<boolean> {
  await bazaar.happen(buyer.wallet.maintain())
  await bazaar.pass(60_000)
  return true
}

/** Sealed, unless told. */
async function dieEverywhere(death: Death, content: Content, terms: StandOptions = {}): Promise<number> {
  let deaths = 0
  while (await dieAt(deaths + 1, death, content, { price: 2n, ...terms })) deaths++
  return deaths
}

/** A download that dies when the seller has a tick whose piece has not come; what follows happens to the next process. */
async function dieOwing(terms: { price: bigint }) {
  const bazaar = await openBazaar(filmOf(12))
  const stand = await bazaar.stand('anna', terms)
  const first = await bazaar.buyer()
  stand.spoil = async (_, answer) => {
    const response = await answer()
    if (response.status !== 200 || stand.sent.size < 6) return response
    first.kill()
    return new Promise<never>(() => undefined)
  }
  await bazaar.happen(first.downloads.start({ source: bazaar.content.infoHash }))
  await bazaar.until(() => stand.sent.size === 6)
  stand.spoil = undefined
  const second = await bazaar.buyer()
  const resumed = async () => {
    void second.downloads.resumeAll()
    await bazaar.pass(1)
    return (await second.downloads.list())[0]?.id ?? ''
  }
  return { bazaar, stand, second, resumed }
}

describe('a tick that left before a crash', () => {
  it('still pays for its piece when the ledger is away at the start', async () => {
    const { bazaar, second, resumed, stand } = await dieOwing({ price: 1n })
    const there = { ...second.context.ledger }
    const away = () => Promise.reject(new Problem('peer-failed', 'The ledger did not answer.'))
    Object.assign(second.context.ledger, { info: away })
    const id = await resumed()
    await bazaar.pass(60_000)
    Object.assign(second.context.ledger, there)
    expect(await second.rest(id)).toMatchObject({ state: 'done', paid: 12n, ticks: 12 })
    expect(await stand.earned()).toBe(12n)
  })

  it('does not keep its piece when the seller asks more than its lane pays', async () => {
    const terms = { price: 1n }
    const { second, resumed } = await dieOwing(terms)
    terms.price = 2n
    const { state, ticks } = await second.rest(await resumed())
    expect(state).toBe('done')
    // Each flow had a tick out.
    expect(ticks).toBeLessThanOrEqual(12 + USUAL_PACE.lanesPerSeller)
  })
})

describe('a crash', () => {
  it('before any durable write costs nothing', async () => {
    expect(await dieEverywhere('before the write', filmOf(6))).toBeGreaterThan(15)
  })

  it('after any durable write costs nothing', async () => {
    expect(await dieEverywhere('after the write', filmOf(6))).toBeGreaterThan(15)
  })

  it('of who pays first, or on credit, costs nothing', async () => {
    for (const terms of [{ modes: ['prepaid'] as const }, { credit: 2 }])
      expect(await dieEverywhere('after the write', filmOf(3), terms)).toBeGreaterThan(8)
  })

  it('in a folder costs nothing', async () => {
    const files = {
      'a.txt': bytesOf(7),
      'b/c.bin': bytesOf(PIECE_BYTES * 2 + 5, 1),
      'd.txt': bytesOf(0),
      'e.txt': bytesOf(9, 2),
    }
    expect(await dieEverywhere('after the write', contentOf('folder', files, true))).toBeGreaterThan(10)
  })

  it('again and again, at any moment, with several sellers, costs nothing', async () => {
    for (const seed of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const bazaar = await openBazaar(filmOf(60), seed)
      const stands = [await bazaar.stand('anna'), await bazaar.stand('berta'), await bazaar.stand('cleo')]
      const chance = createChance(seed)
      let buyer = await bazaar.buyer()
      const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
      for (let deaths = 0; deaths < 8; deaths++) {
        await bazaar.pass(chance.integer(1, 120))
        buyer = await bazaar.buyer()
        void buyer.downloads.resumeAll()
      }
      const download = await buyer.rest(id)
      expect(download, `seed ${seed}`).toMatchObject({ state: 'done', paid: 60n, ticks: 60 })
      expect(await buyer.frozen()).toBe(0n)
      const earned = await Promise.all(stands.map((stand) => stand.earned()))
      expect(earned.reduce((sum, amount) => sum + amount)).toBe(60n)
      expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(bazaar.content.files.get('film.bin'))
    }
  })

  it('of the store alone is waited out, and costs at most a piece each time', async () => {
    const bazaar = await openBazaar(filmOf(12))
    await bazaar.stand('anna')
    // A seller sends a piece again eight times at most: where much fails, one piece may need more.
    const every = 11
    let writes = 0
    let failures = 0n
    const shaky = (inner: Store): Store => ({
      ...inner,
      async write(changes) {
        const isWritten = ++writes % every !== 0 || writes % 2 === 0
        const written = isWritten && (await inner.write(changes))
        if (writes % every !== 0) return written
        failures++
        throw new Problem('store-unavailable', 'The store did not answer.')
      },
    })
    const buyer = await bazaar.buyer({ wrapStore: shaky })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    const download = await buyer.rest(id)
    expect(download.state).toBe('done')
    expect(failures).toBeGreaterThan(3n)
    expect(download.paid).toBeLessThanOrEqual(12n + failures)
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(bazaar.content.files.get('film.bin'))
  })
})
