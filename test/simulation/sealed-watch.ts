/**
 * Sealed pieces on the wire: what an honest seller sends cannot be read, its key leaves for a tick and no sooner, and
 * then it is the piece. So nobody wins a dispute against an honest seller.
 */
import { equal, fromBase64url, fromHex, fromUtf8, toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseLabel, type Label } from '../../protocol/label.ts'
import { isKeyOf, openPiece, partsOf, rootsOf, sealedBytes } from '../../protocol/sealed.ts'
import { envelopeFromJson, type EnvelopeJson } from '../../protocol/signed.ts'
import { decodePaymentResponse, PAYMENT_RESPONSE } from '../../protocol/x402.ts'
import type { Books } from './books.ts'
import type { Contents } from './contents.ts'
import type { Answer, Exchange } from './network.ts'
import type { World } from './world.ts'

/** What is said of a sealed piece that was sent. */
export interface Sealed {
  readonly label: Label
  readonly key: Bytes | undefined
}

export interface SealedWatch {
  /** Of an answer that holds a sealed piece. */
  read(answer: Answer): Sealed | undefined
  /** Whether the piece is what its label and the torrent say, as far as shows before it is opened. */
  isAsLabelled(infoHash: string, piece: number, body: Bytes, label: Label): boolean
  /** An honest seller has sent it. @param taken the highest unit whose tick has reached it */
  sent(exchange: Exchange, infoHash: string, piece: number, sealed: Sealed, taken: number): void
  /** An honest seller has sent a key. */
  revealed(host: string, lane: string, key: Bytes, taken: number): void
}

/** A sealed piece of an honest seller. */
interface Sent {
  readonly infoHash: string
  readonly piece: number
  readonly body: Bytes
}

/** Of fewer bytes some are themselves once they are encrypted: one byte is in one of 256 cases. */
const TELLING_BYTES = 16

/** @param isHonest by id, hex */
export function watchSealed(
  world: World,
  contents: Contents,
  books: Books,
  isHonest: (id: string) => boolean,
): SealedWatch {
  /** By lane and unit. */
  const pieces = new Map<string, Sent>()

  function isAsLabelled(infoHash: string, piece: number, body: Bytes, label: Label): boolean {
    const shape = contents.shapeOf(infoHash, piece)
    if (!shape || body.length !== sealedBytes(shape) || label.piece !== piece) return false
    const { plainRoot, cipherRoot } = rootsOf(body, shape)
    const isPiece = equal(plainRoot, contents.rootOf(infoHash, piece)) && equal(label.plainRoot, plainRoot)
    return isPiece && equal(label.cipherRoot, cipherRoot)
  }

  function sent(exchange: Exchange, infoHash: string, piece: number, { label, key }: Sealed, taken: number): void {
    const { to: host, answer } = exchange
    const [lane, unit] = [toHex(label.lane), label.unit]
    const before = pieces.get(`${lane} ${unit}`)?.piece ?? piece
    pieces.set(`${lane} ${unit}`, { infoHash, piece, body: answer.body })
    if (!isAsLabelled(infoHash, piece, answer.body, label)) world.fail(`${host} seals something else as piece ${piece}`)
    if (before !== piece) world.fail(`${host} seals pieces ${before} and ${piece} for unit ${unit} of lane ${lane}`)
    if (unit > taken + 1) world.fail(`${host} seals a piece for unit ${unit} of lane ${lane}, ${taken} are paid`)
    const shape = contents.shapeOf(infoHash, piece)
    const isTold = shape !== undefined && shape.length >= TELLING_BYTES
    if (isTold && contents.isPiece(infoHash, piece, partsOf(answer.body, shape).bytes))
      world.fail(`${host} sends piece ${piece} on the sealed lane ${lane} for all to read`)
    if (key) revealed(host, lane, key, taken)
  }

  function revealed(host: string, lane: string, key: Bytes, taken: number): void {
    const { anchor, cap = 0 } = books.lanes.get(lane) ?? {}
    const known = { unit: 0, key: fromHex(anchor ?? '') }
    const unit = Array.from({ length: cap }, (_, i) => i + 1).find((one) => isKeyOf(known, one, key))
    if (unit === undefined) return world.fail(`${host} sends a key that is none of lane ${lane}`)
    world.count('keys')
    if (unit > taken) world.fail(`${host} sends the key of unit ${unit} of lane ${lane}, ${taken} are paid`)
    const sealed = pieces.get(`${lane} ${unit}`)
    if (sealed && !isOpenedBy(sealed, key)) world.fail(`${host} sends a piece that its key does not open`)
  }

  function isOpenedBy({ infoHash, piece, body }: Sent, key: Bytes): boolean {
    const shape = contents.shapeOf(infoHash, piece)
    const copy = body.slice()
    if (!shape || openPiece(copy, shape, key) !== undefined) return false
    return contents.isPiece(infoHash, piece, partsOf(copy, shape).bytes)
  }

  world.network.onExchange(({ url, method, body, answer }) => {
    if (method !== 'POST' || url.pathname !== '/v1/disputes' || answer.status >= 300) return
    const { label } = JSON.parse(fromUtf8(body)) as { label: EnvelopeJson }
    const lane = toHex(parseLabel(envelopeFromJson(label)).lane)
    world.count('disputes')
    if (isHonest(books.lanes.get(lane)?.payee ?? '')) world.fail(`a dispute about the honest lane ${lane} is won`)
  })

  return {
    isAsLabelled,
    sent,
    revealed,
    read({ headers }) {
      const response = headers.get(PAYMENT_RESPONSE)
      const { label, key } = (response !== null && decodePaymentResponse(response).extensions?.sealed) || {}
      return label && { label: parseLabel(envelopeFromJson(label)), key: key === undefined ? key : fromBase64url(key) }
    },
  }
}
