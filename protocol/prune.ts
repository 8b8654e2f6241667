/**
 * What it costs to stop trusting an id: who is lost with it and who is left with less, before it is done; and the tree of
 * those it brought in, for whom that is not enough.
 */
import { toHex, type Bytes } from './bytes.ts'
import { evaluate, type Edge, type EvaluateOptions } from './trust.ts'

export interface Loss {
  /** Ids in hex that were trusted and would be no longer, the pruned ones among them. */
  readonly lost: readonly string[]
  /** Those that stay trusted by another path, with what they would have. */
  readonly weaker: readonly { readonly id: string; readonly depth: number; readonly credit: number }[]
}

/** What a verifier has now against what it would have with other options. */
export function lossOf(verifier: Bytes, edges: readonly Edge[], now: EvaluateOptions, then: EvaluateOptions): Loss {
  const [before, after] = [evaluate(verifier, edges, now), evaluate(verifier, edges, then)]
  const lost: string[] = []
  const weaker: Loss['weaker'][number][] = []
  for (const [id, was] of before) {
    const is = after.get(id)
    if (!is) lost.push(id)
    else if (is.depth < was.depth || is.credit < was.credit) weaker.push({ id, depth: is.depth, credit: is.credit })
  }
  return { lost, weaker }
}

/**
 * An id and all that came in by it: each trusted id hangs on the trusted issuer whose vouch for it is the oldest, whoever
 * else vouches for it since.
 * @returns ids in hex, the first one first
 */
export function firstVoucherTree(
  verifier: Bytes,
  edges: readonly Edge[],
  id: string,
  options?: EvaluateOptions,
): string[] {
  const trusted = evaluate(verifier, edges, options)
  const first = new Map<string, Edge>()
  for (const edge of edges) {
    const subject = toHex(edge.subject)
    if (!trusted.has(subject) || !counts(edge, verifier, trusted)) continue
    const known = first.get(subject)
    if (!known || sinceOf(edge) < sinceOf(known)) first.set(subject, edge)
  }
  const broughtIn = Map.groupBy(first.values(), ({ issuer }) => toHex(issuer))
  const tree = new Set([id])
  for (const each of tree) for (const { subject } of broughtIn.get(each) ?? []) tree.add(toHex(subject))
  return [...tree]
}

/** The trusted issuers, in hex, whose vouches for an id count: those who answer for it. The verifier is not among them. */
export function vouchersOf(verifier: Bytes, edges: readonly Edge[], id: string, options?: EvaluateOptions): string[] {
  const trusted = evaluate(verifier, edges, options)
  const theirs = edges.filter((edge) => toHex(edge.subject) === id && counts(edge, verifier, trusted))
  return [...new Set(theirs.map(({ issuer }) => toHex(issuer)))].filter((issuer) => issuer !== toHex(verifier))
}

const counts = ({ issuer }: Edge, verifier: Bytes, trusted: ReturnType<typeof evaluate>): boolean =>
  toHex(issuer) === toHex(verifier) || (trusted.get(toHex(issuer))?.depth ?? -1) >= 1

const sinceOf = ({ since = 0 }: Edge): number => since
