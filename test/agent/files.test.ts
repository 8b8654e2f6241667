/** What is free for all, file by file, over HTTP. */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sendFileCopy } from '../../agent/api/files-api.ts'
import type { Share } from '../../agent/share/share.ts'
import { limits } from '../../protocol/limits.ts'
import { pattern } from '../pattern.ts'
import { bytesOf, openFileStand, SENDERS, type FileStand } from './file-stand.ts'
import { KiB, MiB } from './shop.ts'

let stand: FileStand
beforeEach(async () => {
  stand = await openFileStand()
})
afterEach(() => stand.close())

const FILM = pattern(9 * MiB + 7)
/** Of three pieces. */
const aFilm = (): Promise<Share> => stand.share('film.bin', FILM)
const codeOf = async (response: Response): Promise<unknown> => ((await response.json()) as { code: string }).code

describe.each(Object.entries(SENDERS))('a file that is free for all, %s', (_, sendFile) => {
  let here: FileStand
  let film: Share
  beforeEach(async () => {
    here = await openFileStand(sendFile)
    await here.shop.plant('film.bin', FILM)
    film = await here.shop.shares.add({ link: 'folder', path: 'film.bin', public: true })
  })
  afterEach(() => here.close())

  it('comes whole, by either info hash, as what no browser takes for a page', async () => {
    for (const infoHash of [film.infoHash, film.infoHashV1]) {
      const reply = await here.get({ infoHash }, 'film.bin')
      expect([reply.status, Object.fromEntries(reply.headers)]).toMatchObject([
        200,
        {
          'accept-ranges': 'bytes',
          'content-disposition': `attachment; filename="film.bin"; filename*=UTF-8''film.bin`,
          'content-length': String(FILM.length),
          'content-security-policy': "sandbox; default-src 'none'",
          'content-type': 'application/octet-stream',
          'x-content-type-options': 'nosniff',
        },
      ])
      expect(Buffer.from(await bytesOf(reply)).equals(FILM)).toBe(true)
    }
    expect((await here.usage.since(0)).served).toBe(2 * FILM.length)
  })

  it('comes in any range, which alone is read', async () => {
    const range = fc.tuple(fc.nat(FILM.length - 1), fc.integer({ min: 1, max: 6 * MiB }))
    await fc.assert(
      fc.asyncProperty(range, async ([first, length]) => {
        const end = Math.min(first + length, FILM.length)
        here.reads.length = 0
        const reply = await here.get(film, 'film.bin', { range: `bytes=${first}-${first + length - 1}` })
        expect([reply.status, reply.headers.get('content-range')]).toEqual([
          206,
          `bytes ${first}-${end - 1}/${FILM.length}`,
        ])
        expect(Buffer.from(await bytesOf(reply)).equals(FILM.subarray(first, end))).toBe(true)
        expect(here.reads.reduce((sum, bytes) => sum + bytes, 0)).toBe(end - first)
      }),
      { numRuns: 30 },
    )
  })

  it('that breaks off in the middle ends the connection, and what went wrong is told', async () => {
    here.beforeRead = async (read) => {
      if (read === 1) throw new Error('a fault of ours')
    }
    const reply = await here.get(film, 'film.bin')
    expect(reply.status).toBe(200)
    await expect(bytesOf(reply)).rejects.toThrow(/terminated|a fault of ours/)
    expect(here.faults).toEqual([new Error('a fault of ours')])
  })

  it('that nobody takes any more is not read on', async () => {
    const gate = Promise.withResolvers<void>()
    here.beforeRead = async (read) => (read === 1 ? gate.promise : undefined)
    const reply = await here.get(film, 'film.bin')
    await reply.body?.cancel()
    gate.resolve()
    await bytesOf(await here.get(film, 'film.bin', { range: 'bytes=0-0' }))
    expect(here.reads.length).toBeLessThanOrEqual(3)
  })
})

