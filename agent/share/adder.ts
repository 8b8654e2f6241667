/** Makes shares: finds what is at a path, hashes it unless that was done, saves, announces. */
import { toHex } from '../../protocol/bytes.ts'
import { isSeriesName } from '../../protocol/edition.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import type { Links } from '../storage/links.ts'
import { createSerial } from '../serial.ts'
import type { Announcer } from './announcer.ts'
import type { LeafBox } from './leaves.ts'
import type { Editions } from './editions.ts'
import { floorOf } from './floor.ts'
import { keepCopy } from './keep.ts'
import { heldPrice } from './price.ts'
import type { ShareEdition, ShareHead, ShareRecords } from './records.ts'
import { choosePieceLength, findSource, hashSource, sourceId, type Source } from './source.ts'
import type { Storage } from '../storage/storage.ts'

export interface ShareOptions {
  /** A file or a folder. */
  readonly path: string
  readonly link?: string
  /** Credits a piece; default: as before, else the ledger's unit price, or what a piece costs where that is more. */
  readonly price?: bigint
  /** The price may be below what a piece costs. */
  readonly belowCost?: boolean
  readonly public?: boolean
  /** Only its members may have it; as before unless given, and empty for everybody. */
  readonly circle?: string
  /** The series that it is the newest edition of; default: as before, else, where the path held another content, its name. */
  readonly series?: string
  /** A copy is shared, beside it in the storage: the files may change, and this edition stays for sale. */
  readonly keep?: boolean
}

/** Bytes hashed, of so many. */
export type OnProgress = (hashed: number, bytes: number) => void

export interface ShareAdder {
  add(options: ShareOptions, onProgress?: OnProgress): Promise<ShareHead>
  /** Removes a share and what belongs to it; its announcement is to be taken back. */
  end(head: ShareHead): Promise<void>
  /** Removes what a hashing that did not end has left. */
  sweep(source: string): Promise<void>
}

interface Parts {
  readonly records: ShareRecords
  readonly leaves: LeafBox
  readonly announcer: Announcer
  readonly editions: Editions
  /** Of what is hashed; chosen to suit the sizes unless given. */
  readonly pieceLength?: number | undefined
}

type Terms = Pick<ShareHead, 'price' | 'public' | 'circle'>
type Place = Pick<ShareHead, 'link' | 'path' | 'source'>

interface Standing {
  /** What the path held. */
  readonly before: ShareHead | undefined
  readonly series: string | undefined
}

