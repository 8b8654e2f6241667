import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson } from '../../protocol/chain.ts'
import { rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { evaluateOne, type Verdict } from '../../protocol/trust.ts'
import { parseHead, type Book, type Vouch } from '../../protocol/vouch.ts'
import { stores, testRepository, type TestRepository } from './kit.ts'
import { bookOf, DAY, NOW, numbered, person, vouchFor, type Person } from './people.ts'

const people = Array.from({ length: 10 }, (_, i) => person(i + 1))
const at = (number: number): Person => people[number] as Person

/** `[issuer, subject, terms]`, by number. */
type Edge = readonly [issuer: number, subject: number, terms?: Partial<Vouch>]

async function networkOf(edges: readonly Edge[]): Promise<TestRepository> {
  const repository = testRepository()
  await repository.register(...people)
  for (const [issuer, theirs] of Map.groupBy(edges, ([from]) => from)) {
    const vouches = theirs.map(([, subject, terms]) => vouchFor(at(subject).id, terms))
    await repository.putBook(at(issuer), bookOf(at(issuer), vouches))
  }
  return repository
}

async function chainsOf(
  repository: TestRepository,
  from: number,
  to: number | Bytes,
  max?: number,
): Promise<ChainsJson> {
  const subject = typeof to === 'number' ? at(to).id : to
  const more = max === undefined ? '' : `&max=${max}`
  const { status, json } = await repository.get(`/v1/chains?from=${toHex(at(from).id)}&to=${toHex(subject)}${more}`)
  expect(status).toBe(200)
  return json as unknown as ChainsJson
}

/** As an agent finds it offline. */
const verdictOf = (json: ChainsJson, from: number, to: number, atMs = NOW): Verdict =>
  evaluateOne(at(from).id, at(to).id, edgesOf(evidenceFromJson(json, atMs), atMs))

describe('chains', () => {
  it('lead from one id to another, to be verified offline', async () => {
    const repository = await networkOf([
      [0, 1],
      [1, 2, { credit: 10 }],
      [2, 3],
    ])
    const json = await chainsOf(repository, 0, 3)
    expect(json.chains.map((chain) => chain.length)).toEqual([3])
    expect(json.identities).toHaveLength(3)
    expect(verdictOf(json, 0, 3)).toMatchObject({ trusted: true, depth: 1, credit: 10 })
  })

  it('do not pass a book whose signer its owner has put out since', async () => {
    const repository = await networkOf([
      [0, 1],
      [1, 2],
    ])
    expect((await chainsOf(repository, 0, 2)).chains).toHaveLength(1)
    const { state, owner } = at(1)
    const rotated = rotate(state, [at(9).agent.key], NOW, owner)
    await repository.ask('POST', '/v1/identities', { operations: [envelopeToJson(rotated)] })
    expect((await chainsOf(repository, 0, 2)).chains).toEqual([])
  })

  it('show the most credit first and the greatest depth too', async () => {
    const repository = await networkOf([
      [0, 1, { credit: 3 }],
      [1, 3],
      [0, 2, { depth: 1, credit: 30 }],
      [2, 3, { depth: 0, credit: 30 }],
    ])
    const json = await chainsOf(repository, 0, 3, 2)
    expect(verdictOf({ ...json, chains: json.chains.slice(0, 1) }, 0, 3).credit).toBe(30)
    expect(verdictOf(json, 0, 3)).toMatchObject({ depth: 2, credit: 30 })
  })

  it('share no vouch, and are as many as asked for at most', async () => {
    const repository = await networkOf(
      [1, 2, 3, 4, 5].flatMap((n): Edge[] => [
        [0, n],
        [n, 9],
      ]),
    )
    for (const max of [1, 3, 16]) {
      const { chains } = await chainsOf(repository, 0, 9, max)
      expect(chains).toHaveLength(Math.min(max, 5))
      const vouches = chains.flat().map(({ head, vouch }) => head.body + vouch)
      expect(new Set(vouches).size).toBe(vouches.length)
    }
    expect((await chainsOf(repository, 0, 9)).chains).toHaveLength(4)
  })

  it('are as long as the depth allows and no longer', async () => {
    const line: Edge[] = [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ]
    const repository = await networkOf(line)
    expect((await chainsOf(repository, 0, 4)).chains.map((chain) => chain.length)).toEqual([limits.chainVouches])
    expect((await chainsOf(repository, 0, 5)).chains).toEqual([])
  })

  it('go round no cycle, and follow no vouch that is not in force', async () => {
    const repository = await networkOf([
      [0, 1],
      [1, 0],
      [1, 2, { notBefore: NOW + DAY }],
      [1, 3, { notBefore: NOW - 2 * DAY, expires: NOW }],
      [1, 4, { scope: 'music' }],
      [1, 5, { depth: 0 }],
      [5, 6],
    ])
    for (const to of [2, 3, 4, 6]) expect((await chainsOf(repository, 0, to)).chains).toEqual([])
    expect((await chainsOf(repository, 0, 5)).chains).toHaveLength(1)
  })

  it('end where a vouch was taken back, and go on by the second path', async () => {
    const edges: Edge[] = [
      [0, 1],
      [1, 3],
      [0, 2, { depth: 1, credit: 4 }],
      [2, 3],
    ]
    const repository = await networkOf(edges)
    expect(verdictOf(await chainsOf(repository, 0, 3), 0, 3)).toMatchObject({ depth: 2, credit: 16 })
    const book = bookOf(at(0), [vouchFor(at(1).id), vouchFor(at(2).id, { depth: 1, credit: 4 })])
    const revoked = bookOf(at(0), [vouchFor(at(2).id, { depth: 1, credit: 4 })], {
      seq: 1,
      prev: parseHead(book.head).id,
    })
    expect(await repository.putBook(at(0), revoked)).toMatchObject({ status: 201 })
    const json = await chainsOf(repository, 0, 3)
    expect(json.chains).toHaveLength(1)
    expect(verdictOf(json, 0, 3)).toMatchObject({ trusted: true, depth: 0, credit: 4 })
  })

  it('that were taken along go on being verified until the books expire', async () => {
    const json = await chainsOf(
      await networkOf([
        [0, 1],
        [1, 2],
      ]),
      0,
      2,
    )
    expect(verdictOf(json, 0, 2, NOW + 7 * DAY - 1).trusted).toBe(true)
    expect(verdictOf(json, 0, 2, NOW + 7 * DAY).trusted).toBe(false)
  })

  it('between ids that are not known here are none', async () => {
    const repository = await networkOf([[0, 1]])
    expect(await chainsOf(repository, 0, numbered(4, 4))).toEqual({ identities: [], chains: [] })
    expect((await chainsOf(repository, 2, 1)).chains).toEqual([])
    expect((await chainsOf(repository, 0, 0)).chains).toEqual([])
  })

  it.each([
    '',
    '?from=00&to=00',
    `?from=${'0'.repeat(64)}`,
    `?from=${'0'.repeat(64)}&to=${'0'.repeat(64)}&max=0`,
    `?from=${'0'.repeat(64)}&to=${'0'.repeat(64)}&max=17`,
    `?from=${'0'.repeat(64)}&to=${'0'.repeat(64)}&max=x`,
    `?from=${'0'.repeat(64)}&to=${'0'.repeat(64)}&more=1`,
  ])('are not asked for by %j', async (query) => {
    expect(await testRepository().get(`/v1/chains${query}`)).toMatchObject({
      status: 400,
      json: { code: 'bad-request' },
    })
  })

  it('are looked for in a bounded number of books', async () => {
    const repository = testRepository()
    const crowd = Array.from({ length: 300 }, (_, i) => person(100 + i))
    await repository.register(at(0), ...crowd)
    await repository.putBook(
      at(0),
      bookOf(
        at(0),
        crowd.map(({ id }) => vouchFor(id)),
      ),
    )
    for (const each of crowd)
      await repository.putBook(each, bookOf(each, [vouchFor(at(9).id), vouchFor(numbered(6, 1))]))
    const { chains } = await chainsOf(repository, 0, 9, 16)
    expect(chains).toHaveLength(16)
    expect(repository.faults).toEqual([])
  })

  it('are those of the store, whoever changed it, and whatever was answered before', async () => {
    const several = Array.from({ length: 5 }, (_, i) => i)
    const deed = fc.oneof(
      fc.record({
        by: fc.constantFrom(...several),
        subjects: fc.uniqueArray(fc.constantFrom(...several), { maxLength: 4 }),
        at: fc.nat(1),
      }),
      fc.record({ twice: fc.constantFrom(...several) }),
      fc.record({ laterMs: fc.constantFrom(1000, DAY, 4 * DAY) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 4, maxLength: 12 }), async (deeds) => {
        const store = stores.open()
        const both = [testRepository({}, store), testRepository({}, store)] as const
        let nowMs = NOW
        const newest = new Map<number, Book>()
        const next = (by: number, subjects: readonly number[]): Book => {
          const before = newest.get(by)
          const head = before && parseHead(before.head)
          const times = { notBefore: NOW, expires: nowMs + 2 * DAY }
          const others = subjects.filter((subject) => subject !== by)
          const vouches = others.map((subject) => vouchFor(at(subject).id, times))
          const place = head ? { seq: head.seq + 1, prev: head.id } : {}
          return bookOf(at(by), vouches, { issued: nowMs, expires: nowMs + 6 * DAY, ...place })
        }
        await both[0].register(...several.map(at))
        for (const each of deeds) {
          if ('by' in each) {
            const book = next(each.by, each.subjects)
            expect((await both[each.at as 0 | 1].putBook(at(each.by), book)).status).toBe(201)
            newest.set(each.by, book)
          } else if ('twice' in each) {
            const before = newest.get(each.twice)
            if (!before) continue
            const { seq, prev } = parseHead(before.head)
            const other = bookOf(at(each.twice), [vouchFor(numbered(9, seq))], {
              issued: nowMs,
              expires: nowMs + DAY,
              seq,
              ...(prev && { prev }),
            })
            expect((await both[1].putBook(at(each.twice), other)).status).toBe(409)
          } else {
            nowMs += each.laterMs
            for (const repository of both) repository.setNow(nowMs)
          }
          const fresh = testRepository({}, store)
          fresh.setNow(nowMs)
          for (const [from, to] of [
            [0, 1],
            [0, 4],
            [3, 2],
          ] as const) {
            const truth = await chainsOf(fresh, from, to)
            for (const repository of both) expect(await chainsOf(repository, from, to)).toEqual(truth)
          }
        }
      }),
      { numRuns: 10 },
    )
  })
})
