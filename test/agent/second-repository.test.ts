/** An owner who is registered at two repositories, of which the second is away now and then. */
import { expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { joinRepositories } from '../../agent/clients/joined-repositories.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { announce } from '../../protocol/announcement.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { replay, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { createRepository } from '../../repository/repository.ts'
import { codeOf } from '../problems.ts'
import { content, contentOf } from '../repository/kit.ts'
import { handClock, START_MS } from './hand-clock.ts'
import { bookOf, friend, next, owner, vouch } from './trust-desk.ts'

function opened() {
  const clock = handClock()
  const place = { isAway: true }
  const at = (name: string, isAway = () => false) => {
    const random = { bytes: (length: number) => sha256(utf8(name)).slice(0, length) }
    const nobody = { clock, random, transport: () => Promise.reject(new Error('it calls nobody')) }
    const { app } = createRepository({ environment: nobody, store: openSqlite(':memory:') })
    const transport = async (request: Request): Promise<Response> => {
      if (isAway()) throw new TypeError('connection refused')
      return app.fetch(request)
    }
    return createRepositoryClient({ environment: { clock, random, transport }, url: `https://${name}.example` })
  }
  const [one, two] = [at('one'), at('two', () => place.isAway)]
  return { clock, place, two, joined: joinRepositories(one, two) }
}

const film = contentOf('film', content(10))
const offer = (issued: number, signer = owner.signer) =>
  announce(
    {
      agent: owner.id,
      infoHash: film.meta.infoHash,
      issued,
      expires: issued + limits.announcementMs,
      modes: ['prepaid'],
      price: 1n,
      public: false,
      urls: ['https://seller.example'],
    },
    signer,
  )

it('is told with an announcement, or a book, what it missed before', async () => {
  const { clock, place, two, joined } = opened()
  const first = bookOf(owner, [vouch(friend, 1, 20)])
  await clock.until(joined.putIdentity([owner.operation]))
  await clock.until(joined.putBook(owner.hex, first))
  await clock.until(joined.putTorrent(film.infoHash, film.torrent))
  await clock.until(joined.announce(offer(START_MS)))
  place.isAway = false
  await joined.putBook(owner.hex, next(first, owner, []))
  expect(await codeOf(two.book(owner.hex))).toBe('done')
  await joined.announce(offer(START_MS + 1))
  expect(await two.swarm(film.infoHash)).toHaveLength(1)
})

it('is told of keys that changed while it was away', async () => {
  const { clock, place, two, joined } = opened()
  place.isAway = false
  await joined.putIdentity([owner.operation])
  await joined.putTorrent(film.infoHash, film.torrent)
  place.isAway = true
  const changed = rotate(replay([owner.operation], START_MS), [friend.signer.key], START_MS, owner.signer)
  await clock.until(joined.putIdentity([owner.operation, changed]))
  place.isAway = false
  await joined.announce(offer(START_MS, friend.signer))
  expect(toHex((await two.identity(owner.hex)).state.keys[0] as Uint8Array)).toBe(toHex(friend.signer.key))
  expect(await two.swarm(film.infoHash)).toHaveLength(1)
})
