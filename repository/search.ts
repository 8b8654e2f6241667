/** Contents by the words of their names. A word, or how one begins, is a range of items, so no index is held in memory. */
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import type { Change, Item } from '../protocol/store.ts'
import type { Announcements } from './announcements.ts'
import type { Content } from './contents.ts'
import type { RepositoryContext } from './context.ts'
import { wordKey } from './keys.ts'
import { searchTerms, firstLetter, wordsOf } from './words.ts'

export interface Found {
  /** v2, hex. */
  readonly infoHash: string
  readonly name: string
  readonly bytes: number
  /** Each is paid for; missing where it was announced before this was kept. */
  readonly pieces?: number
  /** Counted up to `limits.swarmSellers`. */
  readonly sellers: number
  /** The lowest. */
  readonly price: bigint
}

export interface Search {
  /** What is on offer with a name in which every word of the text begins a word; whole words and many sellers first. */
  find(text: string): Promise<readonly Found[]>
  /** Takes a content's words away, unless it is on offer or an announcement comes in between. */
  forget(content: Content): Promise<void>
}

const WORDS_PER_NAME = 64
const WORDS_PER_QUERY = 8
const PAGE = 250
/** Items read for one query, for each of its words at first, then of the rarest. */
const ITEMS_READ = 2000
/** Contents whose sellers are counted for one query. */
const CONTENTS_READ = 400

type Hit = Pick<Found, 'infoHash' | 'name' | 'bytes' | 'pieces'>

const hitShape = { bytes: field.integer(), name: field.text(), pieces: field.optional(field.integer()) }

/** What makes a content searchable. */
export function wordItems({ infoHash, name, bytes, pieces }: Content): Change[] {
  const body = encode({ bytes, name, pieces })
  return searchTerms(name, WORDS_PER_NAME).map((word) => ({
    pk: wordKey(firstLetter(word)),
    sk: `${word}/${infoHash}`,
    expect: 'any',
    body,
  }))
}

export function createSearch({ store }: RepositoryContext, announcements: Announcements): Search {
  const page = (prefix: string, after?: string): Promise<readonly Item[]> =>
    store.list(wordKey(firstLetter(prefix)), { prefix, limit: PAGE, ...(after !== undefined && { after }) })

  /** The hits of the word that the fewest names have. */
  async function rarest(words: readonly string[]): Promise<readonly Item[]> {
    const pages = await Promise.all(words.map((word) => page(word)))
    const fewest = pages.reduce((a, b) => (b.length < a.length ? b : a))
    const word = words[pages.indexOf(fewest)] as string
    const items = [...fewest]
    while (items.length % PAGE === 0 && items.length > 0 && items.length < ITEMS_READ) {
      const next = await page(word, items.at(-1)?.sk)
      if (next.length === 0) break
      items.push(...next)
    }
    return items
  }

  async function withSellers(hit: Hit): Promise<Found[]> {
    const offers = await announcements.offers(hit.infoHash, limits.swarmSellers)
    if (offers.length === 0) return []
    const price = offers.reduce((least, offer) => (offer.price < least ? offer.price : least), limits.integer)
    return [{ ...hit, sellers: offers.length, price }]
  }

  async function find(text: string): Promise<Found[]> {
    const words = wordsOf(text).slice(0, WORDS_PER_QUERY)
    if (words.length === 0) return []
    const hits = new Map((await rarest(words)).map(readHit).map((hit) => [hit.infoHash, hit]))
    const matching = [...hits.values()].filter(({ name }) => matches(name, words))
    const rank = new Map(matching.map((hit) => [hit.infoHash, wholeWords(hit.name, words)]))
    const rankOf = ({ infoHash }: Hit): number => rank.get(infoHash) ?? 0
    const found: Found[] = []
    for (const hit of matching.toSorted((a, b) => rankOf(b) - rankOf(a)).slice(0, CONTENTS_READ)) {
      found.push(...(await withSellers(hit)))
      if (found.length === limits.searchResults) break
    }
    return found.toSorted((a, b) => rankOf(b) - rankOf(a) || b.sellers - a.sellers)
  }

  async function forget(content: Content): Promise<void> {
    const items = await Promise.all(wordItems(content).map(({ pk, sk }) => store.get(pk, sk)))
    const changes = items.flatMap((item) => (item ? [{ pk: item.pk, sk: item.sk, expect: item.version }] : []))
    // Asked after the versions were read: an announcement from then on changes them.
    const isOffered = (await announcements.offers(content.infoHash, limits.swarmSellers)).length > 0
    if (!isOffered && changes.length > 0) await store.write(changes)
  }

  return { find, forget }
}

function readHit({ sk, body }: Item): Hit {
  return { ...fields(decode(body), hitShape), infoHash: sk.slice(sk.lastIndexOf('/') + 1) }
}

function matches(name: string, words: readonly string[]): boolean {
  const terms = searchTerms(name, WORDS_PER_NAME)
  return words.every((word) => terms.some((term) => term.startsWith(word)))
}

function wholeWords(name: string, words: readonly string[]): number {
  const terms = new Set(searchTerms(name, WORDS_PER_NAME))
  return words.filter((word) => terms.has(word)).length
}
