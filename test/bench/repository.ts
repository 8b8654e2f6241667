/**
 * What a repository answers over HTTP, its store a file that is synced, beside a BitTorrent tracker that keeps all in memory:
 * announcements taken, chains found. Each in a process of its own, asked in the same way, in turns.
 */
import { Agent, request as ask } from 'node:http'
import { join } from 'node:path'
import { realEnvironment } from '../../infra/environment.ts'
import { toHex } from '../../protocol/bytes.ts'
import { announce } from '../../protocol/announcement.ts'
import { genesis } from '../../protocol/identity.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import { bookToJson, writeBook } from '../../protocol/vouch.ts'
import { median, type BenchOptions, type Figure } from './figure.ts'
import { start } from './processes.ts'

const { clock } = realEnvironment()
const root = join(import.meta.dirname, '../..')
const DAY_MS = 86_400_000
const AT_ONCE = 32
/** So that those of one seller come one after the other. */
const SELLERS = 6 * AT_ONCE
const REQUESTS = 2048

export async function repository({ runs, dir, ...io }: BenchOptions): Promise<readonly Figure[]> {
  const store = `sqlite:${join(dir, 'repository.sqlite')}`
  const ours = await start(join(root, 'test/bench/repository-server.ts'), { BENCH_STORE: store })
  const tracker = await start(join(root, 'test/bench/tracker-server.ts'), {})
  try {
    const [url, trackerUrl] = [String(ours.ready['url']), String(tracker.ready['url'])]
    const people = Array.from({ length: SELLERS }, (_, i) => person(i))
    const infoHash = await settle(url, people)
    const rates = { tracker: [] as number[], announces: [] as number[], chains: [] as number[] }
    for (let run = 0; run < runs; run++) {
      const numbers = Array.from({ length: REQUESTS }, (_, i) => run * REQUESTS + i)
      const told = numbers.map((i) => `${trackerUrl}/announce?${trackerQuery(i)}`)
      const bodies = numbers.map((i) => JSON.stringify(announcementOf(people[i % SELLERS] as Person, infoHash, i)))
      const asked = numbers.map((i) => url + chainOf(people, i))
      rates.tracker.push(await rate(told.map((each) => () => send('GET', each))))
      rates.announces.push(await rate(bodies.map((body) => () => send('POST', `${url}/v1/announcements`, body))))
      rates.chains.push(await rate(asked.map((each) => () => send('GET', each))))
    }
    io.say(`${REQUESTS} requests a run, ${AT_ONCE} at a time; ratios to the tracker's announces`)
    const base = median(rates.tracker)
    const figure = (name: string, values: readonly number[]): Figure => ({
      name,
      unit: '/s',
      value: median(values),
      ratio: median(values) / base,
      runs,
    })
    return [
      figure('tracker-announces', rates.tracker),
      figure('repository-announces', rates.announces),
      figure('repository-chains', rates.chains),
    ]
  } finally {
    await Promise.all([ours.stop(), tracker.stop()])
  }
}

/** As a client says that it has all of one of a hundred contents. */
function trackerQuery(i: number): string {
  const bytes = (kind: number, number: number): string =>
    Array.from(
      { length: 20 },
      (_, at) => `%${(at === 0 ? kind : (number >> (at % 4)) & 0x7f).toString(16).padStart(2, '0')}`,
    ).join('')
  return `info_hash=${bytes(1, i % 100)}&peer_id=${bytes(2, i % SELLERS)}&port=6881&uploaded=0&downloaded=0&left=0&compact=1&event=started`
}

/** Everybody is known, vouches for the next, and a content is there. @returns its info hash */
async function settle(url: string, people: readonly Person[]): Promise<Person['id']> {
  for (const { operation } of people)
    await send('POST', `${url}/v1/identities`, JSON.stringify({ operations: [operation] }))
  const { torrent, meta } = film()
  await send('PUT', `${url}/v1/contents/${toHex(meta.infoHash)}`, torrent)
  await vouchInLine(url, people)
  return meta.infoHash
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
    const book = bookToJson(writeBook(head, vouches, owner))
    await send('PUT', `${url}/v1/books/${toHex(id)}`, JSON.stringify({ book }))
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
  const startMs = performance.now()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, lane) => {
      for (let at = lane; at < requests.length; at += AT_ONCE) await requests[at]?.()
    }),
  )
  return (requests.length / (performance.now() - startMs)) * 1000
}

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })

/** Over kept connections. @throws Error unless it is taken */
function send(method: string, url: string, body?: string | Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
  const request = ask(url, { agent, method, headers }, (response) => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('end', () => {
      const { statusCode = 0 } = response
      if (statusCode < 300) resolve()
      else reject(new Error(`${url} answered ${statusCode}: ${Buffer.concat(chunks).toString()}`))
    })
  })
  request.on('error', reject)
  request.end(body)
  return promise
}
