/** A seller with content to sell, a ledger, and payers who know how to pay and how to cheat. */
import { sha256 } from '#primitives'
import type { AgentContext } from '../../agent/context.ts'
import { createSeller, type PieceReply, type Seller } from '../../agent/sell/sell.ts'
import type { Share, Shares } from '../../agent/share/share.ts'
import type { CreditLine, Trust } from '../../agent/trust/trust.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { createUsage } from '../../agent/usage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { concat, fromHex, fromUtf8, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { commit, type CommitmentTerms, type LaneMode } from '../../protocol/commitment.ts'
import { declare, type DeclarationTerms } from '../../protocol/declaration.ts'
import { delegate } from '../../protocol/delegation.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { locatePiece, type Metainfo } from '../../protocol/metainfo.ts'
import { makeChain, tickToJson, type Chain, type Tick } from '../../protocol/payword.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { signOff } from '../../protocol/settlement.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import {
  decodePaymentRequired,
  encodePayment,
  PAYMENT_REQUIRED,
  X402_VERSION,
  type Offer,
  type PaywordPayload,
} from '../../protocol/x402.ts'
import { handClock, type HandClock } from './hand-clock.ts'
import { openLocalLedger, type LocalLedger } from './local-ledger.ts'

const KiB = 1024
export const PIECE_BYTES = 16 * KiB
export const PRICE = 3n
const DAY_MS = 24 * 60 * 60 * 1000

export interface Party {
  readonly id: Bytes
  /** The owner's own key. */
  readonly owner: Signer
  /** The agent's key, which the owner's delegated to. */
  readonly agent: Signer
  readonly delegation: Envelope
}

export interface Market {
  readonly clock: HandClock
  readonly ledger: LocalLedger
  readonly store: Store
  readonly party: Party
  readonly seller: Seller
  readonly share: Share
  readonly content: Bytes
  /** Credit by payer id; others have none. */
  readonly credit: Map<string, number>
  /** Through which vouches a payer has its credit, by payer id; none unless given. */
  readonly lines: Map<string, CreditLine>
  /** Reads of pieces fail with this while it is set. */
  readonly faults: { read?: Error }
  readonly reads: () => number
  readonly context: AgentContext
  /** The same agent after a restart: what was in memory is gone. */
  readonly restart: (ledger?: LocalLedger) => Seller
  payer(name: string): Promise<Payer>
  readonly url: (index: number) => string
}

export interface MarketOptions {
  /** Another market at the same ledger. */
  readonly beside?: Pick<Market, 'clock' | 'ledger'>
  /** How it sells. */
  readonly modes?: readonly LaneMode[]
  /** Names the seller. */
  readonly name?: string
  readonly pieces?: number
  readonly public?: boolean
  /** Where every piece may be had without the agent. */
  readonly place?: string
  /** Stands between the agent and its store. */
  readonly wrapStore?: (store: Store) => Store
}

export async function openMarket(options: MarketOptions = {}): Promise<Market> {
  const clock = options.beside?.clock ?? handClock()
  const ledger = options.beside?.ledger ?? (await openLocalLedger(clock))
  const store = (options.wrapStore ?? ((inner) => inner))(openSqlite(':memory:'))
  const party = await openParty(ledger, clock, options.name ?? 'seller')
  const { share, content } = shareOf((options.pieces ?? 24) * PIECE_BYTES - 100, options.public ?? false)
  const credit = new Map<string, number>()
  const faults: Market['faults'] = {}
  let reads = 0

  const shares: Pick<Shares, 'get' | 'readPiece' | 'bitfield' | 'ways' | 'locate'> = {
    ways: async () => [],
    locate: async () => options.place,
    get: async (infoHash) => (infoHash === share.infoHash || infoHash === share.infoHashV1 ? share : undefined),
    bitfield: async () => new Uint8Array(Math.ceil(share.pieces / 8)).fill(0xff),
    readPiece: async (_, index, into) => {
      reads++
      await Promise.resolve()
      if (faults.read) throw faults.read
      const piece = pieceOf(share, content, index)
      into?.set(piece)
      return into ?? piece
    },
  }
  const lines = new Map<string, CreditLine>()
  const trust: Pick<Trust, 'creditFor'> = {
    creditFor: async (payer) => {
      const own = credit.get(payer) ?? 0
      return lines.get(payer) ?? { credit: own, vouches: [] }
    },
  }
  const context = { ...contextOf(party, store, ledger, clock), ...(options.modes && { modes: options.modes }) }
  const start = ({ client } = ledger) =>
    createSeller(
      { ...context, ledger: client },
      { shares: shares as Shares, trust: trust as Trust, usage: createUsage(context), guard: createGuard(context) },
    )

  return {
    clock,
    ledger,
    store,
    party,
    share,
    content,
    credit,
    lines,
    faults,
    context,
    seller: start(),
    reads: () => reads,
    restart: start,
    payer: async (name) => createPayer(await openParty(ledger, clock, name), { clock, ledger, share, payee: party.id }),
    url: (index) => `http://seller.test/v1/pieces/${share.infoHash}/${index}`,
  }
}

export const pieceOf = (share: Share, content: Bytes, index: number): Bytes => {
  const { offset, length } = locatePiece(share.meta, index)
  return content.slice(offset, offset + length)
}

async function openParty({ client }: LocalLedger, clock: HandClock, name: string): Promise<Party> {
  const owner = signerFrom(sha256(utf8(`${name}, owner`)))
  const agent = signerFrom(sha256(utf8(`${name}, agent`)))
  const first = genesis([owner], clock.now())
  const id = objectId('identity', first.body)
  await client.register(first)
  const caps = { day: 10n ** 9n, total: 10n ** 9n, issued: clock.now(), expires: clock.now() + limits.delegationMs }
  const terms = { ...caps, agent: agent.key, owner: id, may: ['spend', 'announce'] as const }
  const delegation = delegate({ ...terms, ledger: fromHex((await client.info()).id) }, owner)
  await client.delegate(delegation)
  return { id, owner, agent, delegation }
}

function contextOf(party: Party, store: Store, { client }: LocalLedger, clock: HandClock): AgentContext {
  const random = { bytes: (length: number) => new Uint8Array(length) }
  const transport = () => Promise.reject(new Error('nothing is called'))
  return {
    environment: { clock, random, transport },
    store,
    owner: party.id,
    operations: [],
    delegation: party.delegation,
    signer: party.agent,
    ledger: client,
    publicUrl: 'http://seller.test',
    allowLoopback: true,
  } as unknown as AgentContext
}

/** Made once for each size: hashing takes longer than most tests. */
const contents = new Map<number, { meta: Metainfo; content: Bytes }>()

function contentOf(bytes: number): { meta: Metainfo; content: Bytes } {
  const known = contents.get(bytes)
  if (known) return known
  const content = Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + (i >> 8)) & 0xff)
  const hasher = fileHasher({ length: bytes, pieceLength: PIECE_BYTES, padded: false })
  hasher.update(content)
  const file = { path: ['film.bin'], hashes: hasher.digest() }
  const { meta } = makeTorrent({ name: 'film.bin', folder: false, pieceLength: PIECE_BYTES, files: [file] })
  contents.set(bytes, { meta, content })
  return { meta, content }
}

