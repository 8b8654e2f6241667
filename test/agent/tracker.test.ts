/** Where stock clients hear that an agent has something. */
import { OpenAPIHono } from '@hono/zod-openapi'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mountTracker } from '../../agent/bittorrent/tracker.ts'
import type { Share } from '../../agent/share/share.ts'
import { fromHex, type Bytes } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/encoding.ts'
import { pattern } from '../pattern.ts'
import { openShop, type Shop } from './shop.ts'

let shop: Shop
let app: OpenAPIHono

beforeEach(async () => {
  shop = await openShop()
  app = new OpenAPIHono()
  mountTracker(app, shop.shares, { host: 'localhost', port: 6881 })
})
afterEach(() => shop.close())

async function share(name: string, terms: { public: true } | { price: bigint }): Promise<Share> {
  await shop.plant(name, pattern(100))
  return shop.shares.add({ link: 'folder', path: name, ...terms })
}

async function announce(search: string): Promise<unknown> {
  const response = await app.request(`/announce${search}`)
  expect(response.status).toBe(200)
  return decode(new Uint8Array(await response.arrayBuffer()))
}

/** Letters and digits as they are, as clients write it. */
const escaped = (hash: Bytes): string =>
  Array.from(hash, (byte) => {
    const text = String.fromCharCode(byte)
    return /[0-9A-Za-z.~_-]/.test(text) ? text : `%${byte.toString(16).padStart(2, '0')}`
  }).join('')

describe('the tracker', () => {
  it('names the agent, and nobody who asked before', async () => {
    const { infoHashV1 } = await share('film.bin', { public: true })
    const search = `?info_hash=${escaped(fromHex(infoHashV1))}&peer_id=-XX0001-abcdefghijkl&port=51413&compact=1&left=100`
    for (let i = 0; i < 2; i++) {
      expect(await announce(search)).toEqual({
        complete: 1n,
        incomplete: 0n,
        interval: 1800n,
        peers: Uint8Array.of(127, 0, 0, 1, 6881 >> 8, 6881 & 0xff),
      })
    }
  })

  it.each([
    [
      'what costs something',
      async () => `?info_hash=${escaped(fromHex((await share('dear.bin', { price: 3n })).infoHashV1))}`,
    ],
    ['what is not shared', async () => `?info_hash=${'%ff'.repeat(20)}`],
    ['no info hash', async () => ''],
    ['one that is too short', async () => `?info_hash=${'a'.repeat(19)}`],
    ['one that is too long', async () => `?info_hash=${'a'.repeat(100_000)}`],
    ['broken escapes', async () => '?info_hash=%zz%'],
  ])('refuses %s', async (_, search) => {
    const reply = (await announce(await search())) as { 'failure reason': Uint8Array }
    expect(new TextDecoder().decode(reply['failure reason'])).toBe('This content is not shared here free of charge.')
  })
})
