/** What a follower makes of what a repository shows: editions count by their signatures, and what is left out is seen. */
import { describe, expect, test } from 'vitest'
import type { RepositoryClient, SignedEdition } from '../../agent/clients/repository-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createFollows } from '../../agent/follow/follows.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseEdition, publishEdition } from '../../protocol/edition.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId } from '../../protocol/signed.ts'
import { delegationOf, NOW, numbered, person, type Person } from '../repository/people.ts'

const [ann, thief] = [person(1), person(2)]
const annId = toHex(ann.id)

/** The editions of ann, one after the other; `signed` by somebody else where a test says so. */
function edition(seq: number, prev: Bytes | undefined, name = 'data', signed: Person = ann): SignedEdition {
  const terms = { by: ann.id, infoHash: numbered(7, seq), issued: NOW + seq, name, seq, ...(prev && { prev }) }
  return { edition: publishEdition(terms, signed.agent), delegation: delegationOf(signed, ['announce']) }
}
function chain(length: number, names: readonly string[] = ['data']): SignedEdition[] {
  const editions: SignedEdition[] = []
  for (let seq = 0; seq < length; seq++) {
    const before = editions.at(-1)
    const prev = before && objectId('edition', before.edition.body)
    editions.push(edition(seq, prev, names[seq % names.length]))
  }
  return editions
}

function openFollows() {
  const shown = { editions: [] as SignedEdition[], isDown: false, isDeaf: false, asked: 0, slow: Promise.resolve() }
  let nowMs = NOW
  const repository = {
    editions: async (_: string, after = -1) => {
      shown.asked++
      await shown.slow
      if (shown.isDown) throw new Problem('peer-failed', 'The repository is down.')
      const isShown = (one: SignedEdition): boolean => shown.isDeaf || parseEdition(one.edition).seq > after
      return shown.editions.filter(isShown).slice(0, limits.editionsAnswered)
    },
    identity: async () => ({ state: ann.state, operations: ann.operations }),
  } as unknown as RepositoryClient
  const store = openSqlite(':memory:')
  const environment = { clock: { now: () => nowMs } }
  const follows = createFollows({ store, repository, environment } as unknown as AgentContext)
  return { shown, follows, pass: (ms: number) => void (nowMs += ms) }
}

describe('a follower', () => {
  test('is told of a new edition and of what it replaces, once', async () => {
    const { shown, follows } = openFollows()
    const editions = chain(3)
    shown.editions = editions.slice(0, 1)
    await follows.follow(annId, [])
    expect(await follows.alerts()).toMatchObject([{ by: annId, name: 'data', seq: 0, isNew: false }])
    shown.editions = editions.slice(0, 2)
    expect(await follows.alerts()).toMatchObject([{ seq: 1, infoHash: toHex(numbered(7, 1)), isNew: true }])
    await follows.look()
    expect(await follows.alerts()).toMatchObject([{ seq: 1, isNew: false }])
    shown.editions = editions
    expect(await follows.alerts()).toMatchObject([{ seq: 2, isNew: true }])
  })

  test('takes no edition that another signed, and sees that one was left out', async () => {
    const { shown, follows } = openFollows()
    const editions = chain(4)
    shown.editions = editions.slice(0, 1)
    await follows.follow(annId, [])
    const first = objectId('edition', (editions[0] as SignedEdition).edition.body)
    shown.editions = [...editions.slice(0, 1), edition(1, first, 'data', thief)]
    expect(await follows.alerts()).toMatchObject([{ seq: 0, isNew: false }])
    expect(await follows.list()).toMatchObject([{ missed: 0 }])
    shown.editions = [editions[0], editions[3]] as SignedEdition[]
    expect(await follows.alerts()).toMatchObject([{ seq: 3, isNew: true }])
    expect(await follows.list()).toMatchObject([{ missed: 2 }])
  })

  test('sees that a chain goes on from another than it knows', async () => {
    const { shown, follows } = openFollows()
    shown.editions = chain(1)
    await follows.follow(annId, [])
    shown.editions = [edition(1, numbered(9, 9))]
    await follows.alerts()
    expect(await follows.list()).toMatchObject([{ missed: 1 }])
  })

  test('is not taken back to an old edition', async () => {
    const { shown, follows } = openFollows()
    const editions = chain(3)
    shown.editions = editions
    await follows.follow(annId, [])
    shown.editions = editions.slice(0, 2)
    // Whatever was asked for.
    shown.isDeaf = true
    expect(await follows.alerts()).toMatchObject([{ seq: 2 }])
    expect(await follows.list()).toMatchObject([{ missed: 0 }])
  })

  test('may choose series, and is told of those alone', async () => {
    const { shown, follows } = openFollows()
    await follows.follow(annId, ['data'])
    shown.editions = chain(4, ['data', 'letters'])
    expect(await follows.alerts()).toMatchObject([{ name: 'data', seq: 2, isNew: true }])
  })

  test('reads on page by page, however much was published meanwhile', async () => {
    const { shown, follows } = openFollows()
    await follows.follow(annId, [])
    shown.editions = chain(2 * limits.editionsAnswered + 5)
    expect(await follows.alerts()).toMatchObject([{ seq: 2 * limits.editionsAnswered + 4 }])
    expect(await follows.list()).toMatchObject([{ missed: 0 }])
  })

  test('reads on past any number of editions that do not hold, such as a thief’s', async () => {
    const { shown, follows } = openFollows()
    const [first, ...others] = chain(2 * limits.editionsAnswered + 5) as [SignedEdition, ...SignedEdition[]]
    shown.editions = [first]
    await follows.follow(annId, [])
    const last = others.at(-1) as SignedEdition
    const forged = others.slice(0, -1).map((one) => {
      const { seq, prev } = parseEdition(one.edition)
      return edition(seq, prev, 'data', thief)
    })
    shown.editions = [first, ...forged, last]
    expect(await follows.alerts()).toMatchObject([{ seq: 2 * limits.editionsAnswered + 4, isNew: true }])
    expect(await follows.list()).toMatchObject([{ missed: 2 * limits.editionsAnswered + 3 }])
  })

  test('asks about all at once: an answer that takes its time holds up no other', async () => {
    const { shown, follows } = openFollows()
    for (let number = 0; number < 8; number++) await follows.follow(toHex(numbered(5, number)), [])
    const { promise, resolve } = Promise.withResolvers<void>()
    const { asked } = shown
    shown.slow = promise
    const alerts = follows.alerts()
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    expect(shown.asked - asked).toBe(8)
    resolve()
    expect(await alerts).toEqual([])
  })

  test('keeps what it knows while the repository is down, and asks once a minute', async () => {
    const { shown, follows, pass } = openFollows()
    shown.editions = chain(1)
    await follows.follow(annId, [])
    shown.isDown = true
    expect(await follows.alerts()).toMatchObject([{ seq: 0 }])
    const { asked } = shown
    await follows.maintain()
    expect(shown.asked).toBe(asked)
    pass(limits.followMs)
    await follows.maintain()
    await follows.maintain()
    expect(shown.asked).toBe(asked + 1)
  })

  test('follows a bounded number of owners, and one no more that it lets go', async () => {
    const { follows } = openFollows()
    for (let i = 0; i < limits.follows; i++) await follows.follow(toHex(numbered(5, i)), [])
    await expect(follows.follow(annId, [])).rejects.toMatchObject({ code: 'limit-reached' })
    await follows.unfollow(toHex(numbered(5, 0)))
    await follows.follow(annId, [])
    await expect(follows.unfollow(toHex(numbered(5, 0)))).rejects.toMatchObject({ code: 'not-found' })
  })
})
