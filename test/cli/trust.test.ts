import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import * as shapes from './shapes.ts'
import { eventually, openTown, raincheck } from './town.ts'

const town = openTown()
const { you, neighbour } = town
const STRANGER = 'f'.repeat(64)
const NOT_TRUSTED = { trusted: false, depth: -1, credit: 0, chain: [] }

const ask = async (...words: string[]) => shapes.verdict.parse(await you.ask(...words))

describe('trust', () => {
  test('there is none until somebody vouches', async () => {
    expect(await ask('trust', neighbour.id())).toEqual({ id: neighbour.id(), ...NOT_TRUSTED })
    expect(await ask('chain', STRANGER)).toEqual({ id: STRANGER, ...NOT_TRUSTED })
    expect(await you.ask('trust')).toEqual([])
    expect((await you.raincheck('trust', STRANGER)).out).toBe(`${STRANGER}: not trusted\n`)
  })

  test('a vouch makes it, with its depth and credit', async () => {
    const verdict = await ask('vouch', neighbour.id(), '--depth', '1', '--credit', '5', '--expires', '7d')
    const chain = [you.id(), neighbour.id()]
    expect(verdict).toEqual({ id: neighbour.id(), trusted: true, depth: 1, credit: 5, chain })
    expect(await ask('chain', neighbour.id())).toEqual(verdict)
    const all = z.array(shapes.verdict).parse(await you.ask('trust'))
    expect(all).toMatchObject([{ ...verdict, distrusted: false, vouch: { depth: 1, credit: 5 } }])
    expect((await you.raincheck('trust')).out).toMatch(
      /^[0-9a-f]{64} \(you\)\n└─ [0-9a-f]{64} {2}depth 1, credit 5 of 5 left, until 20\d\d-.*\n$/,
    )
  })

  test('a vouch is shown with its own end, and has one within 90 days', async () => {
    const days = (count: number) => Date.now() + count * 24 * 60 * 60 * 1000
    await ask('vouch', neighbour.id(), '--depth', '1', '--credit', '5', '--expires', '60d')
    const [first] = await you.ask<{ expires: number }[]>('trust')
    expect(first?.expires).toBeGreaterThan(days(59))
    const said = await you.raincheck('vouch', neighbour.id(), '--expires', '100d')
    expect(said).toMatchObject({ code: 2, err: expect.stringContaining('at most 90d') })
  })

  test('it reaches whom the vouched for vouches for', async () => {
    await neighbour.ask('vouch', STRANGER, '--credit', '3')
    const chain = [you.id(), neighbour.id(), STRANGER]
    expect(await ask('chain', STRANGER)).toEqual({ id: STRANGER, trusted: true, depth: 0, credit: 3, chain })
    const tree = z.array(shapes.verdict).parse(await you.ask('trust'))
    expect(tree).toMatchObject([
      { id: neighbour.id(), by: you.id(), hop: 1 },
      { id: STRANGER, by: neighbour.id(), hop: 2, depth: 0, credit: 3, left: 3, chain },
    ])
    expect((await you.raincheck('trust')).out).toMatch(/\n└─ [0-9a-f]{64} .*\n {3}└─ f{64} {2}depth 0, credit 3 of 3/)
  })

  test('a vouch can be said anew, and taken back', async () => {
    expect(await ask('vouch', neighbour.id(), '--depth', '0', '--credit', '2')).toMatchObject({ depth: 0, credit: 2 })
    expect(await ask('trust', STRANGER)).toMatchObject(NOT_TRUSTED)
    expect(await ask('unvouch', neighbour.id())).toMatchObject(NOT_TRUSTED)
    expect(await you.ask('trust')).toEqual([])
  })

  test('distrust overrides every vouch, and takes the own one back', async () => {
    await ask('vouch', neighbour.id(), '--depth', '1')
    expect(await ask('trust', STRANGER)).toMatchObject({ trusted: true })
    expect(await ask('distrust', STRANGER)).toMatchObject(NOT_TRUSTED)
    expect(await ask('distrust', neighbour.id())).toMatchObject(NOT_TRUSTED)
    const all = z.array(shapes.verdict).parse(await you.ask('trust'))
    expect(all.map(({ id }) => id).toSorted()).toEqual([STRANGER, neighbour.id()].toSorted())
    expect(all).toMatchObject([{ distrusted: true }, { distrusted: true }])
    expect(all.some((one) => 'vouch' in one)).toBe(false)
  })

  test('it stays through a vouch that comes later, until it is taken back', async () => {
    expect(await ask('vouch', neighbour.id(), '--depth', '1')).toMatchObject(NOT_TRUSTED)
    const said = await you.raincheck('vouch', neighbour.id(), '--depth', '1')
    expect(said.out).toContain(`you distrust it: \`raincheck undistrust ${neighbour.id()}\``)
    expect(await ask('undistrust', neighbour.id())).toMatchObject({ trusted: true })
    expect(await ask('trust', STRANGER)).toMatchObject(NOT_TRUSTED)
    expect(await ask('undistrust', STRANGER)).toMatchObject({ trusted: true })
  })

  test('a preview says whom it would lose and who vouched for it, and changes nothing', async () => {
    const before = await you.ask('trust')
    const seen = await you.ask('distrust', STRANGER, '--preview')
    expect(seen).toMatchObject({
      id: STRANGER,
      trusted: true,
      preview: true,
      pruned: [STRANGER],
      lost: [STRANGER],
      vouchers: [{ id: neighbour.id(), halved: 1 }],
      isWhole: true,
    })
    expect(await you.ask('trust')).toEqual(before)
    const tree = await you.ask('distrust', neighbour.id(), '--tree', '--preview')
    expect(tree).toMatchObject({ lost: [neighbour.id(), STRANGER], pruned: [neighbour.id(), STRANGER] })
    expect((await you.raincheck('distrust', STRANGER, '--preview')).out).toContain('nothing is changed')
  })

  test('who vouched for it is believed half as much, and told', async () => {
    const credit = (await ask('trust', neighbour.id())).credit
    await you.ask('distrust', STRANGER)
    expect(await ask('trust', neighbour.id())).toMatchObject({ credit: Math.floor(credit / 2) })
    const told = await eventually(
      () => neighbour.ask<unknown[]>('notices'),
      (notices) => notices.length > 0,
    )
    expect(told).toMatchObject([{ by: you.id(), subject: STRANGER, times: 1 }])
    expect((await neighbour.raincheck('notices')).out).toContain('believes you 0.5 as much')
    await you.ask('undistrust', STRANGER)
    expect(await ask('trust', neighbour.id())).toMatchObject({ credit })
  })
})

