/** Agents of a world, whole and honest; a test may put something in front of one, or drive another by its owner's key. */
import { createAgent, type Agent } from '../../agent/agent.ts'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import type { DayCaps } from '../../agent/guard/guard.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import type { Links } from '../../agent/storage/links.ts'
import { pieceClientOver, type PieceClient } from '../../agent/download/piece-client.ts'
import type { SendPiece } from '../../agent/api/public-api.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import type { Clock, Environment } from '../../protocol/environment.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import type { LogPolicy } from '../../protocol/log-policy.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { bookToJson, writeBook } from '../../protocol/vouch.ts'
import { bytesOf } from '../agent/bazaar-content.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { watchedStore } from '../ledger/store-watch.ts'
import { createDisk, type Disk } from '../simulation/memory-storage.ts'
import type { Answer } from './answer.ts'
import type { Handler } from './ground.ts'
import type { Person, World } from './world.ts'

export const PIECE_BYTES = 16 * 1024
export const PRICE = 3n
const DAY_MS = 86_400_000

export interface ShareJson {
  readonly infoHash: string
  readonly pieces: number
  readonly price: string
}

export interface DownloadJson {
  readonly id: string
  readonly state: string
  readonly reason?: string
  readonly detail?: string
  readonly piecesDone: number
  readonly ticks: number
  readonly paid: string
  readonly sellers: readonly {
    readonly id: string
    readonly status: string
    readonly ticks: number
    readonly detail?: string
  }[]
}

export interface Resident {
  readonly person: Person
  readonly url: string
  readonly disk: Disk
  readonly service: Agent
  /** Requests as its owner. */
  readonly owner: OwnerClient
  /** Stands in front of the agent, where it is given. */
  tamper: ((request: Request, answer: () => Promise<Response>) => Promise<Response>) | undefined
  /** Puts a file on its disk and shares it. */
  share(name: string, bytes: Bytes, terms?: { readonly price?: bigint; readonly public?: boolean }): Promise<ShareJson>
  /** Lets others owe so many pieces. @param depth steps of vouches that may follow */
  vouch(people: readonly Pick<Person, 'id'>[], credit: number, depth?: number): Promise<void>
  piece(share: Pick<ShareJson, 'infoHash'>, index: number, headers?: Record<string, string>): Promise<Answer>
}

export interface ResidentOptions {
  readonly environment?: Environment
  readonly pieceClient?: PieceClient
  readonly sendPiece?: SendPiece
  readonly allowLoopback?: boolean
  readonly modes?: readonly LaneMode[]
  readonly stakeMost?: bigint
  readonly repositoryWitnesses?: LogPolicy
  readonly links?: (context: AgentContext) => Links
  /** Of a day. */
  readonly caps?: DayCaps
  /** Where its state is. */
  readonly store?: Store
}

/** An account, and the agent that runs for it. */
export async function moveIn<C extends Clock>(
  world: World<C>,
  name: string,
  options: ResidentOptions = {},
): Promise<Resident> {
  const person = await world.person(name)
  const { environment = world.environmentOf(name), allowLoopback = !('advance' in world.clock) } = options
  const disk = createDisk()
  const store = watchedStore(options.store)
  const handler: Handler = (request, env) => {
    const answer = async () => counted(await service.app.fetch(request, env))
    return resident.tamper ? resident.tamper(request, answer) : answer()
  }
  const counted = (response: Response): Response => {
    const isPiece = response.headers.get('content-type') === 'application/octet-stream'
    if (isPiece) world.countServed(name, Number(response.headers.get('content-length') ?? PIECE_BYTES))
    return response
  }
  const url = await world.host(name, handler, store)
  const context: AgentContext = {
    environment,
    store,
    owner: person.id,
    operations: [person.identity],
    signer: person.agent,
    delegation: person.delegation,
    ledger: createLedgerClient({ environment, url: world.ledger.url }),
    repository: createRepositoryClient({ environment, url: world.repository.url }),
    publicUrl: url,
    allowLoopback,
    ...(options.modes && { modes: options.modes }),
    ...(options.stakeMost !== undefined && { stakeMost: options.stakeMost }),
    ...(options.repositoryWitnesses && { repositoryWitnesses: options.repositoryWitnesses }),
  }
  const service = createAgent(context, {
    pieceClient: options.pieceClient ?? pieceClientOver(environment.transport),
    ...(options.sendPiece && { sendPiece: options.sendPiece }),
    links: options.links?.(context) ?? linksTo(disk, environment),
    pieceLength: PIECE_BYTES,
    ...(options.caps && { caps: options.caps }),
    onFault: world.onFault,
  })
  const owner = createOwnerClient({
    environment: world.environmentOf(`owner of ${name}`),
    url,
    owner: person.id,
    signer: person.signer,
  })
  const resident: Resident = {
    person,
    url,
    disk,
    service,
    owner,
    tamper: undefined,
    async share(path, bytes, { price = PRICE, public: isPublic = false } = {}) {
      disk.plant(path, bytes)
      return owner.ask<ShareJson>('POST', '/v1/shares', { path, price: String(price), public: isPublic })
    },
    vouch: (people, credit, depth = 0) => vouch(world, resident, people, { credit, depth }),
    piece: ({ infoHash }, index, headers = {}) => world.ask(`${url}/v1/pieces/${infoHash}/${index}`, { headers }),
  }
  return resident
}

/** The disk is the one storage. */
export const linksTo = (disk: Disk, { random }: Pick<Environment, 'random'>): Links => ({
  add: () => Promise.reject(new Problem('bad-request', 'There is one disk.')),
  list: async () => [{ name: 'disk', kind: 'folder' }],
  remove: () => Promise.reject(new Problem('not-found', 'There is one disk.')),
  open: async () => ({ name: 'disk', storage: disk.open(random) }),
  close: async () => undefined,
})

async function vouch(
  { clock }: Pick<World, 'clock'>,
  { owner, person }: Resident,
  people: readonly Pick<Person, 'id'>[],
  terms: { readonly credit: number; readonly depth: number },
): Promise<void> {
  const nowMs = clock.now()
  const times = { notBefore: nowMs, expires: nowMs + 7 * DAY_MS }
  const vouches = people.map(({ id }) => ({ ...terms, ...times, subject: id, scope: '', salt: id.slice(0, 16) }))
  const head = { issuer: person.id, seq: 0, issued: nowMs, expires: nowMs + 7 * DAY_MS }
  await owner.ask('PUT', '/v1/trust', { book: bookToJson(writeBook(head, vouches, person.signer)) })
}

const AT_REST = new Set(['done', 'failed', 'cancelled', 'paused'])

/** Starts a download at an agent's owner API and lets time pass until it comes to rest, or waits for so long. */
export async function download(
  { clock }: { readonly clock: HandClock },
  { owner, service }: Resident,
  infoHash: string,
  patienceMs = 3_600_000,
): Promise<DownloadJson> {
  const untilMs = clock.now() + patienceMs
  async function rest(): Promise<DownloadJson> {
    const { id } = await owner.ask<DownloadJson>('POST', '/v1/downloads', { source: infoHash })
    for (;;) {
      const found = await owner.ask<DownloadJson>('GET', `/v1/downloads/${id}`)
      if (AT_REST.has(found.state) || clock.now() >= untilMs) return found
      await clock.sleep(5000)
    }
  }
  const found = await clock.until(rest())
  await clock.until(service.stop())
  return found
}

/** Bytes that differ from piece to piece. */
export const filmOf = (pieces: number): Bytes => bytesOf(pieces * PIECE_BYTES - 100)
