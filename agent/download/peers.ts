/** Who sells a content: found through the repository, believed by their own signatures, asked for what they have and its price. */
import { z } from '@hono/zod-openapi'
import { checkUrl } from '../../protocol/address.ts'
import { isLive, parseAnnouncement, requireAnnouncer } from '../../protocol/announcement.ts'
import { checkBitfield } from '../../protocol/bitfield.ts'
import { equal, fromBase64url, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson } from '../../protocol/chain.ts'
import { limits } from '../../protocol/limits.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeFromJson, envelopeToJson, type EnvelopeJson } from '../../protocol/signed.ts'
import { evaluateOne } from '../../protocol/trust.ts'
import { offersIn, type Offer } from '../../protocol/x402.ts'
import type { AgentContext } from '../context.ts'
import type { Brokers } from '../brokers/brokers.ts'
import type { CircleRef, Passes } from '../circle/circles.ts'
import { createHttpClient, money } from '../clients/http-client.ts'
import type { OfferedWay } from '../storage/ways.ts'
import type { SwarmSeller } from '../clients/repository-client.ts'
import { createIdentities } from './identities.ts'
import { createMet } from './met.ts'
import type { Trust } from '../trust/trust.ts'

export interface Peer {
  /** The owner's id, hex. */
  readonly id: string
  /** Where it may be asked, without trailing slashes. Their form was checked; a name's address is judged where it is called. */
  readonly urls: readonly string[]
  /** Named by a broker of the owner's choice: asked before others. */
  readonly brokered: boolean
}

export interface PeerOffer {
  /** Which of the peer's URLs answered. */
  readonly url: string
  readonly bitfield: Bytes
  /** Credits a piece. */
  readonly price: bigint
  /** Free of charge. */
  readonly public: boolean
  /** How a piece is paid; empty where the peer says so only when it is asked for one. */
  readonly accepts: readonly Offer[]
  /** Besides being sent by the peer's agent. */
  readonly ways: readonly OfferedWay[]
  /** Whose sessions it asks for. */
  readonly circle?: CircleRef
}

export interface Peers {
  /** Everyone but ourselves whose announcement holds. @throws Problem `peer-failed` when the repository does not answer */
  swarm(infoHash: Bytes): Promise<readonly Peer[]>
  /** The same of those whom the owner's brokers name: none where there are no brokers, or none answers. */
  brokered(infoHash: Bytes): Promise<readonly Peer[]>
  /** As last heard of from a repository or a broker; some may be over. @param infoHash v2, hex */
  met(infoHash: string): Promise<readonly SwarmSeller[]>
  /** From a repository, or where none has it from a broker. @param infoHash v2 or v1: who asks compares. @throws Problem `not-found`, `peer-failed` */
  torrent(infoHash: string): Promise<Bytes>
  /** Asks the peer's URLs in turn. @throws Problem the last one's, such as `not-found` or `peer-failed` */
  offer(peer: Peer, meta: Metainfo): Promise<PeerOffer>
  /** What lets a request in at a peer that asks for a session; for one request. @throws Problem as `Passes.pass` */
  credentials(id: string, offer: PeerOffer | undefined, url: string): Promise<Record<string, string>>
  /** Pieces that the peer, as far as its vouches tell, lets us owe. */
  creditFrom(peer: Peer): Promise<number>
  /** Forgets whom it has not heard of for days. */
  sweep(): Promise<void>
}

/** Of base64url. */
const BITS_A_CHARACTER = 6

const shownShape = z.object({ credit: z.int(), checkpoint: z.string().optional() })

const offerShape = z.object({
  infoHash: wire.id,
  pieceLength: z.int(),
  pieces: z.int(),
  bitfield: wire.base64url,
  price: money,
  public: z.boolean(),
  accepts: z.array(z.unknown()).max(limits.offersPerPiece).default([]),
  ways: z
    .array(
      z.object({
        way: z.string().max(32),
        provider: z.string().max(32),
        region: z.string().max(64).optional(),
        hosts: z.array(z.string().max(512)).max(16),
      }),
    )
    .max(16)
    .default([]),
})

type SaidWay = z.infer<typeof offerShape>['ways'][number]

