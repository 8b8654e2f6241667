/** Someone who pays without an agent, piece by piece and by hand: how one comes to cheat. */
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { fromBase64url, fromHex, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { commit, type LaneMode } from '../../protocol/commitment.ts'
import { declare } from '../../protocol/declaration.ts'
import { dispute, evidenceOf } from '../../protocol/dispute.ts'
import { makeChain, segmentOf, type Chain, type TickJson } from '../../protocol/payword.ts'
import type { PieceShape } from '../../protocol/sealed.ts'
import { signOff } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, objectId, type Envelope } from '../../protocol/signed.ts'
import {
  decodePaymentResponse,
  encodePayment,
  formatOffer,
  networkOf,
  PAYMENT_RESPONSE,
  PAYMENT_SIGNATURE,
  X402_VERSION,
} from '../../protocol/x402.ts'
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
  /**
   * Buys the first unit of a sealed lane and says that the piece is not what its label says.
   * @returns whether the ledger agrees; undefined when it did not come to that
   */
  accuse(url: string, lane: HandLane, shape: PieceShape): Promise<boolean | undefined>
}

export function createPayer(person: Person, { ledgerUrl }: Services): Payer {
  const { environment, signer, id: payer } = person
  const { clock, random, transport } = environment
  const ledger = createLedgerClient({ environment, url: ledgerUrl })

  async function send(request: Request): Promise<Reply> {
    return replyIn(await transport(request))
  }

  async function replyIn(response: Response): Promise<Reply> {
    const text = await response.text()
    const problem = response.status < 400 ? {} : (JSON.parse(text) as Record<string, unknown>)
    return { status: response.status, code: problem['code'] as string | undefined, problem }
  }

  function tick({ declared, name, first }: HandLane, unit: number): TickJson {
    const proof = declared.chain.proof(segmentOf(declared, first, unit))
    return { lane: name, unit, link: toBase64url(declared.chain.link(first, unit)), proof: proof.map(toBase64url) }
  }

  function requestFor(url: string, lane: HandLane, piece: number, paid?: TickJson, content?: string): Request {
    const { declared, mode, name, payee, commitment } = lane
    const accepted = formatOffer({
      mode,
      content: fromHex(content ?? declared.content),
      price: declared.price,
      payee,
      unitBytes: PIECE_BYTES,
      segmentMax: 64,
      ledgerUrl,
      network: networkOf(declared.ledger),
      maxTimeoutSeconds: 60,
    })
    const payload = { lane: name, commitment: envelopeToJson(commitment), ...(paid && { tick: paid }) }
    const payment = encodePayment({ x402Version: X402_VERSION, accepted, payload })
    return new Request(`${url}/v1/pieces/${content ?? declared.content}/${piece}`, {
      headers: { [PAYMENT_SIGNATURE]: payment },
    })
  }

  const post = (url: string, path: string, json: unknown): Request =>
    new Request(url + path, {
      method: 'POST',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
    })

  async function accuse(url: string, lane: HandLane, shape: PieceShape): Promise<boolean | undefined> {
    const sent = await transport(requestFor(url, lane, shape.piece))
    const { sealed } = decodePaymentResponse(sent.headers.get(PAYMENT_RESPONSE) ?? '').extensions ?? {}
    const body = new Uint8Array(await sent.arrayBuffer())
    const paid = await transport(post(url, '/v1/ticks', { tick: tick(lane, 1) }))
    const { key } = (await paid.json()) as { key?: string }
    if (!sealed || key === undefined) return undefined
    const label = envelopeFromJson(sealed.label)
    const evidence = { ...evidenceOf(body, shape, 0), by: payer, label: objectId('label', label.body) }
    return ledger.dispute(label, dispute({ ...evidence, unitKey: fromBase64url(key) }, signer)).then(
      () => true,
      () => false,
    )
  }

  return {
    ledger,
    accuse,
    tick,
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
    ask: (...asked) => send(requestFor(...asked)),
    post: (...posted) => send(post(...posted)),
    signoff: (lane, unit) => ({ signoff: envelopeToJson(signOff({ lane: lane.id, unit }, signer)) }),
  }
}
