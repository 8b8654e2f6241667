import { mkdir, rename, rm, symlink, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createShares, type Share } from '../../agent/share/share.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { isWithdrawal, type Announcement } from '../../protocol/announcement.ts'
import { countPieces } from '../../protocol/bitfield.ts'
import { createFaultyStore, WRITE_FAULTS, type WriteFault } from '../faults/faulty-store.ts'
import { pattern } from '../pattern.ts'
import { MiB, openShop, type Shop } from './shop.ts'

describe('a store that fails while a file is shared', () => {
  const bytes = pattern(5 * MiB)

  /** Lets the write of that number fail. @returns whether there was none of that number */
  async function shareWith(fault: WriteFault, failing: number): Promise<boolean> {
    const store = createFaultyStore(openSqlite(':memory:'))
    const shop = await openShop(store)
    await shop.plant('file', bytes)
    const before = store.writes()
    store.setFaults((write) => (write === before + failing ? fault : undefined))
    await shop.shares
      .add({ path: 'file' })
      .catch((error: unknown) => expect(error).toMatchObject({ code: 'store-unavailable' }))
    const isOver = store.writes() <= before + failing
    store.setFaults(() => undefined)
    shop.clock.advance(1)
    for (const share of await shop.shares.list()) await shop.download(share)
    const share = await shop.shares.add({ path: 'file' })
    expect((await shop.download(share)).get('file')).toHaveLength(bytes.length)
    await shop.close()
    return isOver
  }

  test.each(WRITE_FAULTS)('leaves nothing that is not served once it is shared again: %s', async (fault) => {
    for (let failing = 0; !(await shareWith(fault, failing)); failing++) expect(failing).toBeLessThan(100)
  })
})

describe('a shared file that changes', () => {
  let shop: Shop
  beforeEach(async () => {
    shop = await openShop()
  })
  afterEach(() => shop.close())

  const changes: [string, () => Promise<void>, 'is missing'?][] = [
    ['is replaced', () => shop.plant('file', pattern(5000, 2))],
    ['shrinks', () => truncate(join(shop.folder, 'file'), 10)],
    ['is taken away', () => rm(join(shop.folder, 'file')), 'is missing'],
    [
      'becomes a folder',
      () => rm(join(shop.folder, 'file')).then(() => mkdir(join(shop.folder, 'file'))),
      'is missing',
    ],
    [
      'becomes a link that leads out',
      () => rm(join(shop.folder, 'file')).then(() => symlink('/etc/passwd', join(shop.folder, 'file'))),
    ],
  ]
  test.each(changes)('is withdrawn when it %s', async (_, change, fate) => {
    await shop.plant('file', pattern(5000))
    const share = await shop.shares.add({ path: 'file' })
    await change()
    await expect(shop.shares.readPiece(share, 0)).rejects.toMatchObject({ code: 'content-changed' })
    const withdrawn = (await shop.shares.get(share.infoHash)) as Share
    expect(withdrawn.withdrawn).toContain(`"file" ${fate ?? 'is no longer what was shared'}`)
    expect(countPieces(await shop.shares.bitfield(withdrawn))).toBe(0)
    await shop.shares.announce()
    expect(isWithdrawal(shop.repository.latest(share) as Announcement)).toBe(true)
    const { calls } = shop.repository.state
    await shop.shares.announce()
    expect(shop.repository.state.calls).toBe(calls)
  })

  test('is not led to by a link, nor by a place to copy from that its owner does not lend', async () => {
    const { storage } = await shop.links.open()
    const bucket: Storage = {
      ...storage,
      site: async () => ({ provider: 's3', hosts: [], lends: false }),
      link: async () => new URL('https://bucket.example/file'),
      place: () => ({ provider: 's3', place: 'bucket/file', version: '1' }),
    }
    const shares = createShares(shop.context, {
      ...shop.links,
      open: async () => ({ name: 'folder', storage: bucket }),
    })
    await shop.plant('file', pattern(5000))
    const share = await shares.add({ path: 'file' })
    expect(await shares.locate(share, 0, 'link')).toBe('https://bucket.example/file')
    expect(await shares.locate(share, 0, 'copy')).toBeUndefined()
    await shop.plant('file', pattern(5000, 2))
    await expect(shares.locate(share, 0, 'link')).rejects.toMatchObject({ code: 'content-changed' })
    expect((await shares.get(share.infoHash))?.withdrawn).toBeDefined()
  })

  test('is shared anew in place of the old share', async () => {
    await shop.plant('file', pattern(5000))
    const old = await shop.shares.add({ path: 'file', price: 9n })
    await shop.plant('file', pattern(5000, 2))
    const share = await shop.shares.add({ path: 'file' })
    expect(share.price).toBe(9n)
    expect(await shop.shares.list()).toEqual([share])
    await shop.shares.announce()
    expect(isWithdrawal(shop.repository.latest(old) as Announcement)).toBe(true)
    expect(isWithdrawal(shop.repository.latest(share) as Announcement)).toBe(false)
  })

  test('is served again once the same content is shared again', async () => {
    await shop.plant('file', pattern(5000))
    const old = await shop.shares.add({ path: 'file' })
    await shop.plant('file', pattern(5000))
    await expect(shop.shares.readPiece(old, 0)).rejects.toMatchObject({ code: 'content-changed' })
    const share = await shop.shares.add({ path: 'file' })
    expect(share.infoHash).toBe(old.infoHash)
    expect(share.withdrawn).toBeUndefined()
    expect(await shop.shares.readPiece(share, 0)).toEqual(pattern(5000))
    await expect(shop.shares.readPiece(old, 0)).rejects.toMatchObject({ code: 'content-changed' })
    expect((await shop.shares.get(share.infoHash))?.withdrawn).toBeUndefined()
  })

  test('is served again once the folder that it lay in is back, and it is shared again', async () => {
    const [here, elsewhere] = [join(shop.folder, 'here'), join(shop.folder, 'elsewhere')]
    await shop.plant('here/file', pattern(5000))
    const share = await shop.shares.add({ path: 'here/file' })
    await rename(here, elsewhere)
    await shop.links.close()
    await expect(shop.shares.readPiece(share, 0)).rejects.toMatchObject({ code: 'content-changed' })
    await rename(elsewhere, here)
    expect((await shop.shares.add({ path: 'here/file' })).withdrawn).toBeUndefined()
  })

  test('is not withdrawn because its storage is out of reach', async () => {
    await shop.plant('file', pattern(5000))
    const share = await shop.shares.add({ path: 'file' })
    await rm(shop.folder, { recursive: true })
    await shop.links.close()
    await expect(shop.shares.readPiece(share, 0)).rejects.toMatchObject({ code: 'storage-unavailable' })
    expect((await shop.shares.get(share.infoHash))?.withdrawn).toBeUndefined()
  })

  test('is refused when it changes while it is hashed, and nothing is left of it', async () => {
    await shop.plant('file', pattern(3 * MiB))
    const outcome = shop.shares.add({ path: 'file' }, () => void truncate(join(shop.folder, 'file'), 10))
    await expect(outcome).rejects.toMatchObject({ code: 'content-changed' })
    expect(await shop.shares.list()).toEqual([])
    expect(await shop.context.store.list('share/hashing', { limit: 1 })).toEqual([])
  })
})
