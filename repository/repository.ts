/** A trust repository: its HTTP side and its work in the background, over a store. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { createAnnouncements } from './announcements.ts'
import { createApp } from './app.ts'
import { createBooks } from './books.ts'
import { createChains } from './chains.ts'
import { createContents } from './contents.ts'
import type { Bytes } from '../protocol/bytes.ts'
import { createContext, type RepositoryOptions } from './context.ts'
import { createEditions } from './editions.ts'
import { createHashes } from './hashes.ts'
import { createIdentities } from './identities.ts'
import { mirror } from './mirror.ts'
import { createNeighbourhoods } from './neighbourhoods.ts'
import { createNotices } from './notices.ts'
import { prune } from './prune.ts'
import { createSearch } from './search.ts'
import { createSwarm } from './swarm.ts'
import { sweep } from './sweep.ts'

export interface Repository {
  readonly app: OpenAPIHono
  /** Maintains itself now and then. */
  start(): Promise<void>
  /** Lets a round under way end. */
  stop(): Promise<void>
  /** Says in the log that the repository no longer stands by an id: for each reader to follow or not. @returns false when it has said so */
  prune(id: Bytes): Promise<boolean>
  /** A mirror takes over what is new; then what is over is taken away, up to a bound. @returns how much there was of both */
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
  const neighbourhoods = createNeighbourhoods(context, books)
  const parts = {
    log: context.log,
    identities,
    books,
    contents,
    announcements,
    search,
    chains: createChains(neighbourhoods),
    editions: createEditions(context, identities),
    notices: createNotices(context, identities, neighbourhoods),
    hashes: createHashes(context, contents),
    swarm: createSwarm(neighbourhoods, announcements),
  }
  const { source, store } = context
  async function maintain(): Promise<number> {
    const followed = source ? await mirror({ ...parts, store, source }) : 0
    return followed + (await sweep(context, parts))
  }
  const { clock } = context.environment
  let life = new AbortController()
  let maintaining: Promise<void> | undefined

  async function maintainUntil(isOver: AbortSignal): Promise<void> {
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
      if (maintaining) return
      life = new AbortController()
      maintaining = maintainUntil(life.signal)
    },
    async stop() {
      life.abort()
      await maintaining
      maintaining = undefined
    },
  }
}
