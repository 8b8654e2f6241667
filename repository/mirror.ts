/**
 * A mirror: follows the log of another repository, takes over the identities and books that it names, and serves all of
 * it, with the checkpoints that the other signed. It takes nothing from anybody else: what it says is the other's log.
 */
import { z } from '@hono/zod-openapi'
import { readRecord } from '../protocol/book-log.ts'
import { fromHex, fromUtf8, toHex, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import type { Environment } from '../protocol/environment.ts'
import { exchange } from '../protocol/exchange.ts'
import { followLog, readSeen, type LogKeys, type LogReader } from '../protocol/follow-log.ts'
import { identityOf, operationFromJson, parseOperation } from '../protocol/identity.ts'
import { decideAndWrite, putAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { EMPTY_FRONTIER } from '../protocol/merkle.ts'
import { Problem } from '../protocol/problem.ts'
import { bookSchema, wire } from '../protocol/service.ts'
import type { Envelope } from '../protocol/signed.ts'
import { createStoreLog, growthOf, headOfLog, readLogHead } from '../protocol/store-log.ts'
import type { Store } from '../protocol/store.ts'
import { bookFromJson, readHead, type Book } from '../protocol/vouch.ts'
import type { Books } from './books.ts'
import type { Identities } from './identities.ts'
import type { RepositoryLog } from './log.ts'

/** The repository that is followed. */
export interface Source extends LogReader {
  info(): Promise<z.output<typeof infoShape>>
  identity(id: string): Promise<readonly Envelope[]>
  book(id: string): Promise<Book | undefined>
}

/** A log that stands still is timed anew so often. */
const RETIMED_MS = 30_000
const INFO = { pk: 'log', sk: 'source' }
const infoShape = z.object({ id: wire.id, origin: z.string(), vkey: z.string(), timeKey: z.string() })
const identityShape = z.object({ operations: z.array(wire.envelope) })
const bookShape = z.object({ book: bookSchema })
const storedInfo = { id: field.text(), origin: field.text(), timeKey: field.text(), vkey: field.text() }

/** @param url without a trailing slash */
export function sourceAt(environment: Environment, url: string): Source {
  async function get(path: string): Promise<Bytes> {
    const bounds = { timeoutMs: limits.callTimeoutMs, replyBytes: limits.replyBytes }
    const { status, body } = await exchange(environment, url + path, { method: 'GET' }, bounds).catch(unreachable)
    if (status === 200) return body
    throw new Problem(status === 404 ? 'not-found' : 'peer-failed', `${url}${path} answered with status ${status}.`)
  }
  async function json<T>(path: string, shape: z.ZodType<T>): Promise<T> {
    const read = shape.safeParse(parsed(await get(path)))
    if (!read.success) throw new Problem('peer-failed', `The answer of ${url}${path} is malformed.`)
    return read.data
  }
  return {
    checkpoint: async () => fromUtf8(await get('/checkpoint')),
    tile: (path) => get(`/${path}`),
    info: () => json('/v1/repository', infoShape),
    identity: async (id) => (await json(`/v1/identities/${id}`, identityShape)).operations.map(operationFromJson),
    book: async (id) => bookFromJson((await json(`/v1/books/${id}`, bookShape)).book),
  }
}

const nobody = (): never => {
  throw new Problem('forbidden', 'This is a mirror: publish where the log is kept.')
}

/** The log of a mirror: the other's, as far as it was followed. */
export function createMirrorLog(store: Store, source: Source): RepositoryLog {
  /** Believed once, and held to it from then on. */
  async function info() {
    const item = await store.get(INFO.pk, INFO.sk)
    if (item) return { ...fields(decode(item.body), storedInfo), signer: { key: new Uint8Array(0), sign: nobody } }
    const { id, origin, timeKey, vkey } = await source.info()
    await store.write([{ ...INFO, expect: 0, body: encode({ id, origin, timeKey, vkey }) }])
    return { id, origin, timeKey, vkey, signer: { key: new Uint8Array(0), sign: nobody } }
  }
  const log = createStoreLog(store, info)
  return {
    info,
    // What is taken over stands in the log that it comes from.
    write: (decide) => decideAndWrite(store, decide),
    receipt: async () => nobody(),
    async checkpoint() {
      const head = await readLogHead(store)
      if (!head) throw new Problem('not-found', 'The log has not been followed yet.')
      return head.note
    },
    version: () => log.version(),
    size: () => log.size(),
    entries: (from, size) => log.entries(from, size),
    tile: (tile) => log.tile(tile),
  }
}

export interface MirrorParts {
  readonly store: Store
  readonly source: Source
  readonly log: RepositoryLog
  readonly identities: Identities
  readonly books: Books
}

/**
 * Takes over what is new. After a crash it begins again where the head is.
 * @returns how many entries there were
 * @throws Problem of the source, `peer-failed` when its entries do not lead to its checkpoint
 */
export async function mirror({ store, source, log, identities, books }: MirrorParts): Promise<number> {
  const { vkey, timeKey } = await log.info()
  const keys: LogKeys = { vkey, timeKeys: [timeKey] }
  const seen = readSeen(await source.checkpoint(), keys)
  const known = await readLogHead(store)
  const before = known ?? { ...EMPTY_FRONTIER, version: 0, note: '' }
  if (seen.size < before.size) throw new Problem('peer-failed', 'The repository shows an older log than before.')
  if (known && seen.size === known.size && seen.timeMs - readSeen(known.note, keys).timeMs < RETIMED_MS) return 0
  const { frontier, entries } = await followLog(source, before, seen)
  const changed = idsIn(entries)
  for (const id of changed.identities) await identities.put(await source.identity(id))
  for (const id of changed.issuers) {
    const book = await source.book(id)
    if (book) await books.put(fromHex(id), book).catch(unlessRefused)
  }
  const { changes } = await growthOf(store, before, entries)
  await putAll(store, changes)
  await store.write([headOfLog({ ...frontier, note: seen.note }, before.version)])
  return entries.length
}

/** A book that its issuer no longer stands by vouches for nobody anyway. */
function unlessRefused(error: unknown): void {
  if (!(error instanceof Problem) || error.code === 'store-unavailable') throw error
}

function unreachable(error: unknown): never {
  if (error instanceof Problem) throw error
  throw new Problem('peer-failed', 'The repository could not be reached.')
}

/** Undefined for what is not JSON: no shape accepts it. */
function parsed(body: Bytes): unknown {
  try {
    return JSON.parse(fromUtf8(body))
  } catch {
    return undefined
  }
}

/** Whose operations and books the entries are of, in hex. An issuer's log of operations comes before its book. */
export function idsIn(entries: readonly Bytes[]) {
  const issuers = new Set<string>()
  const owners = new Set<string>()
  for (const entry of entries) {
    const record = readRecord(entry)
    if (record?.kind === 'book') issuers.add(toHex(readHead(record.book.head).issuer))
    if (record?.kind === 'identity') for (const operation of record.operations) owners.add(idOf(operation))
  }
  return { issuers, identities: new Set([...owners, ...issuers]) }
}

const idOf = (operation: Envelope): string => toHex(identityOf(parseOperation(operation)))
