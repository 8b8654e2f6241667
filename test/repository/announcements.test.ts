import { describe, expect, it } from 'vitest'
import { announce } from '../../protocol/announcement.ts'
import { toHex } from '../../protocol/bytes.ts'
import { rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { parseHead } from '../../protocol/vouch.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { bookKey, liveKey, liveOffer, ownerKey, swarmKey } from '../../repository/keys.ts'
import { announcementOf, content, contentOf, signedAnnouncement, testRepository, type TestContent } from './kit.ts'
import { bookOf, DAY, delegationOf, NOW, numbered, person, vouchFor } from './people.ts'

const [ann, bob, cid] = [person(1), person(2), person(3)]
const film = contentOf('film', content(10))
const refusal = (status: number, code: string) => ({ status, json: { code } })

async function opened(options = {}) {
  const repository = testRepository(options)
  await repository.register(ann, bob, cid)
  await repository.putTorrent(film)
  const sellers = async (query = '', { infoHash }: TestContent = film): Promise<readonly unknown[]> => {
    const { status, json } = await repository.get(`/v1/contents/${infoHash}/swarm${query}`)
    expect(status).toBe(200)
    return json['sellers'] as unknown[]
  }
  return { repository, sellers }
}

describe('an announcement', () => {
  it('is told in the swarm as it was signed, with its delegation, under both info hashes', async () => {
    const { repository, sellers } = await opened()
    const reply = await repository.announce(ann, film)
    expect(reply).toMatchObject({
      status: 201,
      json: { infoHash: film.infoHash, agent: toHex(ann.id), expires: NOW + DAY, withdrawn: false },
    })
    expect(await sellers()).toEqual([announcementOf(ann, film)])
    const { json } = await repository.get(`/v1/contents/${film.infoHashV1}/swarm`)
    expect(json).toEqual({ sellers: [announcementOf(ann, film)] })
    expect(await repository.announce(ann, film)).toMatchObject({ status: 200, json: reply.json })
  })

  it('of the owner’s own key needs no delegation', async () => {
    const { repository, sellers } = await opened()
    const terms = {
      agent: ann.id,
      infoHash: film.meta.infoHash,
      issued: NOW,
      expires: NOW + 1,
      modes: ['prepaid' as const],
      price: 0n,
      public: false,
      urls: ['https://a.example'],
    }
    const signed = signedAnnouncement(announce(terms, ann.owner))
    expect(await repository.ask('POST', '/v1/announcements', signed)).toMatchObject({ status: 201 })
    expect(await sellers()).toEqual([signed])
  })

  it('is replaced by a newer one, and by no older one', async () => {
    const { repository, sellers } = await opened()
    await repository.announce(ann, film, { issued: NOW, price: 5n })
    expect(await repository.announce(ann, film, { issued: NOW - 1, expires: NOW + 1, price: 1n })).toMatchObject(
      refusal(409, 'conflict'),
    )
    expect(await repository.announce(ann, film, { issued: NOW, price: 1n })).toMatchObject(refusal(409, 'conflict'))
    const newer = { issued: NOW + 1, price: 6n }
    expect(await repository.announce(ann, film, newer)).toMatchObject({ status: 201 })
    expect(await repository.announce(ann, film)).toMatchObject(refusal(409, 'conflict'))
    expect(await sellers()).toEqual([announcementOf(ann, film, newer)])
  })

  it('ends when it expires', async () => {
    const { repository, sellers } = await opened()
    await repository.announce(ann, film, { expires: NOW + 1000 })
    repository.setNow(NOW + 999)
    expect(await sellers()).toHaveLength(1)
    repository.setNow(NOW + 1000)
    expect(await sellers()).toEqual([])
  })

  it('is withdrawn, and does not come back by what was signed before', async () => {
    const { repository, sellers } = await opened()
    await repository.announce(ann, film)
    const withdrawal = { issued: NOW + 10, expires: NOW + 10, urls: [] }
    // It takes a while to come.
    repository.setNow(NOW + 20)
    expect(await repository.announce(ann, film, withdrawal)).toMatchObject({ status: 201, json: { withdrawn: true } })
    expect(await sellers()).toEqual([])
    for (const atMs of [NOW + 20, NOW + DAY - 1]) {
      repository.setNow(atMs)
      await repository.maintain()
      expect(await repository.announce(ann, film)).toMatchObject(refusal(409, 'conflict'))
      expect(await repository.announce(ann, film, withdrawal)).toMatchObject({ status: 200 })
    }
    expect(await sellers()).toEqual([])
    expect(await repository.announce(ann, film, { issued: NOW + DAY, expires: NOW + 2 * DAY })).toMatchObject({
      status: 201,
    })
  })

  it('needs an identity and a content that are known here', async () => {
    const { repository } = await opened()
    const stranger = person(9)
    expect(await repository.announce(stranger, film)).toMatchObject({
      status: 404,
      json: { code: 'not-found', missing: 'identity' },
    })
    const other = contentOf('other', content(11))
    expect(await repository.announce(ann, other)).toMatchObject({
      status: 404,
      json: { code: 'not-found', missing: 'content' },
    })
  })

  it.each<[string, object, number, string]>([
    ['from the future', { issued: NOW + limits.clockSkewMs + 1, expires: NOW + DAY }, 400, 'bad-request'],
    ['that expired', { issued: NOW - DAY, expires: NOW }, 410, 'expired'],
    ['of a withdrawal that is over', { issued: NOW - DAY, expires: NOW - DAY, urls: [] }, 410, 'expired'],
    ['of a long life', { expires: NOW + DAY + 1 }, 400, 'bad-encoding'],
    ['without a URL', { urls: [] }, 400, 'bad-encoding'],
    ['with a password', { urls: ['https://me:pw@a.example'] }, 400, 'bad-request'],
    ['of another scheme', { urls: ['ftp://a.example'] }, 400, 'bad-request'],
    ['of a private address', { urls: ['https://10.1.2.3'] }, 403, 'address-refused'],
    ['of a mapped address', { urls: ['https://[::ffff:192.168.0.1]'] }, 403, 'address-refused'],
    ['of cloud metadata', { urls: ['https://a.example', 'https://169.254.169.254'] }, 403, 'address-refused'],
    ['of this machine', { urls: ['http://127.0.0.1:8402'] }, 403, 'address-refused'],
    ['of this machine by name', { urls: ['http://localhost:8402'] }, 403, 'address-refused'],
  ])('%s is refused', async (_, changes, status, code) => {
    const { repository, sellers } = await opened()
    expect(await repository.announce(ann, film, changes)).toMatchObject(refusal(status, code))
    expect(await sellers()).toEqual([])
  })

  it('may name this machine where the operator allows it, and its network nowhere', async () => {
    const { repository } = await opened({ allowLoopback: true })
    expect(await repository.announce(ann, film, { urls: ['http://127.0.0.1:8402'] })).toMatchObject({ status: 201 })
    expect(await repository.announce(bob, film, { urls: ['http://192.168.1.5:8402'] })).toMatchObject(
      refusal(403, 'address-refused'),
    )
  })

  it('is refused without the right to announce', async () => {
    const { repository, sellers } = await opened()
    const { announcement, delegation } = announcementOf(ann, film)
    const attempts: [object, number, string][] = [
      [{ announcement }, 401, 'unknown-key'],
      [{ announcement, delegation: envelopeToJson(delegationOf(ann, ['spend'])) }, 403, 'delegation-exceeded'],
      [
        { announcement, delegation: envelopeToJson(delegationOf(ann, ['announce'], { expires: NOW })) },
        403,
        'delegation-exceeded',
      ],
      [
        {
          announcement,
          delegation: envelopeToJson(delegationOf(bob, ['announce'], { agent: ann.agent.key, owner: ann.id })),
        },
        401,
        'unknown-key',
      ],
      [
        {
          announcement: {
            ...announcement,
            key: envelopeToJson(announce({ ...terms(), agent: ann.id }, bob.agent)).key,
          },
          delegation,
        },
        401,
        'bad-signature',
      ],
      [
        {
          announcement: envelopeToJson(announce({ ...terms(), agent: ann.id }, bob.agent)),
          delegation: envelopeToJson(delegationOf(bob, ['announce'])),
        },
        401,
        'unknown-key',
      ],
    ]
    for (const [body, status, code] of attempts) {
      expect(await repository.ask('POST', '/v1/announcements', body)).toMatchObject(refusal(status, code))
    }
    expect(await sellers()).toEqual([])
  })

  it('of a key that was rotated out is refused', async () => {
    const { repository } = await opened()
    const rotated = rotate(ann.state, [numbered(5, 5), bob.owner.key].slice(1), NOW, ann.owner)
    await repository.ask('POST', '/v1/identities', { operations: [rotated].map(envelopeToJson) })
    expect(await repository.announce(ann, film)).toMatchObject(refusal(401, 'unknown-key'))
  })

  const terms = () => ({
    agent: ann.id,
    infoHash: film.meta.infoHash,
    issued: NOW,
    expires: NOW + DAY,
    modes: ['credit' as const],
    price: 1n,
    public: false,
    urls: ['https://a.example'],
  })
})

/** STORES=all: ten thousand announcements, two of each content. */
const IS_ALL = process.env['STORES'] === 'all'
const [MOST, CONTENTS] = IS_ALL ? [limits.announcementsPerOwner, 5000] : [20, 25]
const PATIENCE_MS = 600_000

describe('many announcements', () => {
  it('of one key are limited, and the others are served as before', { timeout: PATIENCE_MS }, async () => {
    const { repository, sellers } = await opened({ announcementsPerOwner: MOST })
    const statuses = { first: [] as number[], again: [] as number[] }
    for (let i = 0; i < CONTENTS; i++) {
      const each = contentOf(`number ${i}`, content(100 + i))
      await repository.putTorrent(each)
      const first = await repository.announce(ann, each)
      statuses.first.push(first.status)
      if (i >= MOST) expect(first).toMatchObject(refusal(429, 'limit-reached'))
      statuses.again.push((await repository.announce(ann, each, { issued: NOW + 1, price: 2n })).status)
    }
    for (const each of [statuses.first, statuses.again])
      expect(each).toEqual([...Array<number>(MOST).fill(201), ...Array<number>(CONTENTS - MOST).fill(429)])
    expect(await repository.announce(bob, film)).toMatchObject({ status: 201 })
    expect(await sellers()).toHaveLength(1)
  })

  it('make room again when they are over', async () => {
    const { repository } = await opened({ announcementsPerOwner: 1 })
    const other = contentOf('other', content(77))
    await repository.putTorrent(other)
    await repository.announce(ann, film)
    await repository.announce(ann, film, { issued: NOW + 1, expires: NOW, urls: [] })
    expect(await repository.announce(ann, other)).toMatchObject(refusal(429, 'limit-reached'))
    repository.setNow(NOW + DAY + 1)
    expect(await repository.maintain()).toBe(1)
    const later = { issued: NOW + DAY, expires: NOW + 2 * DAY }
    expect(await repository.announce(ann, other, later)).toMatchObject({ status: 201 })
  })

  it('that come at once are counted one by one', async () => {
    const { repository } = await opened({ announcementsPerOwner: 10 })
    const contents = Array.from({ length: 16 }, (_, i) => contentOf(`number ${i}`, content(200 + i)))
    await Promise.all(contents.map((each) => repository.putTorrent(each)))
    const replies = await Promise.all(contents.map((each) => repository.announce(ann, each)))
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(10)
    const [counter] = await repository.store.list(ownerKey(toHex(ann.id)), { limit: 5 })
    expect(Buffer.from(counter?.body ?? []).toString()).toBe('d5:counti10ee')
  })

  it('of one content are told up to a limit: whom the reader vouches for, then the cheapest', async () => {
    const { repository, sellers } = await opened()
    const crowd = Array.from({ length: limits.swarmSellers + 10 }, (_, i) => person(50 + i))
    await repository.register(...crowd)
    for (const [i, each] of crowd.entries()) await repository.announce(each, film, { price: BigInt(100 - i) })
    const friend = crowd[0]
    if (!friend) throw new Error('nobody is there')
    await repository.putBook(bob, bookOf(bob, [vouchFor(friend.id)]))
    const all = await sellers()
    expect(all).toHaveLength(limits.swarmSellers)
    expect(all[0]).toEqual(announcementOf(crowd.at(-1) ?? friend, film, { price: BigInt(101 - crowd.length) }))
    const forBob = await sellers(`?for=${toHex(bob.id)}`)
    expect(forBob[0]).toEqual(announcementOf(friend, film, { price: 100n }))
    expect(forBob.slice(1)).toEqual(all.slice(0, -1))
    expect(await sellers(`?for=${toHex(numbered(4, 4))}`)).toEqual(all)
  })

  it('are told without reading anew whom the reader vouches for, until that changes', async () => {
    const kept = openSqlite(':memory:')
    let reads = 0
    const list: Store['list'] = (pk, range) => {
      if (pk === bookKey(bob.id)) reads++
      return kept.list(pk, range)
    }
    const repository = testRepository({}, { ...kept, list })
    const ask = async () => (await repository.get(`/v1/contents/${film.infoHash}/swarm?for=${toHex(bob.id)}`)).json
    await repository.register(ann, bob, cid)
    await repository.putTorrent(film)
    for (const each of [ann, cid]) await repository.announce(each, film)
    const first = bookOf(bob, [vouchFor(ann.id)])
    await repository.putBook(bob, first)
    for (let i = 0; i < 9; i++) expect(await ask()).toMatchObject({ sellers: [announcementOf(ann, film), {}] })
    expect(reads).toBe(1)
    await repository.putBook(bob, bookOf(bob, [vouchFor(cid.id)], { seq: 1, prev: parseHead(first.head).id }))
    expect(await ask()).toMatchObject({ sellers: [announcementOf(cid, film), {}] })
  })

  it('hide nobody whom the reader vouches for, however many come before', async () => {
    const { repository, sellers } = await opened()
    const { store } = repository
    for (const each of [ann, cid]) await repository.announce(each, film)
    await repository.putBook(bob, bookOf(bob, [vouchFor(cid.id)]))
    // As of more identities than are read, each before the others.
    const [pk, of] = [liveKey(film.infoHash), await store.get(swarmKey(film.infoHash), toHex(ann.id))]
    const crowd = Array.from({ length: 1100 }, (_, i) => liveOffer(NOW + 1, String(i).padStart(64, '0'), NOW))
    for (let at = 0; at < crowd.length; at += 100) {
      const some = crowd.slice(at, at + 100)
      await store.write(some.map((sk) => ({ pk, sk, expect: 0, body: of?.body ?? new Uint8Array() })))
    }
    const hers = announcementOf(cid, film)
    expect(await sellers()).not.toContainEqual(hers)
    expect((await sellers(`?for=${toHex(bob.id)}`))[0]).toEqual(hers)
    await repository.announce(cid, film, { issued: NOW + 1, expires: NOW + 1, urls: [] })
    for (const seller of await sellers(`?for=${toHex(bob.id)}`)) expect(seller).toEqual(announcementOf(ann, film))
  })
})

describe('what is over', () => {
  it('hides nothing of what is on offer, however much there is of it', async () => {
    const { repository, sellers } = await opened()
    const { store } = repository
    const now = NOW + limits.contentMs - 1
    repository.setNow(now)
    await repository.announce(ann, film, { issued: now, expires: now, urls: [] })
    await repository.announce(bob, film, { issued: now, expires: now + 1 })
    await repository.announce(cid, film, { issued: now, expires: now + DAY })
    // As of more identities than are read, each with a lower id.
    const pk = swarmKey(film.infoHash)
    for (let at = 0; at < 1100; at += 100) {
      const { body = new Uint8Array() } = (await store.get(pk, toHex((at % 200 === 0 ? ann : bob).id))) ?? {}
      const some = Array.from({ length: 100 }, (_, i) => String(at + i).padStart(64, '0'))
      await store.write(some.map((sk) => ({ pk, sk, expect: 0, body })))
    }
    repository.setNow(now + 1)
    expect(await repository.maintain()).toBe(1)
    expect(await repository.search('film')).toMatchObject([{ sellers: 1 }])
    expect(await sellers()).toEqual([announcementOf(cid, film, { issued: now, expires: now + DAY })])
    repository.setNow(now + DAY)
    await repository.maintain()
    expect(await store.list(liveKey(film.infoHash), { limit: 9 })).toEqual([])
  })

  it('is taken away, and what is not stays', async () => {
    const { repository, sellers } = await opened()
    await repository.announce(ann, film)
    await repository.announce(bob, film, { issued: NOW - 3600_000, expires: NOW + 3600_000 })
    repository.setNow(NOW + DAY - 1)
    await repository.announce(cid, film, { issued: NOW + DAY - 1, expires: NOW + 2 * DAY - 1 })
    expect(await repository.maintain()).toBe(1)
    expect(await repository.store.list(swarmKey(film.infoHash), { limit: 9 })).toHaveLength(2)
    repository.setNow(NOW + DAY)
    expect(await repository.maintain()).toBe(1)
    expect(await repository.maintain()).toBe(0)
    expect(await sellers()).toHaveLength(1)
    expect(await repository.search('film')).toHaveLength(1)
  })

  it('is swept in the background, until the repository stops', async () => {
    const { repository } = await opened()
    await repository.announce(ann, film)
    repository.setNow(NOW + DAY)
    await repository.start()
    await expect.poll(() => repository.store.list(swarmKey(film.infoHash), { limit: 9 })).toEqual([])
    await repository.stop()
  })

  it('is a content that nobody announced for a month, with all of its items', async () => {
    const { repository } = await opened()
    const path = `/v1/contents/${film.infoHash}`
    repository.setNow(NOW + limits.contentMs - 1)
    await repository.announce(ann, film, { issued: NOW + limits.contentMs - 1, expires: NOW + limits.contentMs + 1 })
    repository.setNow(NOW + limits.contentMs)
    expect(await repository.maintain()).toBe(1)
    expect(await repository.get(path)).toMatchObject({ status: 200 })
    repository.setNow(NOW + 2 * limits.contentMs)
    expect(await repository.maintain()).toBe(2)
    for (const infoHash of [film.infoHash, film.infoHashV1]) {
      expect(await repository.get(`/v1/contents/${infoHash}`)).toMatchObject(refusal(404, 'not-found'))
    }
    expect(await repository.store.list(`content/${film.infoHash}`, { limit: 9 })).toEqual([])
    expect(await repository.store.list('word/f', { limit: 9 })).toEqual([])
    expect(await repository.putTorrent(film)).toMatchObject({ status: 201 })
    expect(await repository.get(`${path}/torrent`)).toMatchObject({ status: 200 })
  })

  it('is an upload that another came before', async () => {
    const store = openSqlite(':memory:')
    const [first, second] = [testRepository({}, store), testRepository({}, store)]
    second.setNow(NOW + 1)
    await Promise.all([first, second].map((repository) => repository.putTorrent(film)))
    first.setNow(NOW + 2 * limits.contentMs)
    expect(await first.maintain()).toBe(2)
    expect(await store.list(`content/${film.infoHash}`, { limit: 9 })).toEqual([])
  })
})
