/**
 * Whom the owner trusts, and for how many unpaid pieces: by the owner's own vouch book, and through it by chains that the
 * repository finds and this agent checks. What the owner distrusts stays distrusted, whatever anyone vouches for.
 */
import { equal, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type Evidence } from '../../protocol/chain.ts'
import { replay } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { evaluateOne, UNTRUSTED, type Verdict } from '../../protocol/trust.ts'
import { checkBook, parseHead, renewBook, requireAuthor, type Book } from '../../protocol/vouch.ts'
import { createBookShelf } from './book-shelf.ts'
import type { AgentContext } from '../context.ts'

export interface TrustVerdict extends Pick<Verdict, 'trusted' | 'depth' | 'credit'> {
  readonly id: string
  /** The ids from the owner to this one, both included; empty when it is not trusted. */
  readonly chain: readonly string[]
}

export interface Trust {
  book(): Promise<Book | undefined>
  /**
   * Keeps and publishes a newer book of the owner's; the same again publishes it again.
   * @throws Problem `conflict` for one that is not newer, `unknown-key`, `delegation-exceeded`, `bad-signature`,
   *   `bad-encoding`; `peer-failed` when it is kept but the repository did not take it
   */
  putBook(book: Book): Promise<void>
  /** Ids in hex. */
  distrusted(): Promise<readonly string[]>
  putDistrusted(ids: readonly string[]): Promise<void>
  /** @param id hex */
  verdict(id: string): Promise<TrustVerdict>
  /** @param payer hex */
  creditFor(payer: string): Promise<CreditLine>
  /** Renews the owner's book, its vouches unchanged, before it ends; tells the repository what it has not taken. */
  maintain(): Promise<void>
}

/** What a payer may owe, and whose debt it is: all that come through one vouch of the owner's share its credit. */
export interface CreditLine {
  /** Pieces; 0 for who is not trusted. */
  readonly credit: number
  /** Whom the owner vouches for, hex: the payer itself, or the first of the chain to it. */
  readonly sponsor: string
  /** Pieces that the sponsor and all behind it may owe together. */
  readonly sponsorCredit: number
}

interface Remembered {
  readonly line: CreditLine
  readonly untilMs: number
}

export function createTrust(context: AgentContext): Trust {
  const { environment, repository, signer, delegation } = context
  const { clock } = environment
  const shelf = createBookShelf(context.store)
  const owner = replay(context.operations, clock.now())
  const lines = new Map<string, Remembered>()
  /** When the repository was last told of a book. */
  let publishedMs = 0

  async function putBook(book: Book): Promise<void> {
    const head = checkBook(book)
    requireAuthor(book, owner, clock.now())
    const kept = await shelf.book()
    const before = kept && parseHead(kept.head)
    if (before && !equal(head.id, before.id) && head.seq <= before.seq) {
      throw new Problem('conflict', `The book in force has number ${before.seq}.`, { seq: before.seq })
    }
    if (!before || head.seq > before.seq) {
      // The repository takes one book after the other: what it missed comes first, but holds up no change of mind.
      if (kept && (await shelf.isUnpublished())) await publish(kept).catch(unlessBug)
      await shelf.putBook(book)
      lines.clear()
    }
    await publish(book)
  }

  async function publish(book: Book): Promise<void> {
    publishedMs = clock.now()
    await repository.putBook(toHex(context.owner), book)
    await shelf.markPublished(book)
  }

  async function evaluate(subject: Bytes): Promise<Verdict> {
    const [book, distrusted] = [await shelf.book(), new Set(await shelf.distrusted())]
    if (!book || distrusted.has(toHex(subject))) return UNTRUSTED
    const own = edgesOf({ identities: [owner], books: [book] }, clock.now())
    const direct = evaluateOne(context.owner, subject, own, { distrusted })
    if (direct.credit > 0 || own.every(({ depth }) => depth === 0)) return direct
    const found = await chainsTo(subject)
    const identities = [owner, ...found.identities.filter(({ id }) => !equal(id, owner.id))]
    const edges = edgesOf({ ...found, identities, books: [book] }, clock.now())
    return evaluateOne(context.owner, subject, edges, { distrusted })
  }

  /** A repository that is away, or talks nonsense, leaves the owner's own vouches. */
  async function chainsTo(subject: Bytes): Promise<Evidence> {
    try {
      const chains = await repository.chains({ from: toHex(context.owner), to: toHex(subject) })
      return evidenceFromJson(chains, clock.now())
    } catch (error) {
      if (error instanceof Problem) return { identities: [] }
      throw error
    }
  }

  /** A seller asks with each piece: what was found is believed for a while. */
  async function creditFor(payer: string): Promise<CreditLine> {
    const known = lines.get(payer)
    if (known && clock.now() < known.untilMs) return known.line
    const line = lineOf(payer, await evaluate(fromHex(payer, 32)))
    if (lines.size >= limits.verdictsCached) lines.delete(lines.keys().next().value as string)
    lines.set(payer, { line, untilMs: clock.now() + limits.verdictMs })
    return line
  }

  async function maintain(): Promise<void> {
    const book = await shelf.book()
    if (!book) return
    const { issued, expires } = parseHead(book.head)
    const now = clock.now()
    if (now - issued >= (expires - issued) / 2) {
      await putBook(renewBook(book, { issued: now, expires: now + limits.bookMs }, signer, delegation))
    } else if (now - publishedMs >= limits.verdictMs && (await shelf.isUnpublished())) await publish(book)
  }

  return {
    book: () => shelf.book(),
    putBook,
    distrusted: () => shelf.distrusted(),
    async putDistrusted(ids) {
      await shelf.putDistrusted(ids)
      lines.clear()
    },
    async verdict(id) {
      const { trusted, depth, credit, chain } = await evaluate(fromHex(id, 32))
      const ids = chain.length > 0 ? [context.owner, ...chain.map(({ subject }) => subject)] : []
      return { id, trusted, depth, credit, chain: ids.map(toHex) }
    },
    creditFor,
    maintain,
  }
}

function lineOf(payer: string, { credit, chain: [first] }: Verdict): CreditLine {
  const own = limits.creditByHop[0]
  return first
    ? { credit, sponsor: toHex(first.subject), sponsorCredit: Math.min(first.credit, own) }
    : { credit: 0, sponsor: payer, sponsorCredit: 0 }
}
