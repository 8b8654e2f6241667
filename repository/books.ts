/** Vouch books: of every issuer the newest, each the successor of the one before. */
import { bookEntry } from '../protocol/book-log.ts'
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { liveEdges } from '../protocol/chain.ts'
import type { IdentityState } from '../protocol/identity.ts'
import { putAll, removeAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { envelopeToJson, type Envelope } from '../protocol/signed.ts'
import type { Edge } from '../protocol/trust.ts'
import {
  checkBook,
  isEquivocation,
  isLiveHead,
  readHead,
  renewsOlder,
  requireAuthor,
  type Book,
  type BookHead,
} from '../protocol/vouch.ts'
import {
  decodeHead,
  headChange,
  headItem,
  keepEquivocation,
  readBook,
  readEquivocation,
  runPrefix,
  vouchItems,
  type Equivocation,
} from './book-items.ts'
import type { RepositoryContext } from './context.ts'
import type { Identities } from './identities.ts'
import type { Logged } from './log.ts'
import { bookKey } from './keys.ts'

export interface Books {
  /**
   * Takes the first book of an issuer, or a later one than its newest. The newest again changes nothing.
   * @throws Problem `not-found`, `expired`, `conflict` (its members: `seq` and `head` of the newest, and `proof` when the
   *   owner signed another book under that number), and those of `checkBook` and `requireAuthor`
   */
  put(issuer: Bytes, book: Book): Promise<TakenBook>
  find(issuer: Bytes): Promise<Book | undefined>
  /** The newest book with its vouches that count now; undefined unless the issuer is known and still stands by it. */
  open(issuer: Bytes): Promise<OpenBook | undefined>
  /** Two heads under one number, when the issuer's owner ever signed such. */
  equivocation(issuer: Bytes): Promise<Equivocation | undefined>
}

export interface TakenBook {
  readonly head: BookHead
  readonly changed: boolean
  /** That it is in the log; a mirror gives none. */
  readonly receipt?: Envelope
}

export interface OpenBook {
  readonly issuer: IdentityState
  readonly book: Book
  readonly edges: readonly Edge[]
}

interface Replaced {
  readonly changed: boolean
  /** The run of vouches that no head names any more. */
  readonly unused?: string
  readonly receipt: Envelope | undefined
}

export function createBooks({ store, environment, log, source }: RepositoryContext, identities: Identities): Books {
  async function put(id: Bytes, book: Book): Promise<TakenBook> {
    const head = checkBook(book)
    if (!equal(head.issuer, id)) throw new Problem('bad-request', 'The book is of another issuer.')
    const issuer = await identities.require(id)
    const { changed, unused, receipt } = await log.write(() => replace(issuer, book, head))
    if (unused !== undefined) await removeAll(store, bookKey(id), runPrefix(unused))
    return { head, changed, ...(receipt && { receipt }) }
  }

  async function replace(issuer: IdentityState, book: Book, head: BookHead): Promise<Logged<Replaced>> {
    const item = await headItem(store, issuer.id)
    const before = item && decodeHead(item)
    const newest = before && readHead(before.head)
    if (newest && equal(newest.id, head.id))
      return { changes: [], entries: [], result: { changed: false, receipt: before?.receipt } }
    // What was in time is decided where the log is: a mirror comes by it at other times.
    if (!source) requireLive(head, environment.clock.now())
    requireAuthor(book, issuer, environment.clock.now())
    const isNext = newest === undefined || (source ? head.seq > newest.seq : follows(head, newest))
    if (before && newest && !isNext) {
      const isProof = isEquivocation(before.head, book.head, issuer)
      if (isProof) await keepEquivocation(store, issuer.id, [before.head, book.head])
      throw notNext(newest, isProof ? [before.head, book.head] : undefined)
    }
    const isRenewal = newest !== undefined && equal(newest.root, head.root)
    // Whoever has an agent's key would bring back whom the owner has taken out.
    if (newest && !source && renewsOlder(book, newest))
      throw new Problem('delegation-exceeded', 'The renewed book has other vouches than the newest.')
    const run = before && isRenewal ? before.run : toHex(head.id)
    if (!isRenewal) await putAll(store, vouchItems(issuer.id, book, run))
    const entry = bookEntry(book, environment.clock.now())
    const receipt = source ? undefined : await log.receipt(entry)
    return {
      changes: [headChange(issuer.id, { ...book, receipt }, run, item?.version ?? 0)],
      entries: [entry],
      result: { changed: true, receipt, ...(before && !isRenewal && { unused: before.run }) },
    }
  }

  /** What is kept was checked when it came: only who may sign, and what has expired, is another question now. */
  async function open(id: Bytes): Promise<OpenBook | undefined> {
    const [issuer, book] = [await identities.get(id), await readBook(store, id)]
    if (!issuer || !book) return undefined
    const nowMs = environment.clock.now()
    if (!maySign(book, issuer, nowMs)) return undefined
    const head = readHead(book.head)
    return { issuer, book, edges: (await isTwoFaced(id, head)) ? [] : liveEdges(head, book.vouches, nowMs) }
  }

  /** None of an issuer's vouches counts under a number that it used for two books. */
  async function isTwoFaced(id: Bytes, { seq }: BookHead): Promise<boolean> {
    const proof = await readEquivocation(store, id)
    return proof !== undefined && readHead(proof[0]).seq === seq
  }

  return {
    put,
    find: (issuer) => readBook(store, issuer),
    open,
    equivocation: (issuer) => readEquivocation(store, issuer),
  }
}

/** Some in between may never have come here. Whoever steals a key must not be able to use up the owner's numbers. */
const follows = ({ seq, prev }: BookHead, newest: BookHead): boolean =>
  seq === newest.seq + 1
    ? prev !== undefined && equal(prev, newest.id)
    : seq > newest.seq && seq <= newest.seq + limits.booksSkipped

function notNext({ seq, id }: BookHead, proof: Equivocation | undefined): Problem {
  const place = { seq, head: toHex(id) }
  return proof
    ? new Problem('conflict', `The owner signed two books under number ${seq}.`, {
        ...place,
        proof: proof.map(envelopeToJson),
      })
    : new Problem('conflict', `The newest book is number ${seq}: the next one follows it.`, place)
}

function maySign(book: Book, issuer: IdentityState, nowMs: number): boolean {
  try {
    requireAuthor(book, issuer, nowMs)
    return true
  } catch (error) {
    if (error instanceof Problem) return false
    throw error
  }
}

function requireLive(head: BookHead, nowMs: number): void {
  if (nowMs >= head.expires) throw new Problem('expired', 'The book has expired.')
  if (!isLiveHead(head, nowMs)) throw new Problem('bad-request', 'The book was issued in the future.')
}
