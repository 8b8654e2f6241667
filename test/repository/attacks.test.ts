/** The rows of the attack table that are about trust, over HTTP: what is tried, and that it comes to nothing. */
import { describe, expect, it } from 'vitest'
import { toHex } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson } from '../../protocol/chain.ts'
import { applyOperation, genesis, rotate } from '../../protocol/identity.ts'
import { envelopeFromJson, envelopeToJson, seal, signerFrom } from '../../protocol/signed.ts'
import { evaluate, evaluateOne, type Edge, type EvaluateOptions, type Verdict } from '../../protocol/trust.ts'
import { isEquivocation, parseHead, renewBook, writeBook, type Vouch } from '../../protocol/vouch.ts'
import { announcementOf, content, contentOf, testRepository, type TestRepository } from './kit.ts'
import { bookOf, DAY, delegationOf, NOW, numbered, person, vouchFor, type Person } from './people.ts'

const [ann, bob, cid, dan, eve] = [person(1), person(2), person(3), person(4), person(5)]

async function opened(...books: readonly (readonly [Person, readonly Vouch[]])[]): Promise<TestRepository> {
  const repository = testRepository()
  await repository.register(ann, bob, cid, dan, eve)
  for (const [issuer, vouches] of books) await repository.putBook(issuer, bookOf(issuer, vouches))
  return repository
}

async function chains(repository: TestRepository, to: Person): Promise<ChainsJson> {
  const { json } = await repository.get(`/v1/chains?from=${toHex(ann.id)}&to=${toHex(to.id)}&max=16`)
  return json as unknown as ChainsJson
}

/** As ann's agent finds it, offline, from what it was handed. */
const verdict = (json: ChainsJson, to: Person, options: EvaluateOptions = {}, atMs = NOW): Verdict =>
  evaluateOne(ann.id, to.id, edgesOf(evidenceFromJson(json, atMs), atMs), options)

const asked = async (repository: TestRepository, to: Person, options?: EvaluateOptions): Promise<Verdict> =>
  verdict(await chains(repository, to), to, options)

describe('sybils', () => {
  it('that nobody vouches for have no credit', async () => {
    const repository = await opened(
      [ann, [vouchFor(bob.id)]],
      [dan, [vouchFor(eve.id)]],
      [eve, [vouchFor(dan.id), vouchFor(ann.id)]],
    )
    expect(await asked(repository, eve)).toMatchObject({ trusted: false, credit: 0 })
  })
})

describe('vouches', () => {
  it('in a cycle gain nothing', async () => {
    const straight = await opened([ann, [vouchFor(bob.id, { depth: 2, credit: 5 })]], [bob, [vouchFor(cid.id)]])
    const cycle = await opened(
      [ann, [vouchFor(bob.id, { depth: 2, credit: 5 })]],
      [bob, [vouchFor(cid.id), vouchFor(ann.id)]],
      [cid, [vouchFor(bob.id), vouchFor(ann.id)]],
    )
    for (const subject of [bob, cid]) {
      const { depth, credit } = await asked(straight, subject)
      expect(await asked(cycle, subject)).toMatchObject({ depth, credit })
    }
  })

  it('beyond the depth are refused', async () => {
    const repository = await opened()
    const reply = await repository.putBook(ann, bookOf(ann, [vouchFor(bob.id, { depth: 5 })]))
    expect(reply).toMatchObject({ status: 400, json: { code: 'bad-encoding' } })
    expect(await asked(repository, bob)).toMatchObject({ trusted: false })
  })

  it('taken back do not return by an old book', async () => {
    const repository = await opened([ann, [vouchFor(bob.id)]])
    const old = bookOf(ann, [vouchFor(bob.id)])
    await repository.putBook(ann, bookOf(ann, [], { seq: 1, prev: parseHead(old.head).id }))
    expect(await repository.putBook(ann, old)).toMatchObject({ status: 409, json: { code: 'conflict', seq: 1 } })
    expect(await asked(repository, bob)).toMatchObject({ trusted: false })
  })

  it('in two books under one number prove it', async () => {
    const repository = await opened([ann, [vouchFor(bob.id)]])
    const { json } = await repository.putBook(ann, bookOf(ann, [vouchFor(cid.id)]))
    const [one, two] = (json['proof'] as unknown[]).map((each) => envelopeFromJson(each))
    expect(json['code']).toBe('conflict')
    expect(one && two && isEquivocation(one, two, ann.state)).toBe(true)
  })

  it('of a revoked ancestor leave the second path, at its lower depth and credit', async () => {
    const repository = await opened(
      [ann, [vouchFor(bob.id, { credit: 30 }), vouchFor(dan.id, { depth: 1, credit: 2 })]],
      [bob, [vouchFor(cid.id, { credit: 30 })]],
      [dan, [vouchFor(cid.id)]],
    )
    expect(await asked(repository, cid)).toMatchObject({ depth: 2, credit: 30 })
    const before = bookOf(ann, [vouchFor(bob.id, { credit: 30 }), vouchFor(dan.id, { depth: 1, credit: 2 })])
    await repository.putBook(
      ann,
      bookOf(ann, [vouchFor(dan.id, { depth: 1, credit: 2 })], { seq: 1, prev: parseHead(before.head).id }),
    )
    expect(await asked(repository, cid)).toMatchObject({ trusted: true, depth: 0, credit: 2 })
    expect(await asked(repository, bob)).toMatchObject({ trusted: false })
  })

  it('bring nobody back whom the verifier distrusts', async () => {
    const distrusted = new Set([toHex(cid.id)])
    const repository = await opened(
      [ann, [vouchFor(bob.id), vouchFor(cid.id)]],
      [bob, [vouchFor(cid.id)]],
      [cid, [vouchFor(eve.id)]],
    )
    await repository.putBook(dan, bookOf(dan, [vouchFor(cid.id)]))
    for (const subject of [cid, eve]) {
      expect(await asked(repository, subject)).toMatchObject({ trusted: true })
      expect(await asked(repository, subject, { distrusted })).toMatchObject({ trusted: false })
    }
  })
})

