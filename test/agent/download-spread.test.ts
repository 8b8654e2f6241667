import { describe, expect, it } from 'vitest'
import type { AgentContext } from '../../agent/context.ts'
import { createDownloads, type DownloadParts, type Downloads } from '../../agent/download/download.ts'
import type { Rest } from '../../agent/download/shift.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import type { Links } from '../../agent/storage/links.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { createWallet } from '../../agent/wallet/wallet.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES, type Content } from './bazaar-content.ts'

const PART_BYTES = 4 * PIECE_BYTES
const WORKERS = 4
const LEAST_BYTES = 10 * PIECE_BYTES
const NEVER = new AbortController().signal

interface Fleet {
  readonly bazaar: Bazaar
  readonly buyer: Buyer
  readonly front: Downloads
  readonly woken: string[]
  /** The most workers that fetched at once, by what they were woken for. */
  readonly atOnce: () => number
  /** The `nth` worker that is started dies at its `at`th durable write. */
  doom: { readonly nth: number; readonly at: number } | undefined
  /** What the storage of every worker is. */
  wrap: (storage: Storage) => Storage
  /** Whether the store fails to list what begins so. */
  failsToList: (prefix: string) => boolean
  readonly start: (maxPrice?: bigint) => Promise<string>
  readonly until: (id: string, state: string) => Promise<void>
}

/** Takes whole parts alone, in any order, as S3 does. */
function strict(storage: Storage): Storage {
  return {
    ...storage,
    partBytes: PART_BYTES,
    wholeParts: true,
    async put(write, offset, part) {
      const isPart = offset % PART_BYTES === 0 && part.length === Math.min(PART_BYTES, write.size - offset)
      if (!isPart) throw new Problem('range-invalid', `${offset}+${part.length} is no part.`)
      await storage.put(write, offset, part)
    },
  }
}

/** A front that runs nothing, and a worker for each event, all over one SQLite; an event whose worker dies comes again. */
async function openFleet(content: Content, price = 1n, pieceMs = 300): Promise<Fleet> {
  const bazaar = await openBazaar(content)
  const stand = await bazaar.stand('anna', { price })
  stand.spoil = async (_, answer) => {
    await bazaar.scheduler.sleep(pieceMs)
    return answer()
  }
  const wrapStore = (inner: Store): Store => ({
    ...inner,
    async list(pk, range) {
      if (fleet.failsToList(range.prefix ?? '')) throw new Problem('store-unavailable', 'The store did not answer.')
      return inner.list(pk, range)
    },
  })
  const buyer = await bazaar.buyer({ wrapStore })
  const { scheduler } = bazaar
  const busy = new Set<string>()
  let started = 0
  let most = 0

  async function run(id: string): Promise<void> {
    for (let taken = 0; ;) {
      const rest = await shift(id)
      if (rest.isOver) return
      taken = rest.isTaken ? taken + 1 : 0
      if (taken > 1) return
      await scheduler.sleep(Math.max(1, (rest.untilMs ?? 0) - scheduler.now()))
    }
  }

  async function shift(id: string): Promise<Rest> {
    const dead = Promise.withResolvers<undefined>()
    const { nth, at } = fleet.doom ?? { nth: 0, at: 0 }
    const life: Life = started++ === nth && fleet.doom ? mortal(buyer, at, dead.resolve) : buyer
    const { storage } = await buyer.parts.links.open()
    const put = life.put ?? ((...words: Parameters<Storage['put']>) => storage.put(...words))
    const links: Pick<Links, 'open'> = {
      open: async () => ({ name: 'bucket', storage: fleet.wrap(strict({ ...storage, put })) }),
    }
    const fanOut = { wake, workers: WORKERS, leastBytes: LEAST_BYTES }
    const worker = createDownloads(life.context, { ...life.parts, links: links as Links, fanOut })
    busy.add(id)
    most = Math.max(most, [...busy].filter((one) => one.includes('_')).length)
    const ended = await Promise.race([worker.work(id, NEVER), dead.promise])
    busy.delete(id)
    return ended ?? { isOver: false }
  }

  const faults: unknown[] = []
  const wake = async (id: string): Promise<void> => {
    fleet.woken.push(id)
    run(id).catch((error: unknown) => faults.push(error))
  }
  const front = createDownloads(buyer.context, { ...buyer.parts, wake })
  const fleet: Fleet = {
    bazaar,
    buyer,
    front,
    woken: [],
    atOnce: () => most,
    doom: undefined,
    wrap: (storage) => storage,
    failsToList: () => false,
    async start(maxPrice) {
      const request = { source: content.infoHash, ...(maxPrice !== undefined && { maxPrice }) }
      return (await bazaar.happen(front.start(request))).id
    },
    async until(id, state) {
      for (let passed = 0; (await front.get(id))?.state !== state; passed++) {
        expect([passed < 600, faults]).toEqual([true, []])
        await bazaar.pass(1_000)
      }
    },
  }
  return fleet
}

interface Life {
  readonly context: AgentContext
  readonly parts: DownloadParts
  readonly put?: Storage['put']
}

