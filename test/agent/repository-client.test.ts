import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { joinRepositories } from '../../agent/clients/joined-repositories.ts'
import { createRepositoryClient, type RepositoryClient } from '../../agent/clients/repository-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { announce } from '../../protocol/announcement.ts'
import { concat, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson } from '../../protocol/chain.ts'
import { genesis, replay, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { envelopeToJson, objectId, seal, signerFrom } from '../../protocol/signed.ts'
import { bookToJson, proofToJson, proveVouch, writeBook } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { codeOf } from '../problems.ts'
import { handClock, START_MS } from './hand-clock.ts'

const signer = signerFrom(sha256(utf8('owner')))
const later = signerFrom(sha256(utf8('owner, later')))
const first = genesis([signer], START_MS)
const id = toHex(objectId('identity', first.body))
const infoHash = toHex(sha256(utf8('film')))

function clientOf(answer: (request: Request) => Response | Promise<Response>) {
  const requests: Request[] = []
  const clock = handClock()
  const random = { bytes: (length: number) => new Uint8Array(length) }
  const transport = async (request: Request) => {
    requests.push(request)
    return answer(request)
  }
  const client = createRepositoryClient({ environment: { clock, random, transport }, url: 'http://repository.test' })
  return {
    client,
    clock,
    requests,
    asked: () => requests.map(({ method, url }) => `${method} ${url.slice('http://repository.test'.length)}`),
  }
}

describe('the repository client', () => {
  it('replays an identity from its genesis', async () => {
    const state = replay([first], START_MS)
    const second = rotate(state, [later.key, signer.key], START_MS, signer)
    const { client } = clientOf(() => Response.json({ operations: [first, second].map(envelopeToJson) }))
    expect((await client.identity(id)).state.keys).toEqual([later.key, signer.key])
  })

  it('takes no other identity, no broken log and no empty one', async () => {
    const other = genesis([later], START_MS)
    const forged = rotate(replay([first], START_MS), [later.key], START_MS, later)
    for (const operations of [[other], [first, other], [first, forged], []]) {
      const { client } = clientOf(() => Response.json({ operations: operations.map(envelopeToJson) }))
      expect(await codeOf(client.identity(id))).toBe('peer-failed')
    }
  })

  it('hands over books as they were written', async () => {
    const terms = { issuer: objectId('identity', first.body), seq: 0, issued: START_MS, expires: START_MS + 1000 }
    const book = writeBook(terms, [], signer)
    const { client, requests } = clientOf((request) =>
      Response.json(request.method === 'GET' ? { book: bookToJson(book) } : { id, seq: 0 }),
    )
    expect(await client.book(id)).toEqual(book)
    expect(await client.putBook(id, book)).toBeUndefined()
    expect(await (requests[1] as Request).json()).toEqual({ book: bookToJson(book) })
  })

  it('uploads torrents and runs of hashes as bytes', async () => {
    const { client, requests, asked } = clientOf(() => new Response(null, { status: 204 }))
    await client.putTorrent(infoHash, utf8('d4:info'))
    await client.putLeaves(infoHash, { file: 2, from: 512, leaves: concat(sha256(utf8('a')), sha256(utf8('b'))) })
    expect(asked()).toEqual([`PUT /v1/contents/${infoHash}`, `PUT /v1/contents/${infoHash}/leaves?file=2&from=512`])
    expect(requests[0]?.headers.get('content-type')).toBe('application/x-bittorrent')
    expect((await (requests[1] as Request).arrayBuffer()).byteLength).toBe(64)
  })

  it('asks with escaped words', async () => {
    const { client, asked } = clientOf(() => Response.json([]))
    expect(await client.search('Füße & more?')).toEqual([])
    expect(asked()).toEqual(['GET /v1/search?query=F%C3%BC%C3%9Fe+%26+more%3F'])
  })

  it('takes announcements only when they are signed', async () => {
    const announcement = envelopeToJson(seal('announcement', { a: 1 }, signer))
    const wrongKind = envelopeToJson(seal('book', { a: 1 }, signer))
    const swarm = (shown: object) =>
      clientOf(() => Response.json({ sellers: [{ announcement: shown }] })).client.swarm(infoHash)
    expect(await swarm(announcement)).toHaveLength(1)
    expect(await codeOf(swarm(wrongKind))).toBe('peer-failed')
  })

  it('refuses more than it asked for', async () => {
    const found = { infoHash, name: 'film', bytes: 1, sellers: 1, price: '1' }
    const many = Array.from({ length: limits.searchResults + 1 }, () => found)
    const { client } = clientOf(() => Response.json(many))
    expect(await codeOf(client.search('film'))).toBe('peer-failed')
    const large = clientOf(() => new Response(new Uint8Array(limits.torrentBytes + 1)))
    expect(await large.clock.until(codeOf(large.client.torrent(infoHash)))).toBe('peer-failed')
  })

  it('passes on that something is not there', async () => {
    const { client } = clientOf(() => Response.json({ code: 'not-found', detail: 'No such content.' }, { status: 404 }))
    expect(await codeOf(client.torrent(infoHash))).toBe('not-found')
  })

  it('says what was too large, also where not the repository but what stands before it refuses it', async () => {
    const { client, asked } = clientOf(() => new Response(null, { status: 413 }))
    await expect(client.putTorrent(infoHash, new Uint8Array(5_000_000))).rejects.toMatchObject({
      code: 'too-large',
      message: 'http://repository.test takes no request of 5000000 bytes.',
      members: { bytes: 5_000_000 },
    })
    expect(asked()).toHaveLength(1)
    expect(await codeOf(client.torrent(infoHash))).toBe('peer-failed')
  })

  it('answers whatever comes with a value or a problem', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string()), fc.constantFrom(200, 302, 400, 404), async (text, status) => {
        const { client } = clientOf(() => new Response(text, { status }))
        const answers = [
          client.identity(id),
          client.book(id),
          client.chains({ from: id, to: id }),
          client.swarm(infoHash),
          client.content(infoHash),
        ]
        for (const code of await Promise.all(answers.map(codeOf))) expect(code).toBeTypeOf('string')
      }),
    )
  })
})

