import { readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import * as shapes from './shapes.ts'
import { eventually, openTown } from './town.ts'

const town = openTown()
const { you, neighbour } = town

type Share = z.output<typeof shapes.share>
type Download = z.output<typeof shapes.download>

/** The neighbour offers a file of its own content. */
async function offer(name: string, bytes: number, price = '2'): Promise<Share & { content: Uint8Array }> {
  const content = await neighbour.put(name, bytes)
  return { ...shapes.share.parse(await neighbour.ask('share', name, '--price', price)), content }
}

const get = async (...words: string[]): Promise<Download> => shapes.download.parse(await you.ask('get', ...words))
const downloads = async (): Promise<Download[]> => z.array(shapes.download).parse(await you.ask('downloads'))
const until = (id: string, ...states: string[]): Promise<Download | undefined> =>
  eventually(
    async () => (await downloads()).find((one) => one.id === id),
    (one) => one !== undefined && states.includes(one.state),
  )
/** Vitest takes seconds to compare what is larger than a few bytes. */
const isCopy = (download: Download | undefined, { content }: { content: Uint8Array }): boolean =>
  readFileSync(join(you.files, download?.file ?? '')).equals(content)

describe('get', () => {
  test.each(['infoHash', 'infoHashV1', 'magnet'] as const)('takes an %s', async (name) => {
    const share = await offer(`by-${name}.bin`, 5_000_000)
    const download = await get(share[name], '--wait', '--max-price', '2')
    expect(download).toMatchObject({ state: 'done', bytes: 5_000_000, done: 5_000_000, paid: '4' })
    expect(isCopy(download, share)).toBe(true)
  })

  test('takes a torrent file', async () => {
    const share = await offer('by-torrent.bin', 100_000)
    const torrent = await fetch(`${town.network().repositoryUrl}/v1/contents/${share.infoHash}/torrent`)
    writeFileSync(join(you.home, 'file.torrent'), new Uint8Array(await torrent.arrayBuffer()))
    expect(isCopy(await get('file.torrent', '--wait'), share)).toBe(true)
  })

  test('takes nothing else', async () => {
    const nothing = await you.raincheck('get', 'nothing')
    expect(nothing).toMatchObject({ code: 3, err: expect.stringContaining('neither an info hash') })
    expect(nothing.err).toContain('raincheck search')
    expect((await you.raincheck('get', '0'.repeat(64))).code).toBe(3)
    const file = await you.raincheck('get', 'settings.json')
    expect(file).toMatchObject({ code: 1, err: expect.stringContaining("'settings.json' is no torrent file") })
    const torrent = await you.raincheck('get', 'settings.json', '--json')
    expect(torrent.code).toBe(1)
    expect(shapes.problem.parse(torrent.json()).code).toMatch(/^bad-/)
  })

  test('returns at once without --wait, and the download goes on', async () => {
    const share = await offer('later.bin', 5_000_000)
    const started = await get(share.infoHash)
    expect(['queued', 'running']).toContain(started.state)
    const ended = await until(started.id, 'done')
    expect(ended).toMatchObject({ file: 'later.bin', paid: '4' })
  })

  test('asked twice while it is under way is one download', async () => {
    const share = await offer('twice.bin', 1000, '9')
    const first = await get(share.infoHash, '--max-price', '1')
    expect((await get(share.infoHashV1)).id).toBe(first.id)
    await you.ask('cancel', first.id)
  })

  test('pays nothing for what is free, and nothing for an empty file', async () => {
    await neighbour.put('free.bin', 10_000)
    const free = shapes.share.parse(await neighbour.ask('share', 'free.bin', '--public'))
    expect(await get(free.infoHash, '--wait')).toMatchObject({ state: 'done', paid: '0' })
    const empty = await offer('empty.bin', 0)
    expect(await get(empty.infoHash, '--wait')).toMatchObject({ state: 'done', paid: '0', bytes: 0 })
  })

  test('ends with 4 when only its owner can make it go on', async () => {
    const share = await offer('far-too-dear.bin', 1000, '999999999')
    const said = await you.raincheck('get', share.infoHash, '--wait', '--json')
    expect(said.code).toBe(4)
    const download = shapes.download.parse(said.json())
    expect(download).toMatchObject({ state: 'waiting', paid: '0' })
    await you.ask('cancel', download.id)
  })
})

describe('--max-price', () => {
  test('keeps a download waiting, with the reason, until a seller is cheap enough', async () => {
    const share = await offer('dear.bin', 9_000_000, '5')
    const said = await you.raincheck('get', share.infoHash, '--max-price', '4', '--wait')
    expect(said.code).toBe(4)
    expect(said.out).toContain('price-exceeded: The cheapest seller asks 5 credits a piece.')
    const [waiting] = await downloads()
    expect(waiting).toMatchObject({ state: 'waiting', reason: 'price-exceeded', done: 0, paid: '0', maxPrice: '4' })
    const frozen = shapes.balance.parse(await you.ask('balance')).frozen
    expect(frozen).toBe('0')

    await neighbour.ask('share', 'dear.bin', '--price', '4', '--below-cost')
    const id = waiting?.id ?? ''
    shapes.download.parse(await you.ask('resume', id))
    expect(await until(id, 'done')).toMatchObject({ paid: '12' })
  })

  test('is another when it is given again, and the download goes on under it', async () => {
    const share = await offer('dearer.bin', 9_000_000, '5')
    const { id } = await get(share.infoHash, '--max-price', '4')
    await until(id, 'waiting')
    const said = await get(share.infoHash, '--max-price', '5', '--wait')
    expect(said).toMatchObject({ id, state: 'done', paid: '15', maxPrice: '5' })
  })
})

describe('pause, resume and cancel', () => {
  test('move a download through its states', async () => {
    const share = await offer('states.bin', 1000, '5')
    const { id } = await get(share.infoHash, '--max-price', '1')
    expect(shapes.download.parse(await you.ask('pause', id)).state).toBe('paused')
    expect((await until(id, 'paused'))?.state).toBe('paused')
    for (const words of [[], ['--wait']])
      expect((await you.raincheck('get', share.infoHash, ...words)).out).toContain(`\`raincheck resume ${id}\``)
    expect(shapes.download.parse(await you.ask('resume', id)).state).toMatch(/^(queued|running|waiting)$/)
    await until(id, 'waiting')
    expect(shapes.download.parse(await you.ask('cancel', id)).state).toBe('cancelled')
    const again = await you.raincheck('pause', id)
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('(closed)') })
    expect((await downloads()).find((one) => one.id === id)?.state).toBe('cancelled')
  })

  test.each(['pause', 'resume', 'cancel'])('%s says when there is no such download', async (command) => {
    expect(await you.raincheck(command, 'nothing')).toMatchObject({ code: 3, out: '' })
  })

  test('a paused download goes on from where it was', async () => {
    const share = await offer('long.bin', 100_000_000)
    const { id } = await get(share.infoHash)
    await eventually(downloads, (all) => (all.find((one) => one.id === id)?.done ?? 0) > 0)
    const paused = shapes.download.parse(await you.ask('pause', id))
    if (paused.state === 'paused') await you.ask('resume', id)
    const ended = await until(id, 'done')
    expect(ended).toMatchObject({ paid: String(share.pieces * 2) })
    expect(isCopy(ended, share)).toBe(true)
  })
})

