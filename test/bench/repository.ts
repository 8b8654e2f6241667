/** What a repository answers over HTTP, on one core, its store in memory: announcements taken, chains found. */
import { realEnvironment } from '../../infra/environment.ts'
import { listen } from '../../infra/serve.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex } from '../../protocol/bytes.ts'
import { announce } from '../../protocol/announcement.ts'
import { genesis } from '../../protocol/identity.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import { bookToJson, writeBook } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { median, type BenchOptions, type Figure } from './figure.ts'

const environment = realEnvironment()
const { clock, transport } = environment
const DAY_MS = 86_400_000
const SELLERS = 200
const REQUESTS = 2000
const AT_ONCE = 32

export async function repository({ runs, ...io }: BenchOptions): Promise<readonly Figure[]> {
  const { app } = createRepository({ environment, store: openSqlite(':memory:') })
  const server = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  const url = `http://127.0.0.1:${server.port}`
  try {
    const people = Array.from({ length: SELLERS }, (_, i) => person(i))
    for (const { operation } of people) await send(url, 'POST', '/v1/identities', { operations: [operation] })
    const { torrent, meta } = film()
    await taken(
      await transport(new Request(`${url}/v1/contents/${toHex(meta.infoHash)}`, { method: 'PUT', body: torrent })),
    )
    await vouchInLine(url, people)
    const announces: number[] = []
    const chains: number[] = []
    for (let run = 0; run < runs; run++) {
      const bodies = Array.from({ length: REQUESTS }, (_, i) =>
        announcementOf(people[i % SELLERS] as Person, meta.infoHash, run * REQUESTS + i),
      )
      announces.push(await rate(bodies.map((body) => () => send(url, 'POST', '/v1/announcements', body))))
      const queries = Array.from({ length: REQUESTS }, (_, i) => chainOf(people, i))
      chains.push(await rate(queries.map((path) => () => get(url + path))))
    }
    io.say(`${REQUESTS} requests a run, ${AT_ONCE} at a time, the asking in the same process`)
    return [
      { name: 'repository-announces', unit: '/s', value: median(announces), runs },
      { name: 'repository-chains', unit: '/s', value: median(chains), runs },
    ]
  } finally {
    await server.close()
  }
}

function person(number: number) {
  const seed = new Uint8Array(32).fill(7)
  new DataView(seed.buffer).setUint32(0, number)
  const owner = signerFrom(seed)
  const operation = genesis([owner], clock.now())
  return { id: objectId('identity', operation.body), owner, operation: envelopeToJson(operation) }
}
type Person = ReturnType<typeof person>

function film() {
  const bytes = new Uint8Array(40_000)
  const hasher = fileHasher({ length: bytes.length, pieceLength: 16_384, padded: false })
  hasher.update(bytes)
  const files = [{ path: ['film.bin'], hashes: hasher.digest() }]
  return makeTorrent({ name: 'film.bin', folder: false, pieceLength: 16_384, files })
}

/** Each vouches for the next five. */
async function vouchInLine(url: string, people: readonly Person[]): Promise<void> {
  const nowMs = clock.now()
  for (const [i, { id, owner }] of people.entries()) {
    const vouches = [1, 2, 3, 4, 5].map((step) => ({
      subject: (people[(i + step) % SELLERS] as Person).id,
      depth: 4,
      credit: 16,
      scope: '',
      notBefore: nowMs,
      expires: nowMs + DAY_MS,
      salt: id.slice(0, 16),
    }))
    const head = { issuer: id, seq: 0, issued: nowMs, expires: nowMs + DAY_MS }
    await send(url, 'PUT', `/v1/books/${toHex(id)}`, { book: bookToJson(writeBook(head, vouches, owner)) })
  }
}

/** Up to three vouches away. */
const chainOf = (people: readonly Person[], i: number): string => {
  const [from, to] = [people[i % SELLERS] as Person, people[(i + 1 + ((i * 7) % 12)) % SELLERS] as Person]
  return `/v1/chains?from=${toHex(from.id)}&to=${toHex(to.id)}`
}

function announcementOf({ id, owner }: Person, infoHash: Person['id'], number: number) {
  const issued = clock.now() - 1_000_000 + number
  const terms = { agent: id, infoHash, issued, expires: issued + DAY_MS, modes: ['prepaid'] as const }
  const offer = { price: 1n, public: false, urls: ['https://seller.example'] }
  return { announcement: envelopeToJson(announce({ ...terms, ...offer }, owner)) }
}

async function rate(requests: readonly (() => Promise<void>)[]): Promise<number> {
  const waiting = requests.values()
  const startMs = performance.now()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const request of waiting) await request()
    }),
  )
  return (requests.length / (performance.now() - startMs)) * 1000
}

async function send(url: string, method: string, path: string, json: unknown): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  await taken(await transport(new Request(url + path, { method, body: JSON.stringify(json), headers })))
}

const get = async (url: string): Promise<void> => taken(await transport(new Request(url)))

async function taken(response: Response): Promise<void> {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text}`)
}
