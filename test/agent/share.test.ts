import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AgentContext } from '../../agent/context.ts'
import { createLinks, type Links } from '../../agent/links.ts'
import type { RepositoryClient } from '../../agent/repository-client.ts'
import { createShares, type Share, type Shares } from '../../agent/share.ts'
import { choosePieceLength } from '../../agent/share-source.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { isWithdrawal, parseAnnouncement, type Announcement } from '../../protocol/announcement.ts'
import { countPieces } from '../../protocol/bitfield.ts'
import { HASH_BYTES, layerAbove, levelOf } from '../../protocol/block-tree.ts'
import { concat, toHex, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import { limits } from '../../protocol/limits.ts'
import { filePath, parseTorrent, type MetaFile } from '../../protocol/metainfo.ts'
import { verifyPiece } from '../../protocol/piece.ts'
import { Problem } from '../../protocol/problem.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { createFaultyStore, WRITE_FAULTS } from '../faults/faulty-store.ts'
import { pattern } from '../pattern.ts'
import { handClock, type HandClock } from './hand-clock.ts'

const KiB = 1024
const MiB = 1024 * KiB
const owner = signerFrom(pattern(32, 1))
const agent = signerFrom(pattern(32, 2))

/** Keeps what it is told and checks it as a repository would; `down` makes it fail. */
function fakeRepository() {
  const torrents = new Map<string, Bytes>()
  const leaves = new Map<string, Map<number, Bytes[]>>()
  const announcements: Announcement[] = []
  const introduced: unknown[] = []
  const state = { down: false, calls: 0 }
  function answer(): void {
    state.calls++
    if (state.down) throw new Problem('peer-failed', 'The repository did not answer.')
  }
  const client: Pick<RepositoryClient, 'putIdentity' | 'putTorrent' | 'putLeaves' | 'announce'> = {
    async putIdentity(operations) {
      introduced.push(operations)
    },
    async putTorrent(infoHash, torrent) {
      answer()
      expect(toHex(parseTorrent(torrent).infoHash)).toBe(infoHash)
      torrents.set(infoHash, torrent)
    },
    async putLeaves(infoHash, run) {
      answer()
      const known = leaves.get(infoHash) ?? new Map<number, Bytes[]>()
      leaves.set(infoHash, known)
      const before = run.from === 0 ? [] : (known.get(run.file) ?? [])
      expect(run.from).toBe(before.length)
      known.set(run.file, [...before, ...run.leaves])
    },
    async announce(envelope) {
      answer()
      const announcement = parseAnnouncement(envelope)
      if (!torrents.has(toHex(announcement.infoHash))) throw new Problem('not-found', 'Unknown content.')
      const before = announcements.findLast((one) => toHex(one.infoHash) === toHex(announcement.infoHash))
      if (before) expect(announcement.issued).toBeGreaterThan(before.issued)
      announcements.push(announcement)
    },
  }
  const latest = (share: Share): Announcement | undefined =>
    announcements.findLast((one) => toHex(one.infoHash) === share.infoHash)
  return { ...state, state, client: client as RepositoryClient, torrents, leaves, announcements, introduced, latest }
}

let folder: string
let clock: HandClock
let repository: ReturnType<typeof fakeRepository>
let context: AgentContext
let links: Links
let shares: Shares

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-share-'))
  clock = handClock()
  repository = fakeRepository()
  context = contextAt('http://agent.test')
  links = createLinks(context)
  await links.add('folder', { path: folder })
  shares = createShares(context, links)
})
afterEach(async () => {
  await links.close()
  await rm(folder, { recursive: true, force: true })
})

function contextAt(publicUrl: string): AgentContext {
  const terms = { agent: agent.key, owner: pattern(32, 3), may: ['announce'] as const, day: 0n, total: 0n }
  const times = { issued: clock.now(), expires: clock.now() + limits.delegationMs }
  return {
    environment: {
      clock,
      random: { bytes: (length) => new Uint8Array(randomBytes(length)) },
      transport: () => Promise.reject(new Error('no network')),
    },
    store: openSqlite(':memory:'),
    owner: pattern(32, 3),
    operations: [],
    delegation: delegate({ ...terms, ...times }, owner),
    signer: agent,
    ledger: { info: () => Promise.resolve({ unitPrice: 5n }) } as AgentContext['ledger'],
    repository: repository.client,
    publicUrl,
    allowLoopback: true,
  }
}

