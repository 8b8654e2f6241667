/** What stock BitTorrent clients get from an agent. */
import { sha1 } from '#primitives'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Share } from '../../agent/share/share.ts'
import { concat, toHex, type Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { locatePiece } from '../../protocol/metainfo.ts'
import { pattern } from '../pattern.ts'
import { openPeerStand, type PeerStand } from './peer-stand.ts'
import { KiB, MiB } from './shop.ts'
import * as stock from './stock-client.ts'

const BLOCK = 16 * KiB

let stand: PeerStand

beforeEach(async () => {
  stand = await openPeerStand()
})
afterEach(() => stand.close())

describe('a stock client with a magnet link alone', () => {
  it('gets the info dictionary, and each piece as v1 hashes it, of a file', async () => {
    const film = await stand.aFile()
    const client = await stand.served(film)
    const info = await client.metadata()
    expect(toHex(sha1(info))).toBe(film.infoHashV1)
    const hashes = hashesIn(info)
    for (let index = 0; index < film.pieces; index++) {
      const piece = await client.piece(index, locatePiece(film.meta, index).length)
      expect(toHex(sha1(piece))).toBe(hashes[index])
    }
    expect((await stand.usage.since(0)).served).toBe(5 * MiB + 7)
  })

  it('gets zeros where v1 fills up the files of a folder', async () => {
    await stand.shop.plant('album/ä.flac', pattern(40 * KiB, 1))
    await stand.shop.plant('album/b.flac', pattern(MiB, 2))
    const album = await stand.shop.shares.add({ link: 'folder', path: 'album', public: true })
    const client = await stand.served(album)
    const hashes = hashesIn(await client.metadata())
    for (let index = 0; index < album.pieces - 1; index++)
      expect(toHex(sha1(await client.piece(index, album.pieceLength)))).toBe(hashes[index])
  })

  it('hears by BEP 6 or by a bitfield that all is there, as it asks', async () => {
    const film = await stand.aFile()
    const greeting = await stand.connect()
    greeting.write(stock.handshake(film.meta.infoHashV1))
    expect(toHex(stock.reservedIn(await greeting.next(-1)))).toBe('0000000000100004')
    await greeting.next(stock.HAVE_ALL)
    const old = await stand.greeted(film, { fast: false })
    expect(toHex(await old.next(stock.BITFIELD))).toBe('c0')
  })

  it('is answered what it asked for before the answer to its handshake was there', async () => {
    const film = await stand.aFile()
    const client = await stand.connect()
    client.write(concat(stock.handshake(film.meta.infoHashV1), stock.words(1), Uint8Array.of(stock.INTERESTED)))
    await client.next(stock.UNCHOKE)
    expect((await client.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('gets no block that it has cancelled, and is told so', async () => {
    const client = await stand.served(await stand.aFile())
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
    ['what costs something', () => stand.share('dear.bin', pattern(BLOCK), false)],
    [
      'what is for a circle',
      async () => {
        await stand.shop.plant('ours.bin', pattern(BLOCK))
        return stand.shop.shares.add({ link: 'folder', path: 'ours.bin', public: true, circle: 'family' })
      },
    ],
    [
      'what is not shared any more',
      async () => {
        const gone = await stand.aFile()
        await stand.shop.shares.remove(gone.infoHash)
        return gone
      },
    ],
  ]
  it.each(closedTo)('ends without a word for %s', async (_, make) => {
    const client = await stand.connect()
    client.write(stock.handshake((await make()).meta.infoHashV1))
    await client.closed
    expect(client.received).toEqual([])
  })

  it('ends where the next piece was taken back meanwhile', async () => {
    const film = await stand.aFile()
    const client = await stand.served(film)
    await client.piece(0, BLOCK)
    await stand.shop.shares.remove(film.infoHash)
    client.request(1, 0, BLOCK)
    await expect(client.next(stock.PIECE)).rejects.toThrow('closed')
  })

  it.each([
    ['was taken back', (film: Share) => stand.shop.shares.remove(film.infoHash)],
    ['has a price now', (film: Share) => stand.shop.shares.add({ link: 'folder', path: film.path, price: 3n })],
    ['lies with an agent that its owner has stopped', () => stand.guard.change({ stopped: true })],
  ])('ends within seconds where a piece that is kept %s', async (_, change) => {
    const film = await stand.aFile()
    const client = await stand.served(film)
    await client.piece(0, BLOCK)
    await change(film)
    stand.shop.clock.advance(2000)
    client.request(0, BLOCK, BLOCK)
    await expect(client.next(stock.PIECE)).rejects.toThrow('closed')
  })

  it('ends with an agent that its owner has stopped', async () => {
    const film = await stand.aFile()
    const before = await stand.served(film)
    await stand.guard.change({ stopped: true })
    before.request(0, 0, BLOCK)
    await before.closed
    const after = await stand.connect()
    after.write(stock.handshake(film.meta.infoHashV1))
    await after.closed
    expect(after.received).toEqual([])
  })

  it('ends at the cap of the day, which counts what is read and what is sent', async () => {
    const film = await stand.share('small.bin', pattern(MiB))
    await stand.guard.change({ serve: BigInt(4 * MiB) })
    const client = await stand.served(film)
    // Half of the cap is for what is free: the piece twice.
    await client.piece(0, MiB)
    await client.piece(0, MiB)
    client.request(0, 0, BLOCK)
    await client.closed
    expect((await stand.guard.state()).used.serve).toBe(BigInt(2 * MiB))
  })
})

const oneInEachSlot = (film: Share) =>
  Promise.all(Array.from({ length: limits.bittorrentSlots }, () => stand.served(film)))

/** Where every slot is taken. */
async function inLine(film: Share) {
  const client = await stand.greeted(film)
  client.send(stock.INTERESTED)
  // Once this is answered, what came before it is heard.
  await client.metadata()
  return client
}

describe('among many clients', () => {
  it('so many are served as there are slots, and the next one when one leaves', async () => {
    const film = await stand.aFile()
    const eager = await oneInEachSlot(film)
    await eager[0]?.piece(0, BLOCK)
    eager[0]?.send(stock.UNINTERESTED)
    const next = await stand.served(film)
    expect((await next.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('one that goes while it waits takes nobody’s turn', async () => {
    const film = await stand.aFile()
    const eager = await oneInEachSlot(film)
    const gone = await inLine(film)
    gone.close()
    await gone.closed
    const next = await inLine(film)
    eager[0]?.send(stock.UNINTERESTED)
    await next.next(stock.UNCHOKE)
    expect((await next.piece(0, BLOCK)).length).toBe(BLOCK)
  })

  it('one that has had its turn waits while others do, whether it asks for anything or not', async () => {
    const film = await stand.aFile()
    const eager = await oneInEachSlot(film)
    const waiting = await inLine(film)
    expect(waiting.received.filter(({ id }) => id === stock.UNCHOKE)).toEqual([])
    stand.shop.clock.advance(limits.bittorrentSlotMs)
    await waiting.next(stock.UNCHOKE)
    expect((await waiting.piece(0, BLOCK)).length).toBe(BLOCK)
    await Promise.all(eager.map((client) => client.metadata()))
    const [choked, ...others] = eager.filter(({ received }) => received.every(({ id }) => id !== stock.UNCHOKE))
    expect(others).toEqual([])
    choked?.request(0, 0, BLOCK)
    expect(await choked?.next(stock.REJECT)).toEqual(stock.words(0, 0, BLOCK))
  })

  it('one that wants nothing any more is sent nothing', async () => {
    const client = await stand.served(await stand.aFile())
    client.send(stock.UNINTERESTED)
    await client.next(stock.CHOKE)
    client.request(0, 0, BLOCK)
    expect(await client.next(stock.REJECT)).toEqual(stock.words(0, 0, BLOCK))
  })

  it('one that says nothing is told that all is well, and cut off in the end', async () => {
    const film = await stand.aFile()
    const [silent, other] = [await stand.greeted(film), await stand.greeted(film)]
    for (let i = 0; i < 2; i++) {
      stand.shop.clock.advance(limits.bittorrentIdleMs / 3)
      await silent.next(-1)
      await other.metadata()
    }
    stand.shop.clock.advance(limits.bittorrentIdleMs / 3)
    await silent.closed
    expect(other.isClosed).toBe(false)
  })

  it('one address has few of the connections', async () => {
    const film = await stand.aFile()
    const first = await stand.greeted(film)
    for (let i = 1; i < limits.bittorrentPeersPerAddress; i++) await stand.greeted(film)
    const more = await stand.connect()
    await more.closed
    first.close()
    await first.closed
    await expect.poll(async () => (await stand.greeted(film).catch(() => undefined)) !== undefined).toBe(true)
  })

  it('a piece is read once for all of its blocks, whoever asks', async () => {
    const film = await stand.aFile()
    const [one, other] = [await stand.served(film), await stand.served(film)]
    const readPiece = vi.spyOn(stand.shop.shares, 'readPiece')
    await Promise.all([one.piece(0, MiB), other.piece(0, MiB)])
    expect(readPiece).toHaveBeenCalledTimes(1)
  })
})

/** v1's, hex. */
function hashesIn(info: Bytes): string[] {
  const text = Buffer.from(info).toString('latin1')
  const [head = '', length = ''] = /6:pieces(\d+):/.exec(text) ?? []
  const at = text.indexOf(head) + head.length
  return Array.from({ length: Number(length) / 20 }, (_, i) => toHex(info.slice(at + i * 20, at + i * 20 + 20)))
}
