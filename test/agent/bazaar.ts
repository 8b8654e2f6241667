/**
 * A bazaar for buyers, in simulated time: a real ledger, real sellers behind their HTTP side, a repository that says
 * what it is told, and one buying agent that can be killed and started again over what it had stored.
 */
import { sha256 } from '#primitives'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { AgentContext } from '../../agent/context.ts'
import { createDownloads, type Download, type Downloads } from '../../agent/download.ts'
import { USUAL_PACE, type DownloadPace } from '../../agent/download-pace.ts'
import { createLedgerClient, type LedgerAccount } from '../../agent/ledger-client.ts'
import type { Links } from '../../agent/links.ts'
import { createPeers } from '../../agent/peers.ts'
import { pieceClientOver } from '../../agent/piece-client.ts'
import { mountPublicApi, sendPieceCopy } from '../../agent/public-api.ts'
import { createRepositoryClient } from '../../agent/repository-client.ts'
import { createSeller, type Seller } from '../../agent/sell.ts'
import type { Share, Shares } from '../../agent/share.ts'
import type { Trust } from '../../agent/trust.ts'
import { createUsage } from '../../agent/usage.ts'
import { createWallet, type Wallet } from '../../agent/wallet.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { announce } from '../../protocol/announcement.ts'
import { emptyBitfield, fullBitfield, setPiece } from '../../protocol/bitfield.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import type { Environment, Transport } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { filePath, locatePiece, type Metainfo } from '../../protocol/metainfo.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { createService } from '../../protocol/service.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { createChance } from '../simulation/chance.ts'
import { createDisk, type Disk } from '../simulation/memory-storage.ts'
import { createNetwork, type Handler, type SimulatedNetwork } from '../simulation/network.ts'
import { createScheduler, type Scheduler } from '../simulation/scheduler.ts'
import type { Storage } from '../../agent/storage/storage.ts'

export const KiB = 1024
export const PIECE_BYTES = 16 * KiB
export const FAUCET = 1_000_000n
const START_MS = Date.UTC(2030, 0, 1)
const HOUR_MS = 3_600_000

export interface Content {
  readonly meta: Metainfo
  readonly torrent: Bytes
  /** By path. */
  readonly files: ReadonlyMap<string, Bytes>
}

/** Bytes that differ from piece to piece. */
export const bytesOf = (length: number, salt = 0): Bytes =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + (i >> 14) * 13 + salt) & 0xff)

/** @param files one called `name` alone, or those of a folder */
export function contentOf(name: string, files: Readonly<Record<string, Bytes>>, folder = false): Content {
  const entries = Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const hashed = entries.map(([path, bytes], i) => {
    const hasher = fileHasher({ length: bytes.length, pieceLength: PIECE_BYTES, padded: i < entries.length - 1 })
    hasher.update(bytes)
    return { path: path.split('/'), hashes: hasher.digest() }
  })
  const { torrent, meta } = makeTorrent({ name, folder, pieceLength: PIECE_BYTES, files: hashed })
  return { torrent, meta, files: new Map(entries.map(([path, bytes]) => [folder ? `${name}/${path}` : name, bytes])) }
}

export const filmOf = (pieces: number): Content =>
  contentOf('film.bin', { 'film.bin': bytesOf(pieces * PIECE_BYTES - 100, pieces) })

function pieceOf({ meta, files }: Content, index: number): Bytes {
  const { file, offset, length } = locatePiece(meta, index)
  const path = filePath(meta, meta.files[file] as Metainfo['files'][number]).join('/')
  return (files.get(path) as Bytes).slice(offset, offset + length)
}

export interface Stand {
  readonly id: string
  readonly host: string
  readonly seller: Seller
  /** How often each piece was sent. */
  readonly sent: Map<number, number>
  /** Stands in the way of requests for pieces. */
  spoil: ((request: Request, answer: () => Promise<Response>) => Promise<Response>) | undefined
  /** Pieces that the buyer may owe. */
  credit: number
  announced: boolean
  leave(): void
  comeBack(): void
  earned(): Promise<bigint>
}

