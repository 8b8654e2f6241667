/** Two hundred agents, two repositories and a mirror: a revocation reaches all of them, and takes nobody that it need not. */
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { joinRepositories } from '../../agent/clients/joined-repositories.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createTrust, type Trust } from '../../agent/trust/trust.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { objectId, signerFrom } from '../../protocol/signed.ts'
import { evaluate } from '../../protocol/trust.ts'
import { parseHead, writeBook, type Vouch } from '../../protocol/vouch.ts'
import { createRepository, type Repository } from '../../repository/repository.ts'
import { handClock, START_MS } from './hand-clock.ts'

const AGENTS = 200
const BEHIND = 60
const WITH_ANOTHER = 20
/** How many of them are asked about everybody, beside the three that each is asked about: TOWN=all is every one. */
const FULLY = process.env['TOWN'] === 'all' ? AGENTS : 8
const PATIENCE_MS = 600_000

function person(name: string) {
  const signer = signerFrom(sha256(utf8(name)))
  const operation = genesis([signer], START_MS)
  const id = objectId('identity', operation.body)
  return { id, hex: toHex(id), signer, operation }
}
type Person = ReturnType<typeof person>

const vouch = (subject: Person, depth: number, credit: number): Vouch => ({
  subject: subject.id,
  depth,
  credit,
  scope: '',
  notBefore: START_MS,
  expires: START_MS + limits.vouchMs,
  salt: sha256(subject.id).slice(0, 16),
})
const bookOf = (issuer: Person, vouches: readonly Vouch[], prev?: Bytes) =>
  writeBook(
    {
      issuer: issuer.id,
      seq: prev ? 1 : 0,
      issued: START_MS,
      expires: START_MS + limits.bookMs,
      ...(prev && { prev }),
    },
    vouches,
    issuer.signer,
  )

function openTown() {
  const clock = handClock()
  const environmentOf = (name: string) => ({
    clock,
    random: { bytes: (length: number) => sha256(utf8(name)).slice(0, length) },
    transport: async (request: Request): Promise<Response> => {
      const host = hosts.get(new URL(request.url).host)
      if (!host) throw new TypeError('connection refused')
      return host.app.fetch(request)
    },
  })
  const open = (name: string, mirrorOf?: string): Repository =>
    createRepository({
      environment: environmentOf(name),
      store: openSqlite(':memory:'),
      ...(mirrorOf !== undefined && { mirrorOf }),
    })
  const hosts = new Map<string, Repository>([['one.example', open('one')]])
  hosts.set('two.example', open('two'))
  const mirror = open('mirror', 'https://one.example')
  hosts.set('mirror.example', mirror)
  const clientOf = (host: string) =>
    createRepositoryClient({ environment: environmentOf('client'), url: `https://${host}` })
  const [one, two] = [clientOf('one.example'), clientOf('two.example')]

  /** Some look at the first repository, some at the second, some are registered at both, some read the mirror. */
  function agentOf(who: Person, number: number): Trust {
    const repository = [one, two, joinRepositories(two, one), clientOf('mirror.example')][number % 4]
    const terms = { agent: who.signer.key, owner: who.id, may: ['announce'] as const, day: 0n, total: 0n }
    const times = { issued: START_MS, expires: START_MS + limits.delegationMs }
    return createTrust({
      environment: environmentOf(who.hex),
      store: openSqlite(':memory:'),
      owner: who.id,
      operations: [who.operation],
      signer: who.signer,
      delegation: delegate({ ...terms, ...times, ledger: sha256(utf8('ledger')) }, who.signer),
      repository,
    } as unknown as AgentContext)
  }
  return { clock, mirror, one, two, agentOf, both: joinRepositories(one, two) }
}

