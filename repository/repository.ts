/** A trust repository: its HTTP side and its work in the background, over a store. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { createAnnouncements } from './announcements.ts'
import { createApp } from './app.ts'
import { createBooks } from './books.ts'
import { createChains } from './chains.ts'
import { createContents } from './contents.ts'
import { pruneEntry } from '../protocol/book-log.ts'
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { createContext, type RepositoryContext, type RepositoryOptions } from './context.ts'
import { createEditions } from './editions.ts'
import { createHashes } from './hashes.ts'
import { createIdentities } from './identities.ts'
import { EMPTY } from './keys.ts'
import { mirror } from './mirror.ts'
import { createNeighbourhoods } from './neighbourhoods.ts'
import { createNotices } from './notices.ts'
import { createSearch } from './search.ts'
import { createSwarm } from './swarm.ts'
import { sweep } from './sweep.ts'

export type { RepositoryOptions } from './context.ts'

export interface Repository {
  readonly app: OpenAPIHono
  /** Sweeps now and then. */
  start(): Promise<void>
  /** Lets a sweep under way end. */
  stop(): Promise<void>
  /** Says in the log that the repository no longer stands by an id: for each reader to follow or not. @returns false when it has said so */
  prune(id: Bytes): Promise<boolean>
  /** Takes away what is over, up to a bound. @returns how much was due */
  maintain(): Promise<number>
}

const SWEEP_PAUSE_MS = 60_000
const MIRROR_PAUSE_MS = 2_000

export function createRepository(options: RepositoryOptions): Repository {
  const context = createContext(options)
  const identities = createIdentities(context)
  const books = createBooks(context, identities)
  const contents = createContents(context)
  const announcements = createAnnouncements(context, identities, contents)
  const search = createSearch(context, announcements)
  const parts = {
    log: context.log,
    identities,
    books,
    contents,
    announcements,
    search,
    chains: createChains(createNeighbourhoods(context, books)),
    editions: createEditions(context, identities),
    notices: createNotices(context, identities, books),
    hashes: createHashes(context, contents),
    swarm: createSwarm(books, announcements),
  }
  const { source, store } = context
  async function maintain(): Promise<number> {
    const followed = source ? await mirror({ ...parts, store, source }) : 0
    return followed + (await sweep(context, parts))
  }
  const { clock } = context.environment
  let life = new AbortController()
  let sweeping: Promise<void> | undefined

  async function sweepUntil(isOver: AbortSignal): Promise<void> {
    while (!isOver.aborted) {
      await maintain().catch(context.onFault)
      await clock.sleep(source ? MIRROR_PAUSE_MS : SWEEP_PAUSE_MS, isOver).catch(() => {})
    }
  }

  return {
    app: createApp({ ...parts, isMirror: source !== undefined }, context.onFault),
    prune: (id) => prune(context, id),
    maintain,
    async start() {
      if (sweeping) return
      life = new AbortController()
      sweeping = sweepUntil(life.signal)
    },
    async stop() {
      life.abort()
      await sweeping
      sweeping = undefined
    },
  }
}

const prune = ({ store, log, environment }: RepositoryContext, id: Bytes): Promise<boolean> =>
  log.write(async () => {
    const key = { pk: 'prune', sk: toHex(id) }
    const result = (await store.get(key.pk, key.sk)) === undefined
    if (!result) return { changes: [], entries: [], result }
    return {
      changes: [{ ...key, expect: 0, body: EMPTY }],
      entries: [pruneEntry(id, environment.clock.now())],
      result,
    }
  })