export interface StandOptions {
  readonly price?: bigint
  readonly public?: boolean
  /** All unless given. */
  readonly pieces?: readonly number[]
  readonly credit?: number
}

export interface Bazaar {
  readonly scheduler: Scheduler
  readonly network: SimulatedNetwork
  readonly disk: Disk
  readonly content: Content
  readonly infoHash: string
  stand(name: string, options?: StandOptions): Promise<Stand>
  /** The buying agent; one that ran before is killed: what it does from now on has no effect. */
  buyer(options?: BuyerOptions): Promise<Buyer>
  /** Lets time pass until the work is done. */
  happen<T>(work: Promise<T>): Promise<T>
  /** Lets time pass until it is so. */
  until(done: () => boolean | Promise<boolean>, withinMs?: number): Promise<void>
  pass(ms: number): Promise<void>
  account(id: string): Promise<LedgerAccount>
  /** Of all accounts together; the ledger issued `issued`. */
  total(): Promise<{ readonly held: bigint; readonly issued: bigint }>
}

export interface BuyerOptions {
  readonly store?: Store
  readonly wrapStore?: (store: Store) => Store
  readonly wrapStorage?: (storage: Storage) => Storage
  readonly pace?: Partial<DownloadPace>
}

export interface Buyer {
  readonly id: string
  readonly downloads: Downloads
  readonly wallet: Wallet
  readonly context: AgentContext
  readonly faults: unknown[]
  /** Starts a download and lets time pass until it comes to rest. */
  fetch(maxPrice?: bigint): Promise<Download>
  rest(id: string, withinMs?: number): Promise<Download>
  available(): Promise<bigint>
  frozen(): Promise<bigint>
  /** As kill -9 does. */
  kill(): void
}

interface Party {
  readonly id: Bytes
  readonly operations: readonly Envelope[]
  readonly delegation: Envelope
  readonly signer: ReturnType<typeof signerFrom>
}

