/** One owner's agent, put together: every room is handed what it needs, and the loops that keep it going. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { limits } from '../protocol/limits.ts'
import { createService } from '../protocol/service.ts'
import type { AgentContext } from './context.ts'
import { createCopies, type Copies } from './copy/copies.ts'
import { createDownloads, type Downloads } from './download/download.ts'
import { mountTracker } from './bittorrent/tracker.ts'
import { createLinking } from './storage/linking.ts'
import { createLinks, type LinkAccess, type Links } from './storage/links.ts'
import { mountChains } from './api/chain-api.ts'
import { mountCopies } from './api/copies-api.ts'
import { mountFiles, sendFileCopy, type FilesParts, type SendFile } from './api/files-api.ts'
import { mountGuard } from './api/guard-api.ts'
import { mountBrokers, type BrokerParts } from './api/broker-api.ts'
import { mountCircles } from './api/circle-api.ts'
import { mountFollows } from './api/follow-api.ts'
import { mountOwnerApi } from './api/owner-api.ts'
import { createOwnerGuard, type OwnerGuard } from './api/owner-guard.ts'
import { mountDashboard, type Dashboard } from './dashboard/dashboard.ts'
import { mountUsage } from './api/usage-api.ts'
import { createBrokers } from './brokers/brokers.ts'
import { createCircles, type Circles } from './circle/circles.ts'
import { createFollows } from './follow/follows.ts'
import { createPeers } from './download/peers.ts'
import type { PieceClient } from './download/piece-client.ts'
import type { Rest } from './download/shift.ts'
import type { FanOut } from './download/stretches.ts'
import { mountPublicApi, sendPieceCopy, type SendPiece } from './api/public-api.ts'
import { createGuard, type DayCaps, type Guard } from './guard/guard.ts'
import { createSeller, type Seller } from './sell/sell.ts'
import { createShares, type Shares } from './share/share.ts'
import { createTrust, type Trust } from './trust/trust.ts'
import { createUsage, type Usage } from './usage.ts'
import { createWallet } from './wallet/wallet.ts'

const MAINTENANCE_MS = 5_000
const OWNER_PATHS = [
  'proofs',
  'shares',
  'downloads',
  'links',
  'copies',
  'authorizations',
  'balance',
  'redemptions',
  'trust',
  'notices',
  'breaches',
  'brokers',
  'circles',
  'follows',
  'alerts',
  'usage',
  'guard',
  'search',
]

/** What members of a circle alone may have. */
const LIMITED_PATHS = ['/v1/pieces/:infoHash/*', '/v1/contents/:infoHash/torrent']

export interface Agent {
  readonly app: OpenAPIHono
  readonly links: Links
  readonly shares: Shares
  readonly seller: Seller
  readonly downloads: Downloads
  readonly guard: Guard
  readonly usage: Usage
  /** Takes up unfinished downloads and copies. */
  resumeAll(): Promise<void>
  /** What a worker does that was woken: until it is over, has to wait, or the signal aborts. */
  work(task: string, signal: AbortSignal): Promise<Rest>
  /** Announces, takes up unfinished downloads, and keeps house until `stop`. */
  start(): void
  stop(): Promise<void>
  /** One round of housekeeping; `start` calls it every few seconds. */
  maintain(): Promise<void>
}

export interface AgentOptions {
  readonly pieceClient: PieceClient
  readonly sendPiece?: SendPiece
  readonly sendFile?: SendFile
  /** The storages that the owner links, unless given. */
  readonly links?: Links
  readonly linkAccess?: LinkAccess
  /** Of what is shared; chosen to suit the sizes unless given. */
  readonly pieceLength?: number
  /** Starts a worker that calls `work`; without it, downloads and copies run in this process. */
  readonly wake?: (task: string) => Promise<void>
  /** Of such a worker: how it spreads large downloads over others. */
  readonly fanOut?: FanOut
  /** The page at the agent's own address; none unless given. */
  readonly dashboard?: Dashboard
  /** Of a day, where the owner has set none. */
  readonly caps?: DayCaps
  /** Told when a cap keeps something from being sent or bought. */
  readonly onCapReached?: (cap: keyof DayCaps) => void
  /** Told of faults that no caller is waiting for. */
  readonly onFault: (error: unknown) => void
}

function createApp(doorkeeper: OwnerGuard, onFault: AgentOptions['onFault']): OpenAPIHono {
  const app = createService({
    title: 'Raincheck agent',
    description: 'One owner’s agent: sells pieces to anyone, obeys its owner.',
    largerBodies: [{ path: /^\/v1\/(downloads|trust)$/, bytes: limits.ownerBodyBytes }],
    onFault,
  })
  // In hono `/x/*` takes `/x` too.
  for (const path of OWNER_PATHS) app.use(`/v1/${path}/*`, doorkeeper.middleware)
  return app
}

