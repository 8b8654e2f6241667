import { request } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { hostOf, mayConnect } from '../network-guard.ts'

const REFUSED = /tests talk to this machine alone/

test('a request to another host fails, however it is made', async () => {
  const viaFetch = fetch('http://192.0.2.1/').then(
    () => 'answered',
    (error: unknown) => String((error as Error).cause),
  )
  expect(await viaFetch).toMatch(REFUSED)
  const errors = [
    new Promise((resolve) => void request('http://192.0.2.1/').on('error', resolve).end()),
    new Promise((resolve) => void connect(443, 'www.googleapis.com').on('error', resolve)),
    new Promise((resolve) => void connect({ port: 443, host: '2001:db8::1' }).on('error', resolve)),
  ]
  for (const error of await Promise.all(errors)) expect(String(error)).toMatch(REFUSED)
})

test('this machine is reached under each of its names', async () => {
  const server = createServer((socket) => socket.end('hello'))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  for (const host of ['127.0.0.1', 'localhost']) {
    const heard = await new Promise((resolve, reject) => {
      connect(port, host)
        .on('data', (data) => resolve(data.toString()))
        .on('error', reject)
    })
    expect(heard).toBe('hello')
  }
  server.close()
})

test('a name that only looks like this machine is another host', () => {
  for (const host of ['localhost.example', '127.0.0.1.example', '128.0.0.1', '::2', 's3.amazonaws.com']) {
    expect([host, mayConnect(host)]).toEqual([host, false])
  }
  for (const host of ['localhost', '127.0.0.2', '::1', 'bucket.localhost'])
    expect([host, mayConnect(host)]).toEqual([host, true])
  expect(hostOf([{ path: '/tmp/socket', host: 'example.org' }])).toBe('localhost')
  expect(hostOf([[{ host: 'example.org', port: 1 }, null]])).toBe('example.org')
  expect(hostOf([80])).toBe('localhost')
})
