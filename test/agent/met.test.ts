import { describe, expect, it, vi } from 'vitest'
import { createMet } from '../../agent/download/met.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Environment } from '../../protocol/environment.ts'
import { readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { handClock, START_MS } from './hand-clock.ts'

const DAY_MS = limits.announcementMs

function opened() {
  const clock = handClock()
  const store = openSqlite(':memory:')
  const start = () => createMet({ store, environment: { clock } as unknown as Environment })
  const records = async (): Promise<number> => {
    const days = Array.from({ length: 400 }, (_, i) => `met/${Math.floor(START_MS / DAY_MS) + i}`)
    const lists = await Promise.all([...days, 'met'].map((pk) => readAll(store, pk, ({ sk }) => sk)))
    return lists.flat().length
  }
  return { clock, store, start, records }
}

describe('what an agent has met', () => {
  it('is known for as long as an announcement lasts, and gone some days later, whoever kept it', async () => {
    const { clock, start, records } = opened()
    await start().keep('swarm/a', ['first'])
    await start().keep('swarm/a', ['second'])
    clock.advance(DAY_MS)
    await start().sweep()
    expect(await start().get('swarm/a')).toEqual(['second'])
    clock.advance(DAY_MS)
    const met = start()
    expect(await met.get('swarm/a')).toBeUndefined()
    await met.sweep()
    expect(await records()).toBe(0)
  })

  it('is no more after a year than after two days', async () => {
    const { clock, start, records } = opened()
    const met = start()
    for (let day = 0; day < 365; day++) {
      for (let i = 0; i < 5; i++) await met.keep(`identity/${day} ${i}`, [])
      await met.sweep()
      clock.advance(DAY_MS)
    }
    expect(await records()).toBeLessThanOrEqual(2 * 6)
  })

  it('is gone as well where the first write of its day failed', async () => {
    const { clock, store, start, records } = opened()
    const met = start()
    vi.spyOn(store, 'write').mockRejectedValueOnce(new Problem('peer-failed', 'The store is away.'))
    await expect(met.keep('swarm/a', [])).rejects.toMatchObject({ code: 'peer-failed' })
    await met.keep('swarm/b', [])
    clock.advance(2 * DAY_MS)
    await met.sweep()
    expect(await records()).toBe(0)
  })

  it('is bounded in a day, however many strangers are announced; who is known already is kept anew', async () => {
    const { start, records } = opened()
    const met = start()
    for (let i = 0; i < 3000; i++) await met.keep(`identity/${i}`, [i])
    expect(await records()).toBeLessThan(1100)
    await met.keep('identity/0', ['anew'])
    expect(await met.get('identity/0')).toEqual(['anew'])
  })
})
