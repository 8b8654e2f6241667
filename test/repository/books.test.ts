import { describe, expect, it } from 'vitest'
import { toHex } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson } from '../../protocol/chain.ts'
import { applyOperation, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeFromJson, envelopeToJson, signerFrom, type Envelope } from '../../protocol/signed.ts'
import {
  bookFromJson,
  bookToJson,
  checkBook,
  isEquivocation,
  parseHead,
  renewBook,
  writeBook,
  type Book,
  type BookJson,
  type Vouch,
} from '../../protocol/vouch.ts'
import { bookKey } from '../../repository/keys.ts'
import { testRepository } from './kit.ts'
import { bookOf, DAY, delegationOf, NOW, numbered, person, vouchFor } from './people.ts'

const [ann, bob, cid] = [person(1), person(2), person(3)]
const first = bookOf(ann, [vouchFor(bob.id)])
const next = (before: Book, vouches: readonly Vouch[], changes = {}): Book => {
  const { id, seq } = parseHead(before.head)
  return bookOf(ann, vouches, { seq: seq + 1, prev: id, ...changes })
}
const refusal = (status: number, code: string) => ({ status, json: { code } })

async function opened() {
  const repository = testRepository()
  await repository.register(ann, bob, cid)
  const newest = async (): Promise<Book> => {
    const { json } = await repository.get(`/v1/books/${toHex(ann.id)}`)
    return bookFromJson(json['book'] as BookJson)
  }
  return { repository, newest }
}

