/**
 * A bazaar for buyers, in simulated time: a real ledger, real sellers behind their HTTP side, a repository that says
 * what it is told, and one buying agent that can be killed and started again over what it had stored.
 */
import { sha256 } from '#primitives'
import type { AgentContext } from '../../agent/context.ts'
import { createDownloads, type Download, type DownloadParts, type Downloads } from '../../agent/download/download.ts'
import { USUAL_PACE, type DownloadPace } from '../../agent/download/pace.ts'
import { createGuard, type DayCaps, type Guard } from '../../agent/guard/guard.ts'
import { createLedgerClient, type LedgerAccount } from '../../agent/clients/ledger-client.ts'
import type { Links } from '../../agent/storage/links.ts'
import { createPeers } from '../../agent/download/peers.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { createWallet, type Wallet } from '../../agent/wallet/wallet.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { announce } from '../../protocol/announcement.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import type { Clock, Environment, Transport } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { proofToJson, proveVouch, writeBook } from '../../protocol/vouch.ts'
import { createChance } from '../simulation/chance.ts'
import { createDisk, type Disk } from '../simulation/memory-storage.ts'
import { createNetwork, type SimulatedNetwork } from '../simulation/network.ts'
import { createScheduler, type Scheduler } from '../simulation/scheduler.ts'
import type { Content } from './bazaar-content.ts'
import { openStand, type OpenStand, type StandOptions } from './bazaar-stand.ts'

export const FAUCET = 1_000_000n
const START_MS = Date.UTC(2030, 0, 1)
const HOUR_MS = 3_600_000

export interface Stand extends Pick<OpenStand, 'seller' | 'sent'> {
  readonly id: string
  /** Stands in the way of requests for pieces. */
  spoil: ((request: Request, answer: () => Promise<Response>) => Promise<Response>) | undefined
  /** Whether its offer leaves out how pieces are paid. */
  isTerse: boolean
  announced: boolean
  leave(): void
  comeBack(): void
  /** Beyond what it began with. */
  earned(): Promise<bigint>
}

export interface BuyerOptions {
  readonly wrapStore?: (store: Store) => Store
  readonly wrapStorage?: (storage: Storage) => Storage
  readonly wrapClock?: (clock: Clock) => Clock
  readonly pace?: Partial<DownloadPace>
  /** Of a day. */
  readonly caps?: DayCaps
}

export interface Buyer {
  readonly id: string
  readonly context: AgentContext
  readonly parts: DownloadParts
  readonly guard: Guard
  readonly downloads: Downloads
  readonly wallet: Wallet
  readonly faults: readonly unknown[]
  /** Starts a download and lets time pass until it comes to rest. */
  readonly fetch: (maxPrice?: bigint) => Promise<Download>
  readonly rest: (id: string) => Promise<Download>
  readonly available: () => Promise<bigint>
  readonly frozen: () => Promise<bigint>
  /** As kill -9 does: whatever it does from now on has no effect. */
  readonly kill: () => void
}

export interface Bazaar {
  readonly scheduler: Scheduler
  readonly network: SimulatedNetwork
  readonly disk: Disk
  readonly content: Content
  stand(name: string, options?: StandOptions): Promise<Stand>
  /** The buying agent; the one before it is killed. */
  buyer(options?: BuyerOptions): Promise<Buyer>
  /** Lets time pass until the work is done. */
  happen<T>(work: Promise<T>): Promise<T>
  /** Lets time pass until it is so. */
  until(done: () => boolean | Promise<boolean>): Promise<void>
  pass(ms: number): Promise<void>
  account(id: string): Promise<LedgerAccount>
  setLedgerUp(isUp: boolean): void
  /** What all accounts hold, and what the ledger issued. */
  total(): Promise<{ readonly held: bigint; readonly issued: bigint }>
}

interface Party {
  readonly name: string
  readonly id: Bytes
  readonly hex: string
  readonly operations: readonly Envelope[]
  readonly delegation: Envelope
  readonly owner: Signer
  readonly signer: Signer
}

interface Place {
  readonly party: Party
  readonly stand: Stand
  readonly options: StandOptions
}

