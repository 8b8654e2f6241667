import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toBase64url, toHex, utf8 } from '../../protocol/bytes.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { bookToJson } from '../../protocol/vouch.ts'
import { createFaultyStore } from '../faults/faulty-store.ts'
import { announcementOf, content, contentOf, stores, testRepository } from './kit.ts'
import { bookOf, person, vouchFor } from './people.ts'

const [ann, bob] = [person(1), person(2)]
const film = contentOf('film', content(40_000), 32_768)
const id = toHex(ann.id)

async function opened() {
  const store = createFaultyStore(stores.open())
  const repository = testRepository({}, store)
  await repository.register(ann, bob)
  await repository.putTorrent(film)
  return { repository, store }
}

/** JSON that is almost right: a good document in which some values were replaced. */
function almost(good: unknown): fc.Arbitrary<unknown> {
  const junk = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(
      null,
      '',
      'A',
      '====',
      -1,
      2 ** 53,
      1e308,
      [],
      {},
      '\u0000',
      '__proto__',
      'A'.repeat(5000),
    ),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => toBase64url(bytes)),
  )
  if (Array.isArray(good))
    return fc.oneof({ weight: 4, arbitrary: fc.tuple(...good.map(almost)) }, { weight: 1, arbitrary: junk })
  if (typeof good !== 'object' || good === null)
    return fc.oneof({ weight: 3, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: junk })
  const members = Object.fromEntries(Object.entries(good).map(([key, value]) => [key, almost(value)]))
  return fc.oneof(
    { weight: 6, arbitrary: fc.record(members, { requiredKeys: [] }) },
    { weight: 1, arbitrary: fc.record({ ...members, extra: junk }) },
    { weight: 1, arbitrary: junk },
  )
}

const BODIES: readonly (readonly [method: string, path: string, body: unknown])[] = [
  ['POST', '/v1/identities', { operations: ann.operations.map(envelopeToJson) }],
  ['PUT', `/v1/books/${id}`, { book: bookToJson(bookOf(ann, [vouchFor(bob.id)])) }],
  ['POST', '/v1/announcements', announcementOf(ann, film)],
]

const PATHS = [
  '/checkpoint',
  '/tile/0/ID',
  '/v1/notices/ID',
  '/v1/identities',
  '/v1/identities/ID',
  '/v1/books/ID',
  '/v1/chains',
  '/v1/contents/ID',
  '/v1/contents/ID/torrent',
  '/v1/contents/ID/leaves',
  '/v1/contents/ID/swarm',
  '/v1/announcements',
  '/v1/search',
  '/healthz',
  '/openapi.json',
  '/v2/anything',
]