describe('a repository that is down', () => {
  it('loses nothing of what subjects carry, until it is stale', async () => {
    const carried = JSON.parse(
      JSON.stringify(await chains(await opened([ann, [vouchFor(bob.id)]], [bob, [vouchFor(cid.id)]]), cid)),
    ) as ChainsJson
    expect(verdict(carried, cid, {}, NOW + 6 * DAY)).toMatchObject({ trusted: true, depth: 2 })
    expect(verdict(carried, cid, {}, NOW + 7 * DAY)).toMatchObject({ trusted: false })
  })

  it('or lies, cannot add a vouch, raise its credit, or lengthen its life', async () => {
    const honest = await chains(await opened([ann, [vouchFor(bob.id, { credit: 3 })]]), bob)
    const [proof] = honest.chains[0] ?? []
    if (!proof) throw new Error('there is no chain')
    const other = bookOf(ann, [vouchFor(bob.id, { credit: 60 })])
    const lies: ChainsJson[] = [
      { ...honest, chains: [[{ ...proof, vouch: proof.vouch.replace(/.$/, 'A') }]] },
      { ...honest, chains: [[{ ...proof, head: envelopeToJson({ ...other.head, signature: numbered(1, 1, 64) }) }]] },
      {
        ...honest,
        chains: [
          [
            {
              ...proof,
              head: envelopeToJson(
                writeBook(
                  { issuer: ann.id, seq: 1, prev: numbered(1, 1), issued: NOW, expires: NOW + DAY },
                  [vouchFor(bob.id)],
                  eve.owner,
                ).head,
              ),
            },
          ],
        ],
      },
      { ...honest, identities: [eve.operations.map(envelopeToJson)] },
      { ...honest, identities: [] },
    ]
    for (const lie of lies) expect(verdict(lie, bob)).toMatchObject({ trusted: false })
    expect(verdict(honest, bob)).toMatchObject({ credit: 3 })
  })
})

