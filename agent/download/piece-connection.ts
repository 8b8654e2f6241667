/**
 * One kept HTTP/1.1 connection (RFC 9112) that reads a body straight from the socket into the buffer where it shall lie:
 * no stream, no copy. It takes answers framed by Content-Length; a client has one request under way at a time.
 */
import { connect as connectPlain, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Problem } from '../../protocol/problem.ts'
import { parseHead, type Head } from './http-head.ts'

const HEAD_BYTES = 32 * 1024
/** Answers other than 200 are read whole, up to this. */
const DOCUMENT_BYTES = 64 * 1024
const HEAD_END = Buffer.from('\r\n\r\n')

export interface Exchange {
  readonly head: string
  readonly into: Uint8Array
  readonly onChunk: (chunk: Uint8Array) => void
}

export interface Answer extends Head {
  /** For 200, the part of `into` that was filled; else a copy. */
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
  let pending: Pending | undefined
  let usable = true

  const socket = open(endpoint, {
    buffer: () => (head ? target.subarray(filled) : headBuffer.subarray(headBytes)),
    callback: (received) => {
      try {
        if (head) take(target.subarray(filled, filled + received))
        else takeHead(received)
      } catch (error) {
        fail(error as Error)
      }
      return true
    },
  })
  socket.setNoDelay(true)
  socket.on('error', (error) => fail(new Problem('peer-failed', `The connection failed: ${error.message}.`)))
  socket.on('close', () => fail(new Problem('peer-failed', 'The connection closed in the middle of an answer.')))

  function takeHead(received: number): void {
    if (!pending) throw new Problem('peer-failed', 'The peer spoke out of turn.')
    const searched = Math.max(headBytes - HEAD_END.length, 0)
    headBytes += received
    const end = headBuffer.subarray(0, headBytes).indexOf(HEAD_END, searched)
    if (end < 0) {
      if (headBytes === HEAD_BYTES) throw new Problem('peer-failed', 'The head of the answer is too large.')
      return
    }
    head = parseHead(headBuffer.toString('latin1', 0, end))
    target = bodyTarget(head, pending.into)
    const rest = headBuffer.subarray(end + HEAD_END.length, headBytes)
    if (rest.length > target.length && !head.close)
      throw new Problem('peer-failed', 'The answer is longer than it says.')
    const body = rest.subarray(0, target.length)
    target.set(body)
    take(target.subarray(0, body.length))
  }

  function take(chunk: Uint8Array): void {
    filled += chunk.length
    if (head?.status === 200 && chunk.length > 0) pending?.onChunk(chunk)
    if (head && filled === target.length) finish(head)
  }

  function finish(answered: Head): void {
    const answer = { ...answered, body: target.subarray(0, filled) }
    const { resolve } = pending as Pending
    ;[pending, head, headBytes, filled, target] = [undefined, undefined, 0, 0, headBuffer]
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

function bodyTarget(head: Head, into: Uint8Array): Uint8Array {
  if (head.status !== 200) {
    if (head.length > DOCUMENT_BYTES) throw new Problem('peer-failed', 'The answer is too large.')
    return new Uint8Array(head.length)
  }
  if (head.length !== into.length) {
    throw new Problem('peer-failed', `The piece has ${into.length} bytes, the answer ${head.length}.`)
  }
  return into
}

function open({ secure, servername, address, port }: Endpoint, onread: NonNullable<NetConnectOpts['onread']>): Socket {
  const to = { host: address, port, onread }
  return secure ? connectTls({ ...to, servername, ALPNProtocols: ['http/1.1'] }) : connectPlain(to)
}
