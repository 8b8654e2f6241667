import { spawnSync } from 'node:child_process'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { pinAddress } from '../../agent/clients/address-guard.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { pinnedTransport } from '../../infra/pinned-transport.ts'

afterEach(() => vi.useRealTimers())

describe('the real clock', () => {
  test('tells the time of the system', () => {
    vi.useFakeTimers({ now: 1_234_567 })
    expect(realEnvironment().clock.now()).toBe(1_234_567)
  })

  test.each([0, 1, 1000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5])('sleeps %i ms, no more and no less', async (ms) => {
    vi.useFakeTimers()
    let awake = false
    const sleep = realEnvironment()
      .clock.sleep(ms)
      .then(() => (awake = true))
    await vi.advanceTimersByTimeAsync(Math.max(0, ms - 1))
    expect(awake).toBe(ms === 0)
    await vi.advanceTimersByTimeAsync(1)
    await sleep
  })

  test('wakes with the reason when the signal aborts, and leaves no timer behind', async () => {
    vi.useFakeTimers()
    const abort = new AbortController()
    const sleep = realEnvironment().clock.sleep(1000, abort.signal)
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(sleep).rejects.toBe(reason)
    await expect(realEnvironment().clock.sleep(1000, abort.signal)).rejects.toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('lets the process end while somebody sleeps, when told so', () => {
    const { href } = new URL('../../infra/environment.ts', import.meta.url)
    const program = `import { realEnvironment } from ${JSON.stringify(href)}; void realEnvironment({ unref: true }).clock.sleep(1e9)`
    const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 30_000 })
    expect(status).toBe(0)
  })
})

test('the real randomness gives as many bytes as asked, other ones each time', () => {
  const { random } = realEnvironment()
  expect(random.bytes(0)).toHaveLength(0)
  expect(random.bytes(32)).toHaveLength(32)
  expect(random.bytes(32)).not.toEqual(random.bytes(32))
  expect(random.bytes(32).buffer.byteLength).toBe(32)
})

const servers: ReturnType<typeof createServer>[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const transports = {
  'the real transport': realEnvironment().transport,
  'the pinned transport': pinnedTransport(async () => '127.0.0.1'),
}

describe.each(Object.entries(transports))('%s', (_, transport) => {
  test('carries method, headers and body there, and status, headers and body back', async () => {
    const port = await serve((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        response.writeHead(402, {
          'x-seen': `${String(request.method)} ${String(request.url)} ${String(request.headers['x-mine'])}`,
        })
        response.end(Buffer.concat(chunks))
      })
    })
    const request = new Request(`http://127.0.0.1:${port}/a%20b?c=d`, {
      method: 'PUT',
      body: 'hello',
      headers: { 'X-Mine': '1' },
    })
    const response = await transport(request)
    expect([response.status, response.headers.get('x-seen')]).toEqual([402, 'PUT /a%20b?c=d 1'])
    expect(await response.text()).toBe('hello')
  })

  test('gives a redirect as the answer', async () => {
    const port = await serve((_request, response) => response.writeHead(307, { location: '/elsewhere' }).end())
    const response = await transport(new Request(`http://127.0.0.1:${port}/`))
    expect([response.status, response.headers.get('location')]).toEqual([307, '/elsewhere'])
  })

  test('takes a reply without a body', async () => {
    const port = await serve((_request, response) => response.writeHead(204).end())
    const response = await transport(new Request(`http://127.0.0.1:${port}/`))
    expect([response.status, await response.text()]).toEqual([204, ''])
  })

  test('rejects when nobody answers, and when the caller gives up', async () => {
    const port = await serve((request) => request.socket.destroy())
    await expect(transport(new Request(`http://127.0.0.1:${port}/`))).rejects.toThrow(Error)
    const abort = new AbortController()
    const silent = await serve(() => abort.abort())
    await expect(transport(new Request(`http://127.0.0.1:${silent}/`, { signal: abort.signal }))).rejects.toThrow(
      /abort/,
    )
  })
})

describe('the pinned transport', () => {
  test('connects to the pinned address and keeps the name for the host header', async () => {
    const port = await serve((request, response) => response.end(request.headers.host))
    const transport = pinnedTransport(
      async (url) => await pinAddress(url, { resolve: async () => ['127.0.0.1'], allowLoopback: true }),
    )
    const response = await transport(new Request(`http://seller.invalid:${port}/`))
    expect(await response.text()).toBe(`seller.invalid:${port}`)
  })

  test('calls nobody at a refused address', async () => {
    let calls = 0
    const port = await serve((_request, response) => {
      calls += 1
      response.end()
    })
    const transport = pinnedTransport(
      async (url) => await pinAddress(url, { resolve: async () => ['127.0.0.1'], allowLoopback: false }),
    )
    for (const host of ['127.0.0.1', 'seller.invalid', 'localhost']) {
      await expect(transport(new Request(`https://${host}:${port}/`))).rejects.toMatchObject({
        code: 'address-refused',
      })
    }
    expect(calls).toBe(0)
  })
})