export async function openBazaar(content: Content, seed = 'bazaar'): Promise<Bazaar> {
  const scheduler = createScheduler(START_MS)
  const clock: Clock = {
    now: () => Math.floor(scheduler.now()),
    sleep: (ms, signal) => scheduler.sleep(ms, signal),
  }
  const chance = createChance(seed)
  const network = createNetwork(scheduler, chance.fork('network'))
  const disk = createDisk()
  const store = openSqlite(':memory:')
  const parties = new Map<string, Party>()
  const places: Place[] = []
  let lives = 0
  let last: Buyer | undefined

  /** No two lives draw the same. */
  const environmentOf = (name: string, transport: Transport = network.transportOf(name)): Environment => ({
    clock,
    random: chance.fork(`${name} ${lives}`),
    transport,
  })
  const ledger = createLedger({
    environment: environmentOf('ledger'),
    store: openSqlite(':memory:'),
    secret: LEDGER_SECRET,
    origin: 'ledger.example',
    policy: { faucet: FAUCET, unitPrice: 1n },
  })
  const setLedgerUp = (isUp: boolean): void =>
    network.attach('ledger.example', isUp ? (request) => ledger.app.fetch(request) : undefined)
  setLedgerUp(true)
  network.attach('repository.example', (request) => repositoryAnswer(request, { content, parties, places, clock }))
  const bank = createLedgerClient({ environment: environmentOf('bank'), url: 'https://ledger.example' })

  async function happen<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const end = () => void (isOver = true)
    work.then(end, end)
    if (!(await scheduler.run(() => isOver, scheduler.now() + HOUR_MS))) throw new Error('nothing more happens')
    return work
  }

  async function party(name: string): Promise<Party> {
    const known = parties.get(name)
    if (known) return known
    const made = partyOf(name)
    await happen(bank.register(made.operations[0] as Envelope))
    await happen(bank.delegate(made.delegation))
    parties.set(name, made)
    return made
  }

  function contextOf(who: Party, own: Store, transport?: Transport, wrapClock = (same: Clock) => same): AgentContext {
    const environment = { ...environmentOf(who.name, transport), clock: wrapClock(clock) }
    return {
      environment,
      store: own,
      owner: who.id,
      operations: who.operations,
      delegation: who.delegation,
      signer: who.signer,
      ledger: createLedgerClient({ environment, url: 'https://ledger.example' }),
      repository: createRepositoryClient({ environment, url: 'https://repository.example' }),
      publicUrl: `https://${who.name}.example`,
      allowLoopback: false,
    }
  }

  async function stand(name: string, options: StandOptions = {}): Promise<Stand> {
    const who = await party(name)
    const { app, seller, sent } = openStand(contextOf(who, options.store ?? openSqlite(':memory:')), content, options)
    const handler = (request: Request) => {
      const answer = async () => app.fetch(request)
      if (made.isTerse && request.url.endsWith(`/v1/pieces/${content.infoHash}`)) return answer().then(withoutTerms)
      return made.spoil && /\/v1\/pieces\/\w+\/\d+$/.test(request.url) ? made.spoil(request, answer) : answer()
    }
    const made: Stand = {
      seller,
      sent,
      id: who.hex,
      spoil: undefined,
      isTerse: false,
      announced: true,
      leave: () => network.attach(`${name}.example`, undefined),
      comeBack: () => network.attach(`${name}.example`, handler),
      earned: async () => (await happen(bank.account(who.hex))).available - FAUCET,
    }
    made.comeBack()
    places.push({ party: who, stand: made, options })
    return made
  }

  async function buyer(options: BuyerOptions = {}): Promise<Buyer> {
    last?.kill()
    lives++
    const life = beginLife()
    const who = await party('buyer')
    const transport = life.ends(network.transportOf('buyer'))
    const kept = options.wrapStore?.(store) ?? store
    const own: Store = { ...kept, write: life.ends((changes) => kept.write(changes)) }
    const context = contextOf(who, own, transport, options.wrapClock)
    const opened = disk.open(chance.fork(`disk ${lives}`))
    const wrapped = options.wrapStorage?.(opened) ?? opened
    const storage = { ...wrapped, put: life.ends((...put: Parameters<Storage['put']>) => wrapped.put(...put)) }
    const links: Pick<Links, 'open'> = { open: async () => ({ name: 'folder', storage }) }
    const wallet = createWallet(context)
    const faults: unknown[] = []
    const guard = createGuard(context, { caps: options.caps })
    const parts = {
      links: links as Links,
      wallet,
      peers: createPeers(context),
      pieceClient: pieceClientOver(transport),
      pace: { ...USUAL_PACE, ...options.pace },
      guard,
      onFault: (error: unknown) => void faults.push(error),
    }
    const downloads = createDownloads(context, parts)
    const rest = (id: string) => happen(downloads.wait(id))
    last = {
      id: who.hex,
      context,
      parts,
      guard,
      downloads,
      wallet,
      faults,
      rest,
      async fetch(maxPrice) {
        const request = { source: content.infoHash, ...(maxPrice !== undefined && { maxPrice }) }
        return rest((await happen(downloads.start(request))).id)
      },
      available: async () => (await happen(bank.account(who.hex))).available,
      frozen: async () => (await happen(bank.account(who.hex))).frozen,
      kill: life.end,
    }
    return last
  }

  return {
    scheduler,
    network,
    disk,
    content,
    stand,
    buyer,
    happen,
    async until(done) {
      const untilMs = scheduler.now() + HOUR_MS
      while (!(await done())) {
        const { steps } = scheduler
        if (!(await scheduler.run(() => scheduler.steps > steps, untilMs))) throw new Error('it never came to be')
      }
    },
    pass: async (ms) => void (await scheduler.run(() => false, scheduler.now() + ms)),
    account: (id) => happen(bank.account(id)),
    setLedgerUp,
    async total() {
      const accounts = await happen(Promise.all(Array.from(parties.values(), ({ hex }) => bank.account(hex))))
      const held = accounts.reduce(
        (sum, { available, bonds, frozen, earned }) => sum + available + frozen + earned + bonds,
        0n,
      )
      return { held, issued: FAUCET * BigInt(parties.size) }
    },
  }
}