describe('two hundred agents at two repositories and a mirror', () => {
  /** Who reads the mirror publishes at the first repository. */
  const settlerAt =
    ({ one, two }: ReturnType<typeof openTown>, hub: Person) =>
    async (agent: Trust, i: number, owner: Person): Promise<void> => {
      const book = bookOf(owner, [vouch(hub, 3, 40)])
      await (i % 4 === 1 ? two : one).putIdentity([owner.operation])
      await agent.putBook(book).catch(() => undefined)
      if (i % 4 === 3) await one.putBook(owner.hex, book)
    }

  it('agree within five seconds on exactly who is lost by a revocation', { timeout: PATIENCE_MS }, async () => {
    const town = openTown()
    const { clock, mirror, both, agentOf } = town
    const people = Array.from({ length: AGENTS }, (_, i) => person(`agent ${i}`))
    const behind = people.slice(-BEHIND)
    const [kept, lost] = [behind.slice(0, WITH_ANOTHER), behind.slice(WITH_ANOTHER)]
    const [hub, voucher, other] = [person('hub'), person('voucher'), person('other')]
    for (const { operation } of [hub, voucher, other, ...behind]) await both.putIdentity([operation])
    const first = bookOf(hub, [vouch(voucher, 2, 30), vouch(other, 1, 5)])
    await both.putBook(hub.hex, first)
    await both.putBook(
      voucher.hex,
      bookOf(
        voucher,
        behind.map((each, i) => vouch(each, i < WITH_ANOTHER ? 1 : 0, 64)),
      ),
    )
    await both.putBook(
      other.hex,
      bookOf(
        other,
        kept.map((each) => vouch(each, 0, 64)),
      ),
    )
    await mirror.maintain()
    const [agents, settle] = [people.map(agentOf), settlerAt(town, hub)]
    for (const [i, agent] of agents.entries()) await settle(agent, i, people[i] as Person)
    await mirror.maintain()

    /** Of each agent: what a kept one and two lost ones may owe it, as it would be for a piece. */
    async function credits(count = AGENTS): Promise<string[]> {
      const found: string[] = []
      for (const [i, agent] of agents.slice(0, count).entries()) {
        const asked = [kept[i % kept.length], lost[i % lost.length], lost[(i * 7 + 1) % lost.length]] as Person[]
        const lines = await Promise.all(
          asked.map(async ({ hex }) => (hex === people[i]?.hex ? undefined : agent.creditFor(hex))),
        )
        found.push(lines.map((line) => line?.credit ?? 'itself').join(' '))
      }
      return found
    }
    /** Of some, as many of each kind: what they make of everybody; of themselves what the others do. */
    async function views(ofItself: (each: Person) => string): Promise<string[]> {
      const found: string[] = []
      for (const [i, agent] of agents.slice(0, FULLY).entries()) {
        const { edges, isWhole, ...options } = await agent.around()
        expect(isWhole).toBe(true)
        const all = evaluate((people[i] as Person).id, edges, options)
        const of = (each: Person): string => {
          const verdict = all.get(each.hex)
          return verdict ? `${verdict.depth}/${verdict.credit}` : '-'
        }
        found.push(behind.map((each) => (each === people[i] ? ofItself(each) : of(each))).join(' '))
      }
      return found
    }
    const outcome = (of: (each: Person) => string): string => behind.map(of).join(' ')
    const isKept = new Set(kept)

    const before = (each: Person): string => (isKept.has(each) ? '1/16' : '0/16')
    expect(new Set(await views(before))).toEqual(new Set([outcome(before)]))
    for (const credit of await credits(20)) expect(credit).toMatch(/^(16|itself)( (16|itself)){2}$/)

    const [pruner] = agents as [Trust]
    const [distrusted] = kept as [Person]
    await pruner.prune(distrusted.hex, {})
    await both.putBook(hub.hex, bookOf(hub, [vouch(other, 1, 5)], parseHead(first.head).id))
    for (let second = 1; second <= 5; second++) {
      clock.advance(1000)
      if (second % 2 === 0) await mirror.maintain()
    }
    const weaker = (each: Person): string => (isKept.has(each) ? '0/5' : '-')
    const [pruned, ...others] = await views(weaker)
    expect(new Set(others)).toEqual(new Set([outcome(weaker)]))
    // Who distrusts stays by it, and believes half as much whoever vouched for it.
    expect(pruned).toBe(outcome((each) => (each !== distrusted && isKept.has(each) ? '0/2' : '-')))
    for (const credit of (await credits()).slice(1)) expect(credit).toMatch(/^(5|itself)( (0|itself)){2}$/)

    // Introduced once more, by another, it stays out for who distrusts it.
    const again = bookOf(
      other,
      [...kept, person('new')].map((each) => vouch(each, 0, 64)),
      parseHead(
        bookOf(
          other,
          kept.map((each) => vouch(each, 0, 64)),
        ).head,
      ).id,
    )
    await both.putBook(other.hex, again)
    clock.advance(5000)
    expect(await pruner.creditFor(kept[0]?.hex ?? '')).toMatchObject({ credit: 0 })
  })
})
