import { mkdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { scratch } from '../local/scratch.ts'
import * as shapes from './shapes.ts'
import { openTown } from './town.ts'

const town = openTown()
const { you, neighbour } = town
const folder = scratch()

describe('links', () => {
  test('a network comes with a folder linked', async () => {
    const [link] = z.array(shapes.link).parse(await you.ask('links'))
    expect(link).toMatchObject({ name: 'folder', kind: 'folder', place: you.files })
    expect((await you.raincheck('links')).out).toContain(you.files)
    expect(link?.quota?.total).toBeGreaterThan(0)
  })

  test('another folder is linked once, used by its name, and forgotten', async () => {
    const dir = folder()
    const link = shapes.link.parse(await you.ask('link', 'folder', dir, '--name', 'attic'))
    expect(link).toMatchObject({ name: 'attic', kind: 'folder' })
    expect(await you.ask('link', 'folder', dir)).toMatchObject({ name: 'attic' })
    writeFileSync(join(dir, 'old.txt'), 'old')
    const share = shapes.share.parse(await you.ask('share', 'old.txt', '--link', 'attic'))
    await you.ask('unshare', share.infoHash)
    expect(shapes.link.parse(await you.ask('unlink', 'attic'))).toEqual({ name: 'attic', kind: 'folder' })
    expect(await you.ask('links')).toHaveLength(1)
  })

  test('a folder is found from where the command runs', async () => {
    const dir = folder()
    mkdirSync(join(dir, 'here'))
    const said = await you.with({ workingDir: dir })('link', 'folder', 'here', '--name', 'here', '--json')
    expect(said.code).toBe(0)
    await you.ask('unlink', 'here')
  })

  test('what cannot be used now is listed with why', async () => {
    const dir = folder()
    await you.ask('link', 'folder', dir, '--name', 'stick')
    rmdirSync(dir)
    expect((await you.raincheck('links')).out).toMatch(/^stick .* The linked folder is not there\.$/m)
    await you.ask('unlink', 'stick')
  })

  test('what cannot be linked is said in a line', async () => {
    expect(await you.raincheck('link', 'folder', '/nowhere/at/all')).toMatchObject({ code: 3, out: '' })
    expect(await you.raincheck('unlink', 'nothing')).toMatchObject({ code: 3, out: '' })
    expect((await you.raincheck('unlink', 'nothing', '--json')).json()).toMatchObject({ code: 'not-found' })
  })

  test('a folder with the owner’s keys in it is not linked, however it is named', async () => {
    const around = join(folder(), 'around')
    symlinkSync(town.dir, around)
    for (const dir of ['/', town.dir, around, you.home, join(you.home, 'agent')]) {
      const said = await you.raincheck('link', 'folder', dir)
      expect(said).toMatchObject({ code: 5, out: '', err: expect.stringContaining(`Your keys are in ${you.home}`) })
    }
    mkdirSync(join(you.home, 'files', 'below'))
    await you.ask('link', 'folder', join(you.home, 'files', 'below'), '--name', 'below')
    await you.ask('unlink', 'below')
  })

  test('unlinking pauses the downloads into it, and says which shares and downloads it strands', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'stranded.txt'), 'stranded')
    await you.ask('link', 'folder', dir, '--name', 'leaving')
    const share = shapes.share.parse(await you.ask('share', 'stranded.txt', '--link', 'leaving'))
    await neighbour.put('dear.bin', 1000)
    const dear = shapes.share.parse(await neighbour.ask('share', 'dear.bin', '--price', '9'))
    const download = shapes.download.parse(await you.ask('get', dear.infoHash, '--link', 'leaving', '--max-price', '1'))
    const said = await you.raincheck('unlink', 'leaving')
    expect(said.out).toContain(`raincheck unshare ${share.infoHash}`)
    expect(said.out).toContain(`raincheck cancel ${download.id}`)
    const all = z.array(shapes.download).parse(await you.ask('downloads'))
    expect(all.find(({ id }) => id === download.id)?.state).toBe('paused')
    await you.ask('unshare', share.infoHash)
    await you.ask('cancel', download.id)
  })
})