describe('a range', () => {
  it('beyond the end is refused, with the length of the file', async () => {
    const reply = await stand.get(await aFilm(), 'film.bin', { range: `bytes=${FILM.length}-` })
    expect([reply.status, reply.headers.get('content-range'), await codeOf(reply)]).toEqual([
      416,
      `bytes */${FILM.length}`,
      'range-invalid',
    ])
    expect(stand.reads).toEqual([])
  })

  it('is of the content that the reader has the rest of, or all of it comes', async () => {
    const film = await aFilm()
    const etag = (await stand.head(film, 'film.bin')).headers.get('etag') ?? ''
    const ask = (ifRange: string) => stand.head(film, 'film.bin', { range: 'bytes=0-9', 'if-range': ifRange })
    const get = (ifRange: string) => stand.get(film, 'film.bin', { range: 'bytes=0-9', 'if-range': ifRange })
    const replies = [await get(etag), await get('"other"'), await get(`W/${etag}`), await ask(etag)]
    expect(replies.map(({ status }) => status)).toEqual([206, 200, 200, 200])
    await Promise.all(replies.map((reply) => bytesOf(reply)))
  })
})

describe('where the agent’s host bounds an answer', () => {
  const MOST = 6 * MiB
  let bounded: FileStand
  let film: Share
  beforeEach(async () => {
    bounded = await openFileStand(sendFileCopy, { answerBytes: MOST })
    film = await bounded.share('film.bin', FILM)
  })
  afterEach(() => bounded.close())

  it('a longer file is refused with how to get it, and a HEAD request tells its length', async () => {
    const reply = await bounded.get(film, 'film.bin')
    const { code, detail } = (await reply.json()) as { code: string; detail: string }
    expect([reply.status, code]).toEqual([413, 'too-large'])
    expect(detail).toContain(`http://agent.test/v1/torrents/${film.infoHash}.torrent`)
    expect(bounded.reads).toEqual([])
    expect((await bounded.head(film, 'film.bin')).headers.get('content-length')).toBe(String(FILM.length))
  })

  it('a longer range is answered with its beginning, which says how far it goes', async () => {
    const reply = await bounded.get(film, 'film.bin', { range: 'bytes=7-' })
    expect([reply.status, reply.headers.get('content-range')]).toEqual([206, `bytes 7-${MOST + 6}/${FILM.length}`])
    expect(Buffer.from(await bytesOf(reply)).equals(FILM.subarray(7, MOST + 7))).toBe(true)
  })

  it('all comes, range by range', async () => {
    const parts = [await bounded.get(film, 'film.bin', { range: 'bytes=0-' })]
    parts.push(await bounded.get(film, 'film.bin', { range: `bytes=${MOST}-` }))
    expect(Buffer.concat(await Promise.all(parts.map(bytesOf))).equals(FILM)).toBe(true)
  })
})

describe('a reader that has the file', () => {
  it('is told so, and nothing is read', async () => {
    const film = await aFilm()
    const etag = (await stand.head(film, 'film.bin')).headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[0-9a-f]{64}"$/)
    for (const known of [etag, `"other", W/${etag}`, '*']) {
      const reply = await stand.get(film, 'film.bin', { 'if-none-match': known })
      expect([known, reply.status, await reply.text()]).toEqual([known, 304, ''])
    }
    expect(stand.reads).toEqual([])
  })
})

describe('a HEAD request', () => {
  it('reads nothing and counts for nothing', async () => {
    await stand.guard.change({ serve: BigInt(2 * FILM.length) })
    const reply = await stand.head(await aFilm(), 'film.bin', { range: 'bytes=0-9' })
    expect([reply.status, reply.headers.get('content-length'), await reply.text()]).toEqual([
      200,
      String(FILM.length),
      '',
    ])
    expect([stand.reads, (await stand.guard.state()).used.serve]).toEqual([[], 0n])
    expect((await stand.usage.since(0)).served).toBe(0)
  })
})

