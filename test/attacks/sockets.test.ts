/** What comes over the wire and is no request, or not all of one: a problem all the same, and the server goes on. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sendPieceNode } from '../../agent/sell/piece-server-node.ts'
import { isProblemCode, PROBLEMS } from '../../protocol/problem.ts'
import { onSockets } from './ground.ts'
import { filmOf, moveIn, type Resident, type ShareJson } from './resident.ts'
import { openWorldOn, type World } from './world.ts'

let world: World
let anna: Resident
let share: ShareJson

beforeAll(async () => {
  world = await openWorldOn(onSockets())
  anna = await moveIn(world, 'anna', { sendPiece: sendPieceNode })
  share = await anna.share('film.bin', filmOf(3), { public: true })
})
afterAll(async () => {
  await anna.service.stop()
  await world.ground.close()
})

const dial = (url: string): Socket => connect(Number(new URL(url).port), '127.0.0.1')

/** All that is answered until the server hangs up. */
async function exchange(
  text: string,
): Promise<{ readonly status: number; readonly type: string; readonly code: string }> {
  const socket = dial(anna.url)
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  socket.on('error', () => undefined)
  socket.write(text, 'latin1')
  await once(socket, 'close')
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  const type = /^content-type: (.*)$/im.exec(head)?.[1] ?? ''
  const code = type === 'application/problem+json' ? (JSON.parse(body) as { code: string }).code : ''
  return { status: Number(head.split(' ')[1]), type, code }
}

const CLOSE = 'Connection: close\r\n\r\n'
const JSON_TYPE = 'Content-Type: application/json\r\n'

describe('a server answers with a problem', () => {
  test.each([
    ['what is no HTTP', '\x16\x03\x01\x02\x00\r\n\r\n'],
    ['another protocol', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a method in small letters', 'get / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a request to no host', `GET / HTTP/1.1\r\n${CLOSE}`],
    ['a host that is none', `GET / HTTP/1.1\r\nHost: [::\r\n${CLOSE}`],
    ['a host with more in it', `GET / HTTP/1.1\r\nHost: a@b/../c\r\n${CLOSE}`],
    ['a path that is none', `OPTIONS * HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    ['a path with backslashes', `GET /v1\\..\\x HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    ['bytes that are no text', `GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    ['a header with NUL', `GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n${CLOSE}`],
    ['a header that is too long', `GET / HTTP/1.1\r\nHost: a\r\nPayment-Signature: ${'A'.repeat(20_000)}\r\n${CLOSE}`],
    ['a path that is too long', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    [
      'two lengths',
      `POST /v1/ticks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n${CLOSE}0\r\n\r\n`,
    ],
    ['a negative length', `POST /v1/ticks HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n${CLOSE}`],
    [
      'a length beyond all',
      `POST /v1/ticks HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}Content-Length: 99999999999\r\n${CLOSE}{`,
    ],
    [
      'chunks that are none',
      `POST /v1/ticks HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\n${CLOSE}zz\r\n`,
    ],
    [
      'an expectation',
      `POST /v1/ticks HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}Expect: wonders\r\nContent-Length: 0\r\n${CLOSE}`,
    ],
    ['another’s address', `GET http://evil.example/v1/pieces/x HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
    ['a method that nobody has', `TRACE /v1/ticks HTTP/1.1\r\nHost: a\r\n${CLOSE}`],
  ])('to %s', async (_, text) => {
    const { status, type, code } = await exchange(text)
    expect({ type, isKnown: isProblemCode(code) }).toEqual({ type: 'application/problem+json', isKnown: true })
    expect(status).toBe(PROBLEMS[code as keyof typeof PROBLEMS][0])
    expect(status).toBeLessThan(500)
    expect((await anna.piece(share, 0)).status).toBe(200)
  })
})

describe('a client that goes', () => {
  test('in the middle of a request is no fault of ours', async () => {
    const answered = Promise.withResolvers<number>()
    anna.tamper = async (request, answer) => {
      const response = await answer()
      if (request.method === 'POST') answered.resolve(response.status)
      return response
    }
    const socket = dial(anna.url)
    socket.write(`POST /v1/ticks HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}Content-Length: 50\r\n\r\n{"tick":`)
    await once(socket, 'connect')
    await expect.poll(() => world.ground.sent.length).toBeGreaterThan(0)
    socket.destroy()
    expect(await answered.promise).toBe(400)
    expect(world.faults).toEqual([])
  })

  test('before its answer keeps nothing from others, however many do', async () => {
    const path = `/v1/pieces/${share.infoHash}/0`
    const sockets = Array.from({ length: 300 }, () => dial(anna.url))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      socket.destroy()
    }
    for (const socket of sockets) if (!socket.closed) await once(socket, 'close')
    expect((await anna.piece(share, 1)).status).toBe(200)
    expect(world.faults).toEqual([])
  })

  test('is answered one request after the other, and one that asks on and on is let go', async () => {
    const path = `/v1/pieces/${share.infoHash}/2`
    const line = `GET ${path} HTTP/1.1\r\nHost: a\r\n`
    let asked = 0
    anna.tamper = (request, answer) => {
      if (request.url.endsWith(path)) asked++
      return answer()
    }
    expect((await exchange(`${line}\r\n${line}${CLOSE}`)).status).toBe(200)
    expect(asked).toBe(2)
    await exchange(`${line}\r\n`.repeat(500))
    expect(asked).toBeLessThan(10)
    expect((await anna.piece(share, 1)).status).toBe(200)
    expect(world.faults).toEqual([])
  })
})
