/**
 * The owner's vouch book: kept here, told to the repository, renewed before it ends. Of the owner's books the newest counts, by
 * whomever the repository was told of it: another agent of theirs, or this one before its store was lost or put back.
 */
import { authorityOf } from '../../protocol/authority.ts'
import { equal, toHex } from '../../protocol/bytes.ts'
import { hasSpokenFor, type IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { checkBook, parseHead, renewBook, renewsOlder, requireAuthor, type Book } from '../../protocol/vouch.ts'
import type { AgentContext } from '../context.ts'
import { createBookShelf } from './book-shelf.ts'
import type { LogView } from './log-view.ts'

export interface OwnBook {
  /** As it is here. */
  kept(): Promise<Book | undefined>
  /** As far as the repository answers: it is asked until it has, in the life of a process. */
  newest(): Promise<Book | undefined>
  /** As `Trust.putBook`. */
  put(book: Book): Promise<void>
  /** Renews it, its vouches unchanged; tells the repository what it has not taken. */
  maintain(): Promise<void>
}

export interface OwnBookParts {
  readonly owner: IdentityState
  /** The repository's log has to have what the repository took. */
  readonly view: Pick<LogView, 'expect'>
  readonly onChange: () => void
}

export function createOwnBook(context: AgentContext, { owner, view, onChange }: OwnBookParts): OwnBook {
  const { environment, repository, signer, delegation, store } = context
  const { clock } = environment
  const shelf = createBookShelf(store)
  const id = toHex(context.owner)
  /** When the repository was last told of a book. */
  let publishedMs = 0
  /** When it was last asked for one; for good once it has answered. */
  let askedMs = -Infinity

  async function put(book: Book): Promise<void> {
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
      onChange()
    }
    await publish(book)
  }

  async function publish(book: Book): Promise<void> {
    publishedMs = clock.now()
    try {
      const receipt = await repository.putBook(id, book)
      if (receipt) await view.expect(receipt)
      await shelf.markPublished(book)
    } catch (error) {
      if (error instanceof Problem && error.code === 'conflict') await adoptNewest().catch(unlessBug)
      throw error
    }
  }

  /** @throws Problem of the repository, `not-found` where it has none; those of `requireAuthor` */
  async function adoptNewest(): Promise<void> {
    const newest = await repository.book(id)
    const head = checkBook(newest)
    const kept = await shelf.book()
    // One of a key that was put out counts for nothing, but tells the owner, who has no other, for whom they vouched.
    if (kept || !isPutOut(newest)) requireAuthor(newest, owner, clock.now())
    else authorityOf(owner, head.key, newest.delegation, (key) => hasSpokenFor(owner, key))
    const before = kept && parseHead(kept.head)
    if (before && (before.seq > head.seq || equal(before.id, head.id) || renewsOlder(newest, before))) return
    await shelf.putBook(newest)
    await shelf.markPublished(newest)
    onChange()
  }

  function isPutOut(book: Book): boolean {
    try {
      requireAuthor(book, owner, clock.now())
    } catch (error) {
      unlessBug(error)
      return (error as Problem).code === 'unknown-key'
    }
    return false
  }

  async function catchUp(): Promise<void> {
    if (clock.now() - askedMs < limits.askAgainMs) return
    askedMs = clock.now()
    try {
      await adoptNewest()
    } catch (error) {
      unlessBug(error)
      if ((error as Problem).code === 'peer-failed') return
    }
    askedMs = Infinity
  }

  return {
    kept: () => shelf.book(),
    async newest() {
      await catchUp()
      return shelf.book()
    },
    put,
    async maintain() {
      const book = await shelf.book()
      if (!book) return
      const { issued, expires } = parseHead(book.head)
      const now = clock.now()
      // One of a key that was put out is for the owner alone to replace.
      if (isPutOut(book)) return
      if (now - issued >= (expires - issued) / 2) {
        await put(renewBook(book, { issued: now, expires: now + limits.bookMs }, signer, delegation))
      } else if (now - publishedMs >= limits.askAgainMs && (await shelf.isUnpublished())) await publish(book)
    },
  }
}
