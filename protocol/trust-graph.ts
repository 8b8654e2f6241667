/**
 * Residual depth and credit over a whole vouch graph, for millions of agents: compact arrays, a full evaluation by falling
 * depth, and changes that touch only what hung on them.
 *
 * `residual(subject) = max over live vouches of min(residual(issuer) - 1, depth)`. An agent is trusted at 0 or more and
 * its vouches count at 1 or more. The root stands at the depth it looks from, so no agent more than that many vouches
 * away is trusted. As every step costs one, no cycle gains anything.
 *
 * Each trusted agent but the root keeps a *witness*: an issuer whose vouch gives it its residual depth. When a vouch
 * goes, only the agents whose witnesses lead back to it are evaluated anew. Credit is not kept: it is found for the agent
 * that is asked for, back along the vouches for it, of which those that lead nowhere are left out by residual depth.
 */
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import {
  add,
  byIssuer,
  bySubject,
  DEPTH_BITS,
  DEPTH_MASK,
  forEachEdge,
  mark,
  MOST_CREDIT,
  WITHDRAWN,
  type Adjacency,
  type VouchList,
} from './vouch-lists.ts'

export interface TrustGraph {
  readonly agents: number
  readonly root: number
  /** The root's own residual depth, 0 to `limits.vouchDepth`. */
  readonly depth: number
  readonly given: Adjacency
  readonly received: Adjacency
  /** UNTRUSTED, the residual depth, or DISTRUSTED. */
  readonly residual: Int8Array
  readonly witness: Int32Array
}

/** Agents by residual depth: those whose own vouches are still to be offered on. */
type Buckets = readonly number[][]

const UNTRUSTED = -1
/** Above every offer, so that none is ever taken. */
const DISTRUSTED = 127
const NOBODY = -1
const MOST_AGENTS = 2 ** (31 - DEPTH_BITS)

/**
 * Indexes the vouches; nobody is trusted before `evaluate`.
 * @throws RangeError for a depth beyond the limit, too many agents, or a vouch that names none of them
 */
export function trustGraph(vouches: VouchList, root: number, depth: number = limits.vouchDepth): TrustGraph {
  const { agents } = vouches
  if (agents > MOST_AGENTS || root >= agents) throw new RangeError(`no graph of ${agents} agents has the root ${root}`)
  if (depth > limits.vouchDepth) throw new RangeError(`a depth is at most ${limits.vouchDepth}`)
  return {
    agents,
    root,
    depth,
    given: byIssuer(vouches),
    received: bySubject(vouches),
    residual: new Int8Array(agents).fill(UNTRUSTED),
    witness: new Int32Array(agents).fill(NOBODY),
  }
}

/** Evaluates every agent; whom `distrust` named stays distrusted. */
export function evaluate(graph: TrustGraph): void {
  const { residual, witness, root, agents } = graph
  for (let agent = 0; agent < agents; agent++) if (residual[agent] !== DISTRUSTED) residual[agent] = UNTRUSTED
  witness.fill(NOBODY)
  residual[root] = graph.depth
  // What an agent offers is below its own depth: a pass for each depth finds all agents of that depth settled.
  for (let depth = graph.depth; depth >= 1; depth--) {
    for (let issuer = 0; issuer < agents; issuer++) if (residual[issuer] === depth) offerAll(graph, issuer, depth)
  }
}

/** -1 when not trusted. */
export function residualOf(graph: TrustGraph, agent: number): number {
  const residual = graph.residual[agent] as number
  return residual === DISTRUSTED ? UNTRUSTED : residual
}

/**
 * Pieces that an agent may owe: by the best of its paths, of which each vouch holds no more than its credit and its hop
 * allow (`trust.ts`). 0 when it is not trusted.
 */
export function creditOf(graph: TrustGraph, agent: number): number {
  let best = 0
  if (residualOf(graph, agent) === UNTRUSTED || agent === graph.root) return best
  for (let hops = 1; hops <= graph.depth && (limits.creditByHop[hops - 1] ?? 0) > best; hops++) {
    best = Math.max(best, creditAlong(graph, agent, hops, best))
  }
  return best
}

/**
 * Of the best path of so many vouches, found from its end: a vouch that so many follow names that depth at least.
 * @param known 0 when it is no more than this
 */
function creditAlong(graph: TrustGraph, agent: number, hops: number, known: number): number {
  const { root, residual } = graph
  let reached = new Map([[agent, Infinity]])
  for (let following = 0; following < hops; following++) {
    const most = limits.creditByHop[hops - following - 1] ?? 0
    const isFirst = following === hops - 1
    const issuers = new Map<number, number>()
    for (const [subject, credit] of reached) {
      forEachEdge(graph.received, subject, (edge, named) => {
        const [issuer, depth] = [edge >> DEPTH_BITS, edge & DEPTH_MASK]
        const left = residual[issuer] as number
        const leads = isFirst ? issuer === root : issuer !== root && left > following && left !== DISTRUSTED
        if (!leads || depth === WITHDRAWN || depth < following) return
        const least = Math.min(credit, named, most)
        if (least > (issuers.get(issuer) ?? known)) issuers.set(issuer, least)
      })
    }
    reached = issuers
  }
  return reached.get(root) ?? 0
}

