/** What is over is taken away: announcements that expired, and contents that nobody announces. */
import { limits } from '../protocol/limits.ts'
import type { Announcements } from './announcements.ts'
import type { Contents } from './contents.ts'
import type { RepositoryContext } from './context.ts'
import { DUE_KEYS, dueContent, dueOf, EMPTY, type Due } from './keys.ts'
import type { Search } from './search.ts'

export interface SweepParts {
  readonly contents: Contents
  readonly announcements: Announcements
  readonly search: Search
}

const PAGE = 100
/** Of each key, for one call. */
const PAGES = 10

/**
 * Looks at what is due, up to a bound. A note is removed last: after a crash its matter is looked at again.
 * @returns how many notes there were
 */
export async function sweep(context: RepositoryContext, parts: SweepParts): Promise<number> {
  let looked = 0
  for (const pk of DUE_KEYS) {
    for (let page = 0; page < PAGES; page++) {
      const due = await sweepPage(context, parts, pk)
      looked += due
      if (due < PAGE) break
    }
  }
  return looked
}

async function sweepPage(context: RepositoryContext, parts: SweepParts, pk: string): Promise<number> {
  const { store, environment } = context
  const nowMs = environment.clock.now()
  const notes = await store.list(pk, { limit: PAGE })
  const due = notes.filter(({ sk }) => dueOf(sk).atMs <= nowMs)
  for (const { sk } of due) {
    const laterAt = await look(parts, dueOf(sk), nowMs)
    const later = laterAt === undefined ? [] : [{ pk, sk: laterAt, expect: 'any' as const, body: EMPTY }]
    await store.write([{ pk, sk, expect: 'any' }, ...later])
  }
  return due.length
}

/** @returns the note to look at it again */
async function look(
  { contents, announcements, search }: SweepParts,
  due: Due,
  nowMs: number,
): Promise<string | undefined> {
  const { infoHash } = due
  if (due.kind === 'swarm') await announcements.forget(infoHash, due.owner)
  const content = await contents.find(infoHash)
  if (content) await search.forget(content)
  if (due.kind === 'swarm') return undefined
  if (content?.run === due.run) {
    const isOffered = async () => (await announcements.offers(infoHash, 1)).length > 0
    const isKept = (await isOffered()) || !(await contents.forget(content, isOffered))
    if (isKept) return dueContent(nowMs + limits.contentMs, infoHash, due.run)
  }
  await contents.removeRun(infoHash, due.run)
  return undefined
}