function shareOf(bytes: number, isPublic: boolean): { share: Share; content: Bytes } {
  const { meta, content } = contentOf(bytes)
  const share = {
    infoHash: toHex(meta.infoHash),
    infoHashV1: toHex(meta.infoHashV1),
    name: meta.name,
    link: 'folder',
    path: 'film.bin',
    price: PRICE,
    public: isPublic,
    bytes,
    pieceLength: PIECE_BYTES,
    pieces: meta.pieces,
    meta,
    files: [],
  }
  return { share, content }
}

export interface Lane {
  readonly id: Bytes
  readonly commitment: Envelope
  readonly mode: LaneMode
  tick(unit: number): Tick
  /** The PAYMENT-SIGNATURE of a request. @param unit of its tick, 0 for none */
  payment(unit: number, changes?: Partial<PaywordPayload>): string
  signoff(unit: number, signer?: Signer): Envelope
}

export interface Payer {
  readonly party: Party
  /** Funds at the ledger for `units` units. @param isDeclared false: the ledger never hears of it */
  declare(units: number, changes?: Partial<DeclarationTerms>, isDeclared?: boolean): Promise<Declared>
}

export interface Declared {
  readonly id: Bytes
  readonly terms: DeclarationTerms
  readonly declaration: Envelope
  readonly chain: Chain
  lane(mode: LaneMode, first: number, segments: number, changes?: Partial<CommitmentTerms>): Lane
}