describe('the repository client and the repository', () => {
  /** No call is late, and none waits before it is tried again: a fault of the repository's ends the test at once. */
  const patient = {
    now: () => START_MS,
    sleep: (_: number, signal?: AbortSignal) => (signal ? new Promise<void>(() => undefined) : Promise.resolve()),
  }

  async function open() {
    const random = { bytes: (length: number) => new Uint8Array(length) }
    const transport = async (request: Request) => repository.app.fetch(request)
    const environment = { clock: patient, random, transport }
    const repository = createRepository({
      environment,
      store: openSqlite(':memory:'),
      // Unhandled, it fails the run, whatever the client makes of the answer.
      onFault: (fault) => void Promise.reject(fault),
    })
    const client = createRepositoryClient({ environment, url: 'http://repository.test' })
    await client.putIdentity([first])
    return client
  }

  it('agree on identities, books and chains', async () => {
    const client = await open()
    const friend = genesis([later], START_MS)
    const [owner, subject] = [objectId('identity', first.body), objectId('identity', friend.body)]
    await client.putIdentity([friend])
    expect((await client.identity(id)).operations).toEqual([first])
    const vouch = {
      subject,
      depth: 1,
      credit: 5,
      scope: '',
      notBefore: START_MS,
      expires: START_MS + 5000,
      salt: new Uint8Array(16),
    }
    const book = writeBook({ issuer: owner, seq: 0, issued: START_MS, expires: START_MS + 5000 }, [vouch], signer)
    await client.putBook(id, book)
    await client.putBook(id, book)
    expect(await client.book(id)).toEqual(book)
    const evidence = evidenceFromJson(await client.chains({ from: id, to: toHex(subject), max: 2 }), START_MS)
    expect(edgesOf(evidence, START_MS)).toMatchObject([{ credit: 5, depth: 1 }])
    expect(await codeOf(client.book(toHex(subject)))).toBe('not-found')
  })

  it('agree on contents, hashes, announcements and search', async () => {
    const client = await open()
    const bytes = new Uint8Array(40_000).fill(7)
    const leaves: Bytes[] = []
    const hasher = fileHasher({
      length: bytes.length,
      pieceLength: 32_768,
      padded: false,
      onLeaves: (_, run) => leaves.push(run),
    })
    hasher.update(bytes)
    const file = { path: ['sevens.bin'], hashes: hasher.digest() }
    const { torrent, meta } = makeTorrent({ name: 'sevens.bin', folder: false, pieceLength: 32_768, files: [file] })
    const content = toHex(meta.infoHash)
    await client.putTorrent(content, torrent)
    await client.putLeaves(content, { file: 0, from: 0, leaves: concat(...leaves) })
    expect(await client.torrent(content)).toEqual(torrent)
    expect(await client.content(content)).toMatchObject({ name: 'sevens.bin', bytes: 40_000, pieceLength: 32_768 })
    const terms = {
      agent: objectId('identity', first.body),
      expires: START_MS + 5000,
      infoHash: meta.infoHash,
      issued: START_MS,
      modes: ['prepaid'] as const,
      price: 3n,
      public: false,
      urls: ['https://seller.example'],
    }
    await client.announce(announce(terms, signer))
    expect(await client.swarm(content, id)).toHaveLength(1)
    expect(await client.search('sevens')).toEqual([
      { infoHash: content, name: 'sevens.bin', bytes: 40_000, pieces: 2, sellers: 1, price: 3n },
    ])
  })
})

