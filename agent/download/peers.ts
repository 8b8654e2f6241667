/** Who sells a content: found through the repository, believed by their own signatures, asked for what they have and its price. */
import { z } from '@hono/zod-openapi'
import { checkUrl } from '../../protocol/address.ts'
import { isLive, parseAnnouncement, requireAnnouncer } from '../../protocol/announcement.ts'
import { checkBitfield } from '../../protocol/bitfield.ts'
import { equal, fromBase64url, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson } from '../../protocol/chain.ts'
import type { IdentityState } from '../../protocol/identity.ts'
import type { Metainfo } from '../../protocol/metainfo.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { evaluateOne } from '../../protocol/trust.ts'
import type { AgentContext } from '../context.ts'
import { createHttpClient, money } from '../clients/http-client.ts'
import type { SwarmSeller } from '../clients/repository-client.ts'

export interface Peer {
  /** The owner's id, hex. */
  readonly id: string
  /** Where it may be asked, without trailing slashes. Their form was checked; a name's address is judged where it is called. */
  readonly urls: readonly string[]
}

export interface PeerOffer {
  /** Which of the peer's URLs answered. */
  readonly url: string
  readonly bitfield: Bytes
  /** Credits a piece. */
  readonly price: bigint
  /** Free of charge. */
  readonly public: boolean
}

export interface Peers {
  /** Everyone but ourselves whose announcement holds. @throws Problem `peer-failed` when the repository does not answer */
  swarm(infoHash: Bytes): Promise<readonly Peer[]>
  /** Asks the peer's URLs in turn. @throws Problem the last one's, such as `not-found` or `peer-failed` */
  offer(peer: Peer, meta: Metainfo): Promise<PeerOffer>
  /** Pieces that the peer, as far as its vouches tell, lets us owe. */
  creditFrom(peer: Peer): Promise<number>
}

const IDENTITY_MS = 600_000
const IDENTITIES_KEPT = 1024

const offerShape = z.object({
  infoHash: wire.id,
  pieceLength: z.int(),
  pieces: z.int(),
  bitfield: wire.base64url,
  price: money,
  public: z.boolean(),
})

interface KnownIdentity {
  readonly state: IdentityState
  readonly atMs: number
}

export function createPeers(context: AgentContext): Peers {
  const { environment, repository, owner, allowLoopback } = context
  const { clock } = environment
  const identities = new Map<string, KnownIdentity>()

  async function swarm(infoHash: Bytes): Promise<readonly Peer[]> {
    const sellers = await repository.swarm(toHex(infoHash), toHex(owner))
    // One announcement that does not hold says nothing about the others.
    const peers = await Promise.all(sellers.map((seller) => believed(seller, infoHash).catch(unlessBug)))
    return peers.filter((peer) => peer !== undefined)
  }

  async function believed({ announcement, delegation }: SwarmSeller, infoHash: Bytes): Promise<Peer | undefined> {
    const said = parseAnnouncement(announcement)
    const nowMs = clock.now()
    if (!equal(said.infoHash, infoHash) || !isLive(said, nowMs) || equal(said.agent, owner)) return undefined
    requireAnnouncer(said, await identity(toHex(said.agent)), delegation, nowMs)
    const urls = said.urls.filter(isAllowed).map((url) => url.replace(/\/+$/, ''))
    return urls.length === 0 ? undefined : { id: toHex(said.agent), urls }
  }

  function isAllowed(url: string): boolean {
    try {
      checkUrl(url, { allowLoopback })
      return true
    } catch {
      return false
    }
  }

  async function identity(id: string): Promise<IdentityState> {
    const known = identities.get(id)
    if (known && clock.now() - known.atMs < IDENTITY_MS) return known.state
    const { state } = await repository.identity(id)
    identities.delete(id)
    identities.set(id, { state, atMs: clock.now() })
    if (identities.size > IDENTITIES_KEPT) identities.delete(identities.keys().next().value as string)
    return state
  }

  async function offer(peer: Peer, meta: Metainfo): Promise<PeerOffer> {
    let failure: unknown
    for (const url of peer.urls) {
      try {
        return await offerAt(url, meta)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  async function offerAt(url: string, meta: Metainfo): Promise<PeerOffer> {
    const infoHash = toHex(meta.infoHash)
    const http = createHttpClient(environment, url)
    const said = await http.json({ method: 'GET', path: `/v1/pieces/${infoHash}`, attempts: 1 }, offerShape)
    const isSame = said.infoHash === infoHash && said.pieceLength === meta.pieceLength && said.pieces === meta.pieces
    if (!isSame) throw new Problem('peer-failed', 'The seller answers for other content.')
    const bitfield = fromBase64url(said.bitfield)
    checkBitfield(bitfield, meta.pieces)
    return { url, bitfield, price: said.price, public: said.public }
  }

  async function creditFrom({ id }: Peer): Promise<number> {
    const chains = await repository.chains({ from: id, to: toHex(owner) }).catch(unlessBug)
    if (!chains) return 0
    const nowMs = clock.now()
    return evaluateOne(fromHex(id), owner, edgesOf(evidenceFromJson(chains, nowMs), nowMs)).credit
  }

  return { swarm, offer, creditFrom }
}