export async function openBazaar(content: Content, seed = 'bazaar'): Promise<Bazaar> {
  const scheduler = createScheduler(START_MS)
  const clock = { now: () => Math.floor(scheduler.now()), sleep: scheduler.sleep }
  const chance = createChance(seed)
  const network = createNetwork(scheduler, chance.fork('network'))
  const disk = createDisk()
  const store = openSqlite(':memory:')
  const accounts: string[] = []
  const identities = new Map<string, readonly EnvelopeJson[]>()
  const stands: { readonly stand: Stand; readonly announcement: () => Envelope; readonly delegation: Envelope }[] = []
  const infoHash = toHex(content.meta.infoHash)
  let killLast = (): void => undefined
  let lives = 0

  const environmentOf = (name: string): Environment => ({
    clock,
    random: chance.fork(`${name} ${lives}`),
    transport: network.transportOf(name),
  })
  const ledger = createLedger({
    environment: environmentOf('ledger'),
    store: openSqlite(':memory:'),
    secret: sha256(utf8('ledger')),
    origin: 'ledger.example',
    policy: { faucet: FAUCET, unitPrice: 1n },
  })
  network.attach('ledger.example', (request) => ledger.app.fetch(request))
  network.attach('repository.example', (request) => repository(request))
  const bank = createLedgerClient({ environment: environmentOf('bank'), url: 'https://ledger.example' })

  function repository(request: Request): Response {
    const path = new URL(request.url).pathname
    const id = path.split('/').at(-1) as string
    if (path.endsWith('/torrent')) return known(path) ? new Response(content.torrent) : notFound()
    if (path.endsWith('/swarm')) return Response.json({ sellers: announced() })
    if (path.startsWith('/v1/identities/')) return Response.json({ operations: identities.get(id) })
    if (path === '/v1/chains') return Response.json({ identities: [], chains: [] })
    return notFound()
  }
  const known = (path: string): boolean => path.includes(infoHash) || path.includes(toHex(content.meta.infoHashV1))
  const announced = () =>
    stands
      .filter(({ stand }) => stand.announced)
      .map(({ announcement, delegation }) => ({
        announcement: envelopeToJson(announcement()),
        delegation: envelopeToJson(delegation),
      }))

  async function happen<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const over = () => (isOver = true)
    work.then(over, over)
    if (!(await scheduler.run(() => isOver, scheduler.now() + HOUR_MS))) throw new Error('nothing more happens')
    return work
  }

  async function party(name: string): Promise<Party> {
    const owner = signerFrom(sha256(utf8(`${name}, owner`)))
    const signer = signerFrom(sha256(utf8(`${name}, agent`)))
    const first = genesis([owner], START_MS)
    const id = objectId('identity', first.body)
    const caps = { day: 10n ** 9n, total: 10n ** 9n, issued: START_MS, expires: START_MS + limits.delegationMs }
    const delegation = delegate({ ...caps, agent: signer.key, owner: id, may: ['spend', 'announce'] }, owner)
    if (!identities.has(toHex(id))) {
      await happen(bank.register(first))
      await happen(bank.delegate(delegation))
      accounts.push(toHex(id))
      identities.set(toHex(id), [envelopeToJson(first)])
    }
    return { id, operations: [first], delegation, signer }
  }

  function contextOf(name: string, { id, ...rest }: Party, own: Store, transport?: Transport): AgentContext {
    const environment = { ...environmentOf(name), ...(transport && { transport }) }
    return {
      ...{ environment, store: own, owner: id, ...rest },
      ledger: createLedgerClient({ environment, url: 'https://ledger.example' }),
      repository: createRepositoryClient({ environment, url: 'https://repository.example' }),
      publicUrl: `https://${name}.example`,
      allowLoopback: false,
    }
  }

  async function stand(name: string, options: StandOptions = {}): Promise<Stand> {
    const who = await party(name)
    const context = contextOf(name, who, openSqlite(':memory:'))
    const { app, ...rest } = openStand(context, content, options)
    const host = `${name}.example`
    const id = toHex(who.id)
    const handler: Handler = (request) => {
      const answer = async () => app.fetch(request)
      return made.spoil && /\/v1\/pieces\/\w+\/\d+$/.test(request.url) ? made.spoil(request, answer) : answer()
    }
    const made: Stand = {
      ...rest,
      ...{ id, host, spoil: undefined, announced: true },
      leave: () => network.attach(host, undefined),
      comeBack: () => network.attach(host, handler),
      earned: async () => (await happen(bank.account(id))).available - FAUCET,
    }
    made.comeBack()
    const announcement = () =>
      announce(
        {
          ...{ agent: who.id, infoHash: content.meta.infoHash, issued: clock.now() },
          ...{ expires: clock.now() + HOUR_MS, modes: ['credit', 'prepaid'], price: options.price ?? 1n },
          ...{ public: options.public ?? false, urls: [`https://${host}`] },
        },
        who.signer,
      )
    stands.push({ stand: made, announcement, delegation: who.delegation })
    return made
  }

  async function buyer(options: BuyerOptions = {}): Promise<Buyer> {
    killLast()
    lives++
    let isDead = false
    const dead = (): Promise<never> => new Promise(() => undefined)
    const who = await party('buyer')
    const line = network.transportOf('buyer')
    const transport: Transport = (request) => (isDead ? dead() : line(request))
    const alive = (inner: Store): Store => ({ ...inner, write: (changes) => (isDead ? dead() : inner.write(changes)) })
    const context = contextOf(
      'buyer',
      who,
      alive((options.wrapStore ?? ((inner) => inner))(options.store ?? store)),
      transport,
    )
    const opened = (options.wrapStorage ?? ((inner) => inner))(disk.open(chance.fork(`disk ${lives}`)))
    const storage: Storage = { ...opened, put: (...put) => (isDead ? dead() : opened.put(...put)) }
    const links = { open: async () => ({ name: 'folder', storage }) } as unknown as Links
    const wallet = createWallet(context)
    const faults: unknown[] = []
    const downloads = createDownloads(context, {
      ...{ links, wallet, peers: createPeers(context), pieceClient: pieceClientOver(transport) },
      pace: { ...USUAL_PACE, ...options.pace },
      onFault: (error) => faults.push(error),
    })
    killLast = () => (isDead = true)
    const id = toHex(who.id)
    const made: Buyer = {
      ...{ id, downloads, wallet, context, faults },
      rest: (id) => happen(downloads.wait(id)),
      async fetch(maxPrice) {
        const request = { source: infoHash, ...(maxPrice !== undefined && { maxPrice }) }
        return made.rest((await happen(downloads.start(request))).id)
      },
      available: async () => (await happen(bank.account(id))).available,
      frozen: async () => (await happen(bank.account(id))).frozen,
      kill: () => (isDead = true),
    }
    return made
  }

  async function until(done: () => boolean | Promise<boolean>, withinMs = HOUR_MS): Promise<void> {
    const untilMs = scheduler.now() + withinMs
    while (!(await done())) {
      const steps = scheduler.steps
      if (!(await scheduler.run(() => scheduler.steps > steps, untilMs))) throw new Error('it never came to be')
    }
  }

  return {
    ...{ scheduler, network, disk, content, infoHash, stand, buyer, until, happen },
    pass: async (ms) => void (await scheduler.run(() => false, scheduler.now() + ms)),
    account: (id) => happen(bank.account(id)),
    async total() {
      const all = await Promise.all(accounts.map((id) => happen(bank.account(id))))
      const held = all.reduce((sum, { available, frozen, earned }) => sum + available + frozen + earned, 0n)
      return { held, issued: FAUCET * BigInt(accounts.length) }
    },
  }
}

