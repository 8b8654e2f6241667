import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { envelopeFromJson, type EnvelopeJson } from '../../protocol/signed.ts'
import { parseUsage } from '../../protocol/usage.ts'
import { scratch } from '../local/scratch.ts'
import * as shapes from './shapes.ts'
import { eventually, openTown, raincheck } from './town.ts'

const town = openTown()
const { you, neighbour } = town
const folder = scratch()
const agentOf = (): string => town.network().neighbour.agent.context.publicUrl

interface Bill {
  id: string
  served: number
  days: { date: string; served: number }[]
  usage: EnvelopeJson
}

/** A key of its own, and no agent. */
async function provider(): Promise<{ home: string; key: string }> {
  const home = join(folder(), 'provider')
  const { key } = (await raincheck(home, ['init', '--json'])).json<{ key: string }>()
  return { home, key }
}

describe('what an owner uses', () => {
  test('is shown, signed, to the provider whose key the owner names, and to nobody else', async () => {
    await neighbour.put('paid.bin', 5_000_000)
    const share = shapes.share.parse(await neighbour.ask('share', 'paid.bin', '--price', '1'))
    await you.ask('get', share.infoHash, '--wait')
    const { home, key } = await provider()
    const refused = await raincheck(home, ['bill', agentOf(), '--json'])
    expect([refused.code, refused.json()['code']]).toEqual([5, 'unknown-key'])
    expect(await neighbour.ask('readers', '--add', key)).toEqual({ readers: [key] })
    const bill = await eventually(
      async () => (await raincheck(home, ['bill', agentOf(), '--json'])).json<Bill>(),
      ({ served }) => served > 0,
    )
    expect(bill).toMatchObject({ id: neighbour.id(), days: [{ served: bill.served }] })
    expect(bill.served).toBeGreaterThanOrEqual(5_000_000)
    expect(parseUsage(envelopeFromJson(bill.usage)).days).toMatchObject([{ served: bill.served }])
    expect((await raincheck(home, ['bill', agentOf()])).out).toMatch(/^DAY +STORED +SERVED +FETCHED\n20.*\nin all/)
    await neighbour.ask('readers', '--remove', key)
    expect((await raincheck(home, ['bill', agentOf()])).code).toBe(5)
  })

  test('of months is asked for as such', async () => {
    const bill = await neighbour.ask<Bill>('bill', agentOf(), '--month', '2020-02')
    expect(bill).toMatchObject({ from: '2020-02-01', to: '2020-02-29', served: 0, days: [] })
    expect((await neighbour.raincheck('bill', agentOf(), '--month', '2020-13')).code).toBe(2)
    expect((await neighbour.raincheck('bill', 'http://127.0.0.1:1')).code).toBe(1)
  })
})
