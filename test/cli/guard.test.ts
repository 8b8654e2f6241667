import { expect, test } from 'vitest'
import { z } from 'zod'
import * as shapes from './shapes.ts'
import { eventually, openTown } from './town.ts'

const town = openTown()
const { you, neighbour } = town

const guard = z.strictObject({
  stopped: z.boolean(),
  since: z.int().optional(),
  spend: z.strictObject({ most: shapes.money.optional(), used: shapes.money }),
  serve: z.strictObject({ most: z.int().optional(), used: z.int() }),
  until: z.int(),
})

test('sets the caps of a day, and says what is used of them', async () => {
  expect(guard.parse(await you.ask('caps'))).toMatchObject({ stopped: false, spend: {}, serve: {} })
  const set = guard.parse(await you.ask('caps', '--spend', '500', '--serve', '1.5GiB'))
  expect(set).toMatchObject({ spend: { most: '500', used: '0' }, serve: { most: 1_610_612_736, used: 0 } })
  expect((await you.raincheck('caps')).out).toBe(
    'agent          sells and buys\ncredits today  0 of 500\nsent today     0 B of 1.50 GiB\n',
  )
  expect(guard.parse(await you.ask('caps', '--spend', 'none', '--serve', 'none'))).toMatchObject({
    spend: {},
    serve: {},
  })
  expect((await you.raincheck('caps')).out).toContain('no cap')
  expect((await you.raincheck('caps', '--spend', '500')).out).toContain('A new cap counts from now on')
  expect((await you.raincheck('caps', '--spend', '600')).out).not.toContain('from now on')
  await you.ask('caps', '--spend', 'none')
  for (const words of [
    ['--serve', 'much'],
    ['--serve', '3GB'],
    ['--spend', '1.5'],
    ['--serve', '-1'],
  ]) {
    expect((await you.raincheck('caps', ...words)).code).toBe(2)
  }
})

test('stops the agent until it is started, and downloads wait so long', async () => {
  await neighbour.put('held.bin', 5_000_000)
  const { infoHash } = shapes.share.parse(await neighbour.ask('share', 'held.bin', '--price', '2'))
  const stopped = guard.parse(await you.ask('stop'))
  expect(stopped.stopped).toBe(true)
  expect(stopped.since).toBeGreaterThan(0)
  const { id } = shapes.download.parse(await you.ask('get', infoHash))
  const downloads = async () => z.array(shapes.download).parse(await you.ask('downloads'))
  const held = await eventually(downloads, (all) => all.some(({ reason }) => reason === 'stopped'))
  expect(held.find((one) => one.id === id)).toMatchObject({ state: 'waiting', paid: '0' })
  expect((await you.raincheck('stop')).out).toContain('raincheck start')
  const waited = await you.raincheck('get', infoHash, '--wait')
  expect(waited).toMatchObject({ code: 1, out: expect.stringContaining('`raincheck start` lets it go on.') })

  expect(guard.parse(await you.ask('start'))).toMatchObject({ stopped: false })
  const done = await eventually(downloads, (all) => all.every(({ state }) => state === 'done'))
  expect(done.find((one) => one.id === id)).toMatchObject({ paid: '4' })
})

test('keeps a download waiting at the cap of a day, and says so to whoever waits for it', async () => {
  await neighbour.put('capped.bin', 5_000_000)
  const { infoHash } = shapes.share.parse(await neighbour.ask('share', 'capped.bin', '--price', '2'))
  await you.ask('caps', '--spend', '1')
  const waited = await you.raincheck('get', infoHash, '--wait')
  expect(waited).toMatchObject({ code: 1, out: expect.stringContaining('cap-reached: The credits of today') })
  expect(waited.out).toContain('raincheck caps --spend')
  // A credit is left, which is not enough.
  const doctor = await you.raincheck('doctor')
  expect(doctor).toMatchObject({ code: 1, out: expect.stringContaining('downloads: wait, or `raincheck caps --spend') })
  await you.ask('caps', '--spend', 'none')
})
