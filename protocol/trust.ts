/**
 * Whom a verifier trusts, how far and with how much credit, by live vouches (`chain.ts` checks them). Whoever evaluates the
 * same vouches finds the same; `trust-graph.ts` finds the same depths for millions.
 *
 * Residual depth: r(subject) = max over live vouches of min(r(issuer) - 1, depth); trusted at r >= 0, may vouch at r >= 1.
 * The verifier stands at `limits.vouchDepth`, so nobody more than that many vouches away is trusted. Credit along a path
 * is the least of its vouches', capped by hop (`limits.creditByHop`; none beyond). Distrust overrides every path to an id
 * and through it.
 */
import { toHex, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'

/** A live vouch, its signatures checked. */
export interface Edge {
  readonly issuer: Bytes
  readonly subject: Bytes
  readonly depth: number
  readonly credit: number
  /** The vouch or its book ends, in milliseconds. */
  readonly expires: number
  /** When the vouch began, in milliseconds. */
  readonly since?: number
  /** When the vouch itself ends, in milliseconds: its book is renewed until then. */
  readonly until?: number
}

export interface EvaluateOptions {
  /** Ids as hex, that no path leads to or through. */
  readonly distrusted?: ReadonlySet<string>
  /** Ids as hex, whose vouchers believe them less: what a vouch for one allows is halved so many times. */
  readonly halved?: ReadonlyMap<string, number>
}

export interface Verdict {
  readonly trusted: boolean
  /** Residual depth; -1 when not trusted. */
  readonly depth: number
  /** Pieces that may be unpaid. */
  readonly credit: number
  /** The path of that credit, from the verifier. Empty for the verifier itself, and when not trusted. */
  readonly chain: readonly Edge[]
  /** The path of that depth. */
  readonly deepest: readonly Edge[]
}

export const UNTRUSTED: Verdict = { trusted: false, depth: -1, credit: 0, chain: [], deepest: [] }

/** A place that a path from the verifier reaches. */
interface Step {
  readonly id: string
  readonly residual: number
  readonly credit: number
  readonly edge?: Edge
  readonly before?: Step
}

/** Verdicts by id (hex), of all that are trusted; the verifier itself is not among them. Others are `UNTRUSTED`. */
export function evaluate(
  verifier: Bytes,
  edges: readonly Edge[],
  options: EvaluateOptions = {},
): ReadonlyMap<string, Verdict> {
  const given = Map.groupBy(edges, ({ issuer }) => toHex(issuer))
  const reached = new Map<string, Step[]>()
  let steps: readonly Step[] = [{ id: toHex(verifier), residual: limits.vouchDepth, credit: Infinity }]
  for (let hop = 0; steps.length > 0; hop++) {
    steps = steps.flatMap((from) =>
      (given.get(from.id) ?? [])
        .map((edge) => follow(from, edge, hop, options))
        .filter((step) => step.residual >= 0 && step.id !== toHex(verifier) && isGain(reached, step, options)),
    )
  }
  return new Map([...reached].map(([id, arrivals]) => [id, verdictOf(arrivals)]))
}

/** One verdict. */
export const evaluateOne = (
  verifier: Bytes,
  subject: Bytes,
  edges: readonly Edge[],
  options?: EvaluateOptions,
): Verdict => evaluate(verifier, edges, options).get(toHex(subject)) ?? UNTRUSTED

/** Pieces that all behind a vouch may owe together, where it stands so many hops from the verifier (0 for its own). */
export const allowanceOf = (edge: Edge, hop: number, { halved }: Pick<EvaluateOptions, 'halved'> = {}): number =>
  Math.floor(Math.min(edge.credit, limits.creditByHop[hop] ?? 0) / 2 ** (halved?.get(toHex(edge.subject)) ?? 0))

function follow(before: Step, edge: Edge, hop: number, options: EvaluateOptions): Step {
  return {
    id: toHex(edge.subject),
    residual: Math.min(before.residual - 1, edge.depth),
    credit: Math.min(before.credit, allowanceOf(edge, hop, options)),
    edge,
    before,
  }
}

/** Keeps the step unless one that is already there is as deep and as good: what follows a later one can only be worse. */
function isGain(reached: Map<string, Step[]>, step: Step, { distrusted }: EvaluateOptions): boolean {
  if (distrusted?.has(step.id)) return false
  const arrivals = reached.get(step.id) ?? []
  if (arrivals.some(({ residual, credit }) => residual >= step.residual && credit >= step.credit)) return false
  reached.set(step.id, [...arrivals, step])
  return true
}

function verdictOf(arrivals: readonly Step[]): Verdict {
  const best = arrivals.reduce((a, b) =>
    b.credit > a.credit || (b.credit === a.credit && b.residual > a.residual) ? b : a,
  )
  const deepest = arrivals.reduce((a, b) => (b.residual > a.residual ? b : a))
  const { credit } = best
  return { trusted: true, depth: deepest.residual, credit, chain: chainOf(best), deepest: chainOf(deepest) }
}

const chainOf = ({ edge, before }: Step): Edge[] => (edge && before ? [...chainOf(before), edge] : [])
