import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { parseHead } from '../../agent/download/http-head.ts'
import { pieceClientNode } from '../../agent/download/piece-client-node.ts'
import type { PieceResponse } from '../../agent/download/piece-client.ts'
import { Problem } from '../../protocol/problem.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
const piece = randomBytes(3_000_000)
const servers: Server[] = []
const sockets = new Set<Socket>()

afterEach(() => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  for (const server of servers.splice(0)) server.close()
})

async function listening(server: Server): Promise<string> {
  servers.push(server)
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/piece`
}

const http = (listener: RequestListener) => listening(createHttpServer(listener))

const document = (res: ServerResponse, status: number, text: string) =>
  res.writeHead(status, { 'content-length': Buffer.byteLength(text) }).end(text)

/** Answers each request on a connection with the next of these texts. */
function scripted(...answers: string[]): Promise<string> {
  return listening(
    createServer((socket) => {
      let next = 0
      socket.on('error', () => undefined)
      socket.on('data', () => {
        const answer = answers[next++]
        if (answer === undefined) socket.destroy()
        else socket.write(answer, 'latin1')
      })
    }),
  )
}

interface Asked {
  readonly length?: number
  readonly signal?: AbortSignal
  readonly client?: ReturnType<typeof pieceClientNode>
  readonly headers?: Record<string, string>
}

const newClient = () => pieceClientNode(async () => '127.0.0.1')

async function get(url: string, options: Asked = {}): Promise<PieceResponse & { bytes: Buffer; chunks: number }> {
  const { length = piece.length, signal = new AbortController().signal, client = newClient(), headers = {} } = options
  const into = Buffer.alloc(length)
  let seen = 0
  let chunks = 0
  const onChunk = (chunk: Uint8Array) => {
    expect(chunk.byteOffset - into.byteOffset).toBe(seen)
    seen += chunk.length
    chunks += 1
  }
  const response = await client.get({ url, headers, into, onChunk, signal })
  expect(seen).toBe(response.length)
  return { ...response, bytes: into, chunks }
}

describe('a piece over a kept connection', () => {
  test('lies in the buffer, chunk by chunk in order', async () => {
    const url = await http((_, res) => res.writeHead(200, { 'content-length': piece.length }).end(piece))
    const answer = await get(url)
    expect(answer.status).toBe(200)
    expect(answer.bytes.equals(piece)).toBe(true)
  })

  test('uses one connection for pieces that follow each other', async () => {
    const url = await http((_, res) => res.writeHead(200, { 'content-length': piece.length }).end(piece))
    const client = newClient()
    for (let i = 0; i < 4; i++) await get(url, { client })
    expect(sockets.size).toBe(1)
  })

  test('keeps a connection to the latest peer, however many were met before', async () => {
    const url = new URL(await http((_, res) => res.writeHead(200, { 'content-length': piece.length }).end(piece)))
    const client = newClient()
    for (let peer = 0; peer < 65; peer++) {
      url.hostname = `peer-${peer}.example`
      await get(url.href, { client })
    }
    const before = sockets.size
    await get(url.href, { client })
    expect(sockets.size).toBe(before)
  })

  test('carries the headers and the host', async () => {
    const url = await http((req, res) => document(res, 402, JSON.stringify(req.headers)))
    const { problem } = await get(url, { headers: { 'payment-signature': 'abc=' } })
    expect(problem).toMatchObject({ 'payment-signature': 'abc=', host: new URL(url).host })
  })

  test('is followed by what is said in JSON, and by its answer, on the same connection', async () => {
    const answer = async (req: IncomingMessage, res: ServerResponse) => {
      const { 'content-type': type, host } = req.headers
      const said = Buffer.concat(await req.toArray()).toString()
      document(res, said.includes('no') ? 409 : 200, JSON.stringify({ type, host, said }))
    }
    const url = await http((req, res) => {
      if (req.method === 'POST') void answer(req, res)
      else res.writeHead(200, { 'content-length': piece.length }).end(piece)
    })
    const client = newClient()
    const say = (json: unknown) => client.post({ url, json, signal: new AbortController().signal })
    for (const word of ['é\r\n\r\n', 'no']) {
      expect((await get(url, { client })).bytes.equals(piece)).toBe(true)
      expect(await say({ word })).toEqual({
        status: word === 'no' ? 409 : 200,
        document: { type: 'application/json', host: new URL(url).host, said: JSON.stringify({ word }) },
      })
    }
    expect(sockets.size).toBe(1)
  })

  test('is no answer to what is said: a long one is refused, one that never comes is waited for until told to stop', async () => {
    const long = await scripted('HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n')
    const say = (url: string, signal: AbortSignal) => newClient().post({ url, json: 1, signal })
    await expect(say(long, new AbortController().signal)).rejects.toMatchObject({ code: 'peer-failed' })
    const abort = new AbortController()
    const reason = new Error('enough')
    const silent = await http(() => abort.abort(reason))
    await expect(say(silent, abort.signal)).rejects.toBe(reason)
  })

  test('gives the document of another status, and leaves the buffer alone', async () => {
    const url = await http((_, res) => document(res, 402, '{"code":"payment-required"}'))
    const answer = await get(url)
    expect(answer).toMatchObject({ status: 402, length: 0, problem: { code: 'payment-required' } })
    expect(answer.bytes.every((byte) => byte === 0)).toBe(true)
  })

  test('takes a body in chunks, over the connection that it keeps', async () => {
    const url = await http((_, res) => {
      res.writeHead(200)
      for (let at = 0; at < piece.length; at += 77_777) res.write(piece.subarray(at, at + 77_777))
      res.end()
    })
    const client = newClient()
    for (let i = 0; i < 3; i++) expect((await get(url, { client })).bytes.equals(piece)).toBe(true)
    expect(sockets.size).toBe(1)
  })

  test('takes a head and chunks however they are cut, with extensions and trailers', async () => {
    const text = `${CHUNKED}2;x=1\r\nab\r\n2\r\ncd\r\n0\r\nx: y\r\n\r\n`
    const url = await listening(
      createServer({ noDelay: true }, (socket) => {
        void (async () => {
          for (const character of text)
            await new Promise((done) => void socket.write(character, () => setImmediate(done)))
        })()
      }),
    )
    expect((await get(url, { length: 4 })).bytes.toString()).toBe('abcd')
  })

  test('takes the document of an error in chunks', async () => {
    const url = await http((_, res) => void res.writeHead(503).write('{"code":', () => res.end('"x"}')))
    expect(await get(url)).toMatchObject({ status: 503, length: 0, problem: { code: 'x' } })
  })

  test('takes the status alone of an error whose body is framed otherwise', async () => {
    const url = await scripted('HTTP/1.1 503 No\r\ntransfer-encoding: gzip\r\n\r\nxyz')
    expect(await get(url)).toMatchObject({ status: 503, length: 0, problem: undefined })
  })

  test('asks once more when a kept connection turns out to be closed', async () => {
    const answer = `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi`
    const url = await scripted(answer)
    const client = newClient()
    expect((await get(url, { client, length: 2 })).bytes.toString()).toBe('hi')
    expect((await get(url, { client, length: 2 })).bytes.toString()).toBe('hi')
    expect(sockets.size).toBe(2)
  })

  test('opens a new connection after "Connection: close", also where the peer leaves it open', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi'
    const url = await scripted(answer, answer)
    const client = newClient()
    await get(url, { client, length: 2 })
    await get(url, { client, length: 2 })
    expect(sockets.size).toBe(2)
  })

  test('ends at once, and calls nobody, when it is aborted while the name is looked up', async () => {
    const url = await http(() => undefined)
    const found = Promise.withResolvers<string>()
    const stop = new AbortController()
    const asked = get(url, { signal: stop.signal, client: pieceClientNode(() => found.promise) })
    stop.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    found.resolve('127.0.0.1')
    await found.promise
    expect(sockets.size).toBe(0)
  })

  test('ends at once when it is aborted, with the reason given', async () => {
    const url = await scripted('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')
    const stop = new AbortController()
    const asked = get(url, { length: 10, signal: stop.signal })
    asked.catch(() => undefined)
    await once(servers[0] as Server, 'connection')
    stop.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
  })

  test.each([
    ['shorter than the piece', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc'],
    ['longer than the piece', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde'],
    ['longer than it says', 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcdefgh'],
    ['chunked and shorter', `${CHUNKED}3\r\nabc\r\n0\r\n\r\n`],
    ['chunked and longer', `${CHUNKED}5\r\nabcde\r\n0\r\n\r\n`],
    ['chunked and broken', `${CHUNKED}4\r\nabcdX\r\n0\r\n\r\n`],
    ['chunked with a size that is none', `${CHUNKED}-4\r\nabcd\r\n0\r\n\r\n`],
    ['chunked with a line that goes on and on', `${CHUNKED}4;${'x'.repeat(1100)}\r\nabcd\r\n0\r\n\r\n`],
    ['chunked with trailers that go on and on', `${CHUNKED}4\r\nabcd\r\n0\r\n${'x: y\r\n'.repeat(65)}\r\n`],
    ['chunked with a line that ends in LF alone', `${CHUNKED}4 \nabcd\r\n0\r\n\r\n`],
    ['chunked with more behind it', `${CHUNKED}4\r\nabcd\r\n0\r\n\r\nabcd`],
    ['chunked and of a length', `HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\nabcd`],
    ['in another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n'],
    ['without a length', 'HTTP/1.1 200 OK\r\n\r\nabcd'],
    ['with two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd'],
    ['an interim answer', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd'],
    ['not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(40_000)}`],
    ['an endless error', 'HTTP/1.1 402 Payment Required\r\ncontent-length: 99999999\r\n\r\n'],
  ])('refuses an answer that is %s', async (_, answer) => {
    const url = await scripted(answer)
    await expect(get(url, { length: 4 })).rejects.toMatchObject({ code: 'peer-failed' })
  })

  test('refuses an answer that breaks off', async () => {
    const url = await listening(createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab')))
    await expect(get(url, { length: 4 })).rejects.toMatchObject({ code: 'peer-failed' })
  })

  test('refuses an unreachable peer', async () => {
    await expect(get('http://127.0.0.1:1/piece')).rejects.toMatchObject({ code: 'peer-failed' })
  })

  test('connects to no address that is refused', async () => {
    const client = pieceClientNode(async () => Promise.reject(new Problem('address-refused', 'no')))
    await expect(get('http://127.0.0.1:1/piece', { client })).rejects.toMatchObject({ code: 'address-refused' })
  })

  test('sends no header that would end the head', async () => {
    await expect(get('http://127.0.0.1:1/piece', { headers: { a: 'b\r\nc: d' } })).rejects.toMatchObject({
      code: 'bad-request',
    })
  })
})

test('the head of an answer parses or is refused, whatever it is', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string().map((text) => `HTTP/1.1 200 OK\r\n${text}`),
      ),
      (text) => {
        try {
          const head = parseHead(text)
          expect(head.length === 'chunked' || Number.isSafeInteger(head.length)).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'peer-failed' })
        }
      },
    ),
  )
})
