import { describe, expect, it } from 'vitest'
import { createDownloads } from '../../agent/download/download.ts'
import type { Rest } from '../../agent/download/shift.ts'
import { STOP_HEARD_MS } from '../../agent/guard/guard.ts'
import { leave, type Leaving } from '../../agent/leave.ts'
import { Problem } from '../../protocol/problem.ts'
import { openBazaar, FAUCET } from './bazaar.ts'
import { filmOf } from './bazaar-content.ts'

/** A buyer whose download has come as far as its cap lets it; of the other rooms of its agent, what is asked of them is kept. */
async function halfWay() {
  const bazaar = await openBazaar(filmOf(40))
  await bazaar.stand('anna')
  const buyer = await bazaar.buyer({ caps: { spend: 10n } })
  const worker = createDownloads(buyer.context, buyer.parts)
  const front = createDownloads(buyer.context, { ...buyer.parts, wake: async () => undefined })
  const { id } = await bazaar.happen(front.start({ source: bazaar.content.infoHash }))
  await bazaar.happen(worker.work(id, new AbortController().signal))
  const done: string[] = []
  const faults = new Map<string, Problem>()
  const step = async (name: string): Promise<void> => {
    const fault = faults.get(name)
    if (fault) throw fault
    done.push(name)
  }
  const agent = {
    downloads: front,
    guard: buyer.guard,
    seller: { close: () => step('close') },
    shares: { list: async () => [{ infoHash: 'film' }], remove: (name: string) => step(`unshare ${name}`) },
    links: { list: async () => [{ name: 'drive' }], remove: (name: string) => step(`unlink ${name}`) },
  } as unknown as Leaving['agent']
  const { clock } = buyer.context.environment
  const slept: number[] = []
  const sleep: typeof clock.sleep = (ms, signal) => {
    slept.push(ms)
    return clock.sleep(ms, signal)
  }
  /** What comes of working on the download, before it is worked on. */
  const ends: (Rest | Problem)[] = []
  async function work(name: string): Promise<Rest> {
    const end = ends.shift()
    if (end instanceof Problem) throw end
    return end ?? worker.work(name, new AbortController().signal)
  }
  const go = (): Promise<void> => bazaar.happen(leave({ clock: { ...clock, sleep }, agent, work }))
  return { ...buyer, bazaar, id, done, faults, ends, slept, go, front }
}

describe('an agent that leaves', () => {
  it('has stopped, and holds neither ticks nor frozen credits nor what it began to write', async () => {
    const { bazaar, id, done, go, front, guard, available, frozen } = await halfWay()
    expect(await frozen()).toBeGreaterThan(0n)
    await go()
    expect(await guard.isStopped()).toBe(true)
    expect(await front.get(id)).toMatchObject({ state: 'cancelled', paid: 10n })
    expect([await available(), await frozen()]).toEqual([FAUCET - 10n, 0n])
    expect(bazaar.disk.files.size + bazaar.disk.unfinished.size).toBe(0)
    expect(done).toEqual(['close', 'close', 'unshare film', 'unlink drive'])
  })

  it('may do so again', async () => {
    const { done, go, available } = await halfWay()
    await go()
    await go()
    expect(await available()).toBe(FAUCET - 10n)
    expect(done.slice(4)).toEqual(done.slice(0, 4))
  })

  it('begins once every instance has heard that it stops, and does not wait for that again', async () => {
    const { go, slept } = await halfWay()
    await go()
    await go()
    expect(slept).toEqual([STOP_HEARD_MS])
  })

  it('waits for who is at a download, and keeps its links from who stays at it', async () => {
    const { done, ends, go, frozen } = await halfWay()
    const taken: Rest = { isOver: false, isTaken: true }
    const conflict = new Problem('conflict', 'Another has written first.')
    ends.push(...Array.from({ length: 20 }, () => taken))
    await expect(go()).rejects.toMatchObject({ code: 'conflict' })
    expect([(await frozen()) > 0n, done.at(-1)]).toEqual([true, 'unshare film'])
    ends.splice(0, ends.length, taken, conflict)
    await go()
    expect([await frozen(), done.at(-1)]).toEqual([0n, 'unlink drive'])
  })

  it('goes on after a download that has ended meanwhile, and says at once what keeps one from its end', async () => {
    const { done, ends, go } = await halfWay()
    ends.push(new Problem('store-unavailable', 'The store is away.'))
    await expect(go()).rejects.toMatchObject({ code: 'store-unavailable' })
    expect(done.at(-1)).toBe('unshare film')
    ends.push(new Problem('closed', 'The download is done.'))
    await go()
    expect(done.at(-1)).toBe('unlink drive')
  })

  it('does all else, but keeps its links while its ticks cannot be redeemed', async () => {
    const { done, faults, go, frozen } = await halfWay()
    faults.set('close', new Problem('peer-failed', 'The ledger is away.'))
    await expect(go()).rejects.toMatchObject({ code: 'peer-failed' })
    expect([await frozen(), done]).toEqual([0n, ['unshare film']])
    faults.clear()
    await go()
    expect(done.at(-1)).toBe('unlink drive')
  })
})
