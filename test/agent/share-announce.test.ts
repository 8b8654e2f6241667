import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createShares } from '../../agent/share/share.ts'
import { isWithdrawal, type Announcement } from '../../protocol/announcement.ts'
import { limits } from '../../protocol/limits.ts'
import { pattern } from '../pattern.ts'
import { expectLeaves, openShop, type Shop } from './shop.ts'

let shop: Shop
beforeEach(async () => {
  shop = await openShop()
})
afterEach(() => shop.close())

describe('announcing', () => {
  test('says price, modes and address, for a day at most, and again after an hour', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file', price: 3n })
    const first = shop.repository.latest(share) as Announcement
    expect(first).toMatchObject({
      price: 3n,
      public: false,
      modes: ['credit', 'prepaid', 'sealed'],
      urls: ['http://agent.test'],
    })
    expect(first.expires - first.issued).toBe(limits.announcementMs)
    shop.clock.advance(limits.announcedAgainMs - 1)
    await shop.shares.announce()
    expect(shop.repository.announcements).toHaveLength(1)
    shop.clock.advance(1)
    await shop.shares.announce()
    expect(shop.repository.announcements).toHaveLength(2)
  })

  test('comes late when the repository was down, and the share is there at once', async () => {
    shop.repository.state.down = true
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    expect(await shop.shares.readPiece(share, 0)).toEqual(pattern(100))
    await expect(shop.shares.announce()).rejects.toMatchObject({ code: 'peer-failed' })
    shop.repository.state.down = false
    await shop.shares.announce()
    expect(shop.repository.latest(share)).toBeDefined()
    expectLeaves(shop, share)
  })

  test('asks a repository that is down once a round, however much is shared', async () => {
    shop.repository.state.down = true
    for (let i = 0; i < 5; i++) await shop.plant(`file ${i}`, pattern(100, i))
    for (let i = 0; i < 5; i++) await shop.shares.add({ path: `file ${i}` })
    const { calls } = shop.repository.state
    await expect(shop.shares.announce()).rejects.toMatchObject({ code: 'peer-failed' })
    expect(shop.repository.state.calls).toBe(calls + 1)
  })

  test('sends no torrent again that the repository finds too large, says so, and goes on with the others', async () => {
    await shop.plant('large', pattern(100))
    await shop.plant('small', pattern(200))
    shop.repository.state.tooLarge = true
    const large = await shop.shares.add({ path: 'large' })
    expect(large.refused).toBe('The repository takes no such torrent.')
    shop.repository.state.tooLarge = false
    const small = await shop.shares.add({ path: 'small' })
    const { calls } = shop.repository.state
    await shop.shares.announce()
    expect(shop.repository.state.calls).toBe(calls)
    expect([shop.repository.latest(large), shop.repository.latest(small)]).toEqual([undefined, expect.anything()])

    // Until it is shared again, or there is another repository.
    const moved = { ...shop.context, repository: { ...shop.context.repository, url: 'http://elsewhere.test' } }
    await createShares(moved, shop.links).announce()
    expect(shop.repository.latest(large)).toBeDefined()
    expect((await shop.shares.get(large.infoHash))?.refused).toBeUndefined()
  })

  test('tries a torrent that was too large anew when it is shared again', async () => {
    await shop.plant('file', pattern(100))
    shop.repository.state.tooLarge = true
    await shop.shares.add({ path: 'file' })
    shop.repository.state.tooLarge = false
    const share = await shop.shares.add({ path: 'file' })
    expect(share.refused).toBeUndefined()
    expect(shop.repository.latest(share)).toBeDefined()
  })

  test('introduces itself and uploads the torrent again to a repository that has forgotten both', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    shop.repository.torrents.clear()
    shop.repository.introduced.length = 0
    shop.clock.advance(limits.announcedAgainMs)
    await expect(shop.shares.announce()).rejects.toMatchObject({ code: 'not-found' })
    await shop.shares.announce()
    expect(shop.repository.torrents.has(share.infoHash)).toBe(true)
    expect(shop.repository.introduced).toEqual([shop.context.operations])
    expect(shop.repository.announcements).toHaveLength(2)
  })

  test('follows the agent to another address', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    await createShares({ ...shop.context, publicUrl: 'http://elsewhere.test' }, shop.links).announce()
    expect(shop.repository.latest(share)?.urls).toEqual(['http://elsewhere.test'])
  })

  test('names the modes alone in which the agent sells, as soon as they change', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    await createShares({ ...shop.context, modes: ['prepaid'] }, shop.links).announce()
    expect(shop.repository.latest(share)?.modes).toEqual(['prepaid'])
  })

  test('is taken back when the share is removed, also when the repository was down then', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    shop.repository.state.down = true
    await shop.shares.remove(share.infoHashV1)
    expect(await shop.shares.list()).toEqual([])
    expect(await shop.shares.get(share.infoHash)).toBeUndefined()
    await expect(shop.shares.remove(share.infoHash)).rejects.toMatchObject({ code: 'not-found' })
    await expect(shop.shares.torrent(share.infoHash)).rejects.toMatchObject({ code: 'not-found' })
    shop.repository.state.down = false
    await shop.shares.announce()
    expect(isWithdrawal(shop.repository.latest(share) as Announcement)).toBe(true)
    const { calls } = shop.repository.state
    await shop.shares.announce()
    expect(shop.repository.state.calls).toBe(calls)
  })

  test('is not taken back when the same content is shared again first', async () => {
    await shop.plant('file', pattern(100))
    const share = await shop.shares.add({ path: 'file' })
    shop.repository.state.down = true
    await shop.shares.remove(share.infoHash)
    shop.repository.state.down = false
    await shop.shares.add({ path: 'file' })
    await shop.shares.announce()
    expect(isWithdrawal(shop.repository.latest(share) as Announcement)).toBe(false)
  })
})