describe('any request', () => {
  it.each(BODIES)(
    'to %s %s is answered without a fault, and what is refused changes nothing',
    async (method, path, good) => {
      const { repository, store } = await opened()
      await fc.assert(
        fc.asyncProperty(almost(good), async (body) => {
          const before = store.writes()
          const { status, type, json } = await repository.ask(method, path, body)
          expect(status).toBeLessThan(500)
          if (status < 400) return
          expect(type).toBe('application/problem+json')
          expect(json).toMatchObject({ status, code: expect.stringMatching(/^[a-z-]+$/) })
          expect(store.writes()).toBe(before)
        }),
        { numRuns: 150 },
      )
      expect(repository.faults).toEqual([])
    },
  )

  it('of any method, path and query is answered without a fault', async () => {
    const { repository } = await opened()
    const name = fc.oneof(
      fc.constantFrom(id, film.infoHash, film.infoHashV1, '..', '%2e%2e', 'ID', '%00', '%ff', 'A'.repeat(2000)),
      fc.webSegment(),
    )
    const value = fc.oneof(
      fc.constantFrom('0', '-1', '1e9', '9007199254740993', '16384', id, '%00', '%ff', '[]'),
      fc.webSegment(),
    )
    const query = fc.dictionary(
      fc.constantFrom('from', 'to', 'max', 'for', 'query', 'pieceLength', 'file', 'count', 'x'),
      value,
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        name,
        query,
        fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'),
        async (path, segment, drawn, method) => {
          const text = Object.entries(drawn)
            .map((pair) => pair.join('='))
            .join('&')
          const { status, type } = await repository.ask(method, `${path.replace('ID', segment)}?${text}`)
          expect(status).toBeLessThan(500)
          if (status >= 400) expect(type).toBe('application/problem+json')
        },
      ),
      { numRuns: 400 },
    )
    expect(repository.faults).toEqual([])
  })

  it.each(['', '{', '[]', 'null', '"x"', '{"operations":', '\u0000', '{"__proto__":{}}', '[[[['.repeat(5000)])(
    'with the body %j is refused',
    async (text) => {
      const { repository, store } = await opened()
      const before = store.writes()
      for (const [method, path] of BODIES) {
        const response = await repository.app.request(path, {
          method,
          body: text,
          headers: { 'content-type': 'application/json' },
        })
        expect(response.status).toBe(400)
        expect(await response.json()).toMatchObject({ code: 'bad-request' })
      }
      expect(store.writes()).toBe(before)
    },
  )

  it('with a body of no type, or another type, is refused', async () => {
    const { repository } = await opened()
    for (const [method, path, good] of BODIES) {
      for (const type of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
        const response = await repository.app.request(path, {
          method,
          body: JSON.stringify(good),
          headers: { 'content-type': type },
        })
        expect(response.status).toBe(400)
      }
    }
    expect(repository.faults).toEqual([])
  })

  it('with a body above the limit is refused', async () => {
    const { repository } = await opened()
    const large = utf8(JSON.stringify({ announcement: 'x'.repeat(70_000) }))
    for (const headers of [
      { 'content-type': 'application/json' },
      { 'content-type': 'application/json', 'content-length': '10' },
    ]) {
      const response = await repository.app.request('/v1/announcements', { method: 'POST', body: large, headers })
      expect([400, 413]).toContain(response.status)
    }
    expect(repository.faults).toEqual([])
  })

  it('with a method that the path does not take says which it takes', async () => {
    const { repository } = await opened()
    const response = await repository.app.request('/v1/announcements', { method: 'GET' })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe('POST')
    expect(await repository.ask('POST', `/v1/books/${id}`)).toMatchObject({
      status: 405,
      json: { code: 'method-not-allowed' },
    })
    expect(await repository.get('/nowhere')).toMatchObject({ status: 404, json: { code: 'not-found' } })
  })

  it('is described, and every reply of an error too', async () => {
    const { json } = await testRepository().get('/openapi.json')
    expect(json).toMatchObject({ openapi: '3.1.0' })
    const operations = Object.entries(
      json['paths'] as Record<string, Record<string, { responses: object; summary: string }>>,
    ).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })),
    )
    expect(operations.map(({ name }) => name).toSorted()).toEqual([
      'get /checkpoint',
      'get /healthz',
      'get /tile/{level}/{index}',
      'get /v1/books/{id}',
      'get /v1/chains',
      'get /v1/contents/{infoHash}',
      'get /v1/contents/{infoHash}/swarm',
      'get /v1/contents/{infoHash}/torrent',
      'get /v1/editions/{id}',
      'get /v1/identities/{id}',
      'get /v1/notices/{id}',
      'get /v1/repository',
      'get /v1/search',
      'post /v1/announcements',
      'post /v1/editions',
      'post /v1/identities',
      'post /v1/notices',
      'put /v1/books/{id}',
      'put /v1/contents/{infoHash}',
      'put /v1/contents/{infoHash}/leaves',
    ])
    for (const { name, responses, summary } of operations) {
      expect(summary).toBeTruthy()
      if (name !== 'get /healthz') expect(responses).toHaveProperty('default')
    }
  })
})