describe('shares', () => {
  test('a file is offered, listed, found by others, and no more', async () => {
    await you.put('letters/summer.txt', 5_000_000)
    const share = shapes.share.parse(await you.ask('share', 'letters/summer.txt', '--price', '7'))
    expect(share).toMatchObject({ name: 'summer.txt', bytes: 5_000_000, pieceLength: 4_194_304, pieces: 2, price: '7' })
    expect(share.magnet).toContain(share.infoHash)
    expect(z.array(shapes.share).parse(await you.ask('shares'))).toEqual([share])
    expect(shapes.found.parse(await neighbour.ask('search', 'summer'))).toEqual([
      { infoHash: share.infoHash, name: 'summer.txt', bytes: 5_000_000, pieces: 2, sellers: 1, price: '7' },
    ])
    expect((await neighbour.raincheck('search', 'summer')).out).toBe(
      `summer.txt  4.77 MiB  1 seller  from 7 a piece: 14 for 2 pieces\n  ${share.infoHash}\n`,
    )
    expect(shapes.share.parse(await you.ask('unshare', share.infoHashV1))).toEqual(share)
    expect(await you.ask('shares')).toEqual([])
    expect(await neighbour.ask('search', 'summer')).toEqual([])
  })

  test('a folder is offered whole, free of charge when public', async () => {
    await you.put('fotos/übersee/ä.jpg', 100)
    await you.put('fotos/b.jpg', 100)
    const share = shapes.share.parse(await you.ask('share', 'fotos', '--public'))
    expect(share).toMatchObject({ name: 'fotos', bytes: 200, public: true })
    expect(share.magnet).toContain(encodeURIComponent(`/v1/files/${share.infoHash}/`))
    const list = await (await fetch(String(share['url']))).text()
    expect(
      list
        .trim()
        .split('\n')
        .map((line) => decodeURI(line).split('/').slice(-2).join('/')),
    ).toEqual(['fotos/b.jpg', 'übersee/ä.jpg'])
    expect(share['torrent']).toMatch(new RegExp(`^http.*/v1/torrents/${share.infoHash}\\.torrent$`))
    expect((await you.raincheck('shares')).out).toContain('free for all')
    await you.ask('unshare', share.infoHash)
  })

  test('a file that is public says the link by which a browser has it', async () => {
    await you.put('for all/ä?.txt', 100)
    const { out } = await you.raincheck('share', 'for all/ä?.txt', '--public')
    const { url, infoHash } = shapes.share.parse(await you.ask('share', 'for all/ä?.txt', '--public'))
    expect(out).toContain(`\n  ${String(url)}\n`)
    const reply = await fetch(String(url))
    expect([reply.status, (await reply.arrayBuffer()).byteLength]).toEqual([200, 100])
    const priced = await you.ask('share', 'for all/ä?.txt', '--price', '7')
    expect(priced).not.toHaveProperty('public', true)
    await you.ask('unshare', infoHash)
  })

  test('the same path again only changes the price', async () => {
    await you.put('again.bin', 100)
    const first = shapes.share.parse(await you.ask('share', 'again.bin', '--price', '3'))
    const second = shapes.share.parse(await you.ask('share', 'again.bin', '--price', '4'))
    expect(second).toEqual({ ...first, price: '4' })
  })

  test('what is not there, or not inside, is not offered', async () => {
    const missing = await you.raincheck('share', 'missing.bin')
    expect(missing).toMatchObject({ code: 3, err: expect.stringContaining('linked storage') })
    const outside = await you.raincheck('share', '../key')
    expect(outside).toMatchObject({ code: 6, err: expect.stringContaining('linked storage') })
    for (const path of ['', join(you.files, 'again.bin')]) {
      const off = await you.raincheck('share', path)
      expect(off).toMatchObject({ code: 2, err: expect.stringContaining('without a leading slash') })
    }
    symlinkSync(join(you.home, 'key'), join(you.files, 'leak'))
    expect((await you.raincheck('share', 'leak')).code).not.toBe(0)
    expect((await you.raincheck('share', 'again.bin', '--link', 'nothing')).code).toBe(3)
    expect((await you.raincheck('unshare', '0'.repeat(64))).code).toBe(3)
  })
})