describe('a book', () => {
  it('is kept, and told as it was signed', async () => {
    const { repository, newest } = await opened()
    const reply = await repository.putBook(ann, first)
    const head = parseHead(first.head)
    expect(reply).toMatchObject({
      status: 201,
      json: { id: toHex(ann.id), seq: 0, head: toHex(head.id), expires: head.expires },
    })
    expect(await newest()).toEqual(first)
    expect(await repository.putBook(ann, first)).toMatchObject({ status: 200, json: reply.json })
  })

  it('is followed by its successor', async () => {
    const { repository, newest } = await opened()
    let book = first
    await repository.putBook(ann, book)
    for (const vouches of [[vouchFor(cid.id)], [], [vouchFor(bob.id), vouchFor(cid.id)]]) {
      book = next(book, vouches)
      expect(await repository.putBook(ann, book)).toMatchObject({ status: 201 })
      expect(await newest()).toEqual(book)
    }
    const items = await repository.store.list(bookKey(ann.id), { limit: 100 })
    expect(items.map(({ sk }) => sk.split('/')[0])).toEqual(['head', 'vouches'])
  })

  it('of an issuer that comes from another repository begins at any number', async () => {
    const { repository } = await opened()
    expect(await repository.putBook(ann, bookOf(ann, [], { seq: 7, prev: numbered(1, 1) }))).toMatchObject({
      status: 201,
    })
  })

  it('is taken though those before it never came, and none of them comes after it', async () => {
    const { repository, newest } = await opened()
    await repository.putBook(ann, first)
    const missed = next(first, [vouchFor(cid.id)])
    const last = next(missed, [])
    expect(await repository.putBook(ann, last)).toMatchObject({ status: 201 })
    expect(await repository.putBook(ann, missed)).toMatchObject(refusal(409, 'conflict'))
    const renewed = renewBook(last, { issued: NOW, expires: NOW + DAY }, ann.agent, delegationOf(ann, ['announce']))
    const again = renewBook(renewed, { issued: NOW, expires: NOW + DAY }, ann.agent, delegationOf(ann, ['announce']))
    expect(await repository.putBook(ann, again)).toMatchObject({ status: 201 })
    expect(await newest()).toEqual(again)
  })

  it('of the past, far ahead, or beside the line is refused, and the newest stays', async () => {
    const { repository, newest } = await opened()
    const second = next(first, [vouchFor(cid.id)])
    await repository.putBook(ann, first)
    await repository.putBook(ann, second)
    const beside = next(first, [vouchFor(cid.id)], { issued: NOW + 1 })
    const wrong = bookOf(ann, [], { seq: 2, prev: numbered(1, 1) })
    const ahead = bookOf(ann, [], { seq: 2 + limits.booksSkipped, prev: parseHead(second.head).id })
    for (const book of [first, beside, wrong, ahead]) {
      const reply = await repository.putBook(ann, book)
      expect(reply).toMatchObject({
        status: 409,
        json: { code: 'conflict', seq: 1, head: toHex(parseHead(second.head).id) },
      })
      expect(reply.json).not.toHaveProperty('proof')
    }
    expect(await newest()).toEqual(second)
  })

  it('under a number that its owner used for other vouches is proof, and the proof is kept', async () => {
    const { repository, newest } = await opened()
    await repository.putBook(ann, first)
    const other = bookOf(ann, [vouchFor(cid.id)])
    const reply = await repository.putBook(ann, other)
    expect(reply).toMatchObject(refusal(409, 'conflict'))
    const { json } = await repository.get(`/v1/books/${toHex(ann.id)}`)
    expect(json['equivocation']).toEqual(reply.json['proof'])
    const [one, two] = (json['equivocation'] as unknown[]).map((each) => envelopeFromJson(each))
    expect(one && two && isEquivocation(one, two, ann.state)).toBe(true)
    expect(await newest()).toEqual(first)
    await repository.putBook(ann, next(first, []))
    expect((await repository.get(`/v1/books/${toHex(ann.id)}`)).json['equivocation']).toEqual(reply.json['proof'])
  })

  it('is renewed by the agent, which changes nothing in it', async () => {
    const { repository, newest } = await opened()
    const delegation = delegationOf(ann, ['announce'])
    await repository.putBook(ann, first)
    let book = first
    for (let day = 1; day < 40; day += 6) {
      repository.setNow(NOW + day * DAY)
      book = renewBook(book, { issued: NOW + day * DAY, expires: NOW + (day + 7) * DAY }, ann.agent, delegation)
      expect(await repository.putBook(ann, book)).toMatchObject({ status: 201 })
    }
    expect(await newest()).toEqual(book)
    expect(edgesOf({ identities: [ann.state], books: [await newest()] }, NOW + 40 * DAY)).toHaveLength(1)
    const { id, seq } = parseHead(book.head)
    const added = writeBook(
      { issuer: ann.id, seq: seq + 1, prev: id, issued: NOW + 37 * DAY, expires: NOW + 41 * DAY },
      [vouchFor(cid.id)],
      ann.agent,
      delegation,
    )
    expect(await repository.putBook(ann, { ...added, base: first.head })).toMatchObject(
      refusal(403, 'delegation-exceeded'),
    )
    expect(await newest()).toEqual(book)
  })

  it.each<[string, Book, number, string]>([
    ['of somebody else', bookOf(bob, []), 400, 'bad-request'],
    [
      'that a stranger signed',
      writeBook({ issuer: ann.id, seq: 0, issued: NOW, expires: NOW + DAY }, [], bob.owner),
      401,
      'unknown-key',
    ],
    ['that expired', bookOf(ann, [], { issued: NOW - 2 * DAY, expires: NOW }), 410, 'expired'],
    ['from the future', bookOf(ann, [], { issued: NOW + limits.clockSkewMs + 1 }), 400, 'bad-request'],
    ['with a vouch for oneself', bookOf(ann, [vouchFor(ann.id)]), 400, 'bad-encoding'],
    ['with other vouches than it signed', { ...first, vouches: [vouchFor(cid.id)] }, 400, 'bad-encoding'],
  ])('%s is refused', async (_, book, status, code) => {
    const { repository } = await opened()
    expect(await repository.putBook(ann, book)).toMatchObject(refusal(status, code))
    expect(await repository.get(`/v1/books/${toHex(ann.id)}`)).toMatchObject(refusal(404, 'not-found'))
  })

  it('of nobody who is known here is refused', async () => {
    const repository = testRepository()
    expect(await repository.putBook(ann, first)).toMatchObject({
      status: 404,
      json: { code: 'not-found', missing: 'identity' },
    })
  })

  it('has room for as many vouches as the limit, and is told whole', async () => {
    const { repository, newest } = await opened()
    const many = bookOf(
      ann,
      Array.from({ length: limits.vouchesPerBook }, (_, i) => vouchFor(numbered(9, i))),
    )
    expect(await repository.putBook(ann, many)).toMatchObject({ status: 201 })
    expect(checkBook(await newest()).count).toBe(limits.vouchesPerBook)
    expect(await repository.putBook(ann, next(many, []))).toMatchObject({ status: 201 })
    expect(await repository.store.list(bookKey(ann.id), { prefix: 'vouches/', limit: 5 })).toEqual([])
  })

  it('too large for any limit is refused before it is read', async () => {
    const { repository } = await opened()
    const huge = { ...bookToJson(first), vouches: 'A'.repeat(12 * 1024 * 1024) }
    const path = `/v1/books/${toHex(ann.id)}`
    expect(await repository.ask('PUT', path, { book: huge })).toMatchObject(refusal(413, 'too-large'))
    const tooMany = { ...bookToJson(first), vouches: 'A'.repeat(11_184_812) }
    expect((await repository.ask('PUT', path, { book: tooMany })).status).toBeLessThan(500)
  })

  it('of a million vouches is refused as it comes, and others are served meanwhile', async () => {
    const { repository, newest } = await opened()
    await repository.putBook(ann, first)
    const before = process.memoryUsage.rss()
    let sent = 0
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (sent === 0) controller.enqueue(new TextEncoder().encode('{"book":{"vouches":"'))
        // A vouch takes about 250 characters.
        if (sent++ < 1_000_000 / 4096) controller.enqueue(new Uint8Array(250 * 4096).fill(65))
        else controller.close()
        expect(await repository.get(`/v1/identities/${toHex(bob.id)}`)).toMatchObject({ status: 200 })
      },
    })
    const request = new Request(`https://repository.example/v1/books/${toHex(ann.id)}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': 'application/json' },
      duplex: 'half',
    } as RequestInit)
    expect((await repository.app.fetch(request)).status).toBe(413)
    expect(sent).toBeLessThan(20)
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 2 ** 20)
    expect(await newest()).toEqual(first)
  })

  it('goes on counting when its issuer’s keys change; what a stolen key signed since does not', async () => {
    const { repository } = await opened()
    const trusted = async (): Promise<boolean> => {
      const { json } = await repository.get(`/v1/chains?from=${toHex(ann.id)}&to=${toHex(bob.id)}`)
      const evidence = evidenceFromJson(json as unknown as ChainsJson, NOW)
      return edgesOf(evidence, NOW).length === 1
    }
    await repository.putBook(ann, first)
    const [key, thirdKey] = [signerFrom(numbered(6, 1)), signerFrom(numbered(6, 2))]
    const post = (operation: Envelope) =>
      repository.ask('POST', '/v1/identities', { operations: [envelopeToJson(operation)] })
    const rotation = rotate(ann.state, [key.key], NOW, ann.owner, 0, 1)
    expect(await post(rotation)).toMatchObject({ status: 201 })
    expect(await trusted()).toBe(true)
    // The key of before writes no more.
    expect(await repository.putBook(ann, next(first, [vouchFor(cid.id)]))).toMatchObject(refusal(401, 'unknown-key'))
    const second = bookOf({ ...ann, owner: key }, [vouchFor(bob.id)], { seq: 1, prev: parseHead(first.head).id })
    expect(await repository.putBook(ann, second)).toMatchObject({ status: 201 })
    const state = applyOperation(ann.state, rotation, NOW)
    await post(rotate(state, [thirdKey.key], NOW, key, 1, 1))
    expect(await trusted()).toBe(false)
    const third = bookOf({ ...ann, owner: thirdKey }, [vouchFor(bob.id)], { seq: 2, prev: parseHead(second.head).id })
    expect(await repository.putBook(ann, third)).toMatchObject({ status: 201 })
    expect(await trusted()).toBe(true)
  })

  it('under a number that was used twice vouches for nobody, until the next one', async () => {
    const { repository } = await opened()
    const chains = async () =>
      (await repository.get(`/v1/chains?from=${toHex(ann.id)}&to=${toHex(bob.id)}`)).json['chains']
    await repository.putBook(ann, first)
    expect(await chains()).toHaveLength(1)
    await repository.putBook(ann, bookOf(ann, [vouchFor(cid.id)]))
    expect(await chains()).toEqual([])
    await repository.putBook(ann, next(first, [vouchFor(bob.id)]))
    expect(await chains()).toHaveLength(1)
  })

  it('has one successor of many that come at once', async () => {
    const { repository, newest } = await opened()
    await repository.putBook(ann, first)
    const rivals = Array.from({ length: 20 }, (_, i) => next(first, [vouchFor(numbered(8, i))]))
    const replies = await Promise.all(rivals.map((book) => repository.putBook(ann, book)))
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(replies.filter(({ json }) => json['code'] === 'conflict')).toHaveLength(19)
    const winner = rivals[replies.findIndex(({ status }) => status === 201)]
    expect(await newest()).toEqual(winner)
  })
})
