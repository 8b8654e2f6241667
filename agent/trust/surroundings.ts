/** The books around the owner, as far as vouches reach: what a prune would cost, and what the owner's tree looks like. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf } from '../../protocol/chain.ts'
import type { IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { unlessBug } from '../../protocol/problem.ts'
import type { Edge } from '../../protocol/trust.ts'
import type { Book } from '../../protocol/vouch.ts'
import type { AgentContext } from '../context.ts'

export interface Surroundings {
  readonly edges: readonly Edge[]
  /** False when there are more books than are read, or the repository did not show one that may be there. */
  readonly isWhole: boolean
}

interface Shown {
  readonly identities: IdentityState[]
  readonly books: Book[]
}

/** Books asked for at one time. */
const AT_ONCE = 8

/** @param own the owner's book is the agent's, not the repository's */
export async function lookAround(
  { repository, environment }: AgentContext,
  own: { readonly owner: IdentityState; readonly book: Book },
): Promise<Surroundings> {
  const nowMs = environment.clock.now()
  const shown: Shown = { identities: [own.owner], books: [own.book] }
  const asked = new Set([toHex(own.owner.id)])
  let edges = edgesOf(shown, nowMs)
  let isWhole = true

  async function read(id: string): Promise<void> {
    const [identity, book] = await Promise.all([
      repository.identity(id).catch(unlessBug),
      repository.book(id).catch(unlessBug),
    ])
    if (!identity) isWhole = false
    if (!identity || !book) return
    shown.identities.push(identity.state)
    shown.books.push(book)
  }

  for (let hop = 1; hop < limits.chainVouches; hop++) {
    const next = subjectsOf(edges).filter((id) => !asked.has(id))
    const readable = next.slice(0, limits.booksAround - asked.size)
    if (readable.length < next.length) isWhole = false
    for (const id of readable) asked.add(id)
    for (let at = 0; at < readable.length; at += AT_ONCE) await Promise.all(readable.slice(at, at + AT_ONCE).map(read))
    if (readable.length === 0) break
    edges = edgesOf(shown, nowMs)
  }
  return { edges, isWhole }
}

/** Whose own vouches may count. */
const subjectsOf = (edges: readonly Edge[]): string[] => {
  const may = edges.filter(({ depth }) => depth > 0).map(({ subject }: { subject: Bytes }) => toHex(subject))
  return [...new Set(may)]
}