describe('credit', () => {
  test('lets a download on trust be paid after its pieces, and paid in full', async () => {
    await neighbour.ask('vouch', you.id(), '--credit', '8')
    await neighbour.put('on-trust.bin', 40_000_000)
    const share = shapes.share.parse(await neighbour.ask('share', 'on-trust.bin', '--price', '3'))
    const download = shapes.download.parse(await you.ask('get', share.infoHash, '--wait'))
    expect(download).toMatchObject({ state: 'done', paid: '30' })
  })
})

describe('graph', () => {
  test('evaluates any graph of vouches, and what it would lose', async () => {
    writeFileSync(join(you.home, 'edges.csv'), 'issuer,subject,depth,credit\na,b,2,9\nb,c,1,9\nc,d,0,9\na,e,0,9\n')
    const whole = shapes.graph.parse(await you.ask('graph', 'edges.csv', '--root', 'a'))
    expect(whole).toMatchObject({ agents: 5, vouches: 4, trusted: 4, lost: [] })
    const pruned = shapes.graph.parse(await you.ask('graph', 'edges.csv', '--root', 'a', '--distrust', 'b'))
    expect(pruned.lost.toSorted()).toEqual(['b', 'c', 'd'])
    const typo = await you.raincheck('graph', 'edges.csv', '--root', 'a', '--distrust', 'bb')
    expect(typo.out).toContain('bb is not in the graph')
    const without = shapes.graph.parse(await you.ask('graph', 'edges.csv', '--root', 'a', '--unvouch', 'c,d'))
    expect(without).toMatchObject({ trusted: 3, lost: ['d'] })
  })

  test('needs no home, but a file, a root in it and a depth', async () => {
    expect((await raincheck('/nowhere', ['graph', join(you.home, 'edges.csv'), '--root', 'a'])).code).toBe(0)
    expect((await you.raincheck('graph', 'nowhere.csv', '--root', 'a')).code).toBe(3)
    expect((await you.raincheck('graph', 'edges.csv', '--root', 'z')).code).toBe(3)
    expect((await you.raincheck('graph', 'edges.csv', '--root', 'a', '--depth', 'x')).code).toBe(2)
    writeFileSync(join(you.home, 'broken.csv'), 'a,b,nine,1\n')
    expect((await you.raincheck('graph', 'broken.csv', '--root', 'a')).code).toBe(1)
  })
})
