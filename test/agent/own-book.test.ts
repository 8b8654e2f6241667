/** The owner's book at a real repository, which is away now and then. */
import { expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { joinRepositories } from '../../agent/clients/joined-repositories.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { createTrust } from '../../agent/trust/trust.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { parseHead, type Book } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { handClock } from './hand-clock.ts'
import { bookOf, contextOf, friend, next, other, owner, vouch } from './trust-desk.ts'

async function opened() {
  const clock = handClock()
  const away = new Set<string>()
  const apps = new Map(
    ['one.example', 'two.example'].map((host) => {
      const random = { bytes: (length: number) => sha256(utf8(host)).slice(0, length) }
      const environment = { clock, random, transport: () => Promise.reject(new Error('it calls nobody')) }
      return [host, createRepository({ environment, store: openSqlite(':memory:') }).app]
    }),
  )
  const transport = async (request: Request): Promise<Response> => {
    const app = apps.get(new URL(request.url).host)
    if (!app || away.has(new URL(request.url).host)) throw new TypeError('connection refused')
    return app.fetch(request)
  }
  const environment = { clock, random: { bytes: (length: number) => new Uint8Array(length) }, transport }
  const [one, two] = ['one.example', 'two.example'].map((host) =>
    createRepositoryClient({ environment, url: `https://${host}` }),
  ) as [ReturnType<typeof createRepositoryClient>, ReturnType<typeof createRepositoryClient>]
  const trust = createTrust(contextOf({ environment, repository: joinRepositories(one, two) }))
  for (const client of [one, two]) await client.putIdentity([owner.operation])
  const put = (book: Book) => clock.until(trust.putBook(book)).catch(() => undefined)
  return { clock, away, one, two, trust, put }
}

const seqOf = ({ head }: Book): number => parseHead(head).seq

it('reaches a repository that missed several of it while it was away', async () => {
  const { clock, away, one, trust, put } = await opened()
  const first = bookOf(owner, [vouch(friend, 1, 20), vouch(other, 0, 1)])
  await put(first)
  away.add('one.example')
  const second = next(first, owner, [vouch(friend, 1, 20)])
  const third = next(second, owner, [])
  for (const book of [second, third]) await put(book)
  away.clear()
  clock.advance(limits.askAgainMs)
  await trust.maintain()
  expect(seqOf(await one.book(owner.hex))).toBe(2)
})

it('reaches with the next one a second repository that missed some', async () => {
  const { away, two, put } = await opened()
  const first = bookOf(owner, [vouch(friend, 1, 20)])
  away.add('two.example')
  await put(first)
  away.clear()
  const second = next(first, owner, [vouch(other, 0, 1)])
  await put(second)
  away.add('two.example')
  const third = next(second, owner, [vouch(friend, 1, 20)])
  await put(third)
  away.clear()
  await put(next(third, owner, []))
  expect(seqOf(await two.book(owner.hex))).toBe(3)
})
