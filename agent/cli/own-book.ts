/** The owner's next vouch book, signed by the owner's own key and told to their agent. */
import { z } from 'zod'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { replay } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  bookFromJson,
  bookToJson,
  checkBook,
  requireAuthor,
  writeBook,
  type Book,
  type BookHead,
  type BookJson,
  type Vouch,
} from '../../protocol/vouch.ts'
import type { Call } from './command.ts'

export interface TrustJson {
  book?: BookJson
  distrusted: string[]
}

export type Rewrite = (vouches: readonly Vouch[]) => readonly Vouch[]

type Place = Pick<BookHead, 'seq' | 'id'>

interface NewestBook {
  readonly head?: BookHead
  readonly vouches: readonly Vouch[]
  /** Of a book whose key was put out: who had the key may have added to them, so only the owner can say which are theirs. */
  readonly lapsed: readonly Vouch[]
}

/** What a repository says of the newest book that it has. */
const conflictShape = z.object({ seq: z.int(), head: z.string() })

/** As the owner's agent knows it. */
export async function newestBook(call: Call): Promise<NewestBook> {
  const { book: json, distrusted } = await (await call.agent()).ask<TrustJson>('GET', '/v1/trust')
  if (!json) return { vouches: [], lapsed: [] }
  const book = bookFromJson(json)
  const [head, nowMs] = [checkBook(book), call.environment.clock.now()]
  const vouches = book.vouches.filter(({ expires }) => expires > nowMs)
  if (!(await isPutOut(call, book))) return { head, vouches, lapsed: [] }
  return { head, vouches: [], lapsed: vouches.filter(({ subject }) => !distrusted.includes(toHex(subject))) }
}

async function isPutOut(call: Call, book: Book): Promise<boolean> {
  const nowMs = call.environment.clock.now()
  const { operations } = await call.owner()
  try {
    requireAuthor(book, replay(operations, nowMs), nowMs)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return error.code === 'unknown-key'
  }
  return false
}

/** @throws Problem `unknown-key` while there are lapsed vouches of which the owner has not said whether they stay */
export const publish = (call: Call, rewrite: Rewrite): Promise<void> =>
  publishNext(call, ({ lapsed, vouches }) => {
    if (lapsed.length === 0) return rewrite(vouches)
    throw new Problem(
      'unknown-key',
      'Your vouches were signed by a key that was put out, and a thief’s may be among them: `raincheck revouch` shows them, and signs again those that you choose.',
    )
  })

/** @param choose of the lapsed vouches those that are the owner's @throws Problem `not-found` where none have lapsed */
export async function revouch(call: Call, choose: Rewrite): Promise<void> {
  const { lapsed } = await newestBook(call)
  if (lapsed.length === 0) throw new Problem('not-found', 'There is no vouch to sign again.')
  const chosen = choose(lapsed)
  await publishNext(call, () => chosen)
}

type Contents = (newest: NewestBook) => readonly Vouch[]

const publishNext = (call: Call, contents: Contents): Promise<void> =>
  publishAfter(call, contents).catch((error: unknown) => publishAfter(call, contents, newestIn(error)))

/** @param told of the repository's newest, where it is not the agent's */
async function publishAfter(call: Call, contents: Contents, told?: Place): Promise<void> {
  const newest = await newestBook(call)
  const { head } = newest
  const after = told && (!head || head.seq <= told.seq) ? told : head
  const next = await nextBook(call, after, contents(newest))
  await (await call.agent()).ask('PUT', '/v1/trust', { book: bookToJson(next) })
}

/** A book that the owner's agent knows nothing of, such as a thief's, has its number all the same. @throws what tells of none */
function newestIn(error: unknown): Place {
  const { success, data } = conflictShape.safeParse(error instanceof Problem && error.members)
  if (!success) throw error
  return { seq: data.seq, id: fromHex(data.head, 32) }
}

async function nextBook(call: Call, last: Place | undefined, vouches: readonly Vouch[]): Promise<Book> {
  const nowMs = call.environment.clock.now()
  const { id: issuer } = await call.owner()
  const terms = {
    issuer,
    seq: last ? last.seq + 1 : 0,
    ...(last ? { prev: last.id } : {}),
    issued: nowMs,
    expires: nowMs + limits.bookMs,
  }
  return writeBook(terms, vouches, await call.signer())
}
