/** One stock client on one connection (BEP 3, 6, 9, 10): it is told what is there, and sent blocks while it has a slot. */
import type { Socket } from 'node:net'
import { fullBitfield } from '../../protocol/bitfield.ts'
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Share } from '../share/share.ts'
import type { Blocks, BlockPlace } from './blocks.ts'
import { metadataReply, requestedChunk, UT_METADATA } from './metadata.ts'
import type { Slots } from './slots.ts'
import { PeerWire } from './wire.ts'

export interface PeerParts {
  readonly blocks: Blocks
  readonly slots: Slots
  readonly clock: Clock
  /** 20 bytes, hex. */
  readonly peerId: string
  /** Told of blocks that were sent. */
  readonly onSent: (bytes: number) => void
  /** Told of faults that are nobody's outside. */
  readonly onFault: (error: unknown) => void
}

/** Something that the client waits for. */
interface Ask {
  /** Missing for metadata. */
  readonly place?: BlockPlace
  readonly answer: () => Promise<void>
}

/** How much may wait in memory for a client to take it. */
const AHEAD_BYTES = 512 * 1024
/** What the shortest message takes there. */
const CHUNK_BYTES = 512
/** BEP 3 has two minutes. */
const KEEP_ALIVE_MS = 30_000

export function servePeer({ blocks, slots, clock, peerId, onSent, onFault }: PeerParts, socket: Socket): void {
  const cut = (): void => void socket.destroy()
  const wire = new PeerWire(cut)
  const outbox = createOutbox(wire, socket)
  let asks: Ask[] = []
  let current: Ask | undefined
  let isAnswering = false
  let isGreeted = false
  let heardMs = clock.now()
  const gone = new AbortController()

  const peer = {
    unchoke: () => wire.unchoke(),
    choke() {
      asks = asks.filter(({ place }) => place === undefined)
      wire.choke()
    },
  }
  const fail = (error: unknown): void => {
    if (!(error instanceof Problem)) onFault(error)
    cut()
  }

  function ask(asked: Ask): void {
    if (asks.push(asked) > limits.bittorrentRequests) return cut()
    if (!isAnswering) void answerAll().catch(fail)
  }

  async function answerAll(): Promise<void> {
    isAnswering = true
    while (asks.length > 0 && !socket.destroyed) {
      current = asks.shift()
      await current?.answer()
      current = undefined
      await outbox.room()
    }
    isAnswering = false
  }

  async function greet(infoHash: string): Promise<void> {
    const share = await blocks.find(infoHash)
    if (!share || socket.destroyed) return cut()
    socket.setTimeout(0)
    answerRequests(share)
    const { info } = share.meta
    wire.use(
      metadataOf((message) => {
        const chunk = requestedChunk(message)
        if (chunk !== undefined) ask({ answer: async () => sendMetadata(metadataReply(info, chunk)) })
      }),
    )
    wire.extendedHandshake = { metadata_size: info.length, reqq: limits.bittorrentRequests, upload_only: 1 }
    wire.handshake(infoHash, peerId, { fast: true })
    if (wire.hasFast) wire.haveAll()
    else wire.bitfield(fullBitfield(share.pieces))
    isGreeted = true
    if (wire.peerInterested) slots.want(peer)
  }

  /** Of whoever says nothing, nobody else would hear. */
  async function watch(): Promise<void> {
    while (!socket.destroyed) {
      await clock.sleep(KEEP_ALIVE_MS, gone.signal).catch(() => undefined)
      if (clock.now() - heardMs >= limits.bittorrentIdleMs) return cut()
      wire.keepAlive()
      slots.check(peer)
    }
  }

  function answerRequests(share: Share): void {
    wire.on('request', (index, offset, length, respond) => {
      const place = { index, offset, length }
      ask({ place, answer: async () => respond(null, await blocks.read(share, place, gone.signal)) })
    })
    wire.on('cancel', (index, offset, length) => {
      const isMeant = ({ place }: Ask): boolean =>
        place?.index === index && place.offset === offset && place.length === length
      const cancelled = [current, ...asks].find((asked) => asked !== undefined && isMeant(asked))
      asks = asks.filter((asked) => asked !== cancelled)
      // Whoever speaks BEP 6 waits for the block or for this.
      if (cancelled && wire.hasFast) wire.reject(index, offset, length)
    })
  }

  function sendMetadata(reply: Uint8Array): void {
    if (wire.metadataNumber !== 0) wire.extended(wire.metadataNumber, reply)
  }

  wire.on('handshake', (infoHash) => void greet(infoHash).then(watch).catch(fail))
  // Not of what is cancelled or choked while it is read.
  wire.on('upload', onSent)
  wire.on('interested', () => isGreeted && slots.want(peer))
  wire.on('uninterested', () => slots.leave(peer))
  wire.on('error', cut)
  wire.on('finish', cut)
  socket.on('data', (chunk) => {
    heardMs = clock.now()
    wire.write(chunk)
  })
  socket.on('error', cut)
  socket.on('timeout', cut)
  socket.on('close', () => {
    gone.abort(new Problem('peer-failed', 'The client has gone.'))
    slots.leave(peer)
    wire.destroy()
    outbox.close()
  })
  socket.setTimeout(limits.bittorrentHandshakeMs)
}

interface Outbox {
  /** Resolves once the client has taken most of what was sent, or has gone. */
  room(): Promise<void>
  close(): void
}

/** Nobody is listened to who does not take the answers. */
function createOutbox(wire: PeerWire, socket: Socket): Outbox {
  let waiting = 0
  let onRoom: (() => void) | undefined
  function wake(): void {
    onRoom?.()
    onRoom = undefined
  }
  wire.on('data', (chunk) => {
    if (socket.destroyed) return
    const bytes = Math.max(chunk.length, CHUNK_BYTES)
    waiting += bytes
    if (waiting > AHEAD_BYTES) socket.pause()
    socket.write(chunk, () => {
      waiting -= bytes
      if (waiting > AHEAD_BYTES) return
      socket.resume()
      wake()
    })
  })
  return {
    room: async () => {
      if (waiting > AHEAD_BYTES && !socket.destroyed) await new Promise<void>((resolve) => (onRoom = resolve))
    },
    close: wake,
  }
}

/** As the wire wants an extension: a class, the name in its prototype. */
const metadataOf = (onMessage: (message: Uint8Array) => void) =>
  class {
    get name(): string {
      return UT_METADATA
    }
    onMessage(message: Uint8Array): void {
      onMessage(message)
    }
  }
