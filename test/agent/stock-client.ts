/** A BitTorrent client as BEP 3, 6, 9 and 10 describe one, message by message, and whatever else a test would send. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { concat, fromUtf8, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { decode, encode, type Encodable } from '../../protocol/encoding.ts'

export const CHOKE = 0
export const UNCHOKE = 1
export const INTERESTED = 2
export const UNINTERESTED = 3
export const BITFIELD = 5
export const REQUEST = 6
export const PIECE = 7
export const CANCEL = 8
export const HAVE_ALL = 14
export const REJECT = 16
export const EXTENDED = 20

const PROTOCOL = concat(Uint8Array.of(19), utf8('BitTorrent protocol'))
export const HANDSHAKE_BYTES = 68
const RESERVED = PROTOCOL.length
const PREFIX_BYTES = 4
/** Its own number for `ut_metadata`. */
const METADATA = 7
const BLOCK_BYTES = 16 * 1024

export interface StockClient {
  readonly received: { readonly id: number; readonly payload: Bytes }[]
  /** Bytes as they are. */
  write(bytes: Uint8Array): void
  /** The same; resolves once the operating system has them. */
  hand(bytes: Uint8Array): Promise<void>
  send(id: number, ...payload: readonly Uint8Array[]): void
  request(index: number, offset: number, length: number): void
  /** @param number the other side's for the extension; 0 for the handshake of BEP 10 */
  extend(number: number, message: Encodable): void
  /** The first message of a kind, taken out of `received`. @throws Error once the other side has closed */
  next(id: number): Promise<Bytes>
  /** Asks block after block, some at once. */
  piece(index: number, length: number): Promise<Bytes>
  /** What BEP 9 has of the info dictionary. */
  metadata(): Promise<Bytes>
  /** Takes nothing more from the socket. */
  pause(): void
  readonly closed: Promise<unknown>
  readonly isClosed: boolean
  close(): void
}

/** Four bytes each, big-endian. */
export function words(...values: readonly number[]): Bytes {
  const bytes = new Uint8Array(values.length * 4)
  values.forEach((value, i) => new DataView(bytes.buffer).setUint32(i * 4, value))
  return bytes
}

export const handshake = (infoHash: Uint8Array, fast = true): Bytes =>
  concat(PROTOCOL, Uint8Array.of(0, 0, 0, 0, 0, 0x10, 0, fast ? 4 : 0), infoHash, utf8('-XX0001-abcdefghijkl'))

/** Says nothing yet. */
export async function connectStock(port: number): Promise<StockClient> {
  const socket = connect(port, '127.0.0.1')
  const received: { id: number; payload: Bytes }[] = []
  let bytes: Bytes = new Uint8Array(0)
  let hello: Bytes | undefined
  let isGreeted = false
  let isClosed = false
  let wake = (): void => undefined
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true
      wake()
      resolve()
    })
  })
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    bytes = concat(bytes, chunk)
    while (takeOne());
    wake()
  })

  function takeOne(): boolean {
    const length = isGreeted ? lengthOf(bytes) : HANDSHAKE_BYTES
    if (length === undefined || bytes.length < length) return false
    const message = bytes.slice(0, length)
    bytes = bytes.slice(length)
    const [id, payload] = isGreeted ? [message[PREFIX_BYTES] ?? -1, message.slice(PREFIX_BYTES + 1)] : [-1, message]
    isGreeted = true
    if (id === EXTENDED && payload[0] === 0) hello = payload.slice(1)
    else received.push({ id, payload })
    return true
  }

  async function next(id: number): Promise<Bytes> {
    for (;;) {
      const at = received.findIndex((message) => message.id === id)
      const [message] = at < 0 ? [] : received.splice(at, 1)
      if (message) return message.payload
      if (isClosed) throw new Error(`The connection closed before a message of kind ${id}.`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }

  const send = (id: number, ...payload: readonly Uint8Array[]): void => {
    const body = concat(Uint8Array.of(id), ...payload)
    socket.write(concat(words(body.length), body))
  }
  const extend = (number: number, message: Encodable): void => send(EXTENDED, Uint8Array.of(number), encode(message))
  const request = (index: number, offset: number, length: number): void => send(REQUEST, words(index, offset, length))

  await once(socket, 'connect')
  return {
    received,
    write: (raw) => void socket.write(raw),
    hand: (raw) => new Promise((resolve) => void socket.write(raw, () => resolve())),
    send,
    request,
    extend,
    next,
    async piece(index, length) {
      const blocks: Bytes[] = []
      for (let at = 0; at < length; at += BLOCK_BYTES) request(index, at, Math.min(BLOCK_BYTES, length - at))
      for (let at = 0; at < length; at += BLOCK_BYTES) {
        const message = await next(PIECE)
        if (toHex(message.slice(0, 8)) !== toHex(words(index, at))) throw new Error('Another block came.')
        blocks.push(message.slice(8))
      }
      return concat(...blocks)
    },
    async metadata() {
      extend(0, { m: { ut_metadata: METADATA } })
      if (!hello) throw new Error('The other side has no extensions.')
      const { m, metadata_size: size } = decode(hello) as unknown as Hello
      const chunks: Bytes[] = []
      for (let piece = 0; piece * BLOCK_BYTES < size; piece++) {
        extend(Number(m['ut_metadata']), { msg_type: 0, piece })
        const reply = await next(EXTENDED)
        if (reply[0] !== METADATA) throw new Error('The reply is of another extension.')
        const head = encode({ msg_type: 1, piece, total_size: size })
        if (fromUtf8(reply.slice(1, 1 + head.length)) !== fromUtf8(head)) throw new Error('The reply has another head.')
        chunks.push(reply.slice(1 + head.length))
      }
      return concat(...chunks)
    },
    pause: () => void socket.pause(),
    closed,
    get isClosed() {
      return isClosed
    },
    close: () => void socket.destroy(),
  }
}

interface Hello {
  readonly m: Readonly<Record<string, bigint>>
  readonly metadata_size: bigint
}

const lengthOf = (bytes: Bytes): number | undefined =>
  bytes.length < PREFIX_BYTES ? undefined : PREFIX_BYTES + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** The bits that a handshake sets (BEP 6, BEP 10). */
export const reservedIn = (greeting: Bytes): Bytes => greeting.slice(RESERVED, RESERVED + 8)