describe('the files of a folder', () => {
  const NAMES = ['a.txt', 'café/日本 "x" 100%.flac', "it's (1)*.bin", 'b/c/d/e']
  let album: Share
  beforeEach(async () => {
    for (const [i, name] of NAMES.entries()) await stand.shop.plant(`album/${name}`, pattern(30 * KiB + i, i))
    await stand.shop.plant('album/empty', new Uint8Array(0))
    album = await stand.shop.shares.add({ link: 'folder', path: 'album', public: true })
  })

  it('have the folder’s name and their path for theirs', async () => {
    for (const [i, name] of NAMES.entries()) {
      const reply = await stand.get(album, ['album', ...name.split('/')].map(encodeURIComponent).join('/'))
      expect([name, reply.status, await bytesOf(reply)]).toEqual([name, 200, pattern(30 * KiB + i, i)])
    }
  })

  it('are saved under their own names, whatever those are', async () => {
    const [plain, exotic, quoted] = await Promise.all(
      NAMES.map(async (name) =>
        (await stand.head(album, `album/${name.split('/').map(encodeURIComponent).join('/')}`)).headers.get(
          'content-disposition',
        ),
      ),
    )
    expect(plain).toBe(`attachment; filename="a.txt"; filename*=UTF-8''a.txt`)
    expect(exotic).toBe(
      `attachment; filename="__ _x_ 100_.flac"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20%22x%22%20100%25.flac`,
    )
    expect(quoted).toBe(`attachment; filename="it's (1)*.bin"; filename*=UTF-8''it%27s%20%281%29%2a.bin`)
  })

  it('are listed by their links, each of which leads to its file, in text that no browser takes for a page', async () => {
    await stand.guard.change({ serve: BigInt(MiB) })
    const reply = await stand.get(album, '')
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'content-security-policy': "sandbox; default-src 'none'",
      'x-content-type-options': 'nosniff',
    })
    const text = await reply.text()
    expect((await stand.guard.state()).used.serve).toBe(BigInt(text.length))
    const statuses = text.split('\n').map(async (line) => {
      const path = line.replace(`http://agent.test/v1/files/${album.infoHash}/`, '')
      return line === '' ? 'the end' : (await stand.head(album, path)).status
    })
    expect(await Promise.all(statuses)).toEqual([...Array.from({ length: NAMES.length + 1 }, () => 200), 'the end'])
    expect((await stand.head(album, '')).status).toBe(200)
  })

  it('are had by the folder’s name alone where there is but one', async () => {
    await stand.shop.plant('single/one.bin', pattern(KiB))
    const single = await stand.shop.shares.add({ link: 'folder', path: 'single', public: true })
    for (const path of ['single', 'single/one.bin'])
      expect(await bytesOf(await stand.get(single, path))).toEqual(pattern(KiB))
  })

  it('may be empty', async () => {
    const reply = await stand.get(album, 'album/empty')
    expect([reply.status, reply.headers.get('content-length'), await reply.text()]).toEqual([200, '0', ''])
    expect((await stand.get(album, 'album/empty', { range: 'bytes=0-' })).status).toBe(416)
  })

  const others: readonly (readonly [string, string])[] = [
    ...[
      '%ff',
      '/',
      'album',
      'album/',
      'a.txt',
      'album/a.txt/',
      'album//a.txt',
      'album/A.TXT',
      'album/b%2fc/d/e',
      'album%2Fa.txt',
      'album/..%2f..%2fa.txt',
      'album/../../../../etc/passwd',
      'album/%2e%2e/%2e%2e/a.txt',
      'album/a.txt%00',
      'album/%00',
      'album/%61%2etxt%2500',
      'album/%2561.txt',
      'album/%ff',
      'album/%',
      'album/__proto__',
    ].map((path) => [path, path] as const),
    ['a long one', `album/${'a'.repeat(8000)}`],
    ['one in many folders', `${'a/'.repeat(3000)}b`],
  ]
  it.each(others)('have no other name, such as: %s', async (_, path) => {
    const [status, body] = await stand.raw(`/v1/files/${album.infoHash}/${path}`)
    expect([404, 400]).toContain(status)
    expect(['not-found', 'bad-request']).toContain((JSON.parse(body) as { code: string }).code)
    expect(stand.reads).toEqual([])
  })

  it('may be asked for by a path that a browser would have shortened', async () => {
    const [status] = await stand.raw(`/v1/files/${album.infoHash}/album/x/%2e%2e/a.txt`)
    expect(status).toBe(200)
  })
})

