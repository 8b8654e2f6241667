import { describe, expect, test } from 'vitest'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseEdition, publishEdition, type EditionTerms } from '../../protocol/edition.ts'
import { encode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeFromJson, envelopeToJson, objectId, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import { testRepository, type TestRepository } from './kit.ts'
import { DAY, delegationOf, NOW, numbered, person, type Person } from './people.ts'

const [ann, bob] = [person(1), person(2)]

const editionOf = (by: Person, seq: number, changes: Partial<EditionTerms> = {}): Envelope =>
  publishEdition(
    {
      by: by.id,
      infoHash: numbered(7, seq),
      issued: NOW,
      name: 'measurements',
      seq,
      ...(seq > 0 && { prev: numbered(8, seq) }),
      ...changes,
    },
    by.agent,
  )
const idOf = ({ body }: Envelope): Bytes => objectId('edition', body)
const post = (repository: TestRepository, edition: Envelope, delegation = delegationOf(ann, ['announce'])) =>
  repository.ask('POST', '/v1/editions', {
    edition: envelopeToJson(edition),
    delegation: envelopeToJson(delegation),
  })
async function seqs(repository: TestRepository, query = ''): Promise<number[]> {
  const { json } = await repository.get(`/v1/editions/${toHex(ann.id)}${query}`)
  const { editions } = json as unknown as { editions: { edition: EnvelopeJson }[] }
  return editions.map(({ edition }) => parseEdition(envelopeFromJson(edition)).seq)
}
async function registered(): Promise<TestRepository> {
  const repository = testRepository()
  await repository.register(ann, bob)
  return repository
}

describe('editions at a repository', () => {
  test('are listed in their order, after a number or the newest', async () => {
    const repository = await registered()
    const first = editionOf(ann, 0)
    expect(await post(repository, first)).toMatchObject({ status: 201, json: { seq: 0, name: 'measurements' } })
    expect(await post(repository, first)).toMatchObject({ status: 200 })
    expect((await post(repository, editionOf(ann, 1, { prev: idOf(first) }))).status).toBe(201)
    expect(await seqs(repository)).toEqual([0, 1])
    expect(await seqs(repository, '?after=0')).toEqual([1])
    expect(await seqs(repository, '?after=1')).toEqual([])
    expect((await repository.get(`/v1/editions/${toHex(ann.id)}?after=x`)).status).toBe(400)
  })

  test('follow each other: an old one, another of the same number, or one after another chain is refused', async () => {
    const repository = await registered()
    const first = editionOf(ann, 0)
    await post(repository, first)
    for (const edition of [editionOf(ann, 0, { name: 'other' }), editionOf(ann, 1)])
      expect(await post(repository, edition)).toMatchObject({ status: 409, json: { code: 'conflict', seq: 0 } })
    expect((await post(repository, editionOf(ann, 3))).status).toBe(201)
    expect((await post(repository, editionOf(ann, 2))).status).toBe(409)
    expect(await seqs(repository)).toEqual([0, 3])
  })

  test('leave the owner numbers, whoever has the agent’s key for a while', async () => {
    const repository = await registered()
    const { editionsBefore, editionsSkipped } = limits
    const refused = { status: 409, json: { code: 'conflict' } }
    expect(await post(repository, editionOf(ann, editionsBefore + 1))).toMatchObject(refused)
    expect((await post(repository, editionOf(ann, editionsBefore))).status).toBe(201)
    expect(await post(repository, editionOf(ann, editionsBefore + editionsSkipped + 1))).toMatchObject(refused)
    expect(await post(repository, editionOf(ann, Number.MAX_SAFE_INTEGER))).toMatchObject(refused)
    expect((await post(repository, editionOf(ann, editionsBefore + editionsSkipped))).status).toBe(201)
  })

  test('are the owner’s: another key, another’s delegation, an unknown owner, the future', async () => {
    const repository = await registered()
    const forged = publishEdition({ by: ann.id, infoHash: numbered(7, 1), issued: NOW, name: 'x', seq: 0 }, bob.agent)
    expect(await post(repository, forged, delegationOf(bob, ['announce']))).toMatchObject({
      json: { code: 'unknown-key' },
    })
    expect(await post(repository, editionOf(ann, 0), delegationOf(ann, ['spend']))).toMatchObject({
      json: { code: 'delegation-exceeded' },
    })
    expect(await post(repository, editionOf(person(3), 0))).toMatchObject({ json: { missing: 'identity' } })
    expect(await post(repository, editionOf(ann, 0, { issued: NOW + DAY }))).toMatchObject({
      json: { code: 'bad-request' },
    })
    expect(await seqs(repository)).toEqual([])
  })

  test('are kept up to a number, the newest', async () => {
    const repository = await registered()
    const pk = `editions/${toHex(ann.id)}`
    const edition = editionOf(ann, 0)
    await post(repository, edition)
    const body = encode({ count: limits.editionsPerOwner, id: idOf(edition), seq: 0 })
    await repository.store.write([{ pk, sk: 'head', expect: 'any', body }])
    await post(repository, editionOf(ann, 1, { prev: idOf(edition) }))
    expect(await seqs(repository)).toEqual([1])
  })

  test('are answered with a page at a time', async () => {
    const repository = await registered()
    let prev: Bytes | undefined
    for (let seq = 0; seq <= limits.editionsAnswered; seq++) {
      const edition = editionOf(ann, seq, prev && { prev })
      await post(repository, edition)
      prev = idOf(edition)
    }
    expect(await seqs(repository)).toHaveLength(limits.editionsAnswered)
    expect((await seqs(repository)).at(-1)).toBe(limits.editionsAnswered)
    expect((await seqs(repository, '?after=0'))[0]).toBe(1)
  })
})
