import { limits } from '../../protocol/limits.ts'
import { describe, expect, it } from 'vitest'
import { createBufferPool } from '../../agent/sell/buffers.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createSerial } from '../../agent/serial.ts'
import { createUsage } from '../../agent/usage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { handClock, START_MS } from './hand-clock.ts'

const DAY_MS = 24 * 60 * 60 * 1000

const PATIENCE_MS = 60_000
const poolOf = (bytes: number, waiting: number, clock = handClock()) =>
  createBufferPool({ bytes, waiting, patienceMs: PATIENCE_MS, clock })

describe('the buffer pool', () => {
  it('lends no more than its memory: who comes late waits, in order', async () => {
    const pool = poolOf(20, 10)
    const [first, second] = [await pool.lease(10), await pool.lease(10)]
    const order: string[] = []
    const third = pool.lease(15).then((lease) => (order.push('third'), lease))
    const fourth = pool.lease(5).then((lease) => (order.push('fourth'), lease))
    first.release()
    second.release()
    const leases = await Promise.all([third, fourth])
    expect(order).toEqual(['third', 'fourth'])
    expect(leases.map(({ buffer }) => buffer.length)).toEqual([15, 5])
  })

  it('lends what is larger than all of its memory alone', async () => {
    const pool = poolOf(20, 10)
    const large = await pool.lease(50)
    const next = pool.lease(1)
    large.release()
    expect((await next).buffer.length).toBe(1)
  })

  it('refuses a crowd', async () => {
    const pool = poolOf(1, 2)
    const lease = await pool.lease(1)
    const waiting = [pool.lease(1), pool.lease(1)]
    await expect(pool.lease(1)).rejects.toMatchObject({ code: 'limit-reached' })
    lease.release()
    ;(await (waiting[0] as (typeof waiting)[0])).release()
    await waiting[1]
  })

  it('has the slowest reader cut short while others wait, one for each that comes, and none that has just begun', async () => {
    const clock = handClock()
    const pool = poolOf(2, 10, clock)
    const cut: string[] = []
    for (const name of ['first', 'second']) {
      const lease = await pool.lease(1)
      lease.cutBy(() => {
        cut.push(name)
        lease.release()
      })
    }
    clock.advance(PATIENCE_MS - 1)
    const third = pool.lease(1)
    expect(cut).toEqual([])
    clock.advance(1)
    const fourth = pool.lease(1)
    expect(cut).toEqual(['first'])
    const { release } = await third
    expect(cut).toEqual(['first'])
    release()
    await fourth
    await pool.lease(1)
    expect(cut).toEqual(['first', 'second'])
  })

  it('has the slowest reader cut short for those who wait, also when one comes that it refuses', async () => {
    const clock = handClock()
    const pool = poolOf(1, 1, clock)
    const slow = await pool.lease(1)
    slow.cutBy(slow.release)
    const waiting = pool.lease(1)
    clock.advance(PATIENCE_MS)
    await expect(pool.lease(1)).rejects.toMatchObject({ code: 'limit-reached' })
    await waiting
  })

  it('takes a buffer back once', async () => {
    const pool = poolOf(20, 0)
    const lease = await pool.lease(20)
    lease.release()
    lease.release()
    await pool.lease(20)
    await expect(pool.lease(1)).rejects.toMatchObject({ code: 'limit-reached' })
  })
})

describe('serial work', () => {
  it('on one thing is done in turn, on different things at once, whatever fails', async () => {
    const serial = createSerial()
    const done: string[] = []
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    const first = serial('a', async () => {
      await gate
      done.push('a1')
      throw new Error('a1 failed')
    })
    const second = serial('a', async () => done.push('a2'))
    const other = serial('b', async () => done.push('b1'))
    await other
    openGate()
    await expect(first).rejects.toThrow('a1 failed')
    await second
    expect(done).toEqual(['b1', 'a1', 'a2'])
  })
})

describe('usage', () => {
  const open = (store: Store = openSqlite(':memory:')) => {
    const clock = handClock()
    const start = () => createUsage({ environment: { clock }, store } as unknown as AgentContext)
    return { clock, usage: start(), start }
  }

  it('adds up by day and by peer, saved or not', async () => {
    const { clock, usage, start } = open()
    usage.served('payer', 10)
    usage.fetched('seller', 5)
    await usage.flush()
    clock.advance(DAY_MS)
    usage.served('payer', 1)
    usage.stored(7)
    expect(await usage.since(0)).toEqual({ served: 11, fetched: 5, stored: 7 })
    expect(await usage.since(START_MS + DAY_MS)).toEqual({ served: 1, fetched: 0, stored: 7 })
    expect((await usage.byPeer(0)).get('payer')).toEqual({ served: 11, fetched: 0, stored: 0 })
    await usage.flush()
    expect(await start().since(0)).toEqual({ served: 11, fetched: 5, stored: 7 })
  })

  it('is told day by day, and forgotten after more than a year', async () => {
    const { clock, usage, start } = open()
    const today = START_MS / DAY_MS
    usage.served('payer', 10)
    usage.served('other', 1)
    await usage.flush()
    clock.advance(2 * DAY_MS)
    usage.stored(7)
    const days = [
      { day: today, served: 11, fetched: 0, stored: 0 },
      { day: today + 2, served: 0, fetched: 0, stored: 7 },
    ]
    expect(await usage.days(today, today + 2)).toEqual(days)
    expect(await usage.days(today + 1, today + 1)).toEqual([])
    clock.advance(limits.usageDays * DAY_MS)
    await usage.maintain()
    expect(await start().days(0, today + 1000)).toEqual(days.slice(1))
  })

  it('tells a bounded number of peers apart, and counts all', async () => {
    const { usage } = open()
    for (let i = 0; i < limits.usagePeers + 10; i++) usage.served(`payer ${i}`, 1)
    const peers = await usage.byPeer(0)
    expect([peers.size, peers.get('others')?.served]).toEqual([limits.usagePeers + 1, 10])
    expect(await usage.since(0)).toMatchObject({ served: limits.usagePeers + 10 })
  })

  it('of two instances is counted together', async () => {
    const { usage, start } = open()
    const other = start()
    usage.served('payer', 1)
    other.served('payer', 2)
    await Promise.all([usage.flush(), other.flush()])
    await Promise.all([usage.flush(), other.flush()])
    expect(await usage.since(0)).toMatchObject({ served: 3 })
  })

  it('of many peers is saved in several writes', async () => {
    const { usage, start } = open()
    for (let i = 0; i < 230; i++) usage.served(`payer ${i}`, 1)
    await usage.flush()
    expect(await start().since(0)).toMatchObject({ served: 230 })
  })
})