describe('several repositories as one', () => {
  it('show the keys that the first knows of, though another is behind', async () => {
    const changed = rotate(replay([first], START_MS), [later.key], START_MS, signer)
    const [now, before] = [[first, changed].map(envelopeToJson), [envelopeToJson(first)]]
    const showing = (identity: typeof now) =>
      clientOf(() => Response.json({ identities: [identity], chains: [] })).client
    const joined = joinRepositories(showing(now), showing(before))
    expect(await joined.chains({ from: id, to: id })).toEqual({ identities: [now], chains: [] })
  })

  describe('leave room for what an honest one shows, whatever the other says', () => {
    const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
    const made = (name: string) => envelopeToJson(seal('announcement', { name }, signer))
    const orders: [string, (one: RepositoryClient, other: RepositoryClient) => [RepositoryClient, RepositoryClient]][] =
      [
        ['last', (one, other) => [one, other]],
        ['first', (one, other) => [other, one]],
      ]
    const answering = (answer: unknown) => clientOf(() => Response.json(answer)).client

    it.each(orders)('%s: of sellers', async (_, inOrder) => {
      const liar = answering({ sellers: numbers(limits.swarmSellers).map((i) => ({ announcement: made(`${i}`) })) })
      const honest = answering({ sellers: [{ announcement: made('honest') }] })
      const sellers = await joinRepositories(...inOrder(honest, liar)).swarm(infoHash)
      expect(sellers.map(({ announcement }) => envelopeToJson(announcement))).toContainEqual(made('honest'))
    })

    it.each(orders)('%s: of what a search finds', async (_, inOrder) => {
      const found = (n: number) => ({
        infoHash: toHex(sha256(utf8(`${n}`))),
        name: '',
        bytes: 1,
        sellers: 1,
        price: '1',
      })
      const liar = answering(numbers(limits.searchResults).map(found))
      const results = await joinRepositories(...inOrder(answering([found(-1)]), liar)).search('x')
      expect(results).toContainEqual({ ...found(-1), price: 1n })
    })

    it.each(orders)('%s: of chains, and of who made them', async (_, inOrder) => {
      const issuer = sha256(utf8('verifier'))
      const salt = new Uint8Array(16)
      const book = writeBook(
        { issuer, seq: 0, issued: START_MS, expires: START_MS + 1000 },
        [{ subject: sha256(utf8('subject')), depth: 1, credit: 1, scope: '', notBefore: 0, expires: 1, salt }],
        signer,
      )
      const chain = (index: number) => [{ ...proofToJson(proveVouch(book, 0)), index }]
      const most = limits.chains * limits.chainVouches
      const liar = answering({
        identities: numbers(most).map((i) => [made(`${i}`)]),
        chains: numbers(limits.chains).map((i) => chain(i + 1)),
      })
      const honest = answering({ identities: [[envelopeToJson(first)]], chains: [chain(0)] })
      const joined = await joinRepositories(...inOrder(honest, liar)).chains({ from: id, to: id })
      expect(joined.identities).toContainEqual([envelopeToJson(first)])
      expect(joined.chains).toContainEqual(chain(0))
    })

    it.each(orders)('%s: of a torrent', async (_, inOrder) => {
      const torrentOf = (name: string) => {
        const hasher = fileHasher({ length: 1, pieceLength: 16_384, padded: false })
        hasher.update(new Uint8Array(1))
        const files = [{ path: [name], hashes: hasher.digest() }]
        return makeTorrent({ name, folder: false, pieceLength: 16_384, files })
      }
      const [one, other] = [torrentOf('one'), torrentOf('other')]
      const honest = clientOf(() => new Response(one.torrent)).client
      for (const lie of [other.torrent, utf8('nonsense')]) {
        const joined = joinRepositories(...inOrder(honest, clientOf(() => new Response(lie)).client))
        expect(await joined.torrent(toHex(one.meta.infoHash))).toEqual(one.torrent)
      }
    })
  })
})