/** The gate comes before what it guards. */
function mountNeighbours(app: OpenAPIHono, parts: BrokerParts & { circles: Circles; shares: Shares }): void {
  const { context, circles, shares } = parts
  for (const path of LIMITED_PATHS) app.use(path, circles.gate.middleware(shares.circleOf))
  mountCircles(app, context, circles)
  mountBrokers(app, parts)
  if (context.bittorrent) mountTracker(app, shares, context.bittorrent)
}

interface PublicParts extends FilesParts {
  readonly context: AgentContext
  readonly seller: Seller
  readonly trust: Trust
  readonly sendPiece: SendPiece
}

function mountForAnyone(app: OpenAPIHono, parts: PublicParts): void {
  mountPublicApi(app, parts.context, parts.seller, parts.sendPiece)
  mountFiles(app, parts)
  mountChains(app, parts.trust)
}

const tasksOf = (downloads: Downloads, copies: Copies): Pick<Agent, 'resumeAll' | 'work'> => ({
  resumeAll: async () => void (await Promise.all([downloads.resumeAll(), copies.resumeAll()])),
  work: (task, signal) => (copies.isTask(task) ? copies : downloads).work(task, signal),
})

export function createAgent(
  context: AgentContext,
  {
    pieceClient,
    sendPiece = sendPieceCopy,
    sendFile = sendFileCopy,
    linkAccess,
    links = createLinks(context, linkAccess),
    pieceLength,
    wake,
    fanOut,
    dashboard,
    caps,
    onCapReached,
    onFault,
  }: AgentOptions,
): Agent {
  const shares = createShares(context, links, pieceLength)
  const trust = createTrust(context)
  const usage = createUsage(context)
  const guard = createGuard(context, { caps, onReached: onCapReached })
  const seller = createSeller(context, { shares, trust, usage, guard })
  const circles = createCircles(context)
  const brokers = createBrokers(context)
  const peers = createPeers(context, { view: trust, passes: circles, brokers })
  const wallet = createWallet(context, async (payee) => (await trust.distrusts.current()).distrusted.has(payee))
  const downloads = createDownloads(context, {
    links,
    wallet,
    pieceClient,
    peers,
    usage,
    guard,
    distrusts: trust.distrusts,
    ...(fanOut ? { fanOut } : wake && { wake }),
    onFault,
  })
  const linking = createLinking(context, links, linkAccess)
  const copies = createCopies(context, links, wake)
  const follows = createFollows(context)
  const doorkeeper = createOwnerGuard(context)

  const app = createApp(doorkeeper, onFault)
  mountNeighbours(app, { context, circles, brokers, shares, peers, guard })
  mountForAnyone(app, { context, seller, shares, guard, trust, sendPiece, sendFile, onFault })
  if (dashboard) mountDashboard(app, dashboard)
  mountCopies(app, copies)
  mountFollows(app, follows)
  mountGuard(app, guard, downloads)
  mountOwnerApi(app, { context, circles, links, linking, shares, seller, downloads, trust })
  mountUsage(app, { context, usage, doorkeeper })

  const chores: readonly (() => Promise<unknown>)[] = [
    // What a stopped agent has announced runs out.
    async () => (await guard.isStopped()) || shares.announce(),
    () => seller.maintain(),
    () => wallet.maintain(),
    async () => context.watch?.maintain(),
    () => trust.maintain(),
    () => follows.maintain(),
    () => circles.maintain(),
    () => Promise.all([doorkeeper.sweep(), linking.sweep(), peers.sweep()]),
    () => usage.maintain(),
  ]
  async function maintain(): Promise<void> {
    await Promise.all(chores.map((chore) => chore().catch(onFault)))
  }
  const rooms = { links, shares, seller, downloads, guard, usage }
  return { app, ...rooms, ...tasksOf(downloads, copies), maintain, ...lifecycle() }

  function lifecycle(): Pick<Agent, 'start' | 'stop'> {
    const stopping = new AbortController()
    let running: Promise<unknown> = Promise.resolve()
    /** None waits for what another waits for: a repository that does not answer keeps no tick from being redeemed. */
    async function loop(chore: () => Promise<unknown>): Promise<void> {
      while (!stopping.signal.aborted) {
        await chore().catch(onFault)
        await context.environment.clock.sleep(MAINTENANCE_MS, stopping.signal).catch(() => undefined)
      }
    }
    return {
      start() {
        void downloads.resumeAll()
        void copies.resumeAll().catch(onFault)
        running = Promise.all(chores.map(loop))
      },
      async stop() {
        stopping.abort()
        await downloads.stop()
        await copies.stop()
        await running
        await usage.flush().catch(onFault)
        await guard.release().catch(onFault)
        await links.close()
      },
    }
  }
}
