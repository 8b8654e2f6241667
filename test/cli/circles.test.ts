import { describe, expect, test } from 'vitest'
import * as shapes from './shapes.ts'
import { openTown } from './town.ts'

const town = openTown()
const { you, neighbour } = town
const agentOf = (): string => town.network().neighbour.agent.context.publicUrl

describe('a circle', () => {
  test('is made, joined and left', async () => {
    expect(await neighbour.ask('circle', 'lab', '--kind', 'bubble')).toMatchObject({ name: 'lab', members: [] })
    expect(await you.ask('join', agentOf(), 'lab')).toMatchObject({ by: neighbour.id(), kind: 'bubble' })
    expect(await you.ask('circles')).toMatchObject([{ name: 'lab', url: agentOf() }])
    expect((await you.raincheck('circles')).out).toContain(`lab  bubble  by ${neighbour.id()} at`)
    await you.ask('leave', 'lab')
    expect(await you.ask('circles')).toEqual([])
    expect((await you.raincheck('leave', 'lab')).code).toBe(3)
    expect((await you.raincheck('join', agentOf(), 'nowhere')).code).toBe(3)
    expect((await you.raincheck('circle', 'lab', '--kind', 'outer')).code).toBe(2)
    expect((await you.raincheck('circle', 'Lab')).code).toBe(2)
  })

  test('limits a share to its members, who buy it as any other', async () => {
    await neighbour.put('paper.bin', 5_000_000)
    expect((await neighbour.raincheck('share', 'paper.bin', '--circle', 'nowhere')).code).toBe(3)
    const words = ['share', 'paper.bin', '--price', '2', '--circle', 'lab']
    const share = shapes.share.parse(await neighbour.ask(...words))
    expect(share).toMatchObject({ circle: 'lab' })
    const offer = await fetch(`${agentOf()}/v1/pieces/${share.infoHash}`)
    expect(await offer.json()).toMatchObject({ code: 'session-required', by: neighbour.id(), circle: 'lab' })
    await you.ask('join', agentOf(), 'lab')
    await neighbour.ask('circle', 'lab', '--add', you.id())
    const download = shapes.download.parse(await you.ask('get', share.infoHash, '--wait'))
    expect(download).toMatchObject({ state: 'done', paid: '4' })
    expect(await neighbour.ask('circle', 'lab', '--remove', you.id())).toMatchObject({ members: [] })
    const again = await neighbour.ask('share', 'paper.bin', '--circle', '')
    expect(again['circle']).toBeUndefined()
  })
})

test('brokers are named by their URLs, and asked first', async () => {
  expect(await you.ask('brokers', '--add', `${agentOf()}/`)).toEqual({ brokers: [agentOf()] })
  await neighbour.put('near.bin', 1000)
  const share = shapes.share.parse(await neighbour.ask('share', 'near.bin', '--price', '1'))
  expect(shapes.download.parse(await you.ask('get', share.infoHash, '--wait'))).toMatchObject({ state: 'done' })
  expect((await you.raincheck('brokers')).out).toBe(`${agentOf()}\n`)
  expect(await you.ask('brokers', '--remove', agentOf())).toEqual({ brokers: [] })
  expect((await you.raincheck('brokers', '--add', 'ftp://x')).code).toBe(1)
})
