/** An agent’s trust in a test’s hands: an owner and others, their books, a repository that says what it is told. */
import { sha256 } from '#primitives'
import type { AgentContext } from '../../agent/context.ts'
import type { RepositoryClient } from '../../agent/clients/repository-client.ts'
import { createTrust, vouchAccount } from '../../agent/trust/trust.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { bookEntry, identityEntries, pruneEntry } from '../../protocol/book-log.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { chainsToJson, type ChainsJson } from '../../protocol/chain.ts'
import { delegate } from '../../protocol/delegation.ts'
import { genesis, replay } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, signerFrom, type Envelope } from '../../protocol/signed.ts'
import { parseTilePath } from '../../protocol/tile.ts'
import { parseHead, proveVouch, writeBook, type Book, type Vouch } from '../../protocol/vouch.ts'
import { createRepositoryLog } from '../../repository/log.ts'
import { handClock, START_MS } from './hand-clock.ts'

export function person(name: string) {
  const signer = signerFrom(sha256(utf8(name)))
  const operation = genesis([signer], START_MS)
  const id = objectId('identity', operation.body)
  return { id, hex: toHex(id), signer, operation, state: replay([operation], START_MS) }
}
export type Person = ReturnType<typeof person>

export const owner = person('owner')
export const [friend, other, stranger] = [person('friend'), person('other'), person('stranger')]
export const agent = signerFrom(sha256(utf8('agent')))

export const account = (issuer: Person, subject: Person): string =>
  vouchAccount({ issuer: issuer.id, subject: subject.id })

export const vouch = (subject: Person, depth: number, credit: number, more: Partial<Vouch> = {}): Vouch => ({
  subject: subject.id,
  depth,
  credit,
  scope: '',
  notBefore: START_MS,
  expires: START_MS + limits.vouchMs,
  salt: sha256(subject.id).slice(0, 16),
  ...more,
})

export const bookOf = (issuer: Person, vouches: readonly Vouch[], seq = 0, prev?: Bytes): Book =>
  writeBook(
    { issuer: issuer.id, seq, issued: START_MS, expires: START_MS + limits.bookMs, ...(prev && { prev }) },
    vouches,
    issuer.signer,
  )

export const next = (before: Book, issuer: Person, vouches: readonly Vouch[]): Book => {
  const { id, seq } = parseHead(before.head)
  return bookOf(issuer, vouches, seq + 1, id)
}

/** Of the owner's agent, with nothing in its store. */
export function contextOf(parts: Pick<AgentContext, 'environment' | 'repository'>): AgentContext {
  const caps = { day: 1n, total: 1n, issued: START_MS, expires: START_MS + limits.delegationMs }
  return {
    ...parts,
    store: openSqlite(':memory:'),
    owner: owner.id,
    operations: [owner.operation],
    signer: agent,
    delegation: delegate({ ...caps, agent: agent.key, owner: owner.id, may: ['spend'] }, owner.signer),
  } as unknown as AgentContext
}

/** An agent of the owner's, and a repository that knows these books. */
export function open(books: readonly { by: Person; book: Book }[] = []) {
  const clock = handClock()
  const log = createRepositoryLog({
    environment: { clock } as unknown as Environment,
    store: openSqlite(':memory:'),
    secret: sha256(utf8('repository')),
    origin: 'repository.example',
  })
  const atHome = <T>(answer: () => Promise<T>): Promise<T> =>
    repository.away ? Promise.reject(new Problem('peer-failed', 'Away.')) : answer()
  const asked: string[] = []
  const published: Book[] = []
  const repository: { chains: () => Promise<ChainsJson>; away: boolean } = {
    away: false,
    chains: async () => {
      const issuers = books.map(({ by }) => by.state)
      return chainsToJson(
        issuers,
        books.map(({ book }) => book.vouches.map((_, i) => proveVouch(book, i))),
      )
    },
  }
  const context = contextOf({
    environment: { clock } as unknown as Environment,
    repository: {
      url: 'https://repository.example',
      info: () => atHome(() => log.info()),
      checkpoint: () => atHome(() => log.checkpoint()),
      tile: (path: string) => atHome(() => log.tile(parseTilePath(path))),
      async chains({ to }: { to: string }) {
        asked.push(to)
        if (repository.away) throw new Problem('peer-failed', 'Away.')
        return repository.chains()
      },
      async putBook(_: string, book: Book) {
        if (repository.away) throw new Problem('peer-failed', 'Away.')
        published.push(book)
      },
      book: () =>
        atHome(async () => {
          const newest = published.at(-1)
          if (!newest) throw new Problem('not-found', 'No book.')
          return newest
        }),
    } as unknown as RepositoryClient,
  })
  const record = (book: Book) => enter([bookEntry(book, clock.now())])
  const recordKeys = (...operations: Envelope[]) => enter(identityEntries(operations, clock.now()))
  const prune = (...pruned: Person[]) => enter(pruned.map(({ id }) => pruneEntry(id, clock.now())))
  const enter = (entries: Bytes[]) =>
    log.write(async () => ({
      changes: [{ pk: 'x', sk: 'x', expect: 'any' as const }],
      entries,
      result: undefined,
    }))
  return {
    trust: createTrust(context),
    /** @param operations the owner's by then */
    restart: (operations = context.operations) => createTrust({ ...context, operations }),
    clock,
    asked,
    published,
    repository,
    context,
    store: context.store,
    record,
    recordKeys,
    prune,
  }
}