describe('an interrupted get --wait', () => {
  test('ends with 130, and the download goes on', async () => {
    const share = await offer('interrupted.bin', 1000)
    unlinkSync(join(neighbour.files, 'interrupted.bin'))
    const controller = new AbortController()
    const command = you.with({ signal: controller.signal, isTerminal: true })('get', share.infoHash, '--wait')
    await eventually(downloads, ([newest]) => newest?.['name'] === 'interrupted.bin' && newest.state === 'waiting')
    controller.abort(new Error('interrupted'))
    expect(await command).toMatchObject({
      code: 130,
      out: '',
      err: expect.stringMatching(/goes on without this command/),
    })
    const [newest] = await downloads()
    expect(newest).toMatchObject({ name: 'interrupted.bin', state: 'waiting', reason: 'no-sellers' })
    writeFileSync(join(neighbour.files, 'interrupted.bin'), share.content)
    await neighbour.ask('share', 'interrupted.bin')
    await you.ask('resume', newest?.id ?? '')
    await until(newest?.id ?? '', 'done')
  })
})

describe('progress', () => {
  test('is shown on a terminal alone, on stderr alone, and fits its line', async () => {
    const share = await offer('a long name that does not fit a narrow terminal.bin', 20_000_000)
    const said = await you.with({ isTerminal: true })('get', share.infoHash, '--wait', '--json')
    expect(shapes.download.parse(said.json()).state).toBe('done')
    const lines = said.err.split('\r\u001b[K').slice(1)
    expect(lines.length).toBeGreaterThan(1)
    // The terminal cuts it off, which alone knows how wide a character is. That is the name, never a digit of what was paid.
    for (const line of lines.slice(0, -1)) {
      expect([line.slice(0, 5), line.slice(-9)]).toEqual(['\u001b[?7l', '.bin\u001b[?7h'])
      expect(line).toMatch(/paid \d+ {2}/)
    }
    expect(lines.at(-1)).toBe('')
    const again = await you.raincheck('get', share.infoHash, '--wait')
    expect(again).toMatchObject({ code: 0, err: '' })
    const third = await you.with({ isTerminal: true })('get', share.infoHash)
    expect(third.err).toMatch(/You have had it as '.*\.bin': this is another copy/)
  })
})

test('downloads go on after a restart', async () => {
  const share = await offer('restart.bin', 60_000_000)
  const waiting = await offer('restart-waiting.bin', 1000, '9')
  const { id } = await get(share.infoHash)
  const { id: other } = await get(waiting.infoHash, '--max-price', '1')
  await town.stop()
  expect(await you.raincheck('downloads')).toMatchObject({ code: 1, err: expect.stringContaining('No agent answers') })
  await town.start()
  const ended = await until(id, 'done')
  expect(ended).toMatchObject({ paid: String(share.pieces * 2) })
  expect(isCopy(ended, share)).toBe(true)
  expect(await until(other, 'waiting')).toMatchObject({ reason: 'price-exceeded' })
})

test('the list is a line each, with the reason below', async () => {
  const { out } = await you.raincheck('downloads')
  const [header, newest, reason] = out.split('\n')
  expect(header).toMatch(/^ID +STATE +DONE +PACE +PAID +NAME$/)
  expect(newest).toMatch(/ {2}waiting +0 % of 1000 B +0 +restart-waiting.bin$/)
  expect(reason).toBe(
    '  price-exceeded: The cheapest seller asks 9 credits a piece. To allow more, `get` it again with a higher --max-price.',
  )
})
