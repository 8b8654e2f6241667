/** The owner's book in the agent's store, where several instances of the agent may be at it. */
import { beforeEach, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { createBookShelf } from '../../agent/trust/book-shelf.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import type { Store } from '../../protocol/store.ts'
import { bookOf, friend, next, other, owner, vouch } from './trust-desk.ts'

const first = bookOf(owner, [vouch(friend, 1, 20)])
const [second, rival] = [next(first, owner, []), next(first, owner, [vouch(other, 0, 1)])]

let store: Store
beforeEach(() => {
  store = openSqlite(':memory:')
})

it('takes one of two books that come at once, and says so of the other', async () => {
  await createBookShelf(store).putBook(first)
  const outcomes = await Promise.allSettled([second, rival].map((book) => createBookShelf(store).putBook(book)))
  expect(outcomes).toMatchObject([{ status: 'fulfilled' }, { status: 'rejected', reason: { code: 'conflict' } }])
  expect(await createBookShelf(store).book()).toEqual(second)
})

it('holds a book for untold though the repository has heard of the one before', async () => {
  const shelf = createBookShelf(store)
  for (const book of [first, second]) await shelf.putBook(book)
  await shelf.markPublished(first)
  expect(await shelf.isUnpublished()).toBe(true)
  await shelf.markPublished(second)
  expect(await shelf.isUnpublished()).toBe(false)
})

it('keeps a book that comes just as the one before is marked as told', async () => {
  const shelf = createBookShelf(store)
  await shelf.putBook(first)
  const write: Store['write'] = async (changes) => {
    await shelf.putBook(second)
    return store.write(changes)
  }
  await createBookShelf({ ...store, write }).markPublished(first)
  expect(await shelf.book()).toEqual(second)
  expect(await shelf.isUnpublished()).toBe(true)
})

it('keeps nothing of a large book once a small one has taken its place', async () => {
  const many = Array.from({ length: 4_000 }, (_, i) => vouch({ ...friend, id: sha256(utf8(String(i))) }, 0, 1))
  const large = bookOf(owner, many)
  const shelf = createBookShelf(store)
  const items = async () => (await store.list('trust', { limit: 100 })).length
  await shelf.putBook(large)
  expect(await items()).toBeGreaterThan(2)
  await shelf.putBook(next(large, owner, [vouch(friend, 1, 20)]))
  expect(await items()).toBe(2)
})