async function plant(name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true })
  await writeFile(join(folder, name), bytes)
}

/** Reads every piece, checks it, and puts the files together as a downloader would. */
async function download(share: Share): Promise<Map<string, Uint8Array>> {
  const parts = share.meta.files.map((): Uint8Array[] => [])
  for (let index = 0; index < share.pieces; index++) {
    const bytes = await shares.readPiece(share, index)
    expect(verifyPiece(share.meta, index, bytes)).toBe(true)
    const file = share.meta.files.findLastIndex(({ firstPiece }) => firstPiece <= index)
    parts[file]?.push(Uint8Array.from(bytes))
  }
  return new Map(share.meta.files.map((file, i) => [filePath(share.meta, file).join('/'), concat(...(parts[i] ?? []))]))
}

/** The leaves that the repository got hash to the pieces of the torrent. */
function expectLeaves(share: Share): void {
  share.meta.files.forEach((file: MetaFile, i) => {
    const blocks = concat(...(repository.leaves.get(share.infoHash)?.get(i) ?? []))
    expect(blocks.length).toBe(Math.ceil(file.length / (16 * KiB)) * HASH_BYTES)
    if (file.length <= share.pieceLength) return
    expect(layerAbove(blocks, 0, levelOf(share.pieceLength))).toEqual(Uint8Array.from(file.pieceHashes))
  })
}

