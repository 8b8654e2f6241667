/**
 * What the owner shares: a file or a folder of a linked storage, hashed once into a torrent, at a price a piece. A file
 * that changed is never served as what it was: its share is withdrawn, and sharing it again makes a new one.
 */
import { emptyBitfield, fullBitfield } from '../../protocol/bitfield.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { locatePiece, parseTorrent, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import type { Links } from '../storage/links.ts'
import type { ByteRange } from '../storage/storage.ts'
import { createShareAdder, type ShareOptions } from './adder.ts'
import { createAnnouncer } from './announcer.ts'
import { createEditions } from './editions.ts'
import { createLeafBox } from './leaves.ts'
import { createShareRecords, type HeldPrice, type SharedFile, type ShareHead } from './records.ts'
import { placeUrl, waysOf, type OfferedWay, type Way } from '../storage/ways.ts'

export interface Share {
  /** v2, hex. */
  readonly infoHash: string
  readonly infoHashV1: string
  readonly name: string
  readonly link: string
  /** In the linked storage. */
  readonly path: string
  /** Credits a piece. */
  readonly price: bigint
  /** What it was before it was raised, while somebody may still go by that. */
  readonly held?: HeldPrice
  /** Free of charge. */
  readonly public: boolean
  readonly bytes: number
  readonly pieceLength: number
  readonly pieces: number
  readonly meta: Metainfo
  /** One for each of `meta.files`. */
  readonly files: readonly SharedFile[]
  /** Why it is not served any more, a sentence. */
  readonly withdrawn?: string
  /** Why the repository does not have it, and nobody finds it there, a sentence. */
  readonly refused?: string
  /** Whose members alone may have it. */
  readonly circle?: string
  /** That it is an edition of. */
  readonly series?: string
}

export interface Shares {
  /**
   * Hashes and announces. What is shared already, and did not change, is not hashed again: its terms and series are set.
   * A repository that does not answer is told later.
   * @param onProgress bytes hashed, of so many
   * @throws Problem `not-found`, `path-outside`, `bad-torrent`, `content-changed` when it changes meanwhile, and the storage's
   */
  add(options: ShareOptions, onProgress?: (hashed: number, bytes: number) => void): Promise<Share>
  list(): Promise<readonly Share[]>
  /** @param infoHash v2 or v1, hex */
  get(infoHash: string): Promise<Share | undefined>
  /** The circle that a share is limited to. @param infoHash v2 or v1, hex */
  readonly circleOf: (infoHash: string) => Promise<string | undefined>
  /** Leaves the files alone. @throws Problem `not-found` */
  remove(infoHash: string): Promise<void>
  /**
   * @param within the piece, where not all of it is wanted
   * @throws Problem `content-changed` when a file is not what was shared: the share is withdrawn then; `storage-unavailable`
   */
  readPiece(share: Share, index: number, into?: Uint8Array, within?: ByteRange): Promise<Uint8Array>
  /** Besides sending it, how a piece may be had. */
  ways(share: Share): Promise<readonly OfferedWay[]>
  /**
   * Where a piece may be had without us: a link for its range alone, or its place for a copy inside the provider.
   * @returns undefined where the storage has no such way @throws as `readPiece`
   */
  locate(share: Share, index: number, way: Way): Promise<string | undefined>
  /** Which pieces are served. */
  bitfield(share: Share): Promise<Bytes>
  /** Says where a share is had; undefined for what is not served. @param infoHash v2 or v1, hex */
  announcement(infoHash: string): Promise<Envelope | undefined>
  /** @throws Problem `not-found` */
  torrent(infoHash: string): Promise<Bytes>
  /** Uploads, announces and takes back what is due: called every few seconds. */
  announce(): Promise<void>
}

interface Content {
  readonly source: string
  readonly meta: Metainfo
  readonly files: readonly SharedFile[]
  readonly torrentBytes: number
}

/** Whether anybody may have it, for nothing. */
export const isForAll = (share: Share): boolean =>
  share.public && share.circle === undefined && share.withdrawn === undefined

/** Parsed torrents are kept in memory up to this size. */
const CACHE_BYTES = 32 * 1024 * 1024
/** The file is gone or another, rather than out of reach. */
const GONE = new Set(['content-changed', 'not-found', 'path-outside', 'range-invalid'])

