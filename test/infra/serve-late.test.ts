import { Agent, get } from 'node:http'
import { OpenAPIHono } from '@hono/zod-openapi'
import { afterEach, expect, it } from 'vitest'
import { listen, type Listening } from '../../infra/serve.ts'

const BODY = new Uint8Array(1_000_000).fill(7)
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const servers: Listening[] = []
afterEach(async () => {
  agent.destroy()
  for (const server of servers.splice(0)) await server.close()
})

/** @returns the body's length, and whether the connection of the request before served this one too */
function ask(port: number): Promise<[number, boolean]> {
  const { promise, resolve, reject } = Promise.withResolvers<[number, boolean]>()
  const asked = get({ port, host: '127.0.0.1', agent }, (response) => {
    let bytes = 0
    response.on('data', (chunk: Buffer) => (bytes += chunk.length))
    response.once('end', () => resolve([bytes, asked.reusedSocket])).once('error', reject)
  }).once('error', reject)
  return promise
}

it('a piece is sent once, also by code that is loaded when another server listens', async () => {
  servers.push(await listen({ fetch: () => new Response(), port: 0, hostname: '127.0.0.1' }))
  const { sendPieceNode } = await import('../../agent/sell/piece-server-node.ts')
  const app = new OpenAPIHono()
  app.get('/', (c) => sendPieceNode(c, { status: 200, headers: {}, body: BODY, done: () => undefined }))
  const { port, ...server } = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  servers.push({ port, ...server })
  expect([await ask(port), await ask(port)]).toEqual([
    [BODY.length, false],
    [BODY.length, true],
  ])
})
