/** An agent's shares in a test's hands: a folder of its own, a repository that can be down, a clock that the test moves. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import type { LedgerClient, LedgerPrices } from '../../agent/clients/ledger-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createLinks, type Links } from '../../agent/storage/links.ts'
import type { RepositoryClient } from '../../agent/clients/repository-client.ts'
import { createShares, type Share, type Shares } from '../../agent/share/share.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { parseAnnouncement, type Announcement } from '../../protocol/announcement.ts'
import { HASH_BYTES, layerAbove, levelOf } from '../../protocol/block-tree.ts'
import { concat, toHex, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import { limits } from '../../protocol/limits.ts'
import { filePath, parseTorrent, type MetaFile } from '../../protocol/metainfo.ts'
import { verifyPiece } from '../../protocol/piece.ts'
import { Problem } from '../../protocol/problem.ts'
import { signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { pattern } from '../pattern.ts'
import { handClock, type HandClock } from './hand-clock.ts'

export const KiB = 1024
export const MiB = 1024 * KiB
const owner = signerFrom(pattern(32, 1))
const agent = signerFrom(pattern(32, 2))

export interface Shop {
  readonly folder: string
  readonly clock: HandClock
  readonly repository: FakeRepository
  readonly context: AgentContext
  readonly links: Links
  readonly shares: Shares
  /** What the ledger answers. */
  prices: () => Promise<LedgerPrices>
  /** Writes a file into the folder. */
  plant(name: string, bytes: Uint8Array): Promise<void>
  /** Reads every piece, checks it, and puts the files together as a downloader would. */
  download(share: Share): Promise<Map<string, Uint8Array>>
  close(): Promise<void>
}

export interface FakeRepository {
  /** While it is down, every call fails; `calls` counts those too. `tooLarge`: so is every torrent. */
  readonly state: { down: boolean; calls: number; tooLarge?: boolean }
  readonly client: RepositoryClient
  readonly torrents: Map<string, Bytes>
  /** By info hash and file. */
  readonly leaves: ReadonlyMap<string, ReadonlyMap<number, Bytes>>
  readonly announcements: readonly Announcement[]
  /** The operation logs that it was shown. */
  readonly introduced: unknown[]
  latest(share: Share): Announcement | undefined
}

/** The folder is linked as `folder`. */
export async function openShop(
  store: Store = openSqlite(':memory:'),
  options: Pick<AgentContext, 'sendsFrom'> = {},
): Promise<Shop> {
  const folder = await mkdtemp(join(tmpdir(), 'raincheck-share-'))
  const clock = handClock()
  const repository = fakeRepository()
  const prices = (): Promise<LedgerPrices> => shop.prices()
  const context = { ...contextOf(clock, repository.client, store), ...options, ledger: { prices } as LedgerClient }
  const links = createLinks(context)
  await links.add('folder', { path: folder })
  const shares = createShares(context, links)
  const shop: Shop = {
    folder,
    clock,
    repository,
    context,
    links,
    shares,
    prices: async () => ({ unitPrice: 5n }),
    async plant(name, bytes) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), bytes)
    },
    download: (share) => download(shares, share),
    async close() {
      await links.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
  return shop
}

function contextOf(clock: HandClock, repository: RepositoryClient, store: Store): Omit<AgentContext, 'ledger'> {
  const terms = { agent: agent.key, owner: pattern(32, 3), may: ['announce'] as const, day: 0n, total: 0n }
  const times = { issued: clock.now(), expires: clock.now() + limits.delegationMs }
  return {
    environment: {
      clock,
      random: { bytes: (length) => new Uint8Array(randomBytes(length)) },
      transport: () => Promise.reject(new Error('no network')),
    },
    store,
    owner: pattern(32, 3),
    operations: [],
    delegation: delegate({ ...terms, ...times }, owner),
    signer: agent,
    repository,
    publicUrl: 'http://agent.test',
    allowLoopback: true,
  }
}

/** Keeps what it is told and checks it as a repository would. */
function fakeRepository(): FakeRepository {
  const torrents = new Map<string, Bytes>()
  const leaves = new Map<string, Map<number, Bytes>>()
  const announcements: Announcement[] = []
  const introduced: unknown[] = []
  const state: FakeRepository['state'] = { down: false, calls: 0 }
  function answer(): void {
    state.calls++
    if (state.down) throw new Problem('peer-failed', 'The repository did not answer.')
  }
  const client: Pick<
    RepositoryClient,
    'url' | 'putIdentity' | 'putTorrent' | 'putLeaves' | 'announce' | 'editions' | 'putEdition'
  > = {
    url: 'http://repository.test',
    editions: async () => [],
    putEdition: async () => answer(),
    async putIdentity(operations) {
      introduced.push(operations)
    },
    async putTorrent(infoHash, torrent) {
      answer()
      if (state.tooLarge) throw new Problem('too-large', 'The repository takes no such torrent.')
      expect(toHex(parseTorrent(torrent).infoHash)).toBe(infoHash)
      torrents.set(infoHash, torrent)
    },
    async putLeaves(infoHash, run) {
      answer()
      const known = leaves.get(infoHash) ?? new Map<number, Bytes>()
      leaves.set(infoHash, known)
      const before = (run.from > 0 && known.get(run.file)) || new Uint8Array(0)
      expect(run.from).toBe(before.length / HASH_BYTES)
      known.set(run.file, concat(before, run.leaves))
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
  return { state, client: client as RepositoryClient, torrents, leaves, announcements, introduced, latest }
}

async function download(shares: Shares, share: Share): Promise<Map<string, Uint8Array>> {
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
export function expectLeaves({ repository }: Shop, share: Share): void {
  share.meta.files.forEach((file: MetaFile, i) => {
    const blocks = repository.leaves.get(share.infoHash)?.get(i) ?? new Uint8Array(0)
    expect(blocks.length).toBe(Math.ceil(file.length / (16 * KiB)) * HASH_BYTES)
    if (file.length <= share.pieceLength) return
    expect(layerAbove(blocks, 0, levelOf(share.pieceLength))).toEqual(Uint8Array.from(file.pieceHashes))
  })
}
