/** A repository as an agent sees it. Ids and hashes are hex. What it says is a hint: identities, announcements and books carry their own signatures. */
import { z } from '@hono/zod-openapi'
import { fromUtf8, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { ChainsJson } from '../../protocol/chain.ts'
import type { Environment } from '../../protocol/environment.ts'
import { operationFromJson, replay, type IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { isNamed, parseTorrent } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import { count } from '../../protocol/route.ts'
import { bookSchema, vouchProofSchema, wire } from '../../protocol/service.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import { bookFromJson, bookToJson, type Book } from '../../protocol/vouch.ts'
import { createHttpClient, money, signed } from './http-client.ts'

const operation = wire.envelope.transform(operationFromJson)
const identityShape = (nowMs: number) =>
  z.object({ operations: z.array(operation) }).transform(({ operations }) => replay(operations, nowMs))
const bookShape = z.object({ book: bookSchema.transform(bookFromJson) })
export const chainsShape = z.object({
  identities: z
    .array(z.array(wire.envelope).max(limits.operationsPerIdentity))
    .max(limits.chains * limits.chainVouches),
  chains: z.array(z.array(vouchProofSchema).max(limits.chainVouches)).max(limits.chains),
})
const takenShape = z.object({ receipt: signed('receipt').optional() })
const infoShape = z.object({ id: wire.id, origin: z.string(), vkey: z.string(), timeKey: z.string() })
const contentShape = z.looseObject({ infoHash: wire.id, name: z.string(), bytes: count, pieceLength: count })
const sellerShape = z.object({ announcement: signed('announcement'), delegation: signed('delegation').optional() })
export const swarmShape = z.object({ sellers: z.array(sellerShape).max(limits.swarmSellers) })
const foundShape = z.object({
  infoHash: wire.id,
  name: z.string(),
  bytes: count,
  pieces: count.optional(),
  sellers: count,
  price: money,
})
const noticeShape = z.object({ notice: signed('notice'), delegation: signed('delegation').optional() })
const noticesShape = z.object({ notices: z.array(noticeShape).max(limits.noticesPerIdentity) })
const editionShape = z.object({ edition: signed('edition'), delegation: signed('delegation').optional() })
const editionsShape = z.object({ editions: z.array(editionShape).max(limits.editionsAnswered) })
const searchShape = z.array(foundShape).max(limits.searchResults)

export type Content = z.output<typeof contentShape>
export type SwarmSeller = z.output<typeof sellerShape>
export type RepositoryInfo = z.output<typeof infoShape>
export type SignedNotice = z.output<typeof noticeShape>
export type SignedEdition = z.output<typeof editionShape>
export type Found = z.output<typeof foundShape>

/** Every method throws the repository's own problem (`not-found`, …), or `peer-failed`. */
export interface RepositoryClient {
  readonly url: string
  putIdentity(operations: readonly Envelope[]): Promise<void>
  /** Replayed here from its genesis: the keys are the owner's word, not the repository's. */
  identity(id: string): Promise<{ state: IdentityState; operations: readonly Envelope[] }>
  /** @returns the repository's word that the book is in its log; a mirror gives none */
  putBook(id: string, book: Book): Promise<Envelope | undefined>
  /** As served: `checkBook` and `requireAuthor` verify it. */
  book(id: string): Promise<Book>
  /** Vouching chains between two ids, as served: `protocol/chain.ts` verifies and `protocol/trust.ts` evaluates them. */
  chains(query: { from: string; to: string; max?: number }): Promise<ChainsJson>
  putTorrent(infoHash: string, torrent: Bytes): Promise<void>
  /** SHA-256 of 16 KiB blocks of one file, from block `from`. */
  putLeaves(infoHash: string, run: { file: number; from: number; leaves: Bytes }): Promise<void>
  /** @param infoHash v2 or v1. @throws Problem `bad-torrent`; `peer-failed` for another one */
  torrent(infoHash: string): Promise<Bytes>
  content(infoHash: string): Promise<Content>
  announce(announcement: Envelope, delegation?: Envelope): Promise<void>
  /** @param reader whom the vouching chains should start from */
  swarm(infoHash: string, reader?: string): Promise<readonly SwarmSeller[]>
  search(query: string): Promise<readonly Found[]>
  /** Who keeps the log: believed once, and held to it from then on. */
  info(): Promise<RepositoryInfo>
  /** Of the log, as served: `readSeen` verifies it. */
  checkpoint(): Promise<string>
  tile(path: string): Promise<Bytes>
  /** Tells a voucher of a distrust. */
  putNotice(notice: Envelope, delegation?: Envelope): Promise<void>
  /** What an id was told; to be verified by `parseNotice` and `requireNotifier`. */
  notices(id: string): Promise<readonly SignedNotice[]>
  putEdition(edition: Envelope, delegation?: Envelope): Promise<void>
  /** The editions of an owner after a number, or the newest; to be verified by `parseEdition` and `requireEditor`. */
  editions(by: string, after?: number): Promise<readonly SignedEdition[]>
}

export interface RepositoryClientOptions {
  readonly environment: Environment
  /** Without a trailing slash. */
  readonly url: string
}

export function createRepositoryClient({ environment, url }: RepositoryClientOptions): RepositoryClient {
  const http = createHttpClient(environment, url)
  const get = <T>(path: string, shape: z.ZodType<T>): Promise<T> => http.json({ method: 'GET', path }, shape)

  const send = async (method: 'POST' | 'PUT', path: string, json: unknown): Promise<void> => {
    await http.bytes({ method, path, json })
  }
  const upload = async (path: string, contentType: string, bytes: Bytes): Promise<void> => {
    await http.bytes({ method: 'PUT', path, upload: { contentType, bytes } })
  }

  async function identity(id: string): Promise<{ state: IdentityState; operations: readonly Envelope[] }> {
    const state = await get(`/v1/identities/${id}`, identityShape(environment.clock.now()))
    if (toHex(state.id) !== id) throw new Problem('peer-failed', `${url} answered with another identity.`)
    return { state, operations: state.operations.map(({ envelope }) => envelope) }
  }

  async function torrent(infoHash: string): Promise<Bytes> {
    const call = { method: 'GET', path: `/v1/contents/${infoHash}/torrent`, replyBytes: limits.torrentBytes } as const
    const bytes = await http.bytes(call)
    if (!isNamed(parseTorrent(bytes), infoHash))
      throw new Problem('peer-failed', `${url} answered with another torrent.`)
    return bytes
  }

  return {
    url,
    putIdentity: (operations) => send('POST', '/v1/identities', { operations: operations.map(envelopeToJson) }),
    identity,
    putBook: async (id, book) => {
      const json = { book: bookToJson(book) }
      return (await http.json({ method: 'PUT', path: `/v1/books/${id}`, json }, takenShape)).receipt
    },
    info: () => get('/v1/repository', infoShape),
    checkpoint: async () => fromUtf8(await http.bytes({ method: 'GET', path: '/checkpoint', attempts: 1 })),
    tile: (path) => http.bytes({ method: 'GET', path: `/${path}` }),
    book: async (id) => (await get(`/v1/books/${id}`, bookShape)).book,
    chains: ({ from, to, max }) => get(`/v1/chains?${query({ from, to, max })}`, chainsShape),
    putTorrent: (infoHash, torrent) => upload(`/v1/contents/${infoHash}`, 'application/x-bittorrent', torrent),
    putLeaves: (infoHash, { file, from, leaves }) =>
      upload(`/v1/contents/${infoHash}/leaves?${query({ file, from })}`, 'application/octet-stream', leaves),
    torrent,
    content: (infoHash) => get(`/v1/contents/${infoHash}`, contentShape),
    announce: (announcement, delegation) =>
      send('POST', '/v1/announcements', {
        announcement: envelopeToJson(announcement),
        ...(delegation && { delegation: envelopeToJson(delegation) }),
      }),
    swarm: async (infoHash, reader) =>
      (await get(`/v1/contents/${infoHash}/swarm?${query({ for: reader })}`, swarmShape)).sellers,
    putNotice: (notice, delegation) =>
      send('POST', '/v1/notices', {
        notice: envelopeToJson(notice),
        ...(delegation && { delegation: envelopeToJson(delegation) }),
      }),
    notices: async (id) => (await get(`/v1/notices/${id}`, noticesShape)).notices,
    putEdition: (edition, delegation) =>
      send('POST', '/v1/editions', {
        edition: envelopeToJson(edition),
        ...(delegation && { delegation: envelopeToJson(delegation) }),
      }),
    editions: async (by, after) => (await get(`/v1/editions/${by}?${query({ after })}`, editionsShape)).editions,
    search: (text) => get(`/v1/search?${query({ query: text })}`, searchShape),
  }
}

function query(values: Readonly<Record<string, string | number | undefined>>): URLSearchParams {
  const given = Object.entries(values).filter(([, value]) => value !== undefined)
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)]))
}
