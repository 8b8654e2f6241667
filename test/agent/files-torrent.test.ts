/** What a stock client needs to begin with a web seed. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { decode, type Dictionary } from '../../protocol/encoding.ts'
import { parseTorrent, TORRENT_DEPTH } from '../../protocol/metainfo.ts'
import { pattern } from '../pattern.ts'
import { bytesOf, openFileStand, type FileStand } from './file-stand.ts'
import { KiB, MiB } from './shop.ts'

const BINARY = { keys: 'binary', depth: TORRENT_DEPTH } as const

let stand: FileStand
beforeEach(async () => {
  stand = await openFileStand()
})
afterEach(() => stand.close())

describe('the torrent of what is free for all', () => {
  const torrentOf = (infoHash: string, method = 'GET'): Promise<Response> =>
    fetch(`${stand.url}/v1/torrents/${infoHash}.torrent`, { method })

  it('is that of the share, and names the agent as tracker and web seed', async () => {
    const film = await stand.share('film.bin', pattern(9 * MiB))
    const own = decode(await stand.shop.shares.torrent(film.infoHash), BINARY)
    for (const infoHash of [film.infoHash, film.infoHashV1]) {
      const reply = await torrentOf(infoHash)
      expect(reply.headers.get('content-type')).toBe('application/x-bittorrent')
      expect(reply.headers.get('content-disposition')).toContain('film.bin.torrent')
      const torrent = await bytesOf(reply)
      expect(toHex(parseTorrent(torrent).infoHash)).toBe(film.infoHash)
      expect(decode(torrent, BINARY)).toEqual({
        ...(own as Dictionary),
        announce: utf8('http://agent.test/announce'),
        'url-list': [utf8(`http://agent.test/v1/files/${film.infoHash}/`)],
      })
    }
  })

  it('counts as free content, and a HEAD request for nothing', async () => {
    const film = await stand.share('film.bin', pattern(9 * MiB))
    await stand.guard.change({ serve: BigInt(MiB) })
    expect((await torrentOf(film.infoHash, 'HEAD')).status).toBe(200)
    expect((await stand.guard.state()).used.serve).toBe(0n)
    const { length } = await stand.shop.shares.torrent(film.infoHash)
    await bytesOf(await torrentOf(film.infoHash))
    expect((await stand.guard.state()).used.serve).toBe(BigInt(length))
  })

  it('is not there of what has a price, and of what is not known', async () => {
    const dear = await stand.share('dear.bin', pattern(KiB), { price: 3n })
    const [own, other] = [await torrentOf(dear.infoHash), await torrentOf('ab'.repeat(32))]
    expect([own.status, await own.text()]).toEqual([404, await other.text()])
  })
})