/** From its `at`th write on, nothing that it does has an effect. */
function mortal({ context, parts }: Buyer, at: number, onDeath: (nothing: undefined) => void): Life {
  let writes = 0
  const never = <T>(): Promise<T> => new Promise(() => undefined)
  const alive = <A extends unknown[], R>(work: (...words: A) => Promise<R>) => {
    return (...words: A): Promise<R> => (writes >= at ? never() : work(...words))
  }
  const store = {
    ...context.store,
    async write(...changes: Parameters<typeof context.store.write>) {
      if (writes >= at) return never<boolean>()
      if (++writes < at) return context.store.write(...changes)
      await context.store.write(...changes)
      onDeath(undefined)
      return never<boolean>()
    },
  }
  const transport = alive(context.environment.transport)
  const own = { ...context, store, environment: { ...context.environment, transport } }
  return {
    context: own,
    parts: { ...parts, wallet: createWallet(own), guard: createGuard(own, undefined) },
    put: alive(async (...words: Parameters<Storage['put']>) => {
      const { storage } = await parts.links.open()
      return storage.put(...words)
    }),
  }
}

function expectRight({ bazaar }: Fleet): void {
  const files = new Map([...bazaar.disk.files].map(([name, { bytes }]) => [name, bytes]))
  expect(files).toEqual(bazaar.content.files)
  expect(bazaar.disk.unfinished.size).toBe(0)
}

const costs = (pieces: number, price = 1n) => ({ state: 'done', ticks: pieces, paid: BigInt(pieces) * price })

