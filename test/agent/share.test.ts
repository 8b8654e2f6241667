import { rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLeafBox } from '../../agent/share/leaves.ts'
import { createShares, type Share } from '../../agent/share/share.ts'
import { choosePieceLength } from '../../agent/share/source.ts'
import { countPieces } from '../../protocol/bitfield.ts'
import { limits } from '../../protocol/limits.ts'
import { pattern } from '../pattern.ts'
import { expectLeaves, KiB, MiB, openShop, type Shop } from './shop.ts'

let shop: Shop
beforeEach(async () => {
  shop = await openShop()
})
afterEach(() => shop.close())

describe('sharing a file', () => {
  test.each([0, 1, 16 * KiB, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 9 * MiB + 12_345])('of %i bytes', async (size) => {
    const bytes = pattern(size)
    await shop.plant('ü/file.bin', bytes)
    const share = await shop.shares.add({ path: 'ü/file.bin', price: 3n })
    expect(share).toMatchObject({ name: 'file.bin', bytes: size, pieceLength: 4 * MiB, price: 3n, link: 'folder' })
    expect(share.pieces).toBe(Math.ceil(size / (4 * MiB)))
    const files = await shop.download(share)
    expect([...files.keys()]).toEqual(['file.bin'])
    expect(Buffer.from(files.get('file.bin') as Uint8Array).equals(bytes)).toBe(true)
    expect(await shop.shares.torrent(share.infoHash)).toEqual(shop.repository.torrents.get(share.infoHash))
    expectLeaves(shop, share)
    expect(countPieces(await shop.shares.bitfield(share))).toBe(share.pieces)
  })

  test('reads a piece into the buffer that was given', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    const into = new Uint8Array(100)
    expect(await shop.shares.readPiece(share, 0, into)).toBe(into)
    expect(into).toEqual(pattern(100))
    await expect(shop.shares.readPiece(share, 1)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('asks the ledger’s unit price unless told otherwise', async () => {
    await shop.plant('file', pattern(100))
    expect(await shop.shares.add({ path: 'file' })).toMatchObject({ price: 5n, public: false })
    expect(await shop.shares.add({ path: 'file', price: 2n })).toMatchObject({ price: 2n, public: false })
    expect(await shop.shares.add({ path: 'file' })).toMatchObject({ price: 2n, public: false })
    expect(await shop.shares.add({ path: 'file', public: true })).toMatchObject({ price: 0n, public: true })
    expect(await shop.shares.add({ path: 'file' })).toMatchObject({ price: 0n, public: true })
    const paid = await shop.shares.add({ path: 'file', public: false })
    expect(paid).toMatchObject({ price: 5n, public: false })
    // What was free is not had for nothing by who comes later.
    expect(paid.held).toBeUndefined()
    expect(await shop.shares.add({ path: 'file', price: 7n })).toMatchObject({ price: 7n, public: false })
    expect(await shop.shares.list()).toHaveLength(1)
    expect(shop.repository.announcements.map(({ price }) => price)).toEqual([5n, 2n, 0n, 5n, 7n])
    await expect(shop.shares.add({ path: 'file', price: -1n })).rejects.toMatchObject({ code: 'bad-request' })
  })

  test('stays limited to a circle until told otherwise, also when other content takes its place', async () => {
    await shop.plant('file', pattern(100))
    await shop.shares.add({ path: 'file', circle: 'lab' })
    const again = await shop.shares.add({ path: 'file', price: 2n })
    expect(await shop.shares.circleOf(again.infoHash)).toBe('lab')
    await shop.plant('file', pattern(200))
    const other = await shop.shares.add({ path: 'file' })
    expect(await shop.shares.circleOf(other.infoHashV1)).toBe('lab')
    await shop.shares.add({ path: 'file', circle: '' })
    expect(await shop.shares.circleOf(other.infoHash)).toBeUndefined()
  })

  test('hashes the same path once', async () => {
    await shop.plant('file', pattern(100))
    let hashed = 0
    const onProgress = (): number => hashed++
    const first = await shop.shares.add({ path: 'file' }, onProgress)
    expect(hashed).toBe(1)
    expect(await shop.shares.add({ path: 'file' }, onProgress)).toEqual(first)
    expect(await shop.shares.add({ path: 'file/' }, onProgress)).toEqual(first)
    expect(hashed).toBe(1)
  })

  test('shares a path that two ask for at once, once', async () => {
    await shop.plant('file', pattern(2 * MiB))
    const [one, other] = await Promise.all([shop.shares.add({ path: 'file' }), shop.shares.add({ path: 'file' })])
    expect(one).toEqual(other)
    expect(shop.repository.announcements).toHaveLength(1)
  })

  test('is found by either info hash, also after a restart', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    const restarted = createShares(shop.context, shop.links)
    expect(await restarted.get(share.infoHash)).toEqual(share)
    expect(await restarted.get(share.infoHashV1)).toEqual(share)
    expect(await restarted.list()).toEqual([share])
    expect(await restarted.get('0'.repeat(64))).toBeUndefined()
    expect(await restarted.get('0'.repeat(40))).toBeUndefined()
    expect(await restarted.readPiece(share, 0)).toEqual(pattern(100))
  })

  test('keeps one share of one content, wherever it lies', async () => {
    await shop.plant('a/file', pattern(100))
    await shop.plant('b/file', pattern(100))
    const [one, other] = [await shop.shares.add({ path: 'a/file' }), await shop.shares.add({ path: 'b/file' })]
    expect(one.infoHash).toBe(other.infoHash)
    expect(await shop.shares.list()).toEqual([other])
    await rm(join(shop.folder, 'a/file'))
    expect(await shop.shares.readPiece(other, 0)).toEqual(pattern(100))
    await shop.plant('a/file', pattern(200))
    const anew = await shop.shares.add({ path: 'a/file' })
    expect((await shop.shares.list()).map(({ path }) => path).toSorted()).toEqual([anew.path, other.path])
  })

  test('is served as long as it is shared', async () => {
    await shop.plant('file', pattern(100))
    const { infoHash } = await shop.shares.add({ path: 'file' })
    shop.clock.advance(limits.announcementMs + 1)
    await shop.shares.announce()
    const restarted = createShares(shop.context, shop.links)
    expect(await restarted.readPiece((await restarted.get(infoHash)) as Share, 0)).toEqual(pattern(100))
  })

  test('shares the copy that was made of it when it is shared again, and nothing that took its place', async () => {
    await shop.plant('file', pattern(100))
    const first = await shop.shares.add({ path: 'file', keep: true })
    expect(await shop.shares.add({ path: 'file', keep: true })).toEqual(first)
    await shop.plant(first.path, pattern(99))
    await expect(shop.shares.add({ path: 'file', keep: true })).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('sharing a folder', () => {
  test('with nested, empty and non-ASCII files', async () => {
    const files = new Map([
      ['album/9', pattern(1, 1)],
      ['album/10', pattern(300_000, 2)],
      ['album/empty', pattern(0)],
      ['album/深い/ünd/ファイル', pattern(5 * MiB, 3)],
      ['album/深い/ünd/zz-empty', pattern(0)],
    ])
    for (const [name, bytes] of files) await shop.plant(`music/${name}`, bytes)
    const share = await shop.shares.add({ path: 'music/album' })
    expect(share).toMatchObject({ name: 'album', bytes: 5 * MiB + 300_001 })
    const copy = await shop.download(share)
    expect(copy.size).toBe(files.size)
    for (const [name, bytes] of files)
      expect([name, Buffer.from(copy.get(name) as Uint8Array).equals(bytes)]).toEqual([name, true])
    expectLeaves(shop, share)
  })

  test('of nothing but empty files', async () => {
    await shop.plant('folder/a', pattern(0))
    await shop.plant('folder/b/c', pattern(0))
    const share = await shop.shares.add({ path: 'folder' })
    expect(share).toMatchObject({ bytes: 0, pieces: 0 })
    expect([...(await shop.download(share)).keys()]).toEqual(['folder/a', 'folder/b/c'])
  })

  test('keeps names in NFC while it reads them as they are', async () => {
    await shop.plant('folder/u\u0308', pattern(5))
    const share = await shop.shares.add({ path: 'folder' })
    expect([...(await shop.download(share)).entries()]).toEqual([['folder/\u00fc', pattern(5)]])
  })

  test('of a thousand small files in nested folders', async () => {
    for (let i = 0; i < 1000; i++) await shop.plant(`many/${i % 10}/${i % 7}/ünd ${i}`, pattern(i * 7, i))
    const share = await shop.shares.add({ path: 'many' })
    const copy = await shop.download(share)
    expect(copy.size).toBe(1000)
    for (let i = 0; i < 1000; i++) expect(copy.get(`many/${i % 10}/${i % 7}/ünd ${i}`)).toEqual(pattern(i * 7, i))
    // Some at a time.
    for (let round = 0; round < 1000 / 64; round++) await shop.shares.announce()
    expectLeaves(shop, share)
  })

  test('whose block hashes wait in runs that every store takes', async () => {
    const box = createLeafBox(shop.context.store)
    const writer = box.writer('source')
    const leaves = pattern(200 * KiB)
    for (let from = 0; from < 3; from++) await writer.add({ file: 0, from, leaves })
    await writer.end()
    expect((await box.first('source', 9)).map(({ run }) => run)).toEqual(
      [0, 1, 2].map((from) => ({ file: 0, from, leaves })),
    )
  })

  test('refuses what is not there, what leads out, and what no torrent can carry', async () => {
    await shop.plant('empty folder/.keep', pattern(0))
    await rm(join(shop.folder, 'empty folder/.keep'))
    await shop.plant('case/readme', pattern(1))
    await shop.plant('case/README', pattern(2))
    await shop.plant('links/good', pattern(1))
    await symlink('/etc/passwd', join(shop.folder, 'links/bad'))
    await symlink('/etc', join(shop.folder, 'out'))
    await shop.plant('names/back\\slash', pattern(1))
    const problems = {
      nothing: 'not-found',
      'empty folder': 'not-found',
      case: 'bad-torrent',
      links: 'path-outside',
      'links/bad': 'path-outside',
    }
    const more = {
      out: 'path-outside',
      'out/passwd': 'path-outside',
      names: 'bad-torrent',
      '': 'path-outside',
      '..': 'path-outside',
      '/etc/passwd': 'path-outside',
    }
    for (const [path, code] of Object.entries({ ...problems, ...more })) {
      expect([path, await shop.shares.add({ path }).catch((error: unknown) => error)]).toMatchObject([path, { code }])
    }
    expect(await shop.shares.list()).toEqual([])
    expect(shop.repository.state.calls).toBe(0)
    await expect(shop.shares.add({ path: 'links/good', link: 'nowhere' })).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('the piece length', () => {
  test('is 4 MiB, less where padding would exceed the content, more for very much content', () => {
    expect(choosePieceLength([])).toBe(4 * MiB)
    expect(choosePieceLength([1])).toBe(4 * MiB)
    expect(choosePieceLength([1024 * MiB])).toBe(4 * MiB)
    expect(choosePieceLength(Array<number>(20).fill(1000))).toBe(4 * MiB)
    expect(choosePieceLength(Array<number>(1000).fill(10_000))).toBe(256 * KiB)
    expect(choosePieceLength([4 * 1024 * 1024 * MiB])).toBe(16 * MiB)
  })

  test('keeps padding and the number of pieces within bounds', () => {
    const size = fc.integer({ min: 0, max: 2 ** 42 })
    fc.assert(
      fc.property(fc.array(size, { maxLength: 50 }), (sizes) => {
        const pieceLength = choosePieceLength(sizes)
        const bytes = sizes.reduce((sum, one) => sum + one, 0)
        expect(Number.isInteger(Math.log2(pieceLength))).toBe(true)
        expect(pieceLength >= limits.pieceBytesMin && pieceLength <= limits.pieceBytesMax).toBe(true)
        if (pieceLength < limits.pieceBytesMax) expect(bytes / pieceLength).toBeLessThanOrEqual(2 ** 18)
      }),
    )
  })
})