/** A way that is not known is none. */
function knownWay({ way, provider, region, hosts }: SaidWay): OfferedWay[] {
  if (way !== 'link' && way !== 'copy') return []
  return [{ way, provider, hosts, ...(region !== undefined && { region }) }]
}

interface FoundPeer {
  readonly seller: SwarmSeller
  readonly peer: Omit<Peer, 'brokered'>
}

const requiredShape = z.object({ by: wire.id, circle: z.string() })

/** The circle that a refusal asks for a session of. */
function circleIn(error: unknown): CircleRef {
  const asked = error instanceof Problem && error.code === 'session-required' ? error.members : undefined
  const { success, data } = requiredShape.safeParse(asked)
  if (success) return data
  throw error
}

export interface PeersParts {
  /** Of the repository's log: compared with that of the sellers. */
  readonly view?: Pick<Trust, 'note' | 'compare'>
  /** For sellers that ask for sessions. */
  readonly passes?: Passes
  /** Asked first. */
  readonly brokers?: Pick<Brokers, 'swarm' | 'torrent'>
}

export function createPeers(context: AgentContext, { view, passes, brokers }: PeersParts = {}): Peers {
  const { environment, repository, owner, allowLoopback } = context
  const { clock } = environment
  const met = createMet(context)
  const identity = createIdentities(context, met)

  async function swarm(infoHash: Bytes): Promise<readonly Peer[]> {
    const found = await believedAmong(await sellersOf(toHex(infoHash)), infoHash)
    return found.map(({ peer }) => ({ ...peer, brokered: false }))
  }

  async function brokered(infoHash: Bytes): Promise<readonly Peer[]> {
    const named = (await brokers?.swarm(toHex(infoHash))) ?? []
    const found = await believedAmong(named, infoHash)
    if (found.length > 0) await keepAlso(`swarm/${toHex(infoHash)}`, found)
    return found.map(({ peer }) => ({ ...peer, brokered: true }))
  }

  async function believedAmong(sellers: readonly SwarmSeller[], infoHash: Bytes): Promise<readonly FoundPeer[]> {
    // One announcement that does not hold says nothing about the others.
    const peers = await Promise.all(sellers.map((seller) => believed(seller, infoHash).catch(unlessBug)))
    return sellers.flatMap((seller, i) => {
      const peer = peers[i]
      return peer ? [{ seller, peer }] : []
    })
  }

  /** Whom brokers named is met beside those whom a repository named, and not in their place. */
  async function keepAlso(sk: string, found: readonly FoundPeer[]): Promise<void> {
    const named = new Set(found.map(({ peer }) => peer.id))
    const known = ((await met.get<SellerJson[]>(sk)) ?? []).filter((one) => !named.has(agentIn(one)))
    const all = [...found.map(({ seller }) => sellerToJson(seller)), ...known]
    await met.keep(sk, all.slice(0, limits.swarmSellers))
  }

  /** Those of the last time where the repository does not answer: each announcement says how long it holds. */
  async function sellersOf(infoHash: string): Promise<readonly SwarmSeller[]> {
    try {
      const sellers = await repository.swarm(infoHash, toHex(owner))
      await met.keep(`swarm/${infoHash}`, sellers.map(sellerToJson))
      return sellers
    } catch (error) {
      const known = await met.get<SellerJson[]>(`swarm/${infoHash}`)
      if (!(error instanceof Problem) || !known) throw error
      return known.map(sellerFromJson)
    }
  }

  async function believed(
    { announcement, delegation }: SwarmSeller,
    infoHash: Bytes,
  ): Promise<Omit<Peer, 'brokered'> | undefined> {
    const said = parseAnnouncement(announcement)
    const nowMs = clock.now()
    if (!equal(said.infoHash, infoHash) || !isLive(said, nowMs) || equal(said.agent, owner)) return undefined
    const urls = said.urls.filter(isAllowed).map((url) => url.replace(/\/+$/, ''))
    const [url] = urls
    if (url === undefined) return undefined
    requireAnnouncer(said, await identity(toHex(said.agent), url), delegation, nowMs)
    return { id: toHex(said.agent), urls }
  }

  function isAllowed(url: string): boolean {
    try {
      checkUrl(url, { allowLoopback })
      return true
    } catch {
      return false
    }
  }

  async function torrent(infoHash: string): Promise<Bytes> {
    try {
      return await repository.torrent(infoHash)
    } catch (error) {
      unlessBug(error)
      const known = await brokers?.torrent(infoHash).catch(unlessBug)
      if (known) return known
      throw error
    }
  }

  async function offer(peer: Peer, meta: Metainfo): Promise<PeerOffer> {
    let failure: unknown
    for (const url of peer.urls) {
      try {
        return await offerAt(url, meta).catch((error: unknown) => offerTo(circleIn(error), peer.id, url, meta))
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  /** To us as a member of the circle. */
  async function offerTo(circle: CircleRef, id: string, url: string, meta: Metainfo): Promise<PeerOffer> {
    const headers = await passes?.pass(circle, url + offerPath(meta), id)
    return { ...(await offerAt(url, meta, headers)), circle }
  }

  async function offerAt(url: string, meta: Metainfo, headers: Record<string, string> = {}): Promise<PeerOffer> {
    const infoHash = toHex(meta.infoHash)
    const http = createHttpClient(environment, url, limits.peerReplyBytes + Math.ceil(meta.pieces / BITS_A_CHARACTER))
    const said = await http.json({ method: 'GET', path: offerPath(meta), headers, attempts: 1 }, offerShape)
    const isSame = said.infoHash === infoHash && said.pieceLength === meta.pieceLength && said.pieces === meta.pieces
    if (!isSame) throw new Problem('peer-failed', 'The seller answers for other content.')
    const bitfield = fromBase64url(said.bitfield)
    checkBitfield(bitfield, meta.pieces)
    return {
      url,
      bitfield,
      price: said.price,
      public: said.public,
      accepts: offersIn(said.accepts),
      ways: said.ways.flatMap(knownWay),
    }
  }

  /** The chains are carried along, from when the repository last showed them, and shown to the peer. */
  async function creditFrom(peer: Peer): Promise<number> {
    const { id } = peer
    const shown = await repository.chains({ from: id, to: toHex(owner) }).catch(unlessBug)
    if (shown) await met.keep(`chains/${id}`, shown)
    const chains = shown ?? (await met.get<ChainsJson>(`chains/${id}`))
    if (!chains) return 0
    const nowMs = clock.now()
    const { credit, chain } = evaluateOne(fromHex(id), owner, edgesOf(evidenceFromJson(chains, nowMs), nowMs))
    // The first hop is the peer's own word, which needs no showing.
    if (chain.length > 1) await show(peer, chains).catch(unlessBug)
    return credit
  }

  async function show({ urls }: Peer, evidence: ChainsJson): Promise<void> {
    const note = await view?.note()
    const json = { subject: toHex(owner), evidence, ...(note !== undefined && { checkpoint: note }) }
    const http = createHttpClient(environment, urls[0] ?? '', limits.peerReplyBytes)
    const { checkpoint } = await http.json({ method: 'POST', path: '/v1/chains', json, attempts: 1 }, shownShape)
    if (checkpoint !== undefined) await view?.compare(checkpoint)
  }

  return {
    swarm,
    brokered,
    met: async (infoHash) => ((await met.get<SellerJson[]>(`swarm/${infoHash}`)) ?? []).map(sellerFromJson),
    torrent,
    offer,
    credentials: async (id, known, url) => (known?.circle && (await passes?.pass(known.circle, url, id))) ?? {},
    creditFrom,
    sweep: () => met.sweep(),
  }
}

const offerPath = ({ infoHash }: Metainfo): string => `/v1/pieces/${toHex(infoHash)}`

interface SellerJson {
  readonly announcement: EnvelopeJson
  readonly delegation?: EnvelopeJson
}

const sellerToJson = ({ announcement, delegation }: SwarmSeller): SellerJson => ({
  announcement: envelopeToJson(announcement),
  ...(delegation && { delegation: envelopeToJson(delegation) }),
})

const sellerFromJson = ({ announcement, delegation }: SellerJson): SwarmSeller => ({
  announcement: envelopeFromJson(announcement),
  ...(delegation && { delegation: envelopeFromJson(delegation) }),
})

/** Empty for what is no announcement. */
function agentIn({ announcement }: SellerJson): string {
  try {
    return toHex(parseAnnouncement(envelopeFromJson(announcement)).agent)
  } catch (error) {
    return unlessBug(error) ?? ''
  }
}
