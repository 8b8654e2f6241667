/** What those get from an agent who pose as stock BitTorrent clients. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { concat, equal, toHex, utf8 } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { openPeerStand, type PeerStand } from './peer-stand.ts'
import { KiB, MiB } from './shop.ts'
import * as stock from './stock-client.ts'

const BLOCK = 16 * KiB

let stand: PeerStand

beforeEach(async () => {
  stand = await openPeerStand()
})
afterEach(() => stand.close())

describe('a client that has gone', () => {
  it('is not read for when its turn comes', async () => {
    const film = await stand.aFile()
    const [first, gone] = [await stand.served(film), await stand.served(film)]
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const readPiece = stand.shop.shares.readPiece.bind(stand.shop.shares)
    const reading = vi.spyOn(stand.shop.shares, 'readPiece').mockImplementation(async (...asked) => {
      await held
      return readPiece(...asked)
    })
    first.request(0, 0, BLOCK)
    await expect.poll(() => reading.mock.calls.length).toBe(1)
    gone.request(1, 0, BLOCK)
    gone.close()
    await gone.closed
    await (await stand.greeted(film)).metadata()
    release()
    await first.next(stock.PIECE)
    await first.piece(0, BLOCK)
    expect(reading).toHaveBeenCalledTimes(1)
  })
})

describe('a client that reads nothing', () => {
  it('is not read for any further than a little ahead', async () => {
    const blocks = 320
    const film = await stand.share('long.bin', new Uint8Array(blocks * limits.bittorrentBlockBytes))
    const client = await stand.served(film)
    client.pause()
    const perPiece = film.pieceLength / limits.bittorrentBlockBytes
    for (let i = 0; i < blocks; i++) {
      const offset = (i % perPiece) * limits.bittorrentBlockBytes
      client.request(Math.floor(i / perPiece), offset, limits.bittorrentBlockBytes)
    }
    const sent = async () => (await stand.usage.since(0)).served
    await expect.poll(sent).toBeGreaterThan(0)
    let before = -1
    while (before !== (await sent())) {
      before = await sent()
      await sleep(100)
    }
    // Of 40 MiB: what lies in the buffers of the operating system, and a little.
    expect(before).toBeLessThanOrEqual(16 * MiB)
  })

  it('is not listened to any further, either', async () => {
    const client = await stand.greeted(await stand.aFile())
    client.pause()
    const request = concat(stock.words(13), Uint8Array.of(stock.REQUEST), stock.words(0, 0, BLOCK))
    // While it has no slot, each is answered by as many bytes.
    const requests = concat(...Array.from({ length: 4096 }, () => request))
    const isTaken = () => Promise.race([client.hand(requests).then(() => true), sleep(500, false)])
    let taken = 0
    for (; taken < 48 * MiB; taken += requests.length) if (!(await isTaken())) break
    expect(taken).toBeLessThan(48 * MiB)
  })
})

describe('hostility', () => {
  const TOO_LONG = stock.words(limits.bittorrentMessageBytes + 1)
  const cases: readonly (readonly [string, (client: stock.StockClient) => void])[] = [
    ['a message that is too long', (client) => client.write(TOO_LONG)],
    ['a message of 4 GiB', (client) => client.write(stock.words(0xff_ff_ff_ff))],
    ['a request that is cut off', (client) => client.send(stock.REQUEST, stock.words(0))],
    ['a piece that there is not', (client) => client.request(99, 0, BLOCK)],
    ['a block beyond its piece', (client) => client.request(0, 4 * MiB - 1, BLOCK)],
    ['a block before its piece', (client) => client.request(0, 0xff_ff_ff_ff, BLOCK)],
    ['a block of nothing', (client) => client.request(0, 0, 0)],
    ['a block that is too long', (client) => client.request(0, 0, limits.bittorrentBlockBytes + 1)],
    [
      'more requests than may wait',
      (client) => {
        for (let i = 0; i <= 2 * limits.bittorrentRequests; i++) client.request(0, 0, limits.bittorrentBlockBytes)
      },
    ],
    [
      'more requests for metadata than may wait',
      (client) => {
        client.extend(0, { m: { ut_metadata: 7 } })
        for (let i = 0; i <= 64 * limits.bittorrentRequests; i++) client.extend(1, { msg_type: 0, piece: 0 })
      },
    ],
  ]
  it.each(cases)('ends one connection, and no other, for %s', async (_, send) => {
    const film = await stand.aFile()
    const bystander = await stand.served(film)
    const client = await stand.served(film)
    send(client)
    await client.closed
    expect((await bystander.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('leaves no timer behind', async () => {
    const [set, clear] = [vi.spyOn(globalThis, 'setInterval'), vi.spyOn(globalThis, 'clearInterval')]
    try {
      const client = await stand.served(await stand.aFile())
      client.write(stock.words(0xff_ff_ff_ff))
      await client.closed
      const left = (): number => set.mock.results.filter(({ value }) => !clear.mock.calls.flat().includes(value)).length
      await expect.poll(left).toBe(0)
    } finally {
      vi.restoreAllMocks()
    }
  })

  it.each([
    ['a request of HTTP', utf8('GET / HTTP/1.1\r\nhost: agent\r\n\r\n')],
    ['another protocol', concat(Uint8Array.of(19), utf8('BitTorrent protocoL'), new Uint8Array(48))],
  ])('ends one connection, and no other, for %s in place of a handshake', async (_, bytes) => {
    const film = await stand.aFile()
    const client = await stand.connect()
    client.write(bytes)
    await client.closed
    expect((await (await stand.served(film)).piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('is not counted as sent what was asked for twice and sent once', async () => {
    const client = await stand.served(await stand.aFile())
    const request = (at: number) =>
      concat(stock.words(13), Uint8Array.of(stock.REQUEST), stock.words(0, at * BLOCK, BLOCK))
    client.write(concat(...[1, 0, 0].map(request)))
    let sent = 0
    const block = async (): Promise<string> => {
      sent++
      return toHex((await client.next(stock.PIECE)).slice(0, 8))
    }
    await block()
    client.request(0, 2 * BLOCK, BLOCK)
    while ((await block()) !== toHex(stock.words(0, 2 * BLOCK)));
    expect((await stand.usage.since(0)).served).toBe(sent * BLOCK)
  })

  it('is passed over where an extension is asked that was never agreed on', async () => {
    const client = await stand.served(await stand.aFile())
    client.extend(1, { msg_type: 0, piece: 0 })
    client.send(stock.EXTENDED, Uint8Array.of(1), utf8('no dictionary'))
    expect((await client.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it.each([
    ['goes round in circles', utf8('d-3:e')],
    ['is nested without end', utf8('l'.repeat(60_000))],
    ['is cut off', utf8('d1:md11:ut_meta')],
    ['has no way to be a text', utf8('d1:md1:ad8:toStringi1eeee')],
    ['has an extension by a text for its number', encode({ m: { ut_metadata: 'toString' } })],
    ['switches an extension off', encode({ m: { ut_metadata: 0 } })],
    ['has a number that is no byte', encode({ m: { ut_metadata: 256 } })],
  ])('is passed over in a handshake of extensions that %s', async (_, handshake) => {
    const client = await stand.served(await stand.aFile())
    client.send(stock.EXTENDED, Uint8Array.of(0), handshake)
    client.extend(1, { msg_type: 0, piece: 0 })
    expect((await client.piece(0, BLOCK)).length).toBe(BLOCK)
    expect(client.received.filter(({ id }) => id === stock.EXTENDED)).toEqual([])
  })

  it('is refused a chunk of metadata beyond the end', async () => {
    const client = await stand.served(await stand.aFile())
    await client.metadata()
    client.extend(1, { msg_type: 0, piece: 999 })
    const reply = await client.next(stock.EXTENDED)
    expect(equal(reply.slice(1), encode({ msg_type: 2, piece: 999 }))).toBe(true)
  })
})
