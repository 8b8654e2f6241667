/** Files that change while they are sold, and paths that lead out of the folder that is linked: on a real disk, over HTTP. */
import { mkdir, mkdtemp, open, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLinks } from '../../agent/storage/links.ts'
import { toHex } from '../../protocol/bytes.ts'
import { sha256 } from '#primitives'
import type { HandClock } from '../agent/hand-clock.ts'
import { declared, type HandLane } from './hand.ts'
import { filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import { openWorld, type World } from './world.ts'

const PIECES = 24
const film = filmOf(PIECES)
const pieceHash = (index: number): string => toHex(sha256(film.slice(index * PIECE_BYTES, (index + 1) * PIECE_BYTES)))

let root: string
let folder: string
let world: World<HandClock>
let anna: Resident

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'raincheck-attack-'))
  folder = join(root, 'files')
  await mkdir(folder)
  await writeFile(join(folder, 'film.bin'), film)
  await writeFile(join(root, 'secret.txt'), 'secret')
  world = await openWorld()
  anna = await moveIn(world, 'anna', { links: createLinks })
  await anna.owner.ask('POST', '/v1/links', { kind: 'folder', path: folder })
})
afterEach(async () => {
  await anna.service.stop()
  await rm(root, { recursive: true, force: true })
})

const share = (path: string): Promise<ShareJson> => anna.owner.ask('POST', '/v1/shares', { path, price: String(PRICE) })

async function soldTo(name: string, content: ShareJson): Promise<HandLane> {
  const payer = await world.person(name)
  return (await declared(world, payer, content)).laneTo(anna.person, { segments: 6 })
}

describe('a file that is sold', () => {
  test.each<readonly [string, (path: string) => Promise<unknown>]>([
    ['shrinks', (path) => truncate(path, 5 * PIECE_BYTES)],
    ['grows', (path) => truncate(path, film.length + 1)],
    ['is overwritten in place, to the byte as long', (path) => writeFile(path, film.toReversed())],
    [
      'is replaced by another of the same length',
      (path) => writeFile(`${path}.new`, film.toReversed()).then(() => rename(`${path}.new`, path)),
    ],
    ['is gone', (path) => rm(path)],
    ['becomes a link out of the folder', (path) => rm(path).then(() => symlink(join(root, 'secret.txt'), path))],
  ])('and %s is served no more, and no tick is taken for it: content-changed', async (_, change) => {
    const content = await share('film.bin')
    const lane = await soldTo('payer', content)
    expect((await anna.piece(content, 2, lane.pay(1))).code).toBe('ok')
    await change(join(folder, 'film.bin'))
    expect((await anna.piece(content, 3, lane.pay(2))).code).toBe('content-changed')
    expect((await anna.piece(content, 2, lane.pay(1))).code).toBe('content-changed')
    expect((await world.ask(`${anna.url}/v1/pieces/${content.infoHash}`)).code).toBe('content-changed')
    expect((await world.post(`${anna.url}/v1/signoffs`, lane.signoff(1))).json).toMatchObject({ redeemed: 1 })
  })

  test('and is written to all the while never leaves as anything else', async () => {
    const content = await share('film.bin')
    const lane = await soldTo('payer', content)
    expect((await anna.piece(content, 0, lane.pay(1))).code).toBe('ok')
    const handle = await open(join(folder, 'film.bin'), 'r+')
    const spoil = Array.from({ length: PIECES }, (_, i) =>
      handle.write(new Uint8Array(99), 0, 99, i * PIECE_BYTES + 77),
    )
    const sold = Array.from({ length: PIECES - 1 }, (_, i) => anna.piece(content, i + 1, lane.pay(i + 2)))
    const answers = await Promise.all(sold)
    await Promise.all(spoil)
    await handle.close()
    for (const [i, { code, body }] of answers.entries()) {
      if (code === 'ok') expect(toHex(sha256(body))).toBe(pieceHash(i + 1))
      else expect(['content-changed', 'tick-invalid']).toContain(code)
    }
  })
})

describe('a path that leads out of the folder', () => {
  test.each([
    '../secret.txt',
    'a/../../secret.txt',
    '/etc/passwd',
    '..',
    'film.bin/../../secret.txt',
    '..\\secret.txt',
    'a\0b',
    './film.bin',
    'a//b',
  ])('is not shared: %j', async (path) => {
    await expect(share(path)).rejects.toMatchObject({
      code: expect.stringMatching(/^(path-outside|not-found|bad-torrent)$/),
    })
    expect(await anna.owner.ask('GET', '/v1/shares')).toEqual([])
  })

  test('is not shared as a link, nor in a folder that has one', async () => {
    await symlink(join(root, 'secret.txt'), join(folder, 'link.txt'))
    await expect(share('link.txt')).rejects.toMatchObject({ code: 'path-outside' })
    await mkdir(join(folder, 'album'))
    await writeFile(join(folder, 'album', 'a.txt'), 'a')
    await symlink(root, join(folder, 'album', 'up'))
    await expect(share('album')).rejects.toMatchObject({ code: 'path-outside' })
    await symlink(root, join(folder, 'outside'))
    await expect(share('outside/secret.txt')).rejects.toMatchObject({ code: 'path-outside' })
    expect((await readdir(folder)).toSorted()).toEqual(['album', 'film.bin', 'link.txt', 'outside'])
  })
})