/** @param pieceLength of what is hashed from now on; chosen to suit the sizes unless given */
export function createShares(context: AgentContext, links: Links, pieceLength?: number): Shares {
  const { clock } = context.environment
  const records = createShareRecords(context.store)
  const leaves = createLeafBox(context.store)
  const editions = createEditions(context, records)
  const announcer = createAnnouncer(context, { records, leaves, editions })
  const adder = createShareAdder(context, links, { records, leaves, announcer, editions, pieceLength })
  const contents = createContentCache(async (infoHash) => {
    const { head, torrent, files } = await records.load(infoHash)
    return { source: head.source, meta: parseTorrent(torrent), files, torrentBytes: torrent.length }
  })

  const shareOf = async (head: ShareHead): Promise<Share> => toShare(head, await contents.get(head))

  async function headOf(infoHash: string): Promise<ShareHead | undefined> {
    const v2 = infoHash.length === 40 ? await records.infoHashOf(infoHash) : infoHash
    return v2 === undefined ? undefined : records.head(v2)
  }

  async function readPiece(share: Share, index: number, into?: Uint8Array, within?: ByteRange): Promise<Uint8Array> {
    const { file, offset, length } = locatePiece(share.meta, index)
    const { ref, version } = share.files[file] as SharedFile
    const range = within ? { offset: offset + within.offset, length: within.length } : { offset, length }
    return unlessGone(share, ref, async () => {
      const { storage } = await links.open(share.link)
      return storage.read({ ...ref, version }, range, into)
    })
  }

  /** What is gone, or another than was shared, is shared no more. */
  async function unlessGone<T>(share: Share, ref: SharedFile['ref'], action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof Problem && GONE.has(error.code))) throw error
      const name = JSON.stringify(ref.name)
      const reason = (await isMissing(share, ref))
        ? `${name} is missing.`
        : `${name} is no longer what was shared: ${error.message}`
      await withdraw(share, reason)
      throw new Problem('content-changed', reason)
    }
  }

  /** A file that is held open reads as changed where it is gone. */
  async function isMissing({ link }: Share, ref: SharedFile['ref']): Promise<boolean> {
    try {
      await (await links.open(link)).storage.stat(ref)
      return false
    } catch (error) {
      return error instanceof Problem && error.code === 'not-found'
    }
  }

  async function ways({ link }: Share): Promise<readonly OfferedWay[]> {
    const { storage } = await links.open(link)
    const site = await storage.site?.()
    return site ? waysOf(site) : []
  }

  /** The file is looked at first: a buyer pays for the link before the bytes come. */
  async function locate(share: Share, index: number, way: Way): Promise<string | undefined> {
    const { file, offset, length } = locatePiece(share.meta, index)
    const { ref, version } = share.files[file] as SharedFile
    return unlessGone(share, ref, async () => {
      const { storage } = await links.open(share.link)
      const pinned = { ...ref, version }
      const isOffered = way === 'link' ? storage.link !== undefined : (await storage.site?.())?.lends === true
      if (!isOffered) return undefined
      if ((await storage.stat(ref)).version !== version) throw new Problem('content-changed', 'The file has changed.')
      if (way === 'link') return (await storage.link?.(pinned, { offset, length }, limits.linkMs))?.href
      const source = storage.place?.(pinned)
      return source && placeUrl(source)
    })
  }

  /** Unless it was shared anew meanwhile. */
  async function withdraw({ infoHash, files }: Share, withdrawn: string): Promise<void> {
    const head = await records.head(infoHash)
    if (!head || (await contents.get(head)).files !== files) return
    await records.change(infoHash, (now) => (now.source === head.source ? { ...now, withdrawn } : now))
  }

  return {
    add: async (options, onProgress) => shareOf(await adder.add(options, onProgress)),
    async list() {
      const shares: Share[] = []
      for (const head of await records.heads()) shares.push(await shareOf(head))
      return shares.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    },
    async get(infoHash) {
      const head = await headOf(infoHash)
      return head && shareOf(head)
    },
    circleOf: async (infoHash) => (await headOf(infoHash))?.circle,
    async remove(infoHash) {
      await adder.end((await headOf(infoHash)) ?? notShared())
      await announcer.takeBack().catch(unlessBug)
    },
    readPiece,
    ways,
    locate,
    bitfield: async ({ withdrawn, pieces }) => (withdrawn === undefined ? fullBitfield(pieces) : emptyBitfield(pieces)),
    async announcement(infoHash) {
      const head = await headOf(infoHash)
      return head && head.withdrawn === undefined ? announcer.announcement(head) : undefined
    },
    torrent: async (infoHash) => records.torrent(((await headOf(infoHash)) ?? notShared()).infoHash),
    async announce() {
      // A day is longer than any hashing that still goes on.
      for (const source of await records.hashing(clock.now() - limits.announcementMs)) await adder.sweep(source)
      await announcer.round()
    },
  }
}

/** The latest used contents, by info hash; one that was shared anew from other files is loaded again. */
function createContentCache(load: (infoHash: string) => Promise<Content>) {
  const contents = new Map<string, Content>()
  function shrink(): void {
    let bytes = 0
    for (const [infoHash, { torrentBytes }] of Array.from(contents).toReversed()) {
      bytes += torrentBytes
      if (bytes > CACHE_BYTES) contents.delete(infoHash)
    }
  }
  return {
    async get({ infoHash, source }: ShareHead): Promise<Content> {
      const known = contents.get(infoHash)
      const content = known?.source === source ? known : await load(infoHash)
      contents.delete(infoHash)
      contents.set(infoHash, content)
      if (content !== known) shrink()
      return content
    },
  }
}

function toShare(head: ShareHead, { meta, files }: Content): Share {
  return {
    infoHash: head.infoHash,
    infoHashV1: head.infoHashV1,
    name: head.name,
    link: head.link,
    path: head.path,
    price: BigInt(head.price),
    ...(head.held && { held: head.held }),
    public: head.public,
    bytes: meta.bytes,
    pieceLength: meta.pieceLength,
    pieces: meta.pieces,
    meta,
    files,
    ...(head.withdrawn !== undefined && { withdrawn: head.withdrawn }),
    ...(head.refused && { refused: head.refused.reason }),
    ...(head.circle !== undefined && { circle: head.circle }),
    ...(head.edition && { series: head.edition.name }),
  }
}

function notShared(): never {
  throw new Problem('not-found', 'There is no such share.')
}
