/** A repository in a test's hands: its app, a clock that the test moves, and contents to offer. */
import { setImmediate } from 'node:timers/promises'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { announce, type AnnouncementTerms } from '../../protocol/announcement.ts'
import { fromUtf8, toHex, type Bytes } from '../../protocol/bytes.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { bookToJson, type Book } from '../../protocol/vouch.ts'
import type { RepositoryOptions } from '../../repository/context.ts'
import { createRepository, type Repository } from '../../repository/repository.ts'
import { DAY, delegationOf, NOW, type Person } from './people.ts'

export interface Answer {
  readonly status: number
  readonly type: string
  readonly bytes: Bytes
  /** Of a reply that is JSON. */
  readonly json: Readonly<Record<string, unknown>>
}

export interface TestRepository extends Repository {
  readonly store: Store
  /** What the repository reported as faults of its own. */
  readonly faults: readonly unknown[]
  setNow(ms: number): void
  ask(method: string, path: string, body?: unknown): Promise<Answer>
  get(path: string): Promise<Answer>
  register(...people: readonly Person[]): Promise<void>
  putBook(issuer: Person, book: Book): Promise<Answer>
  putTorrent(content: TestContent): Promise<Answer>
  announce(seller: Person, content: TestContent, changes?: Partial<AnnouncementTerms>): Promise<Answer>
  search(query: string): Promise<readonly unknown[]>
}

/** What a repository keeps its state in, unless a test says so. */
export const stores = { open: (): Store => openSqlite(':memory:') }

export function testRepository(options: RepositoryOptions['options'] = {}, store = stores.open()): TestRepository {
  let nowMs = NOW
  const faults: unknown[] = []
  const repository = createRepository({
    environment: {
      clock: { now: () => nowMs, sleep: (_, signal) => setImmediate(undefined, { signal }) },
      random: { bytes: (length) => new Uint8Array(length) },
      transport: () => Promise.reject(new Error('the repository calls nobody')),
    },
    store,
    options,
    onFault: (error) => faults.push(error),
  })
  const ask = async (method: string, path: string, body?: unknown): Promise<Answer> =>
    answerOf(await repository.app.request(path, requestOf(method, body)))
  return {
    ...repository,
    store,
    faults,
    setNow: (ms) => void (nowMs = ms),
    ask,
    get: (path) => ask('GET', path),
    async register(...people) {
      for (const { operations } of people)
        await ask('POST', '/v1/identities', { operations: operations.map(envelopeToJson) })
    },
    putBook: ({ id }, book) => ask('PUT', `/v1/books/${toHex(id)}`, { book: bookToJson(book) }),
    putTorrent: ({ infoHash, torrent }) => ask('PUT', `/v1/contents/${infoHash}`, torrent),
    announce: (seller, content, changes) => ask('POST', '/v1/announcements', announcementOf(seller, content, changes)),
    search: async (query) =>
      (await ask('GET', `/v1/search?query=${encodeURIComponent(query)}`)).json as unknown as unknown[],
  }
}

function requestOf(method: string, body: unknown): RequestInit {
  if (body === undefined) return { method }
  if (body instanceof Uint8Array)
    return { method, body: new Uint8Array(body), headers: { 'content-type': 'application/octet-stream' } }
  return { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
}

async function answerOf(response: Response): Promise<Answer> {
  const type = response.headers.get('content-type') ?? ''
  const bytes = new Uint8Array(await response.arrayBuffer())
  const json = /json/.test(type) && bytes.length > 0 ? (JSON.parse(fromUtf8(bytes)) as Answer['json']) : {}
  return { status: response.status, type, bytes, json }
}

/** By the seller's agent. */
export function announcementOf(seller: Person, { meta }: TestContent, changes: Partial<AnnouncementTerms> = {}) {
  const terms: AnnouncementTerms = {
    agent: seller.id,
    infoHash: meta.infoHash,
    issued: NOW,
    expires: NOW + DAY,
    modes: ['credit', 'prepaid'],
    price: 5n,
    public: false,
    urls: ['https://seller.example'],
    ...changes,
  }
  return signedAnnouncement(announce(terms, seller.agent), delegationOf(seller, ['announce']))
}

export const signedAnnouncement = (announcement: Envelope, delegation?: Envelope) => ({
  announcement: envelopeToJson(announcement),
  ...(delegation && { delegation: envelopeToJson(delegation) }),
})

export interface TestContent {
  readonly infoHash: string
  readonly infoHashV1: string
  readonly torrent: Bytes
  readonly meta: Metainfo
  /** 16 KiB hashes of each file, packed. */
  readonly leaves: readonly Bytes[]
}

export interface TestFile {
  readonly path: readonly string[]
  readonly bytes: Bytes
}

/** Bytes that depend on the length and the seed alone. */
export function content(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length)
  let state = seed
  for (let at = 0; at < length; at += 61) bytes[at] = state = (state * 75 + 74) % 65_537
  return bytes
}

/** A torrent of one file, or of a folder. */
export function contentOf(name: string, data: Bytes | readonly TestFile[], pieceLength = 16_384): TestContent {
  const folder = !(data instanceof Uint8Array)
  const files = folder ? data : [{ path: [name], bytes: data }]
  const hashed = files.map(({ path, bytes }, i) => ({ path, ...hash(bytes, pieceLength, i < files.length - 1) }))
  const { torrent, meta } = makeTorrent({ name, folder, pieceLength, files: hashed })
  return {
    infoHash: toHex(meta.infoHash),
    infoHashV1: toHex(meta.infoHashV1),
    torrent,
    meta,
    leaves: hashed.map(({ leaves }) => leaves),
  }
}

function hash(bytes: Bytes, pieceLength: number, padded: boolean) {
  const leaves = new Uint8Array(Math.ceil(bytes.length / 16_384) * 32)
  const hasher = fileHasher({
    length: bytes.length,
    pieceLength,
    padded,
    onLeaves: (from, run) => leaves.set(run, from * 32),
  })
  hasher.update(bytes)
  return { hashes: hasher.digest(), leaves }
}
