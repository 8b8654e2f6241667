/** Someone who pays without an agent, piece by piece and by hand: how one comes to cheat. */
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { fromHex, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { commit, type LaneMode } from '../../protocol/commitment.ts'
import { declare } from '../../protocol/declaration.ts'
import { makeChain, segmentOf, type Chain, type TickJson } from '../../protocol/payword.ts'
import { signOff } from '../../protocol/settlement.ts'
import { envelopeToJson, objectId, type Envelope } from '../../protocol/signed.ts'
import { encodePayment, formatOffer, networkOf, PAYMENT_SIGNATURE, X402_VERSION } from '../../protocol/x402.ts'
import { PIECE_BYTES } from './contents.ts'
import type { Person, Services } from './people.ts'

export interface DeclaredTerms {
  /** v2 info hash, hex. */
  readonly content: string
  readonly price: bigint
  readonly units: number
  readonly segment: number
  readonly expiresInMs: number
  readonly disputeWindow: number
}

export interface Declared extends DeclaredTerms {
  readonly id: Bytes
  readonly chain: Chain
  readonly ledger: Bytes
  readonly expires: number
}

export interface HandLane {
  readonly declared: Declared
  readonly id: Bytes
  /** The id in hex. */
  readonly name: string
  readonly first: number
  readonly mode: LaneMode
  readonly payee: Bytes
  readonly commitment: Envelope
}

export interface Reply {
  readonly status: number
  readonly code: string | undefined
  readonly problem: Readonly<Record<string, unknown>>
}

export interface Payer {
  readonly ledger: LedgerClient
  /** @throws Problem of the ledger */
  declare(terms: DeclaredTerms): Promise<Declared>
  /** Nobody knows of it yet. */
  lane(
    declared: Declared,
    terms: { first: number; segments: number; payee: Bytes; mode: LaneMode; cap?: number },
  ): HandLane
  tick(lane: HandLane, unit: number): TickJson
  /** @param url of the seller. Rejects when the seller cannot be reached */
  ask(url: string, lane: HandLane, piece: number, tick?: TickJson, content?: string): Promise<Reply>
  post(url: string, path: string, json: unknown): Promise<Reply>
  signoff(lane: HandLane, unit: number): unknown
}

export function createPayer(person: Person, { ledgerUrl }: Services): Payer {
  const { environment, signer, id: payer } = person
  const { clock, random, transport } = environment
  const ledger = createLedgerClient({ environment, url: ledgerUrl })

  async function send(request: Request): Promise<Reply> {
    const response = await transport(request)
    const text = await response.text()
    const problem = response.status < 400 ? {} : (JSON.parse(text) as Record<string, unknown>)
    return { status: response.status, code: problem['code'] as string | undefined, problem }
  }

  return {
    ledger,
    async declare(terms) {
      const { content, price, units, segment, expiresInMs, disputeWindow } = terms
      const { id } = await ledger.info()
      const chain = makeChain(random.bytes(32), { units, segment })
      const expires = clock.now() + expiresInMs
      const body = {
        content: fromHex(content),
        disputeWindow,
        expires,
        ledger: fromHex(id),
        nonce: random.bytes(16),
        payer,
        segment,
        tickRoot: chain.root,
        unitBytes: PIECE_BYTES,
        unitPrice: price,
        units,
      }
      const envelope = declare(body, signer)
      await ledger.declare(envelope)
      return { ...terms, chain, expires, id: objectId('declaration', envelope.body), ledger: fromHex(id) }
    },
    lane(declared, { first, segments, payee, mode, cap }) {
      const most = Math.min(segments * declared.segment, declared.units - first * declared.segment)
      const body = { cap: cap ?? most, declaration: declared.id, first, mode, payee, segments }
      const commitment = commit(body, signer)
      const id = objectId('commitment', commitment.body)
      return { declared, id, name: toHex(id), first, mode, payee, commitment }
    },
    tick({ declared, name, first }, unit) {
      const proof = declared.chain.proof(segmentOf(declared, first, unit))
      return { lane: name, unit, link: toBase64url(declared.chain.link(first, unit)), proof: proof.map(toBase64url) }
    },
    ask(url, lane, piece, tick, content = lane.declared.content) {
      const { declared, mode, name, payee, commitment } = lane
      const accepted = formatOffer({
        mode,
        content: fromHex(content),
        price: declared.price,
        payee,
        unitBytes: PIECE_BYTES,
        segmentMax: 64,
        ledgerUrl,
        network: networkOf(declared.ledger),
        maxTimeoutSeconds: 60,
      })
      const payload = { lane: name, commitment: envelopeToJson(commitment), ...(tick && { tick }) }
      const payment = encodePayment({ x402Version: X402_VERSION, accepted, payload })
      return send(new Request(`${url}/v1/pieces/${content}/${piece}`, { headers: { [PAYMENT_SIGNATURE]: payment } }))
    },
    post: (url, path, json) =>
      send(
        new Request(url + path, {
          method: 'POST',
          body: JSON.stringify(json),
          headers: { 'content-type': 'application/json' },
        }),
      ),
    signoff: (lane, unit) => ({ signoff: envelopeToJson(signOff({ lane: lane.id, unit }, signer)) }),
  }
}
