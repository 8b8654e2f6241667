/** An owner's books that a repository missed while it was away. */
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { createTrust } from '../../agent/trust/trust.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { parseHead, writeBook, type Vouch } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { codeOf } from '../problems.ts'
import { handClock } from './hand-clock.ts'
import { contextOf, friend, other, owner, stranger, vouch } from './trust-desk.ts'

const HOUR_MS = 3_600_000

/** An agent whose owner vouches for a friend, and the repository that knows it. */
async function open() {
  const clock = handClock()
  const at = { isAway: false, aheadMs: 0 }
  const agentClock: Clock = {
    now: () => clock.now() + at.aheadMs,
    // Pauses between two tries pass at once; nobody runs out of patience.
    sleep: (ms) => (ms < limits.callTimeoutMs ? Promise.resolve() : new Promise(() => undefined)),
  }
  const random = { bytes: (length: number) => sha256(utf8('chance')).slice(0, length) }
  const transport = async (request: Request): Promise<Response> => {
    if (at.isAway) throw new TypeError('connection refused')
    return app.fetch(request)
  }
  const { app } = createRepository({ environment: { clock, random, transport }, store: openSqlite(':memory:') })
  const environment = { clock: agentClock, random, transport }
  const repository = createRepositoryClient({ environment, url: 'https://one.example' })
  const trust = createTrust(contextOf({ environment, repository }))
  await repository.putIdentity([owner.operation])

  /** As the owner's command does. */
  async function say(...vouches: Vouch[]): Promise<string | undefined> {
    const before = await trust.book()
    const last = before && parseHead(before.head)
    const place = last ? { seq: last.seq + 1, prev: last.id } : { seq: 0 }
    const issued = agentClock.now()
    const terms = { issuer: owner.id, ...place, issued, expires: issued + limits.bookMs }
    return codeOf(trust.putBook(writeBook(terms, vouches, owner.signer)))
  }
  async function live(hours: number): Promise<void> {
    for (let hour = 0; hour < hours; hour++) {
      clock.advance(HOUR_MS)
      await codeOf(trust.maintain())
    }
  }
  const told = async () => (await repository.book(owner.hex)).vouches.map(({ credit }) => credit)
  expect(await say(vouch(friend, 1, 1))).toBe('done')
  await live(1)
  return { at, say, live, told }
}

describe('what an owner vouches for while the repository is away', () => {
  it.each([
    ['twice', 1],
    ['and the agent renews', 4 * 24],
    ['for longer than a book lasts', 8 * 24],
  ])('is told to it once it is back: %s', async (_, hours) => {
    const { at, say, live, told } = await open()
    at.isAway = true
    expect(await say(vouch(other, 1, 2))).toBe('peer-failed')
    expect(await say(vouch(stranger, 1, 3))).toBe('peer-failed')
    await live(hours)
    at.isAway = false
    await live(1)
    expect(await told()).toEqual([3])
  })
})

it('what an owner vouches for once the clock is right replaces what was said while it was ahead', async () => {
  const { at, say, told } = await open()
  at.aheadMs = HOUR_MS
  expect(await say(vouch(other, 1, 2))).toBe('bad-request')
  at.aheadMs = 0
  expect(await say(vouch(stranger, 1, 3))).toBe('done')
  expect(await told()).toEqual([3])
})