interface Stall {
  readonly clock: HandClock
  readonly ledger: LocalLedger
  readonly share: Share
  readonly payee: Bytes
}

function createPayer(party: Party, { clock, ledger, share, payee }: Stall): Payer {
  let declared = 0
  return {
    party,
    async declare(units, changes = {}, isDeclared = true) {
      const nonce = sha256(concat(party.id, utf8(String(declared++)))).slice(0, 16)
      const shape = { units, segment: changes.segment ?? 4 }
      const chain = makeChain(sha256(nonce), shape)
      const terms: DeclarationTerms = {
        content: share.meta.infoHash,
        ledger: ledger.id,
        payer: party.id,
        nonce,
        tickRoot: chain.root,
        expires: clock.now() + DAY_MS,
        disputeWindow: 1000,
        unitBytes: PIECE_BYTES,
        unitPrice: PRICE,
        ...shape,
        ...changes,
      }
      const declaration = declare(terms, party.agent)
      if (isDeclared) await ledger.client.declare(declaration)
      const id = objectId('declaration', declaration.body)
      return {
        id,
        terms,
        declaration,
        chain,
        lane: (...args) => laneOf({ party, payee, declaration: id, chain, shape }, args),
      }
    },
  }
}

interface Promised {
  readonly party: Party
  readonly payee: Bytes
  readonly declaration: Bytes
  readonly chain: Chain
  readonly shape: { readonly units: number; readonly segment: number }
}

function laneOf(of: Promised, [mode, first, segments, changes]: Parameters<Declared['lane']>): Lane {
  const { party, payee, declaration, chain, shape } = of
  const cap = Math.min(segments * shape.segment, shape.units - first * shape.segment)
  const commitment = commit({ cap, declaration, first, mode, payee, segments, ...changes }, party.agent)
  const id = objectId('commitment', commitment.body)
  const tick = (unit: number): Tick => ({
    lane: id,
    unit,
    link: chain.link(first, unit),
    proof: chain.proof(first + Math.floor((unit - 1) / shape.segment)),
  })
  return {
    id,
    commitment,
    mode,
    tick,
    payment: (unit, more = {}) =>
      encodePayment({
        x402Version: X402_VERSION,
        accepted: ANY_OFFER,
        payload: {
          lane: toHex(id),
          commitment: envelopeToJson(commitment),
          ...(unit > 0 && { tick: tickToJson(tick(unit)) }),
          ...more,
        },
      }),
    signoff: (unit, signer = party.agent) => signOff({ lane: id, unit }, signer),
  }
}

/** The seller goes by the declaration, not by what the request says it accepted. */
const ANY_OFFER: Offer = {
  scheme: 'batch-settlement',
  network: `payword:${'0'.repeat(32)}`,
  amount: '0',
  asset: 'credit',
  payTo: '0'.repeat(64),
  maxTimeoutSeconds: 60,
  extra: { mode: 'credit', content: '0'.repeat(64), unitBytes: 1, segmentMax: 64, ledger: 'http://ledger.test' },
}

/** `served`, or the code of the problem, thrown or answered with 402. */
export async function outcome(reply: Promise<PieceReply>): Promise<string> {
  try {
    const { status, body, headers, done } = await reply
    const text = status === 200 ? 'served' : (JSON.parse(fromUtf8(body)) as { code: string }).code
    if (status === 402) decodePaymentRequired(headers[PAYMENT_REQUIRED] ?? '')
    done()
    return text
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