describe('a large download', () => {
  it('is fetched by several workers at once, in any order, and each piece is bought once', async () => {
    const fleet = await openFleet(filmOf(60), 3n)
    const id = await fleet.start()
    await fleet.until(id, 'done')
    expect(fleet.atOnce()).toBe(WORKERS)
    expect(await fleet.front.get(id)).toMatchObject({ ...costs(60, 3n), piecesDone: 60, file: 'film.bin' })
    const [seller] = (await fleet.front.get(id))?.sellers ?? []
    expect(seller).toMatchObject({ pieces: 60, ticks: 60, status: 'good' })
    expectRight(fleet)
    await fleet.bazaar.pass(120_000)
    expect([await fleet.buyer.available(), await fleet.buyer.frozen()]).toEqual([FAUCET - 180n, 0n])
  })

  it('may be a folder: no file is begun twice, and no part belongs to two', async () => {
    const files = {
      'a.bin': bytesOf(PIECE_BYTES * 30 + 5, 1),
      'b.txt': bytesOf(7),
      'c.txt': bytesOf(0),
      'd.bin': bytesOf(PIECE_BYTES * 33, 2),
    }
    const fleet = await openFleet(contentOf('folder', files, true))
    const id = await fleet.start()
    await fleet.until(id, 'done')
    expect(fleet.atOnce()).toBe(WORKERS)
    expect(await fleet.front.get(id)).toMatchObject(costs(65))
    expectRight(fleet)
  })

  it('tells its owner how far all of them are', async () => {
    const fleet = await openFleet(filmOf(60))
    const id = await fleet.start()
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 20)
    const seen = await fleet.front.get(id)
    expect(seen).toMatchObject({ state: 'running', pieces: 60 })
    expect(seen?.sellers).toHaveLength(1)
    expect(seen?.sellers[0]?.pieces).toBe(seen?.piecesDone)
    await fleet.until(id, 'done')
  })

  it('pays no piece twice when one of its workers is killed, whenever that is', async () => {
    const deaths = [
      ...[2, 6, 11].map((at) => ({ nth: 0, at })),
      ...[3, 12, 26].map((at) => ({ nth: 2, at })),
      { nth: 5, at: 4 },
    ]
    for (const doom of deaths) {
      const fleet = await openFleet(filmOf(40))
      fleet.doom = doom
      const id = await fleet.start()
      await fleet.until(id, 'done')
      expect([doom, await fleet.front.get(id)]).toMatchObject([doom, costs(40)])
      expectRight(fleet)
    }
  })

  it('rests with all of its workers when it is paused, and goes on with all', async () => {
    const fleet = await openFleet(filmOf(80))
    const id = await fleet.start()
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 20)
    const paused = await fleet.bazaar.happen(fleet.front.pause(id))
    expect(paused).toMatchObject({ state: 'paused' })
    await fleet.bazaar.pass(120_000)
    expect(await fleet.front.get(id)).toMatchObject({ state: 'paused', piecesDone: paused.piecesDone })
    expect(paused.piecesDone).toBeLessThan(80)
    await fleet.bazaar.happen(fleet.front.resume(id))
    await fleet.until(id, 'done')
    expect(await fleet.front.get(id)).toMatchObject(costs(80))
    expectRight(fleet)
  })

  it('leaves nothing of any worker behind when it is cancelled', async () => {
    const fleet = await openFleet(filmOf(80))
    const id = await fleet.start()
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 20)
    await fleet.bazaar.happen(fleet.front.cancel(id))
    await fleet.bazaar.pass(120_000)
    const { state, paid = 0n } = (await fleet.front.get(id)) ?? {}
    expect([state, paid > 20n]).toEqual(['cancelled', true])
    expect([await fleet.buyer.available(), await fleet.buyer.frozen()]).toEqual([FAUCET - paid, 0n])
    expect(fleet.bazaar.disk.files.size + fleet.bazaar.disk.unfinished.size).toBe(0)
    expect(await fleet.buyer.context.store.list('download-stretch', { limit: 10 })).toEqual([])
  })

  it('fails as a whole when one worker cannot go on, keeps no credit frozen, and can be resumed', async () => {
    const fleet = await openFleet(filmOf(160), 1n, 1_000)
    let isDenied = true
    fleet.wrap = (storage) => ({
      ...storage,
      async put(write, offset, part) {
        if (isDenied && offset >= 120 * PIECE_BYTES) throw new Problem('storage-denied', 'The bucket refuses.')
        await storage.put(write, offset, part)
      },
    })
    const id = await fleet.start()
    await fleet.until(id, 'failed')
    const { piecesDone, ...failed } = (await fleet.front.get(id)) ?? {}
    expect(failed).toMatchObject({ reason: 'storage-denied', detail: 'The bucket refuses.' })
    // The others are called to rest, and none is at work by then.
    expect(piecesDone).toBeLessThan(120)
    const asked: string[] = []
    fleet.bazaar.network.onSend(({ url }) => asked.push(url.host))
    await fleet.bazaar.pass(120_000)
    expect(asked).not.toContain('anna.example')
    expect(await fleet.buyer.frozen()).toBe(0n)
    isDenied = false
    await fleet.bazaar.happen(fleet.front.resume(id))
    await fleet.until(id, 'done')
    expectRight(fleet)
  })

  it('leaves with all of its workers a seller that lied to one of them', async () => {
    const fleet = await openFleet(filmOf(160), 1n, 2_000)
    const { scheduler } = fleet.bazaar
    const liar = await fleet.bazaar.stand('liza', { price: 1n, modes: ['prepaid'] })
    const served: number[] = []
    liar.spoil = async (_, answer) => {
      await scheduler.sleep(2_000)
      const reply = await answer()
      if (reply.status !== 200) return reply
      served.push(scheduler.now())
      return served.length === 12 ? new Response(new Uint8Array(PIECE_BYTES), reply) : reply
    }
    await fleet.until(await fleet.start(), 'done')
    expectRight(fleet)
    const [lied = 0, last = 0] = [served[11], served.at(-1)]
    expect(fleet.atOnce()).toBeGreaterThan(2)
    // Others hear of it within two seconds, when a piece of theirs has come.
    expect(last - lied).toBeLessThan(6_000)
  })

  it('leaves nothing running where its workers failed to read who lied', async () => {
    const fleet = await openFleet(filmOf(60), 1n, 2_000)
    let reads = 0
    fleet.failsToList = (prefix) => prefix === 'liar/' && reads++ % 3 === 2
    const id = await fleet.start()
    await fleet.until(id, 'done')
    expect(reads).toBeGreaterThan(2)
    expect(await fleet.front.get(id)).toMatchObject(costs(60))
    const asked: string[] = []
    fleet.bazaar.network.onSend(({ url }) => asked.push(url.pathname))
    await fleet.bazaar.pass(600_000)
    expect(asked).toEqual([])
  })

  it('keeps to the highest price with every worker', async () => {
    const fleet = await openFleet(filmOf(40), 3n)
    const id = await fleet.start(2n)
    await fleet.until(id, 'waiting')
    expect(await fleet.front.get(id)).toMatchObject({ reason: 'price-exceeded', ticks: 0 })
    expect(await fleet.buyer.available()).toBe(FAUCET)
    await fleet.bazaar.happen(fleet.front.cancel(id))
  })

  it('stays with one worker where it could not be spread before that one began, and died', async () => {
    const fleet = await openFleet(filmOf(60))
    let begun = 0
    fleet.wrap = (storage) => ({
      ...storage,
      async begin(...file) {
        if (begun++ === 0) throw new Problem('storage-unavailable', 'The bucket does not answer.')
        return storage.begin(...file)
      },
    })
    fleet.doom = { nth: 0, at: 40 }
    const id = await fleet.start()
    await fleet.until(id, 'done')
    expect(fleet.woken).toEqual([id])
    expect(await fleet.front.get(id)).toMatchObject(costs(60))
    expectRight(fleet)
  })

  it('stays with one worker where it is not large, or its parts must come in order', async () => {
    const small = await openFleet(filmOf(19))
    const one = await small.start()
    await small.until(one, 'done')
    expect(small.woken).toEqual([one])
    const ordered = await openFleet(filmOf(60))
    ordered.wrap = (storage) => ({ ...storage, writes: 'in-order' })
    const other = await ordered.start()
    await ordered.until(other, 'done')
    expect(ordered.woken).toEqual([other])
    expectRight(ordered)
  })
})