describe('a stolen host key', () => {
  it('renews the owner’s book and adds nobody to it', async () => {
    const repository = await opened([ann, [vouchFor(bob.id)]])
    const book = bookOf(ann, [vouchFor(bob.id)])
    const delegation = delegationOf(ann, ['spend', 'announce'])
    const { id, seq } = parseHead(book.head)
    const terms = { issuer: ann.id, seq: seq + 1, prev: id, issued: NOW, expires: NOW + DAY }
    const forged = writeBook(terms, [vouchFor(eve.id)], ann.agent, delegation)
    for (const each of [forged, { ...forged, base: book.head }, { ...forged, base: forged.head }]) {
      expect(await repository.putBook(ann, each)).toMatchObject({ status: 403, json: { code: 'delegation-exceeded' } })
    }
    const renewed = renewBook(book, { issued: NOW, expires: NOW + DAY }, ann.agent, delegation)
    expect(await repository.putBook(ann, renewed)).toMatchObject({ status: 201 })
    expect(await asked(repository, eve)).toMatchObject({ trusted: false })
  })

  it('brings back nobody whom the owner has taken out, by an older book of theirs', async () => {
    const old = bookOf(ann, [vouchFor(bob.id), vouchFor(eve.id)])
    const repository = await opened([ann, old.vouches])
    const { id } = parseHead(old.head)
    const without = bookOf(ann, [vouchFor(bob.id)], { seq: 1, prev: id })
    expect(await repository.putBook(ann, without)).toMatchObject({ status: 201 })
    expect(await asked(repository, eve)).toMatchObject({ trusted: false })
    const { root, count } = parseHead(old.head)
    const terms = { issuer: ann.id, seq: 2, prev: parseHead(without.head).id, issued: NOW, expires: NOW + DAY }
    const head = seal('book', { ...terms, root, count }, ann.agent)
    const delegation = delegationOf(ann, ['spend', 'announce'])
    const revived = { head, delegation, base: old.head, vouches: old.vouches }
    expect(await repository.putBook(ann, revived)).toMatchObject({ status: 403, json: { code: 'delegation-exceeded' } })
    expect(await asked(repository, eve)).toMatchObject({ trusted: false })
    expect(await asked(repository, bob)).toMatchObject({ trusted: true })
  })

  it('that was a key of the identity is put out by the recovery key, and its book with it', async () => {
    const [recovery, host] = [signerFrom(numbered(6, 1)), signerFrom(numbered(6, 2))]
    const first = genesis([recovery, host], NOW)
    const state = applyOperation(undefined, first, NOW)
    const repository = await opened([ann, [vouchFor(state.id)]])
    const register = (...operations: readonly unknown[]) => repository.ask('POST', '/v1/identities', { operations })
    await register(envelopeToJson(first))
    const book = writeBook({ issuer: state.id, seq: 0, issued: NOW, expires: NOW + DAY }, [vouchFor(eve.id)], host)
    expect(await repository.putBook({ ...ann, id: state.id }, book)).toMatchObject({ status: 201 })
    expect(await asked(repository, eve)).toMatchObject({ trusted: true })
    expect(await register(envelopeToJson(rotate(state, [host.key], NOW, host)))).toMatchObject({ status: 201 })
    expect(await register(envelopeToJson(rotate(state, [recovery.key], NOW, recovery, 0)))).toMatchObject({
      status: 201,
    })
    expect(await asked(repository, eve)).toMatchObject({ trusted: false })
  })
})

describe('a small-order key', () => {
  it('is refused wherever a key enters', async () => {
    const repository = await opened()
    const identity = new Uint8Array(32)
    identity[0] = 1
    const bad = seal('identity', { created: NOW, keys: [identity], seq: 0 }, ann.owner)
    const film = contentOf('film', content(3))
    await repository.putTorrent(film)
    const { announcement, delegation } = announcementOf(ann, film)
    const forged = {
      ...announcement,
      key: envelopeToJson({ ...ann.operations[0], key: identity, body: identity, signature: numbered(0, 0, 64) }).key,
    }
    const attempts = [
      await repository.ask('POST', '/v1/identities', { operations: [envelopeToJson(bad)] }),
      await repository.ask('POST', '/v1/announcements', { announcement: forged, delegation }),
    ]
    for (const reply of attempts) expect(reply).toMatchObject({ status: 400, json: { code: 'bad-encoding' } })
  })
})

describe('the whole swarm of sybils', () => {
  it('gets from all its vouches together what the verifier gave to those it knows', () => {
    const crowd = Array.from({ length: 2000 }, (_, i) => numbered(11, i))
    const edge = (issuer: Uint8Array<ArrayBuffer>, subject: Uint8Array<ArrayBuffer>, credit: number): Edge => ({
      issuer,
      subject,
      depth: 4,
      credit,
      expires: NOW + DAY,
    })
    const edges = [
      edge(ann.id, bob.id, 7),
      edge(ann.id, cid.id, 9),
      ...crowd.flatMap((id, i) => [
        edge(i % 2 === 0 ? bob.id : cid.id, id, 64),
        edge(id, crowd[(i + 1) % crowd.length] ?? id, 64),
      ]),
    ]
    const found = evaluate(ann.id, edges)
    expect(Math.max(...[...found.values()].map(({ credit }) => credit))).toBe(9)
    expect([...found.values()].every(({ chain }) => [bob, cid].some(({ id }) => chain[0]?.subject === id))).toBe(true)
  })
})
