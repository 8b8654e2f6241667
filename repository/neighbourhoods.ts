/**
 * The books around an id, a hop at a time and up to a budget: kept at hand for as long as they are what is in the store.
 * Every book and every operation is an entry of the log, so what was written since, by this process or by another, is what
 * the log has grown by; an id that is not among it has not changed.
 */
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { Edge } from '../protocol/trust.ts'
import { readHead } from '../protocol/vouch.ts'
import { proofsVersion } from './book-items.ts'
import type { Books, OpenBook } from './books.ts'
import type { RepositoryContext } from './context.ts'
import { idsIn } from './mirror.ts'
import { createShelf } from './shelf.ts'

export interface Neighbourhood {
  /** By issuer, hex. */
  readonly books: ReadonlyMap<string, OpenBook>
  readonly edges: readonly Edge[]
  /** By subject, hex: where its edges are among these. */
  readonly received: ReadonlyMap<string, readonly number[]>
}

export interface Neighbourhoods {
  around(id: Bytes): Promise<Neighbourhood>
  /** As `Books.open`. */
  open(id: Bytes): Promise<OpenBook | undefined>
}

interface Kept extends Neighbourhood {
  /** Hex: whose books it is made of, those that have none among them. */
  readonly asked: ReadonlySet<string>
  readonly untilMs: number
}

interface KeptBook {
  readonly opened: OpenBook | undefined
  readonly untilMs: number
}

/** What one neighbourhood may be made of. */
const BOOKS_READ = 256
const VOUCHES_READ = 20_000
/** What is kept at hand, in vouches; one neighbourhood counts each of its books again. */
const VOUCHES_KEPT = 100_000
/** How long a book counts as read: who may sign for its issuer may change without an entry of the log. */
const KEPT_MS = 60_000
/** Entries that are looked through; beyond that all is read anew. */
const ENTRIES_READ = 1024

export function createNeighbourhoods({ store, environment, log }: RepositoryContext, books: Books): Neighbourhoods {
  const { clock } = environment
  // What is empty takes up room as well.
  const around = createShelf<Kept>(VOUCHES_KEPT, ({ edges, asked }) => edges.length + asked.size)
  const shelf = createShelf<KeptBook>(VOUCHES_KEPT, ({ opened }) => (opened?.book.vouches.length ?? 0) + 1)
  let seen = { version: 0, size: 0, proofs: 0 }
  /** Of what was read before and after a change, only the latter is kept. */
  let epoch = 0

  async function catchUp(): Promise<void> {
    const [version, proofs] = await Promise.all([log.version(), proofsVersion(store)])
    const { size: from, proofs: before } = seen
    if (version === seen.version && proofs === before) return
    const size = await log.size()
    const isKnown = proofs === before && size >= from && size - from <= ENTRIES_READ
    const changed = isKnown ? idsIn(await log.entries(from, size)).identities : undefined
    epoch++
    seen = { version, size, proofs }
    shelf.drop((_, id) => !changed || changed.has(id))
    around.drop(({ asked }) => !changed || !changed.isDisjointFrom(asked))
  }

  async function read(id: Bytes): Promise<KeptBook> {
    const name = toHex(id)
    const kept = shelf.get(name)
    if (kept && clock.now() < kept.untilMs) return kept
    const [at, nowMs] = [epoch, clock.now()]
    const opened = await books.open(id)
    const book = { opened, untilMs: Math.min(nowMs + KEPT_MS, opened ? nextChangeMs(opened, nowMs) : Infinity) }
    if (at === epoch) shelf.put(name, book)
    return book
  }

  async function explore(from: Bytes): Promise<Kept> {
    const found = new Map<string, OpenBook>()
    const asked = new Set<string>()
    let [vouchesRead, untilMs] = [0, Infinity]
    let issuers: ReadonlyMap<string, Bytes> = new Map([[toHex(from), from]])
    for (let hop = 0; hop < limits.chainVouches && issuers.size > 0; hop++) {
      const subjects = new Map<string, Bytes>()
      for (const [name, id] of issuers) {
        if (asked.size >= BOOKS_READ || vouchesRead >= VOUCHES_READ) return keptOf(found, asked, untilMs)
        asked.add(name)
        const { opened, untilMs: bookUntilMs } = await read(id)
        untilMs = Math.min(untilMs, bookUntilMs)
        if (!opened) continue
        found.set(name, opened)
        vouchesRead += opened.book.vouches.length
        for (const { subject, depth } of opened.edges) if (depth > 0) subjects.set(toHex(subject), subject)
      }
      issuers = new Map([...subjects].filter(([name]) => !asked.has(name)))
    }
    return keptOf(found, asked, untilMs)
  }

  return {
    async open(id) {
      await catchUp()
      return (await read(id)).opened
    },
    async around(id) {
      await catchUp()
      const name = toHex(id)
      const kept = around.get(name)
      if (kept && clock.now() < kept.untilMs) return kept
      const at = epoch
      const explored = await explore(id)
      if (at === epoch) around.put(name, explored)
      return explored
    },
  }
}

function keptOf(books: ReadonlyMap<string, OpenBook>, asked: ReadonlySet<string>, untilMs: number): Kept {
  const edges = [...books.values()].flatMap((opened) => opened.edges)
  const received = new Map<string, number[]>()
  for (const [i, { subject }] of edges.entries()) {
    const name = toHex(subject)
    const places = received.get(name)
    if (places) places.push(i)
    else received.set(name, [i])
  }
  return { books, edges, received, asked, untilMs }
}

/** When the next of its vouches begins or ends. */
function nextChangeMs({ book: { head, vouches } }: OpenBook, nowMs: number): number {
  let nextMs = readHead(head).expires
  for (const { notBefore, expires } of vouches)
    for (const atMs of [notBefore, expires]) if (atMs > nowMs && atMs < nextMs) nextMs = atMs
  return nextMs
}
