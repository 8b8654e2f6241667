/**
 * One kept HTTP/1.1 connection (RFC 9112) that reads a body straight from the socket into the buffer where it shall lie:
 * no stream, no copy. Chunks of a body whose length is not said are copied together there. A client has one request under
 * way at a time.
 */
import { connect as connectPlain, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Problem } from '../../protocol/problem.ts'
import { readChunked, type ChunkedReader } from './chunked.ts'
import { parseHead, type Head } from './http-head.ts'

const HEAD_BYTES = 32 * 1024
/** Answers of another status are read whole, up to this. */
const DOCUMENT_BYTES = 64 * 1024
/** Chunks are read through a buffer of this size. */
const CHUNKS_BYTES = 256 * 1024
const HEAD_END = Buffer.from('\r\n\r\n')

export interface Exchange {
  /** The head of the request, and its body where it has one; sent as latin1. */
  readonly head: string
  readonly into: Uint8Array
  /** The status whose body goes there. Missing where none does. */
  readonly good: 200 | 206 | undefined
  readonly onChunk: (chunk: Uint8Array) => void
}

export interface Answer extends Head {
  /** For a good status, the part of `into` that was filled; else a copy. */
  readonly body: Uint8Array
}

export interface Connection {
  /** False once closed, by either side. */
  readonly usable: boolean
  /** @throws Problem `peer-failed` */
  ask(exchange: Exchange): Promise<Answer>
  destroy(): void
}

export interface Endpoint {
  readonly secure: boolean
  /** The name for TLS, and the address to connect to. */
  readonly servername: string
  readonly address: string
  readonly port: number
}

interface Pending extends Exchange {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

export function openConnection(endpoint: Endpoint): Connection {
  const headBuffer = Buffer.allocUnsafeSlow(HEAD_BYTES)
  let headBytes = 0
  let head: Head | undefined
  let target: Uint8Array = headBuffer
  let filled = 0
  let chunks: ChunkedReader | undefined
  let chunksBuffer: Buffer | undefined
  let pending: Pending | undefined
  let usable = true

  const socket = open(endpoint, {
    buffer: nextBuffer,
    callback: (received) => {
      try {
        if (!head) takeHead(received)
        else if (chunks) takeChunks(chunks, chunksRoom().subarray(0, received))
        else take(target.subarray(filled, filled + received))
      } catch (error) {
        fail(error as Error)
      }
      return true
    },
  })
  socket.setNoDelay(true)
  socket.on('error', (error) => fail(new Problem('peer-failed', `The connection failed: ${error.message}.`)))
  socket.on('close', () => fail(new Problem('peer-failed', 'The connection closed in the middle of an answer.')))

  const chunksRoom = (): Buffer => (chunksBuffer ??= Buffer.allocUnsafeSlow(CHUNKS_BYTES))

  function nextBuffer(): Uint8Array {
    if (!head) return headBuffer.subarray(headBytes)
    return chunks ? chunksRoom() : target.subarray(filled)
  }

  function takeHead(received: number): void {
    if (!pending) throw new Problem('peer-failed', 'The peer sent data without being asked.')
    const searched = Math.max(headBytes - HEAD_END.length, 0)
    headBytes += received
    const end = headBuffer.subarray(0, headBytes).indexOf(HEAD_END, searched)
    if (end < 0) {
      if (headBytes === HEAD_BYTES) throw new Problem('peer-failed', 'The head of the answer is too large.')
      return
    }
    head = parseHead(headBuffer.toString('latin1', 0, end))
    target = bodyTarget(head, pending)
    const rest = headBuffer.subarray(end + HEAD_END.length, headBytes)
    if (head.length === 'chunked') startChunks(rest)
    else takeRest(head, rest)
  }

  function startChunks(rest: Uint8Array): void {
    chunks = readChunked((bytes) => {
      if (filled + bytes.length > target.length) throw tooLong()
      target.set(bytes, filled)
      takeIn(target.subarray(filled, filled + bytes.length))
    })
    takeChunks(chunks, rest)
  }

  function takeChunks(reader: ChunkedReader, bytes: Uint8Array): void {
    reader.feed(bytes)
    if (head && reader.isOver) finish(head)
  }

  function takeRest({ close }: Head, rest: Uint8Array): void {
    if (rest.length > target.length && !close) throw tooLong()
    const body = rest.subarray(0, target.length)
    target.set(body)
    take(target.subarray(0, body.length))
  }

  function takeIn(chunk: Uint8Array): void {
    filled += chunk.length
    if (head?.status === pending?.good && chunk.length > 0) pending?.onChunk(chunk)
  }

  function take(chunk: Uint8Array): void {
    takeIn(chunk)
    if (head && filled === target.length) finish(head)
  }

  function finish(answered: Head): void {
    if (answered.status === pending?.good && filled < target.length) throw wrongLength(target.length, filled)
    const answer = { ...answered, body: target.subarray(0, filled) }
    const { resolve } = pending as Pending
    ;[pending, head, chunks, headBytes, filled, target] = [undefined, undefined, undefined, 0, 0, headBuffer]
    if (answered.close) destroy()
    resolve(answer)
  }

  function fail(error: Error): void {
    usable = false
    socket.destroy()
    pending?.reject(error)
    pending = undefined
  }

  function destroy(): void {
    usable = false
    socket.destroy()
  }

  return {
    get usable() {
      return usable
    },
    ask: (exchange) =>
      new Promise((resolve, reject) => {
        if (!usable) throw new Problem('peer-failed', 'The connection is closed.')
        pending = { ...exchange, resolve, reject }
        socket.write(exchange.head, 'latin1')
      }),
    destroy,
  }
}

function bodyTarget({ status, length }: Head, { into, good }: Exchange): Uint8Array {
  if (status === good) {
    if (length !== 'chunked' && length !== into.length) throw wrongLength(into.length, length)
    return into
  }
  const most = length === 'chunked' ? DOCUMENT_BYTES : length
  if (most > DOCUMENT_BYTES) throw new Problem('peer-failed', 'The answer is too large.')
  return new Uint8Array(most)
}

const tooLong = (): Problem => new Problem('peer-failed', 'The answer is longer than it says.')

const wrongLength = (wanted: number, came: number): Problem =>
  new Problem('peer-failed', `The piece has ${wanted} bytes, the answer ${came}.`)

function open({ secure, servername, address, port }: Endpoint, onread: NonNullable<NetConnectOpts['onread']>): Socket {
  const to = { host: address, port, onread }
  return secure ? connectTls({ ...to, servername, ALPNProtocols: ['http/1.1'] }) : connectPlain(to)
}