describe('sharing a file', () => {
  test.each([0, 1, 16 * KiB, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 9 * MiB + 12_345])('of %i bytes', async (size) => {
    const bytes = pattern(size)
    await plant('ü/file.bin', bytes)
    const share = await shares.add({ path: 'ü/file.bin', price: 3n })
    expect(share).toMatchObject({ name: 'file.bin', bytes: size, pieceLength: 4 * MiB, price: 3n, link: 'folder' })
    expect(share.pieces).toBe(Math.ceil(size / (4 * MiB)))
    const files = await download(share)
    expect([...files.keys()]).toEqual(['file.bin'])
    expect(Buffer.from(files.get('file.bin') as Uint8Array).equals(bytes)).toBe(true)
    expect(await shares.torrent(share.infoHash)).toEqual(repository.torrents.get(share.infoHash))
    expectLeaves(share)
    expect(countPieces(await shares.bitfield(share))).toBe(share.pieces)
  })

  test('reads a piece into the buffer that was given', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    const into = new Uint8Array(100)
    expect(await shares.readPiece(share, 0, into)).toBe(into)
    expect(into).toEqual(pattern(100))
    await expect(shares.readPiece(share, 1)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('asks the ledger’s unit price unless told otherwise', async () => {
    await plant('file', pattern(100))
    expect(await shares.add({ path: 'file' })).toMatchObject({ price: 5n, public: false })
    expect(await shares.add({ path: 'file', price: 2n })).toMatchObject({ price: 2n, public: false })
    expect(await shares.add({ path: 'file' })).toMatchObject({ price: 2n, public: false })
    expect(await shares.add({ path: 'file', public: true })).toMatchObject({ price: 0n, public: true })
    expect(await shares.add({ path: 'file' })).toMatchObject({ price: 0n, public: true })
    expect(await shares.add({ path: 'file', price: 7n })).toMatchObject({ price: 7n, public: false })
    expect(await shares.list()).toHaveLength(1)
    expect(repository.announcements.map(({ price }) => price)).toEqual([5n, 2n, 0n, 7n])
    await expect(shares.add({ path: 'file', price: -1n })).rejects.toMatchObject({ code: 'bad-request' })
  })

  test('hashes the same path once', async () => {
    await plant('file', pattern(100))
    let hashed = 0
    const onProgress = (): number => hashed++
    const first = await shares.add({ path: 'file' }, onProgress)
    expect(hashed).toBe(1)
    expect(await shares.add({ path: 'file' }, onProgress)).toEqual(first)
    expect(await shares.add({ path: 'file/' }, onProgress)).toEqual(first)
    expect(hashed).toBe(1)
  })

  test('shares a path that two ask for at once, once', async () => {
    await plant('file', pattern(2 * MiB))
    const [one, other] = await Promise.all([shares.add({ path: 'file' }), shares.add({ path: 'file' })])
    expect(one).toEqual(other)
    expect(repository.announcements).toHaveLength(1)
  })

  test('is found by either info hash, also after a restart', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    const restarted = createShares(context, links)
    expect(await restarted.get(share.infoHash)).toEqual(share)
    expect(await restarted.get(share.infoHashV1)).toEqual(share)
    expect(await restarted.list()).toEqual([share])
    expect(await restarted.get('0'.repeat(64))).toBeUndefined()
    expect(await restarted.get('0'.repeat(40))).toBeUndefined()
    expect(await restarted.readPiece(share, 0)).toEqual(pattern(100))
  })

  test('keeps one share of one content, wherever it lies', async () => {
    await plant('a/file', pattern(100))
    await plant('b/file', pattern(100))
    const [one, other] = [await shares.add({ path: 'a/file' }), await shares.add({ path: 'b/file' })]
    expect(one.infoHash).toBe(other.infoHash)
    expect(await shares.list()).toEqual([other])
    await rm(join(folder, 'a/file'))
    expect(await shares.readPiece(other, 0)).toEqual(pattern(100))
  })
})

describe('a store that fails while a file is shared', () => {
  test.each(WRITE_FAULTS)('leaves nothing that is not served once it is shared again: %s', async (fault) => {
    await plant('file', pattern(5 * MiB))
    for (let failing = 0, isOver = false; !isOver; failing++) {
      clock.advance(1)
      const store = createFaultyStore(openSqlite(':memory:'))
      shares = createShares({ ...context, store }, createLinks({ ...context, store }))
      await createLinks({ ...context, store }).add('folder', { path: folder })
      const before = store.writes()
      store.setFaults((write) => (write === before + failing ? fault : undefined))
      await shares.add({ path: 'file' }).catch((error: unknown) => expect(error).toMatchObject({ code: 'store-unavailable' }))
      isOver = store.writes() <= before + failing
      store.setFaults(() => undefined)
      clock.advance(1)
      for (const share of await shares.list()) await download(share)
      const share = await shares.add({ path: 'file' })
      expect((await download(share)).get('file')).toHaveLength(5 * MiB)
    }
  })
})

describe('sharing a folder', () => {
  test('with nested, empty and non-ASCII files', async () => {
    const files = new Map([
      ['album/9', pattern(1, 1)],
      ['album/10', pattern(300_000, 2)],
      ['album/empty', pattern(0)],
      ['album/深い/ünd/ファイル', pattern(5 * MiB, 3)],
      ['album/深い/ünd/zz-empty', pattern(0)],
    ])
    for (const [name, bytes] of files) await plant(`music/${name}`, bytes)
    const share = await shares.add({ path: 'music/album' })
    expect(share).toMatchObject({ name: 'album', bytes: 5 * MiB + 300_001 })
    const copy = await download(share)
    expect(copy.size).toBe(files.size)
    for (const [name, bytes] of files)
      expect([name, Buffer.from(copy.get(name) as Uint8Array).equals(bytes)]).toEqual([name, true])
    expectLeaves(share)
  })

  test('of nothing but empty files', async () => {
    await plant('folder/a', pattern(0))
    await plant('folder/b/c', pattern(0))
    const share = await shares.add({ path: 'folder' })
    expect(share).toMatchObject({ bytes: 0, pieces: 0 })
    expect([...(await download(share)).keys()]).toEqual(['folder/a', 'folder/b/c'])
  })

  test('keeps names in NFC while it reads them as they are', async () => {
    await plant('folder/u\u0308', pattern(5))
    const share = await shares.add({ path: 'folder' })
    expect([...(await download(share)).entries()]).toEqual([['folder/\u00fc', pattern(5)]])
  })

  test('of a thousand small files in nested folders', async () => {
    for (let i = 0; i < 1000; i++) await plant(`many/${i % 10}/${i % 7}/ünd ${i}`, pattern(i * 7, i))
    const share = await shares.add({ path: 'many' })
    const copy = await download(share)
    expect(copy.size).toBe(1000)
    for (let i = 0; i < 1000; i++) expect(copy.get(`many/${i % 10}/${i % 7}/ünd ${i}`)).toEqual(pattern(i * 7, i))
  })

  test('refuses what is not there, what leads out, and what no torrent can carry', async () => {
    await plant('empty folder/.keep', pattern(0))
    await rm(join(folder, 'empty folder/.keep'))
    await plant('case/readme', pattern(1))
    await plant('case/README', pattern(2))
    await plant('links/good', pattern(1))
    await symlink('/etc/passwd', join(folder, 'links/bad'))
    await symlink('/etc', join(folder, 'out'))
    await plant('names/back\\slash', pattern(1))
    const problems = {
      nothing: 'not-found',
      'empty folder': 'not-found',
      case: 'bad-torrent',
      links: 'path-outside',
      'links/bad': 'path-outside',
    }
    const more = {
      out: 'path-outside',
      'out/passwd': 'path-outside',
      names: 'bad-torrent',
      '': 'path-outside',
      '..': 'path-outside',
      '/etc/passwd': 'path-outside',
    }
    for (const [path, code] of Object.entries({ ...problems, ...more })) {
      expect([path, await shares.add({ path }).catch((error: unknown) => error)]).toMatchObject([path, { code }])
    }
    expect(await shares.list()).toEqual([])
    expect(repository.state.calls).toBe(0)
    await expect(shares.add({ path: 'links/good', link: 'nowhere' })).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('a shared file that changes', () => {
  const changes: [string, () => Promise<void>][] = [
    ['is replaced', () => plant('file', pattern(5000, 2))],
    ['shrinks', () => truncate(join(folder, 'file'), 10)],
    ['is taken away', () => rm(join(folder, 'file'))],
    ['becomes a folder', () => rm(join(folder, 'file')).then(() => mkdir(join(folder, 'file')))],
    [
      'becomes a link that leads out',
      () => rm(join(folder, 'file')).then(() => symlink('/etc/passwd', join(folder, 'file'))),
    ],
  ]
  test.each(changes)('is withdrawn when it %s', async (_, change) => {
    await plant('file', pattern(5000))
    const share = await shares.add({ path: 'file' })
    await change()
    await expect(shares.readPiece(share, 0)).rejects.toMatchObject({ code: 'content-changed' })
    const withdrawn = (await shares.get(share.infoHash)) as Share
    expect(withdrawn.withdrawn).toMatch(/"file" is no longer what was shared/)
    expect(countPieces(await shares.bitfield(withdrawn))).toBe(0)
    await shares.announce()
    expect(isWithdrawal(repository.latest(share) as Announcement)).toBe(true)
    const { calls } = repository.state
    await shares.announce()
    expect(repository.state.calls).toBe(calls)
  })

  test('is shared anew in place of the old share', async () => {
    await plant('file', pattern(5000))
    const old = await shares.add({ path: 'file', price: 9n })
    await plant('file', pattern(5000, 2))
    const share = await shares.add({ path: 'file' })
    expect(share.price).toBe(9n)
    expect(await shares.list()).toEqual([share])
    await shares.announce()
    expect(isWithdrawal(repository.latest(old) as Announcement)).toBe(true)
    expect(isWithdrawal(repository.latest(share) as Announcement)).toBe(false)
  })

  test('is served again once the same content is shared again', async () => {
    await plant('file', pattern(5000))
    const old = await shares.add({ path: 'file' })
    await plant('file', pattern(5000))
    await expect(shares.readPiece(old, 0)).rejects.toMatchObject({ code: 'content-changed' })
    const share = await shares.add({ path: 'file' })
    expect(share.infoHash).toBe(old.infoHash)
    expect(share.withdrawn).toBeUndefined()
    expect(await shares.readPiece(share, 0)).toEqual(pattern(5000))
    await expect(shares.readPiece(old, 0)).rejects.toMatchObject({ code: 'content-changed' })
    expect((await shares.get(share.infoHash))?.withdrawn).toBeUndefined()
  })

  test('is not withdrawn because its storage is out of reach', async () => {
    await plant('file', pattern(5000))
    const share = await shares.add({ path: 'file' })
    await rm(folder, { recursive: true })
    await links.close()
    await expect(shares.readPiece(share, 0)).rejects.toMatchObject({ code: 'storage-unavailable' })
    expect((await shares.get(share.infoHash))?.withdrawn).toBeUndefined()
  })

  test('is refused when it changes while it is hashed, and nothing is left of it', async () => {
    await plant('file', pattern(3 * MiB))
    const outcome = shares.add({ path: 'file' }, () => void truncate(join(folder, 'file'), 10))
    await expect(outcome).rejects.toMatchObject({ code: 'content-changed' })
    expect(await shares.list()).toEqual([])
    expect(await context.store.list('share/hashing', { limit: 1 })).toEqual([])
  })
})

describe('announcing', () => {
  test('says price, modes and address, for a day at most, and again after an hour', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file', price: 3n })
    const first = repository.latest(share) as Announcement
    expect(first).toMatchObject({ price: 3n, public: false, modes: ['credit', 'prepaid'], urls: ['http://agent.test'] })
    expect(first.expires - first.issued).toBe(limits.announcementMs)
    clock.advance(limits.announcedAgainMs - 1)
    await shares.announce()
    expect(repository.announcements).toHaveLength(1)
    clock.advance(1)
    await shares.announce()
    expect(repository.announcements).toHaveLength(2)
  })

  test('comes late when the repository was down, and the share is there at once', async () => {
    repository.state.down = true
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    expect(await shares.readPiece(share, 0)).toEqual(pattern(100))
    await expect(shares.announce()).rejects.toMatchObject({ code: 'peer-failed' })
    repository.state.down = false
    await shares.announce()
    expect(repository.latest(share)).toBeDefined()
    expectLeaves(share)
  })

  test('asks a repository that is down once a round, however much is shared', async () => {
    repository.state.down = true
    for (let i = 0; i < 5; i++) await plant(`file ${i}`, pattern(100, i))
    for (let i = 0; i < 5; i++) await shares.add({ path: `file ${i}` })
    const { calls } = repository.state
    await expect(shares.announce()).rejects.toMatchObject({ code: 'peer-failed' })
    expect(repository.state.calls).toBe(calls + 1)
  })

  test('introduces itself and uploads the torrent again to a repository that has forgotten both', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    repository.torrents.clear()
    repository.introduced.length = 0
    clock.advance(limits.announcedAgainMs)
    await expect(shares.announce()).rejects.toMatchObject({ code: 'not-found' })
    await shares.announce()
    expect(repository.torrents.has(share.infoHash)).toBe(true)
    expect(repository.introduced).toEqual([context.operations])
    expect(repository.announcements).toHaveLength(2)
  })

  test('follows the agent to another address', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    await createShares({ ...context, publicUrl: 'http://elsewhere.test' }, links).announce()
    expect(repository.latest(share)?.urls).toEqual(['http://elsewhere.test'])
  })

  test('is taken back when the share is removed, also when the repository was down then', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    repository.state.down = true
    await shares.remove(share.infoHashV1)
    expect(await shares.list()).toEqual([])
    expect(await shares.get(share.infoHash)).toBeUndefined()
    await expect(shares.remove(share.infoHash)).rejects.toMatchObject({ code: 'not-found' })
    await expect(shares.torrent(share.infoHash)).rejects.toMatchObject({ code: 'not-found' })
    repository.state.down = false
    await shares.announce()
    expect(isWithdrawal(repository.latest(share) as Announcement)).toBe(true)
    const { calls } = repository.state
    await shares.announce()
    expect(repository.state.calls).toBe(calls)
  })

  test('is not taken back when the same content is shared again first', async () => {
    await plant('file', pattern(100))
    const share = await shares.add({ path: 'file' })
    repository.state.down = true
    await shares.remove(share.infoHash)
    repository.state.down = false
    await shares.add({ path: 'file' })
    await shares.announce()
    expect(isWithdrawal(repository.latest(share) as Announcement)).toBe(false)
  })
})

describe('the piece length', () => {
  test('is 4 MiB, less where padding would exceed the content, more for very much content', () => {
    expect(choosePieceLength([])).toBe(4 * MiB)
    expect(choosePieceLength([1])).toBe(4 * MiB)
    expect(choosePieceLength([1024 * MiB])).toBe(4 * MiB)
    expect(choosePieceLength(Array<number>(20).fill(1000))).toBe(4 * MiB)
    expect(choosePieceLength(Array<number>(1000).fill(10_000))).toBe(256 * KiB)
    expect(choosePieceLength([4 * 1024 * 1024 * MiB])).toBe(16 * MiB)
  })

  test('keeps padding and the number of pieces within bounds', () => {
    const size = fc.integer({ min: 0, max: 2 ** 42 })
    fc.assert(
      fc.property(fc.array(size, { maxLength: 50 }), (sizes) => {
        const pieceLength = choosePieceLength(sizes)
        const bytes = sizes.reduce((sum, one) => sum + one, 0)
        expect(Number.isInteger(Math.log2(pieceLength))).toBe(true)
        expect(pieceLength >= limits.pieceBytesMin && pieceLength <= limits.pieceBytesMax).toBe(true)
        if (pieceLength < limits.pieceBytesMax) expect(bytes / pieceLength).toBeLessThanOrEqual(2 ** 18)
      }),
    )
  })
})