/** What a process does has no effect once it has ended: no request leaves, no write is made, nothing returns. */
function beginLife() {
  let isOver = false
  return {
    end: () => void (isOver = true),
    ends:
      <A extends unknown[], R>(act: (...args: A) => Promise<R>) =>
      (...args: A): Promise<R> =>
        isOver ? new Promise(() => undefined) : act(...args),
  }
}

const LEDGER_SECRET = sha256(utf8('ledger'))
const LEDGER_ID = sha256(signerFrom(LEDGER_SECRET).key)

function partyOf(name: string): Party {
  const owner = signerFrom(sha256(utf8(`${name}, owner`)))
  const signer = signerFrom(sha256(utf8(`${name}, agent`)))
  const first = genesis([owner], START_MS)
  const id = objectId('identity', first.body)
  const caps = { day: 10n ** 9n, total: 10n ** 9n, issued: START_MS, expires: START_MS + limits.delegationMs }
  const terms = { ...caps, agent: signer.key, ledger: LEDGER_ID, owner: id, may: ['spend', 'announce'] as const }
  const delegation = delegate(terms, owner)
  return { name, id, hex: toHex(id), operations: [first], delegation, owner, signer }
}

const withoutTerms = async (answer: Response): Promise<Response> =>
  Response.json({ ...((await answer.json()) as object), accepts: [] })

interface Known {
  readonly content: Content
  readonly parties: ReadonlyMap<string, Party>
  readonly places: readonly Place[]
  readonly clock: Clock
}

function repositoryAnswer(request: Request, { content, parties, places, clock }: Known): Response {
  const { pathname, searchParams } = new URL(request.url)
  const knows = [content.infoHash, toHex(content.meta.infoHashV1)].some((hash) => pathname.includes(hash))
  const find = (hex: string | null) => Array.from(parties.values()).find((party) => party.hex === hex)
  if (knows && pathname.endsWith('/torrent')) return new Response(content.torrent)
  if (knows && pathname.endsWith('/swarm')) {
    const sellers = places.filter(({ stand }) => stand.announced).map((place) => announced(place, content, clock.now()))
    return Response.json({ sellers })
  }
  const identity = pathname.startsWith('/v1/identities/') && find(pathname.slice('/v1/identities/'.length))
  if (identity) return Response.json({ operations: identity.operations.map(envelopeToJson) })
  if (pathname === '/v1/chains') {
    const place = places.find(({ party }) => party.hex === searchParams.get('from'))
    return Response.json(vouched(place, find(searchParams.get('to')), clock.now()))
  }
  return Response.json({ code: 'not-found', detail: 'Not here.' }, { status: 404 })
}

function announced({ party, options }: Place, content: Content, nowMs: number) {
  const announcement = announce(
    {
      agent: party.id,
      infoHash: content.meta.infoHash,
      issued: nowMs,
      expires: nowMs + HOUR_MS,
      modes: ['credit', 'prepaid'],
      price: options.price ?? 1n,
      public: options.public ?? false,
      urls: [`https://${party.name}.example`],
    },
    party.signer,
  )
  return { announcement: envelopeToJson(announcement), delegation: envelopeToJson(party.delegation) }
}

/** The seller vouches for whom it gives credit. */
function vouched(place: Place | undefined, subject: Party | undefined, nowMs: number) {
  const credit = place?.options.credit ?? 0
  if (!place || !subject || credit === 0) return { identities: [], chains: [] }
  const times = { notBefore: START_MS, expires: START_MS + limits.vouchMs }
  const vouch = { subject: subject.id, depth: 1, credit, scope: '', salt: new Uint8Array(16), ...times }
  const terms = { issuer: place.party.id, seq: 0, issued: nowMs, expires: nowMs + HOUR_MS }
  const proof = proveVouch(writeBook(terms, [vouch], place.party.owner), 0)
  return { identities: [place.party.operations.map(envelopeToJson)], chains: [[proofToJson(proof)]] }
}