export function createShareAdder(
  context: AgentContext,
  links: Links,
  { records, leaves, announcer, editions, pieceLength }: Parts,
): ShareAdder {
  const serial = createSerial()

  async function add(options: ShareOptions, onProgress?: OnProgress): Promise<ShareHead> {
    checkSeries(options.series)
    const path = options.path.replace(/\/+$/, '')
    const { name: link, storage } = await links.open(options.link)
    const head = await serial(`${link}\n${path}`, async () => {
      const { found, ...place } = await placeOf(storage, link, path, options.keep === true)
      const before = await records.headAt(link, place.path)
      const series = options.series ?? before?.edition?.name ?? (options.keep ? found.name : undefined)
      const terms = await termsOf(options, before ?? (await newestIn(series)), tariffOf(storage, found))
      if (before?.source === place.source) return renew(before, terms, series)
      const made = await hash(storage, found, { ...place, ...terms }, { before, series }, onProgress)
      if (before && before.infoHash !== made.infoHash) await end(before)
      return made
    })
    // What the repository was not told now, the next round tells it.
    await announcer.publish(head).catch(unlessBug)
    return (await records.head(head.infoHash)) ?? head
  }

  function tariffOf(storage: Storage, { files }: Source): Tariff {
    const sizes = files.map(({ size }) => size)
    const longest = Math.min(pieceLength ?? choosePieceLength(sizes), Math.max(...sizes))
    return {
      usual: async () => (await context.ledger.prices()).unitPrice,
      async floor() {
        const provider = context.sendsFrom ?? (await storage.site?.())?.provider
        if (provider === undefined) return 0n
        return floorOf(await context.ledger.prices(), provider, longest, context.environment.clock.now())
      },
    }
  }

  async function newestIn(series: string | undefined): Promise<ShareHead | undefined> {
    const infoHash = series === undefined ? undefined : await editions.newest(series)
    return infoHash === undefined ? undefined : records.head(infoHash)
  }

  /** Without a name, a path that holds something else than before begins a series of its own. */
  async function editionOf(
    { infoHash, name }: Pick<ShareHead, 'infoHash' | 'name'>,
    { before, series }: Standing,
  ): Promise<ShareEdition | undefined> {
    const isOther = before !== undefined && before.infoHash !== infoHash
    const given = series ?? (isOther && isSeriesName(name) ? name : undefined)
    if (given === undefined) return undefined
    const isSigned = (await editions.newest(given)) === infoHash
    return { name: given, isSigned, ...(isOther && { before: before.infoHash }) }
  }

  async function renew(before: ShareHead, terms: Terms, series: string | undefined): Promise<ShareHead> {
    const edition = await editionOf(before, { before, series })
    const change = ({ withdrawn: _, circle: __, refused: ___, ...now }: ShareHead): ShareHead => {
      const held = heldPrice(now, terms.price, context.environment.clock.now())
      return { ...now, ...terms, ...(held && { held }), ...(edition && { edition }) }
    }
    const head = await records.change(before.infoHash, change)
    if (!head) throw new Problem('conflict', 'The share was removed meanwhile.')
    return head
  }

  async function hash(
    storage: Storage,
    found: Source,
    place: Place & Terms,
    standing: Standing,
    onProgress?: OnProgress,
  ): Promise<ShareHead> {
    const { source } = place
    await records.beginHashing(source, context.environment.clock.now())
    try {
      const writer = leaves.writer(source)
      const options = { onLeaves: writer.add, pieceLength, ...(onProgress && { onProgress }) }
      const { torrent, meta } = await hashSource(storage, found, options)
      await writer.end()
      const infoHash = toHex(meta.infoHash)
      // The same content may be shared from another path: the latest path counts, what the repository has stays.
      const other = await records.head(infoHash)
      const uploads = { uploaded: other?.uploaded ?? false, leavesUploaded: other?.leavesUploaded ?? false }
      const announced = other?.announced ?? (await records.announcedBefore(infoHash))
      const names = { infoHash, infoHashV1: toHex(meta.infoHashV1), name: meta.name }
      const edition = (await editionOf(names, standing)) ?? other?.edition
      const held = other && heldPrice(other, place.price, context.environment.clock.now())
      const kept = { ...(announced && { announced }), ...(edition && { edition }), ...(held && { held }) }
      const head = { ...names, ...place, ...uploads, ...kept }
      await records.save({ head, torrent, files: found.files.map(toSharedFile) })
      if (head.leavesUploaded) await leaves.clear(source)
      if (other && other.source !== source) await sweep(other.source)
      return head
    } catch (error) {
      // A write that failed may have been made: what the store holds then stays, or is swept when it is old.
      if (!(error instanceof Problem && error.code === 'store-unavailable')) await sweep(source)
      throw error
    }
  }

  async function sweep(source: string): Promise<void> {
    await leaves.clear(source)
    await records.sweep(source)
  }

  async function end(head: ShareHead): Promise<void> {
    await records.remove(head)
    await leaves.clear(head.source)
  }

  return { add, end, sweep }
}

/** Credits a piece. */
interface Tariff {
  readonly usual: () => Promise<bigint>
  /** What it costs. */
  readonly floor: () => Promise<bigint>
}

async function termsOf(options: ShareOptions, before: ShareHead | undefined, tariff: Tariff): Promise<Terms> {
  const isPublic = options.public ?? (options.price === undefined && before?.public === true)
  const circle = options.circle ?? before?.circle
  const access = { public: isPublic, ...(circle && { circle }) }
  if (isPublic) return { price: '0', ...access }
  const kept = before?.public === false ? BigInt(before.price) : undefined
  const price = options.price ?? kept ?? (await usualPrice(tariff))
  if (price < 0n || price > limits.integer) throw new Problem('bad-request', 'A price is 0 credits or more.')
  if (options.price !== undefined && !options.belowCost) await requireFloor(price, tariff)
  return { price: price.toString(), ...access }
}

async function usualPrice({ usual, floor }: Tariff): Promise<bigint> {
  const [price, least] = [await usual(), await floor()]
  return price > least ? price : least
}

async function requireFloor(price: bigint, { floor }: Tariff): Promise<void> {
  const least = await floor()
  if (price >= least) return
  throw new Problem('below-cost', `A piece of this costs ${least} credits to send.`, { least: least.toString() })
}

/** What is shared from a path: the files there, or a copy of them. */
async function placeOf(
  storage: Storage,
  link: string,
  path: string,
  keep: boolean,
): Promise<Place & { found: Source }> {
  const found = await findSource(storage, path)
  const source = sourceId(link, path, found)
  if (!keep) return { link, path, source, found }
  return placeOf(storage, link, await keepCopy(storage, found, source), false)
}

function checkSeries(name: string | undefined): void {
  if (name === undefined || isSeriesName(name)) return
  throw new Problem('bad-request', `A series has a name of 1 to ${limits.nameBytes} bytes that can be shown.`)
}

const toSharedFile = ({ name, id, version }: Source['files'][number]) => ({
  ref: { name, ...(id !== undefined && { id }) },
  version,
})
