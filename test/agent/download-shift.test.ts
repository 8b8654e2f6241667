import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createDownloads, type Downloads } from '../../agent/download/download.ts'
import { createCalls, createLeases, superviseElsewhere, type Lease } from '../../agent/download/shift.ts'
import { createWallet } from '../../agent/wallet/wallet.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toBase64url } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer, type Stand } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'
import { handClock } from './hand-clock.ts'

const NEVER = new AbortController().signal

interface Fleet {
  readonly bazaar: Bazaar
  readonly anna: Stand
  readonly buyer: Buyer
  readonly front: Downloads
  readonly woken: string[]
  /** A function that has just started. */
  worker(): Downloads
  /** Wakes workers until the download is over. @returns how many shifts it took */
  workOff(id: string): Promise<number>
}

/** A front that runs nothing, and workers over the same store. */
async function openFleet(pieces: number, price = 1n): Promise<Fleet> {
  const bazaar = await openBazaar(filmOf(pieces))
  const anna = await bazaar.stand('anna', { price })
  anna.spoil = async (_, answer) => {
    await bazaar.scheduler.sleep(500)
    return answer()
  }
  const buyer = await bazaar.buyer()
  const woken: string[] = []
  const wake = async (id: string): Promise<void> => void woken.push(id)
  const front = createDownloads(buyer.context, { ...buyer.parts, wake })
  const worker = (): Downloads => createDownloads(buyer.context, buyer.parts)
  async function workOff(id: string): Promise<number> {
    for (let shifts = 1; ; shifts++) {
      const { isOver } = await bazaar.happen(worker().work(id, NEVER))
      if (isOver) return shifts
    }
  }
  return { bazaar, anna, buyer, front, woken, worker, workOff }
}

const start = ({ bazaar, front }: Fleet) => bazaar.happen(front.start({ source: bazaar.content.infoHash }))

/** Works for so long, then its time is up. */
async function shiftOf(fleet: Fleet, id: string, ms: number) {
  const over = new AbortController()
  void fleet.bazaar.scheduler.sleep(ms).then(() => over.abort())
  return fleet.bazaar.happen(fleet.worker().work(id, over.signal))
}

