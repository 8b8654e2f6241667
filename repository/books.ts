/** Vouch books: of every issuer the newest, each the successor of the one before. */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { liveEdges } from '../protocol/chain.ts'
import { decode, encode, field, fields, type Fields } from '../protocol/encoding.ts'
import type { IdentityState } from '../protocol/identity.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { envelopeToJson, type Envelope } from '../protocol/signed.ts'
import type { Item } from '../protocol/store.ts'
import type { Edge } from '../protocol/trust.ts'
import {
  checkBook,
  decodeVouches,
  encodeVouches,
  isEquivocation,
  isLiveHead,
  parseHead,
  requireAuthor,
  type Book,
  type BookHead,
  type SignedHead,
} from '../protocol/vouch.ts'
import type { RepositoryContext } from './context.ts'
import type { Identities } from './identities.ts'
import { bookKey, padded } from './keys.ts'
import { envelopeField } from './stored.ts'
import { decideAndWrite, removeAll, writeAll } from './write.ts'

export interface Books {
  /**
   * Takes the first book of an issuer, or the successor of its newest. The newest again changes nothing.
   * @throws Problem `not-found`, `expired`, `conflict` (its members: `seq` and `head` of the newest, and `proof` when the
   *   owner signed another book under that number), and those of `checkBook` and `requireAuthor`
   */
  put(issuer: Bytes, book: Book): Promise<{ readonly head: BookHead; readonly changed: boolean }>
  find(issuer: Bytes): Promise<Book | undefined>
  /** The newest book with its vouches that count now; undefined unless the issuer is known and still stands by it. */
  open(issuer: Bytes): Promise<OpenBook | undefined>
  /** Two heads under one number, when the issuer's owner ever signed such. */
  equivocation(issuer: Bytes): Promise<readonly [Envelope, Envelope] | undefined>
}

export interface OpenBook {
  readonly issuer: IdentityState
  readonly book: Book
  readonly edges: readonly Edge[]
}

const HEAD = 'head'
const PROOF = 'proof'
/** Keeps an item under `limits.itemBytes`: a vouch has about 250 bytes at most. */
const VOUCHES_PER_ITEM = 1000
const TRIES = 8

const headShape = {
  head: envelopeField,
  delegation: field.optional(envelopeField),
  base: field.optional(envelopeField),
  run: field.text(),
}
const proofShape = { first: envelopeField, second: envelopeField }

type StoredHead = Fields<typeof headShape>

export function createBooks(context: RepositoryContext, identities: Identities): Books {
  const { store, environment } = context

  async function put(issuer: Bytes, book: Book): Promise<{ head: BookHead; changed: boolean }> {
    const head = checkBook(book)
    if (!equal(head.issuer, issuer)) throw new Problem('bad-request', 'The book is of another issuer.')
    const identity = await identities.require(issuer)
    const replaced = await replaceHead(issuer, book, head, identity)
    if (!replaced.changed) return { head, changed: false }
    if (replaced.unused !== undefined) await removeAll(store, bookKey(issuer), runPrefix(replaced.unused))
    return { head, changed: true }
  }

  const replaceHead = (issuer: Bytes, book: Book, head: BookHead, identity: IdentityState) =>
    decideAndWrite<{ changed: boolean; unused?: string }>(store, async () => {
      const item = await store.get(bookKey(issuer), HEAD)
      const before = item && readStored(item)
      const newest = before && parseHead(before.head)
      if (newest && equal(newest.id, head.id)) return { changes: [], result: { changed: false } }
      requireLive(head, environment.clock.now())
      requireAuthor(book, identity, environment.clock.now())
      if (newest) await requireSuccessor(head, book, newest, before, identity)
      const isRenewal = newest !== undefined && equal(newest.root, head.root)
      const run = isRenewal && before ? before.run : toHex(head.id)
      if (run === toHex(head.id)) await writeAll(store, vouchItems(issuer, book, run))
      const body = encodeHead(book, run)
      const unused = before && before.run !== run ? { unused: before.run } : {}
      return {
        changes: [{ pk: bookKey(issuer), sk: HEAD, expect: item?.version ?? 0, body }],
        result: { changed: true, ...unused },
      }
    })

  async function requireSuccessor(
    head: BookHead,
    book: Book,
    newest: BookHead,
    stored: StoredHead,
    identity: IdentityState,
  ): Promise<void> {
    if (head.seq === newest.seq + 1 && head.prev && equal(head.prev, newest.id)) return
    const place = { seq: newest.seq, head: toHex(newest.id) }
    if (!isEquivocation(stored.head, book.head, identity)) {
      throw new Problem('conflict', `The newest book is number ${newest.seq}: another one follows it.`, place)
    }
    const proof = await keepProof(head.issuer, stored.head, book.head)
    throw new Problem('conflict', `The owner signed two books under number ${newest.seq}.`, {
      ...place,
      proof: proof.map(envelopeToJson),
    })
  }

  /** The first proof is enough. */
  async function keepProof(issuer: Bytes, first: Envelope, second: Envelope): Promise<readonly [Envelope, Envelope]> {
    const body = encode({ first: { ...first }, second: { ...second } })
    await store.write([{ pk: bookKey(issuer), sk: PROOF, expect: 0, body }])
    return [first, second]
  }

  async function find(issuer: Bytes): Promise<Book | undefined> {
    for (let tries = 0; tries < TRIES; tries++) {
      const item = await store.get(bookKey(issuer), HEAD)
      if (!item) return undefined
      const { run, ...signed } = readStored(item)
      const items = await store.list(bookKey(issuer), { prefix: runPrefix(run), limit: ITEMS_PER_BOOK })
      const vouches = items.flatMap(({ body }) => decodeVouches(body))
      // Fewer: a successor came in between, and took this run away.
      if (vouches.length === parseHead(signed.head).count) return { ...signed, vouches }
    }
    throw new Problem('store-unavailable', 'The book changes too often: try again.')
  }

  /** What is kept was checked when it came: only who may sign, and what has expired, is another question now. */
  async function open(id: Bytes): Promise<OpenBook | undefined> {
    const [issuer, book] = [await identities.get(id), await find(id)]
    if (!issuer || !book) return undefined
    const nowMs = environment.clock.now()
    return maySign(book, issuer, nowMs)
      ? { issuer, book, edges: liveEdges(parseHead(book.head), book.vouches, nowMs) }
      : undefined
  }

  async function equivocation(issuer: Bytes): Promise<readonly [Envelope, Envelope] | undefined> {
    const item = await store.get(bookKey(issuer), PROOF)
    if (!item) return undefined
    const { first, second } = fields(decode(item.body), proofShape)
    return [first, second]
  }

  return { put, find, open, equivocation }
}

const ITEMS_PER_BOOK = Math.ceil(limits.vouchesPerBook / VOUCHES_PER_ITEM)

const runPrefix = (run: string): string => `vouches/${run}/`

function* vouchItems(issuer: Bytes, { vouches }: Book, run: string) {
  for (let at = 0; at < vouches.length; at += VOUCHES_PER_ITEM) {
    const body = encodeVouches(vouches.slice(at, at + VOUCHES_PER_ITEM))
    yield { pk: bookKey(issuer), sk: runPrefix(run) + padded(at), body }
  }
}

const encodeHead = ({ head, delegation, base }: SignedHead, run: string): Bytes =>
  encode({ head: { ...head }, delegation: delegation && { ...delegation }, base: base && { ...base }, run })

const readStored = (item: Item): StoredHead => fields(decode(item.body), headShape)

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
