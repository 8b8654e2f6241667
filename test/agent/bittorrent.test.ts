/** What stock BitTorrent clients, and those who pose as one, get from an agent. */
import { setTimeout as sleep } from 'node:timers/promises'
import { sha1 } from '#primitives'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { listenForPeers, type PeerServer } from '../../agent/bittorrent/peer-server-node.ts'
import { createGuard, type Guard } from '../../agent/guard/guard.ts'
import type { Share } from '../../agent/share/share.ts'
import { createUsage, type Usage } from '../../agent/usage.ts'
import { concat, equal, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { locatePiece } from '../../protocol/metainfo.ts'
import { pattern } from '../pattern.ts'
import { KiB, MiB, openShop, type Shop } from './shop.ts'
import * as stock from './stock-client.ts'

const BLOCK = 16 * KiB
/** Nothing that comes from outside is a fault of ours. */
const rethrow = (fault: unknown): never => {
  throw fault as Error
}

let shop: Shop
let guard: Guard
let usage: Usage
let server: PeerServer
let clients: stock.StockClient[]

beforeEach(async () => {
  shop = await openShop()
  guard = createGuard(shop.context)
  usage = createUsage(shop.context)
  clients = []
  const { environment } = shop.context
  const parts = { environment, shares: shop.shares, guard, usage, onFault: rethrow }
  server = await listenForPeers({ ...parts, hostname: '127.0.0.1', port: 0 })
})

afterEach(async () => {
  for (const client of clients) client.close()
  await server.close()
  await shop.close()
})

async function connect(address?: string): Promise<stock.StockClient> {
  const client = await stock.connectStock(server.port, address)
  clients.push(client)
  return client
}

/** Past the handshake. */
async function greeted(share: Share, { fast = true, address = '127.0.0.1' } = {}): Promise<stock.StockClient> {
  const client = await connect(address)
  client.write(stock.handshake(share.meta.infoHashV1, fast))
  await client.next(-1)
  return client
}

async function served(share: Share, address?: string): Promise<stock.StockClient> {
  const client = await greeted(share, { ...(address !== undefined && { address }) })
  client.send(stock.INTERESTED)
  await client.next(stock.UNCHOKE)
  return client
}

async function share(name: string, bytes: Uint8Array, free = true): Promise<Share> {
  await shop.plant(name, bytes)
  return shop.shares.add({ link: 'folder', path: name, ...(free ? { public: true } : { price: 3n }) })
}

const aFile = (): Promise<Share> => share('film.bin', pattern(5 * MiB + 7))

describe('a stock client with a magnet link alone', () => {
  it('gets the info dictionary, and each piece as v1 hashes it, of a file', async () => {
    const film = await aFile()
    const client = await served(film)
    const info = await client.metadata()
    expect(toHex(sha1(info))).toBe(film.infoHashV1)
    const hashes = hashesIn(info)
    for (let index = 0; index < film.pieces; index++) {
      const piece = await client.piece(index, locatePiece(film.meta, index).length)
      expect(toHex(sha1(piece))).toBe(hashes[index])
    }
    expect((await usage.since(0)).served).toBe(5 * MiB + 7)
  })

  it('gets zeros where v1 fills up the files of a folder', async () => {
    await shop.plant('album/ä.flac', pattern(40 * KiB, 1))
    await shop.plant('album/b.flac', pattern(MiB, 2))
    const album = await shop.shares.add({ link: 'folder', path: 'album', public: true })
    const client = await served(album)
    const hashes = hashesIn(await client.metadata())
    for (let index = 0; index < album.pieces - 1; index++)
      expect(toHex(sha1(await client.piece(index, album.pieceLength)))).toBe(hashes[index])
  })

  it('hears by BEP 6 or by a bitfield that all is there, as it asks', async () => {
    const film = await aFile()
    const greeting = await connect()
    greeting.write(stock.handshake(film.meta.infoHashV1))
    expect(toHex(stock.reservedIn(await greeting.next(-1)))).toBe('0000000000100004')
    await greeting.next(stock.HAVE_ALL)
    const old = await greeted(film, { fast: false })
    expect(toHex(await old.next(stock.BITFIELD))).toBe('c0')
  })

  it('is answered what it asked for before the answer to its handshake was there', async () => {
    const film = await aFile()
    const client = await connect()
    client.write(concat(stock.handshake(film.meta.infoHashV1), stock.words(1), Uint8Array.of(stock.INTERESTED)))
    await client.next(stock.UNCHOKE)
    expect((await client.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('gets no block that it has cancelled, and is told so', async () => {
    const client = await served(await aFile())
    client.request(0, 0, BLOCK)
    client.request(1, 0, BLOCK)
    client.send(stock.CANCEL, stock.words(1, 0, BLOCK))
    expect(await client.next(stock.REJECT)).toEqual(stock.words(1, 0, BLOCK))
    client.request(0, BLOCK, BLOCK)
    expect((await client.next(stock.PIECE)).slice(0, 8)).toEqual(stock.words(0, 0))
    expect((await client.next(stock.PIECE)).slice(0, 8)).toEqual(stock.words(0, BLOCK))
  })
})

describe('a connection', () => {
  const closedTo: readonly (readonly [string, () => Promise<Share>])[] = [
    ['what costs something', () => share('dear.bin', pattern(BLOCK), false)],
    [
      'what is for a circle',
      async () => {
        await shop.plant('ours.bin', pattern(BLOCK))
        return shop.shares.add({ link: 'folder', path: 'ours.bin', public: true, circle: 'family' })
      },
    ],
    [
      'what is not shared any more',
      async () => {
        const gone = await aFile()
        await shop.shares.remove(gone.infoHash)
        return gone
      },
    ],
  ]
  it.each(closedTo)('ends without a word for %s', async (_, make) => {
    const client = await connect()
    client.write(stock.handshake((await make()).meta.infoHashV1))
    await client.closed
    expect(client.received).toEqual([])
  })

  it('ends where the next piece was taken back meanwhile', async () => {
    const film = await aFile()
    const client = await served(film)
    await client.piece(0, BLOCK)
    await shop.shares.remove(film.infoHash)
    client.request(1, 0, BLOCK)
    await expect(client.next(stock.PIECE)).rejects.toThrow('closed')
  })

  it.each([
    ['was taken back', (film: Share) => shop.shares.remove(film.infoHash)],
    ['has a price now', (film: Share) => shop.shares.add({ link: 'folder', path: film.path, price: 3n })],
    ['lies with an agent that its owner has stopped', () => guard.change({ stopped: true })],
  ])('ends within seconds where a piece that is kept %s', async (_, change) => {
    const film = await aFile()
    const client = await served(film)
    await client.piece(0, BLOCK)
    await change(film)
    shop.clock.advance(2000)
    client.request(0, BLOCK, BLOCK)
    await expect(client.next(stock.PIECE)).rejects.toThrow('closed')
  })

  it('ends with an agent that its owner has stopped', async () => {
    const film = await aFile()
    const before = await served(film)
    await guard.change({ stopped: true })
    before.request(0, 0, BLOCK)
    await before.closed
    const after = await connect()
    after.write(stock.handshake(film.meta.infoHashV1))
    await after.closed
    expect(after.received).toEqual([])
  })

  it('ends at the cap of the day, which counts what is read and what is sent', async () => {
    const film = await share('small.bin', pattern(MiB))
    await guard.change({ serve: BigInt(4 * MiB) })
    const client = await served(film)
    // Half of the cap is for what is free: the piece twice.
    await client.piece(0, MiB)
    await client.piece(0, MiB)
    client.request(0, 0, BLOCK)
    await client.closed
    expect((await guard.state()).used.serve).toBe(BigInt(2 * MiB))
  })
})

describe('among many clients', () => {
  it('so many are served as there are slots, and the next one when one leaves', async () => {
    const film = await aFile()
    const eager = await Promise.all(Array.from({ length: limits.bittorrentSlots }, () => served(film)))
    await eager[0]?.piece(0, BLOCK)
    eager[0]?.send(stock.UNINTERESTED)
    const next = await served(film, '127.0.0.2')
    expect((await next.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('one that has had its turn waits while others do, whether it asks for anything or not', async () => {
    const film = await aFile()
    const eager = await Promise.all(Array.from({ length: limits.bittorrentSlots }, () => served(film)))
    const waiting = await greeted(film, { address: '127.0.0.2' })
    waiting.send(stock.INTERESTED)
    // Once this is answered, what came before it is heard.
    await waiting.metadata()
    expect(waiting.received.filter(({ id }) => id === stock.UNCHOKE)).toEqual([])
    shop.clock.advance(limits.bittorrentSlotMs)
    await waiting.next(stock.UNCHOKE)
    expect((await waiting.piece(0, BLOCK)).length).toBe(BLOCK)
    await Promise.all(eager.map((client) => client.metadata()))
    const [choked, ...others] = eager.filter(({ received }) => received.every(({ id }) => id !== stock.UNCHOKE))
    expect(others).toEqual([])
    choked?.request(0, 0, BLOCK)
    expect(await choked?.next(stock.REJECT)).toEqual(stock.words(0, 0, BLOCK))
  })

  it('one that wants nothing any more is sent nothing', async () => {
    const client = await served(await aFile())
    client.send(stock.UNINTERESTED)
    await client.next(stock.CHOKE)
    client.request(0, 0, BLOCK)
    expect(await client.next(stock.REJECT)).toEqual(stock.words(0, 0, BLOCK))
  })

  it('one that says nothing is told that all is well, and cut off in the end', async () => {
    const film = await aFile()
    const [silent, other] = [await greeted(film), await greeted(film)]
    for (let i = 0; i < 2; i++) {
      shop.clock.advance(limits.bittorrentIdleMs / 3)
      await silent.next(-1)
      await other.metadata()
    }
    shop.clock.advance(limits.bittorrentIdleMs / 3)
    await silent.closed
    expect(other.isClosed).toBe(false)
  })

  it('one address has few of the connections', async () => {
    const film = await aFile()
    for (let i = 0; i < limits.bittorrentPeersPerAddress; i++) await greeted(film)
    const more = await connect()
    await more.closed
    clients[0]?.close()
    await clients[0]?.closed
    await expect.poll(async () => (await greeted(film).catch(() => undefined)) !== undefined).toBe(true)
  })

  it('a piece is read once for all of its blocks, whoever asks', async () => {
    const film = await aFile()
    const [one, other] = [await served(film), await served(film)]
    const readPiece = vi.spyOn(shop.shares, 'readPiece')
    await Promise.all([one.piece(0, MiB), other.piece(0, MiB)])
    expect(readPiece).toHaveBeenCalledTimes(1)
  })
})

describe('a client that reads nothing', () => {
  it('is not read for any further than a little ahead', async () => {
    const film = await aFile()
    const client = await served(film)
    client.pause()
    for (let at = 0; at < 256; at++) client.request(0, at * BLOCK, BLOCK)
    const served0 = async () => (await usage.since(0)).served
    await expect.poll(served0).toBeGreaterThan(0)
    let before = -1
    while (before !== (await served0())) {
      before = await served0()
      await sleep(100)
    }
    // The rest lies in the buffers of the operating system.
    expect(before).toBeLessThanOrEqual(4 * MiB)
  })

  it('is not listened to any further, either', async () => {
    const client = await greeted(await aFile())
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
    const film = await aFile()
    const bystander = await served(film)
    const client = await served(film)
    send(client)
    await client.closed
    expect((await bystander.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('leaves no timer behind', async () => {
    const [set, clear] = [vi.spyOn(globalThis, 'setInterval'), vi.spyOn(globalThis, 'clearInterval')]
    try {
      const client = await served(await aFile())
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
    const film = await aFile()
    const client = await connect()
    client.write(bytes)
    await client.closed
    expect((await (await served(film)).piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('is passed over where an extension is asked that was never agreed on', async () => {
    const client = await served(await aFile())
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
    const client = await served(await aFile())
    client.send(stock.EXTENDED, Uint8Array.of(0), handshake)
    client.extend(1, { msg_type: 0, piece: 0 })
    expect((await client.piece(0, BLOCK)).length).toBe(BLOCK)
    expect(client.received.filter(({ id }) => id === stock.EXTENDED)).toEqual([])
  })

  it('is refused a chunk of metadata beyond the end', async () => {
    const client = await served(await aFile())
    await client.metadata()
    client.extend(1, { msg_type: 0, piece: 999 })
    const reply = await client.next(stock.EXTENDED)
    expect(equal(reply.slice(1), encode({ msg_type: 2, piece: 999 }))).toBe(true)
  })
})

/** v1's, hex. */
function hashesIn(info: Bytes): string[] {
  const text = Buffer.from(info).toString('latin1')
  const [head = '', length = ''] = /6:pieces(\d+):/.exec(text) ?? []
  const at = text.indexOf(head) + head.length
  return Array.from({ length: Number(length) / 20 }, (_, i) => toHex(info.slice(at + i * 20, at + i * 20 + 20)))
}