/** How many agents, the root aside, have each residual depth from 0 to one below the graph's. */
export function countByDepth(graph: TrustGraph): number[] {
  const counts = Array.from({ length: graph.depth }, () => 0)
  for (let agent = 0; agent < graph.agents; agent++) {
    const residual = residualOf(graph, agent)
    if (residual !== UNTRUSTED && agent !== graph.root) (counts[residual] as number)++
  }
  return counts
}

/**
 * Takes a vouch away.
 * @returns the agents that are trusted no longer
 * @throws Problem `not-found` when the graph was not built with such a vouch
 */
export const unvouch = (graph: TrustGraph, issuer: number, subject: number): number[] =>
  setDepth(graph, issuer, subject, WITHDRAWN)

/**
 * Gives a vouch, or a vouch that is there another depth and credit.
 * @returns the agents that are trusted no longer
 * @throws RangeError for a depth beyond the limit, or agents that there are not
 */
export function vouch(
  graph: TrustGraph,
  issuer: number,
  subject: number,
  depth: number,
  credit: number = MOST_CREDIT,
): number[] {
  if (depth > limits.vouchDepth) throw new RangeError(`a depth is at most ${limits.vouchDepth}`)
  if (issuer >= graph.agents || subject >= graph.agents) throw new RangeError('there is no such agent')
  const most = Math.min(credit, MOST_CREDIT)
  if (!mark(graph.given, issuer, subject, depth, most)) {
    add(graph.given, issuer, subject, depth, most)
    add(graph.received, subject, issuer, depth, most)
  }
  return setDepth(graph, issuer, subject, depth, most)
}

/** Overrides every path to an agent and through it. @returns the agents that are trusted no longer, itself among them */
export function distrust(graph: TrustGraph, agent: number): number[] {
  if (agent === graph.root) throw new Problem('bad-request', 'The root cannot distrust itself.')
  const wasTrusted = residualOf(graph, agent) !== UNTRUSTED
  const dependants = wasTrusted ? invalidate(graph, agent) : []
  graph.residual[agent] = DISTRUSTED
  return reevaluate(graph, dependants)
}

/** Takes a distrust back. */
export function undistrust(graph: TrustGraph, agent: number): void {
  if (graph.residual[agent] !== DISTRUSTED) return
  graph.residual[agent] = UNTRUSTED
  reevaluate(graph, [agent])
}

function setDepth(graph: TrustGraph, issuer: number, subject: number, depth: number, credit?: number): number[] {
  const found =
    mark(graph.given, issuer, subject, depth, credit) && mark(graph.received, subject, issuer, depth, credit)
  if (!found) throw new Problem('not-found', 'There is no such vouch in the graph.')
  const residual = residualOf(graph, subject)
  const offer = offerOf(graph, issuer, depth)
  if (offer > residual) reevaluate(graph, [subject])
  const isLess = offer < residual && graph.witness[subject] === issuer
  return isLess ? reevaluate(graph, invalidate(graph, subject)) : []
}

/** Ends the trust of an agent and of all whose witnesses lead back to it. */
function invalidate({ residual, witness, given }: TrustGraph, first: number): number[] {
  const dependants = [first]
  residual[first] = UNTRUSTED
  for (const issuer of dependants) {
    forEachEdge(given, issuer, (edge) => {
      const subject = edge >> DEPTH_BITS
      if (witness[subject] !== issuer || residual[subject] === DISTRUSTED || residual[subject] === UNTRUSTED) return
      residual[subject] = UNTRUSTED
      dependants.push(subject)
    })
  }
  return dependants
}

/** Takes the best offers to these agents and passes on what rises. @returns those of them that stay untrusted */
function reevaluate(graph: TrustGraph, agents: readonly number[]): number[] {
  const buckets: Buckets = Array.from({ length: graph.depth }, () => [])
  for (const agent of agents) takeBestOffer(graph, agent, buckets)
  for (let depth = graph.depth - 1; depth >= 1; depth--) {
    for (const issuer of buckets[depth] as number[]) {
      if (graph.residual[issuer] === depth) offerAll(graph, issuer, depth, buckets)
    }
  }
  return agents.filter((agent) => residualOf(graph, agent) === UNTRUSTED)
}

function takeBestOffer(graph: TrustGraph, subject: number, buckets: Buckets): void {
  forEachEdge(graph.received, subject, (edge) => {
    const issuer = edge >> DEPTH_BITS
    raise(graph, subject, issuer, offerOf(graph, issuer, edge & DEPTH_MASK), undefined)
  })
  const residual = residualOf(graph, subject)
  if (residual > 0) buckets[residual]?.push(subject)
}

/** What a vouch gives its subject now. */
function offerOf(graph: TrustGraph, issuer: number, depth: number): number {
  const residual = graph.residual[issuer] as number
  if (residual < 1 || residual === DISTRUSTED || depth === WITHDRAWN) return UNTRUSTED
  return Math.min(residual - 1, depth)
}

function offerAll(graph: TrustGraph, issuer: number, residual: number, buckets?: Buckets): void {
  forEachEdge(graph.given, issuer, (edge) => {
    const depth = edge & DEPTH_MASK
    if (depth !== WITHDRAWN) raise(graph, edge >> DEPTH_BITS, issuer, Math.min(residual - 1, depth), buckets)
  })
}

function raise(graph: TrustGraph, subject: number, issuer: number, offer: number, buckets: Buckets | undefined): void {
  if (offer <= (graph.residual[subject] as number)) return
  graph.residual[subject] = offer
  graph.witness[subject] = issuer
  buckets?.[offer]?.push(subject)
}