describe('the lease of a download', () => {
  function openLeases() {
    const clock = handClock()
    const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }
    const store = openSqlite(':memory:')
    const environment: Environment = { clock, random, transport: () => Promise.reject(new Error('no network')) }
    return { clock, leases: createLeases({ store, environment }), calls: createCalls({ store }) }
  }

  it('is had by one of two workers that are woken at the same moment', async () => {
    const { leases } = openLeases()
    const both = await Promise.all([leases.take('a'), leases.take('a')])
    expect(both.filter((lease) => typeof lease === 'number')).toHaveLength(1)
  })

  it('is neither kept nor given up by a worker that was missed, and came late', async () => {
    const { clock, leases } = openLeases()
    const late = (await leases.take('a')) as Lease
    clock.advance(10_000)
    const next = (await leases.take('a')) as Lease
    expect(await late.keep()).toBe(false)
    await late.leave()
    expect(await leases.take('a')).toBeTypeOf('number')
    expect(await next.keep()).toBe(true)
  })

  it('holds up its owner no longer than a worker that was killed is missed', async () => {
    const { clock, leases, calls } = openLeases()
    const leased = { ...leases, isAtWork: async () => true }
    const supervisor = superviseElsewhere({ clock, leases: leased, calls, wake: async () => undefined })
    await expect(clock.until(supervisor.halt('a'))).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('a download in shifts', () => {
  it('begins when a worker is woken, goes on in the next shift, and pays each piece once', async () => {
    const fleet = await openFleet(40, 3n)
    const { id, state } = await start(fleet)
    expect(state).toBe('queued')
    expect(fleet.woken).toEqual([id])
    expect(await shiftOf(fleet, id, 4_000)).toEqual({ isOver: false })
    const half = await fleet.front.get(id)
    expect(half?.piecesDone).toBeGreaterThan(0)
    expect(half?.piecesDone).toBeLessThan(40)
    await fleet.workOff(id)
    expect(await fleet.front.get(id)).toMatchObject({ state: 'done', paid: 120n, ticks: 40, file: 'film.bin' })
    expect(await fleet.buyer.available()).toBe(FAUCET - 120n)
    expect(fleet.bazaar.disk.files.get('film.bin')?.bytes).toEqual(fleet.bazaar.content.files.get('film.bin'))
  })

  it('has one worker, however often it is woken', async () => {
    const fleet = await openFleet(20)
    const { id } = await start(fleet)
    const first = fleet.worker().work(id, NEVER)
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 0)
    expect(await fleet.bazaar.happen(fleet.worker().work(id, NEVER))).toMatchObject({ isOver: false, isTaken: true })
    expect((await fleet.front.get(id))?.state).toBe('running')
    await fleet.bazaar.happen(first)
    expect(await fleet.front.get(id)).toMatchObject({ state: 'done', ticks: 20 })
  })

  it('is one, also where two instances are asked for it at the same moment, and another once it is over', async () => {
    const fleet = await openFleet(4, 3n)
    const { bazaar, buyer } = fleet
    const other = createDownloads(buyer.context, { ...buyer.parts, wake: async () => undefined })
    const source = toBase64url(bazaar.content.torrent)
    const both = await bazaar.happen(Promise.all([fleet.front.start({ source }), other.start({ source })]))
    expect(both[0].id).toBe(both[1].id)
    expect(await fleet.front.list()).toHaveLength(1)
    await fleet.workOff(both[0].id)
    expect((await bazaar.happen(other.start({ source }))).id).not.toBe(both[0].id)
  })

  it('is at rest once its owner is told that it is paused, and goes on when it is resumed', async () => {
    const fleet = await openFleet(40)
    const { id } = await start(fleet)
    const working = fleet.worker().work(id, NEVER)
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 0)
    expect(await fleet.bazaar.happen(fleet.front.pause(id))).toMatchObject({ state: 'paused' })
    expect(await fleet.bazaar.happen(working)).toEqual({ isOver: true })
    const { piecesDone } = (await fleet.front.get(id)) ?? {}
    await fleet.bazaar.pass(10_000)
    expect(await fleet.front.get(id)).toMatchObject({ state: 'paused', piecesDone })
    await fleet.bazaar.happen(fleet.front.resume(id))
    expect(fleet.woken).toEqual([id, id])
    await fleet.workOff(id)
    expect(await fleet.front.get(id)).toMatchObject({ state: 'done', ticks: 40 })
  })

  it('leaves nothing behind when it is cancelled: a worker tidies up', async () => {
    const fleet = await openFleet(40)
    const { id } = await start(fleet)
    await shiftOf(fleet, id, 4_000)
    await fleet.bazaar.happen(fleet.front.cancel(id))
    await fleet.workOff(id)
    const { state, paid = 0n } = (await fleet.front.get(id)) ?? {}
    expect(state).toBe('cancelled')
    expect(paid).toBeGreaterThan(0n)
    expect(await fleet.buyer.available()).toBe(FAUCET - paid)
    expect(fleet.bazaar.disk.files.size + fleet.bazaar.disk.unfinished.size).toBe(0)
  })

  it('is taken up by another worker once one that was killed is missed', async () => {
    const fleet = await openFleet(40)
    const { id } = await start(fleet)
    void fleet.worker().work(id, NEVER)
    await fleet.bazaar.until(async () => ((await fleet.front.get(id))?.piecesDone ?? 0) > 3)
    fleet.buyer.kill()
    const buyer = await fleet.bazaar.buyer()
    const next = createDownloads(buyer.context, buyer.parts)
    const { isTaken, untilMs = 0 } = await fleet.bazaar.happen(next.work(id, NEVER))
    expect(isTaken).toBe(true)
    await fleet.bazaar.pass(untilMs - fleet.bazaar.scheduler.now())
    expect(await fleet.bazaar.happen(next.work(id, NEVER))).toEqual({ isOver: true })
    expect(await next.get(id)).toMatchObject({ state: 'done', paid: 40n, ticks: 40 })
  })

  it('that has ended costs each round of chores nothing but a line of the list', async () => {
    const { bazaar, buyer } = await openFleet(3)
    await buyer.fetch()
    const read: string[] = []
    const { store } = buyer.context
    const watched: Store = { ...store, get: (pk, sk) => (read.push(pk), store.get(pk, sk)) }
    const front = createDownloads({ ...buyer.context, store: watched }, { ...buyer.parts, wake: async () => undefined })
    await bazaar.happen(front.resumeAll())
    expect(read.filter((pk) => pk.startsWith('download'))).toEqual([])
  })

  it('ends its shift when it has to wait, and says until when', async () => {
    const fleet = await openFleet(8, FAUCET)
    const { id } = await start(fleet)
    const rest = await fleet.bazaar.happen(fleet.worker().work(id, NEVER))
    expect(rest.isOver).toBe(false)
    expect(rest.untilMs).toBeGreaterThan(fleet.bazaar.scheduler.now())
    expect(await fleet.front.get(id)).toMatchObject({ state: 'waiting', reason: 'funds-insufficient' })
  })

  it('looks for sellers less and less often while there are none, and anew once its owner lets it go on', async () => {
    const fleet = await openFleet(8)
    const { bazaar, front, anna } = fleet
    const { id } = await start(fleet)
    anna.leave()
    const rests: number[] = []
    async function shift() {
      const beganMs = bazaar.scheduler.now()
      const { untilMs = 0, ...rest } = await bazaar.happen(fleet.worker().work(id, NEVER))
      const restedMs = bazaar.scheduler.now()
      expect(rest).toEqual({ isOver: false })
      expect(restedMs - beganMs).toBeLessThan(30_000)
      rests.push(Math.round((untilMs - restedMs) / 1000))
      await bazaar.pass(untilMs - restedMs)
    }
    for (let shifts = 1; shifts <= 9; shifts++) await shift()
    expect(rests).toEqual([30, 60, 120, 240, 480, 960, 1800, 1800, 1800])
    expect(await front.get(id)).toMatchObject({ state: 'waiting', reason: 'no-sellers' })
    await bazaar.happen(front.resume(id))
    await shift()
    expect(rests.at(-1)).toBe(30)
    anna.comeBack()
    await fleet.workOff(id)
    expect(await front.get(id)).toMatchObject({ state: 'done' })
  })

  it('is at rest when its shift fails, so that the next worker finds nobody at it', async () => {
    const fleet = await openFleet(40)
    const { bazaar, buyer, front, anna } = fleet
    const { id } = await start(fleet)
    let isAway = false
    const store: Store = {
      ...buyer.context.store,
      async write(changes) {
        if (isAway && changes[0]?.pk === 'download-lease') throw new Problem('store-unavailable', 'No answer.')
        return buyer.context.store.write(changes)
      },
    }
    const context = { ...buyer.context, store }
    const failing = createDownloads(context, { ...buyer.parts, wallet: createWallet(context, async () => false) })
    const working = failing.work(id, NEVER).catch((error: unknown) => error)
    await bazaar.until(async () => ((await front.get(id))?.piecesDone ?? 0) > 3)
    isAway = true
    expect(await bazaar.happen(working)).toMatchObject({ code: 'store-unavailable' })
    isAway = false
    const sent = (): number => anna.sent.values().reduce((sum, times) => sum + times, 0)
    // What was on its way arrives nowhere.
    await bazaar.pass(1_000)
    const before = sent()
    await bazaar.pass(60_000)
    expect(sent()).toBe(before)
    await fleet.workOff(id)
    expect(await front.get(id)).toMatchObject({ state: 'done', ticks: 40 })
  })
})
