import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as shapes from './shapes.ts'
import { openTown } from './town.ts'

const town = openTown()
const { you, neighbour } = town

interface Alert {
  name: string
  seq: number
  infoHash: string
  before?: string
  isNew: boolean
}
const share = async (...words: string[]) => shapes.share.parse(await neighbour.ask('share', ...words))

describe('editions', () => {
  test('of a file that is shared again reach who follows, and the one before stays for sale where a copy was shared', async () => {
    await you.ask('follow', neighbour.id())
    await neighbour.put('data.csv', 30_000)
    const first = await share('data.csv', '--keep', '--price', '1')
    expect(first).toMatchObject({ name: 'data.csv', series: 'data.csv' })
    const content = await neighbour.put('data.csv', 40_000)
    const second = await share('data.csv', '--keep')
    expect(second).toMatchObject({ series: 'data.csv', price: '1' })
    expect(await you.ask<Alert[]>('alerts', '--seen')).toMatchObject([
      { name: 'data.csv', seq: 1, infoHash: second.infoHash, before: first.infoHash, isNew: true },
    ])
    expect(await you.ask<Alert[]>('alerts')).toMatchObject([{ seq: 1, isNew: false }])
    writeFileSync(join(neighbour.files, 'data.csv'), 'gone')
    for (const [{ infoHash }, bytes] of [[first, 30_000] as const, [second, content.length] as const]) {
      const download = await you.ask('get', infoHash, '--wait')
      expect(shapes.download.parse(download)).toMatchObject({ state: 'done', bytes })
    }
  })

  test('of a path that holds something else are a series of its name, and the one before ends with its bytes', async () => {
    await neighbour.put('log.txt', 100)
    const first = await share('log.txt')
    expect(first['series']).toBeUndefined()
    await neighbour.put('log.txt', 200)
    const second = await share('log.txt')
    const [alert] = await you.ask<Alert[]>('alerts')
    expect(alert).toMatchObject({ name: 'log.txt', infoHash: second.infoHash, before: first.infoHash, isNew: true })
    const said = await you.raincheck('alerts')
    expect(said.out).toContain(`after ${first.infoHash}`)
    expect(said.out).toMatch(/^\*/m)
  })

  test('may be named, from any path; sharing the same again is none', async () => {
    await neighbour.put('march.bin', 100)
    await neighbour.put('april.bin', 101)
    await share('march.bin', '--series', 'report')
    await share('march.bin', '--series', 'report')
    const april = await share('april.bin', '--series', 'report')
    const alerts = await you.ask<Alert[]>('alerts')
    expect(alerts.find(({ name }) => name === 'report')).toMatchObject({ seq: 4, infoHash: april.infoHash })
    expect((await neighbour.raincheck('share', 'march.bin', '--series', 'a\u0007b')).code).toBe(1)
  })

  test('are left alone by who follows no more', async () => {
    expect(await you.ask('follows')).toEqual([{ id: neighbour.id(), names: [], missed: 0 }])
    expect((await you.raincheck('follows')).out).toContain('every series')
    await you.ask('unfollow', neighbour.id())
    expect(await you.ask('alerts')).toEqual([])
    expect((await you.raincheck('unfollow', neighbour.id())).code).toBe(3)
    expect((await you.raincheck('follow', 'nobody')).code).toBe(2)
  })
})