const notFound = (): Response => Response.json({ code: 'not-found', detail: 'Not here.' }, { status: 404 })

interface OpenStand extends Pick<Stand, 'seller' | 'sent' | 'credit'> {
  readonly app: OpenAPIHono
}

function openStand(context: AgentContext, content: Content, options: StandOptions): OpenStand {
  const { meta } = content
  const sent = new Map<number, number>()
  const share = {
    ...{ infoHash: toHex(meta.infoHash), infoHashV1: toHex(meta.infoHashV1), name: meta.name, link: 'folder' },
    ...{ path: meta.name, price: options.price ?? 1n, public: options.public ?? false, bytes: meta.bytes },
    ...{ pieceLength: meta.pieceLength, pieces: meta.pieces, meta, files: [] },
  } as unknown as Share
  const held = options.pieces ? emptyBitfield(meta.pieces) : fullBitfield(meta.pieces)
  for (const piece of options.pieces ?? []) setPiece(held, piece)
  const shares = {
    get: async (infoHash: string) => (infoHash === share.infoHash ? share : undefined),
    bitfield: async () => held,
    async readPiece(_: Share, index: number, into?: Uint8Array) {
      const piece = pieceOf(content, index)
      sent.set(index, (sent.get(index) ?? 0) + 1)
      into?.set(piece)
      return into ?? piece
    },
  } as unknown as Shares
  const credit = options.credit ?? 0
  const trust = {
    creditFor: async (payer: string) => ({ credit, sponsor: payer, sponsorCredit: credit }),
  } as unknown as Trust
  const seller = createSeller(context, { shares, trust, usage: createUsage(context) })
  const app = createService({ title: 'Seller', description: 'A seller.' })
  mountPublicApi(app, context, seller, sendPieceCopy)
  return { app, seller, sent, credit }
}