describe('what is not free for all', () => {
  const unknown = { infoHash: 'ab'.repeat(32) }
  const hidden: readonly (readonly [string, () => Promise<Share>])[] = [
    ['has a price', () => stand.share('dear.bin', pattern(KiB), { price: 3n })],
    ['costs nothing and is not public', () => stand.share('dear.bin', pattern(KiB), { price: 0n })],
    ['is for a circle', () => stand.share('dear.bin', pattern(KiB), { circle: 'family' })],
    [
      'was taken back',
      async () => {
        const share = await stand.share('dear.bin', pattern(KiB))
        await stand.shop.shares.remove(share.infoHash)
        return share
      },
    ],
    [
      'had a price and has changed',
      async () => {
        const share = await stand.share('dear.bin', pattern(KiB), { price: 3n })
        await rm(join(stand.shop.folder, 'dear.bin'))
        await expect(stand.shop.shares.readPiece(share, 0)).rejects.toThrow('missing')
        return share
      },
    ],
  ]
  it.each(hidden)('is answered as what is not known, where it %s', async (_, make) => {
    const share = await make()
    for (const path of ['dear.bin', 'other', '']) {
      const [own, other] = [await stand.get(share, path), await stand.get(unknown, path)]
      expect([own.status, Object.fromEntries(own.headers), await own.text()]).toEqual([
        404,
        { ...Object.fromEntries(other.headers), date: expect.any(String) },
        await other.text(),
      ])
    }
  })

  it('is refused by an agent that is stopped, as everything is', async () => {
    const film = await aFilm()
    await stand.guard.change({ stopped: true })
    for (const share of [film, unknown]) expect(await codeOf(await stand.get(share, 'film.bin'))).toBe('stopped')
  })

  it('ends before the next piece once it is taken back', async () => {
    const film = await aFilm()
    stand.beforeRead = async (read) => {
      if (read === 0) await stand.shop.shares.remove(film.infoHash)
    }
    await expect(bytesOf(await stand.get(film, 'film.bin'))).rejects.toThrow('terminated')
    expect([stand.reads.length, stand.faults]).toEqual([1, []])
  })

  it('is no info hash', async () => {
    expect(await codeOf(await stand.get({ infoHash: 'ab'.repeat(31) }, 'film.bin'))).toBe('bad-request')
  })
})

describe('a file that has changed', () => {
  it('is sent no more', async () => {
    const film = await aFilm()
    await writeFile(join(stand.shop.folder, 'film.bin'), pattern(FILM.length, 2))
    const reply = await stand.get(film, 'film.bin')
    expect([reply.status, await codeOf(reply)]).toEqual([410, 'content-changed'])
    expect(await codeOf(await stand.head(film, 'film.bin').then(() => stand.get(film, 'film.bin')))).toBe(
      'content-changed',
    )
  })
})

describe('the cap of the day', () => {
  it('counts each piece that is read, and ends what goes beyond it', async () => {
    const film = await aFilm()
    // Half of the cap is for what is free: two pieces.
    await stand.guard.change({ serve: BigInt(16 * MiB) })
    await expect(bytesOf(await stand.get(film, 'film.bin'))).rejects.toThrow('terminated')
    const next = await stand.get(film, 'film.bin')
    expect([next.status, await codeOf(next), next.headers.has('retry-after')]).toEqual([429, 'cap-reached', true])
    expect((await stand.usage.since(0)).served).toBe(8 * MiB)
  })

  it('is charged a whole piece for the least range of one', async () => {
    const film = await aFilm()
    await stand.guard.change({ serve: BigInt(16 * MiB) })
    const range = { range: 'bytes=0-0' }
    const replies = [await stand.get(film, 'film.bin', range), await stand.get(film, 'film.bin', range)]
    expect(replies.map(({ status }) => status)).toEqual([206, 206])
    expect((await stand.get(film, 'film.bin', range)).status).toBe(429)
  })
})

describe('among many readers', () => {
  it('each has the file', async () => {
    const film = await aFilm()
    const replies = await Promise.all(Array.from({ length: 8 }, () => stand.get(film, 'film.bin').then(bytesOf)))
    for (const bytes of replies) expect(Buffer.from(bytes).equals(FILM)).toBe(true)
  })

  it('those who take nothing are cut off, and give their buffers to those who wait', async () => {
    const film = await aFilm()
    const pieces = limits.servingBytes / film.pieceLength
    const stalled = await Promise.all(Array.from({ length: pieces }, () => stand.stalled(film, 'film.bin')))
    expect(stand.reads.length).toBe(pieces)
    stand.shop.clock.advance(limits.sendPatienceMs)
    expect(Buffer.from(await bytesOf(await stand.get(film, 'film.bin'))).equals(FILM)).toBe(true)
    for (const socket of stalled) socket.destroy()
  })
})
