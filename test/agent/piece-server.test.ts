import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { OpenAPIHono } from '@hono/zod-openapi'
import { afterEach, describe, expect, it } from 'vitest'
import { sendPieceNode } from '../../agent/sell/piece-server-node.ts'
import type { PieceReply } from '../../agent/sell/sell.ts'
import { listen, type Listening } from '../../infra/serve.ts'

const BODY = new Uint8Array(100_000).fill(7)
let server: Listening | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

/** A server that sends one piece when the gate opens, and tells when it may use the buffer again. */
async function open(gate: (socket: Promise<Socket>) => Promise<unknown>, body = BODY) {
  const done = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<Socket>()
  const reply: PieceReply = {
    status: 200,
    headers: { 'content-type': 'application/octet-stream' },
    body,
    done: () => done.resolve(),
  }
  const app = new OpenAPIHono()
  app.get('/', async (c) => {
    const { incoming } = c.env as { incoming: { socket: Socket } }
    asked.resolve(incoming.socket)
    await gate(asked.promise)
    return sendPieceNode(c, reply)
  })
  server = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  return { port: server.port, asked: asked.promise, done: done.promise }
}

describe('a piece on Node’s response', () => {
  it('arrives whole, and its buffer comes back', async () => {
    const { port, done } = await open(async () => undefined)
    const response = await fetch(`http://127.0.0.1:${port}/`)
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(BODY)
    await done
  })

  it('gives its buffer back when the reader left before it was sent', async () => {
    const { port, asked, done } = await open(async (socket) => once(await socket, 'close'))
    const reader = connect(port, '127.0.0.1')
    reader.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await asked
    reader.destroy()
    await done
  })

  it('gives its buffer back when the reader leaves half way', async () => {
    const { port, done } = await open(async () => undefined)
    const reader = connect(port, '127.0.0.1')
    reader.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(reader, 'data')
    reader.destroy()
    await done
  })

  it('takes one buffer at a time for a reader that asks for more, and gets it back when the reader leaves', async () => {
    let pieces = 0
    const { port, done } = await open(async () => pieces++, new Uint8Array(32 * 1024 ** 2))
    const reader = connect(port, '127.0.0.1')
    reader.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(2))
    await once(reader, 'data')
    reader.destroy()
    await done
    expect(pieces).toBe(1)
  })
})
