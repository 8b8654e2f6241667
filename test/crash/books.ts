/**
 * A repository, as `npm run repository` runs it, killed with -9 again and again while owners publish one book after the
 * other. Each book that was acknowledged must be there, and in the log, and whatever is there must be a whole book.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createRepositoryClient, type RepositoryClient } from '../../agent/clients/repository-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { readRecord } from '../../protocol/book-log.ts'
import { toHex } from '../../protocol/bytes.ts'
import { followLog, readSeen } from '../../protocol/follow-log.ts'
import { EMPTY_FRONTIER } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { checkBook, parseHead, type Book } from '../../protocol/vouch.ts'
import { bookOf, DAY, numbered, person, vouchFor, type Person } from '../repository/people.ts'
import { createChance, type Chance } from '../simulation/chance.ts'

export interface BooksOptions {
  /** For `openStore`, in the process. */
  readonly store: string
  readonly updates: number
  readonly kills: number
  readonly issuers: number
  readonly seed: string
  readonly say: (line: string) => void
}

export interface BooksReport {
  readonly acknowledged: number
  readonly kills: number
  /** Requests that were under way at a kill, or met nobody. */
  readonly unanswered: number
  /** Acknowledged, and an older one is there after all. */
  readonly lost: number
  /** There, and not whole. */
  readonly broken: number
  /** Acknowledged, and not in the log exactly once. */
  readonly misplaced: number
}

const environment = realEnvironment()
const { clock } = environment
const ENTRY_POINT = fileURLToPath(new URL('../../repository/node.ts', import.meta.url))
/** So that a process is up again sooner. */
const NODE_COMPILE_CACHE = join(tmpdir(), 'raincheck-compile-cache')
const RETRY_PAUSE_MS = 20
const TRIES_MS = 60_000
/** One item of the store holds a thousand. */
const VOUCHES_MOST = 1200

interface Service {
  /** Of the process that is up, or was. */
  url(): string
  /** Kills it, and starts another. */
  kill(): Promise<void>
  stop(): void
}

export async function books(options: BooksOptions): Promise<BooksReport> {
  const chance = createChance(options.seed)
  const service = await startService(options.store)
  try {
    const tally = { acknowledged: 0, unanswered: 0 }
    const turns = Array(options.updates).keys()
    const people = Array.from({ length: options.issuers }, (_, i) => person(i + 1))
    const publishing = people.map((issuer, i) => publish(service, issuer, chance.fork(`issuer ${i}`), turns, tally))
    const all = Promise.all(publishing)
    const [kills, published] = await Promise.all([killing(service, chance.fork('kills'), options, tally, all), all])
    const { acknowledged, unanswered } = tally
    return { acknowledged, unanswered, kills, ...(await inspect(service, people, published)) }
  } finally {
    service.stop()
  }
}

async function startService(store: string): Promise<Service> {
  let child: ChildProcess
  let url = ''
  async function start(): Promise<void> {
    child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ENTRY_POINT], {
      env: { ...process.env, REPOSITORY_STORE: store, RAINCHECK_CREATE_TABLE: '1', PORT: '0', NODE_COMPILE_CACHE },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => ['{}'])])) as [string]
    url = (JSON.parse(line) as { url?: string }).url ?? ''
    if (url === '') throw new Error('the repository did not start')
  }
  await start()
  return {
    url: () => url,
    async kill() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
      await start()
    },
    stop: () => void child.kill('SIGKILL'),
  }
}

/** Again and again until it is answered. @returns how often it was not */
async function insist(service: Service, say: (client: RepositoryClient) => Promise<unknown>): Promise<number> {
  const untilMs = clock.now() + TRIES_MS
  for (let unanswered = 0; ; unanswered++) {
    try {
      await say(createRepositoryClient({ environment, url: service.url() }))
      return unanswered
    } catch (error) {
      const isAway = error instanceof Problem && ['peer-failed', 'store-unavailable'].includes(error.code)
      if (!isAway || clock.now() > untilMs) throw error
      await clock.sleep(RETRY_PAUSE_MS)
    }
  }
}

/** One book after the other, each until it is acknowledged. @returns all of them */
async function publish(
  service: Service,
  issuer: Person,
  chance: Chance,
  turns: Iterator<number>,
  tally: { acknowledged: number; unanswered: number },
): Promise<readonly Book[]> {
  await insist(service, (client) => client.putIdentity(issuer.operations))
  const published: Book[] = []
  // Whoever is done takes the next turn.
  while (!turns.next().done) {
    const book = nextBook(issuer, published.at(-1), chance.hits(0.1) ? VOUCHES_MOST : chance.integer(0, 20))
    tally.unanswered += await insist(service, (client) => client.putBook(toHex(issuer.id), book))
    tally.acknowledged++
    published.push(book)
  }
  return published
}

function nextBook(issuer: Person, before: Book | undefined, vouches: number): Book {
  const nowMs = clock.now()
  const times = { notBefore: nowMs, expires: nowMs + DAY }
  const head = before && parseHead(before.head)
  const seq = head ? head.seq + 1 : 0
  const subjects = Array.from({ length: vouches }, (_, i) => vouchFor(numbered(seq % 200, i), times))
  return bookOf(issuer, subjects, { issued: nowMs, expires: nowMs + DAY, seq, ...(head && { prev: head.id }) })
}

/** Spread over the updates; a process is killed once it has taken some. */
async function killing(
  service: Service,
  chance: Chance,
  { kills, updates, say }: BooksOptions,
  tally: { readonly acknowledged: number },
  publishing: Promise<unknown>,
): Promise<number> {
  const over = new AbortController()
  const end = () => over.abort()
  publishing.then(end, end)
  let done = 0
  while (done < kills && !over.signal.aborted) {
    await clock.sleep(chance.integer(1, RETRY_PAUSE_MS))
    if (tally.acknowledged < (updates * (done + 1)) / (kills + 1)) continue
    await service.kill()
    done++
  }
  say(`${done} kills, ${tally.acknowledged} books`)
  return done
}

async function inspect(service: Service, people: readonly Person[], published: readonly (readonly Book[])[]) {
  const client = createRepositoryClient({ environment, url: service.url() })
  let [lost, broken] = [0, 0]
  for (const [i, { id }] of people.entries()) {
    const newest = published[i]?.at(-1)
    const found = await client.book(toHex(id)).catch(() => undefined)
    try {
      const head = found && checkBook(found)
      if (newest && (!head || head.seq < parseHead(newest.head).seq)) lost++
    } catch {
      broken++
    }
  }
  const logged = await headsInLog(client)
  const acknowledged = published.flat().map(({ head }) => toHex(parseHead(head).id))
  return { lost, broken, misplaced: acknowledged.filter((id) => logged.get(id) !== 1).length }
}

/** How often each book stands in the log, followed from its beginning. */
async function headsInLog(client: RepositoryClient): Promise<ReadonlyMap<string, number>> {
  const { vkey, timeKey } = await client.info()
  const seen = readSeen(await client.checkpoint(), { vkey, timeKeys: [timeKey] })
  const { entries } = await followLog(client, EMPTY_FRONTIER, seen)
  const counts = new Map<string, number>()
  for (const record of entries.map(readRecord)) {
    if (record?.kind !== 'book') continue
    const id = toHex(parseHead(record.book.head).id)
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts
}
