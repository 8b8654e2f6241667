/**
 * Residual depth over a whole vouch graph, for millions of agents: compact arrays, a full evaluation by falling depth,
 * and changes that touch only what hung on them.
 *
 * `residual(subject) = max over live vouches of min(residual(issuer) - 1, depth)`. An agent is trusted at 0 or more and
 * its vouches count at 1 or more. The root stands at the depth it looks from, so no agent more than that many vouches
 * away is trusted. As every step costs one, no cycle gains anything.
 *
 * Each trusted agent but the root keeps a *witness*: an issuer whose vouch gives it its residual depth. When a vouch
 * goes, only the agents whose witnesses lead back to it are evaluated anew.
 */
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

/** Agents are numbered from 0; vouch `i` is `issuers[i]` vouching for `subjects[i]` to `depths[i]`. */
export interface VouchList {
  readonly agents: number
  readonly issuers: Uint32Array
  readonly subjects: Uint32Array
  readonly depths: Uint8Array
}

/** The vouches of agent `a` are `edges[offsets[a]]` to before `offsets[a + 1]`, each `other end << DEPTH_BITS | depth`. */
interface Adjacency {
  readonly offsets: Uint32Array
  readonly edges: Int32Array
}

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

const DEPTH_BITS = 3
const DEPTH_MASK = 7
/** In place of a vouch's depth. */
const WITHDRAWN = 7
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
  const given = byIssuer(vouches)
  return {
    agents,
    root,
    depth,
    given,
    received: byOtherEnd(given),
    residual: new Int8Array(agents).fill(UNTRUSTED),
    witness: new Int32Array(agents).fill(NOBODY),
  }
}

function byIssuer({ agents, issuers, subjects, depths }: VouchList): Adjacency {
  const offsets = offsetsOf(agents, issuers.length, (i) => issuers[i] as number)
  const edges = new Int32Array(issuers.length)
  const next = offsets.slice()
  for (let i = 0; i < edges.length; i++) {
    const [issuer, subject, depth] = [issuers[i] as number, subjects[i] as number, depths[i] as number]
    if (issuer >= agents || subject >= agents || depth > limits.vouchDepth)
      throw new RangeError(`vouch ${i} is invalid`)
    edges[take(next, issuer)] = (subject << DEPTH_BITS) | depth
  }
  return { offsets, edges }
}

/** The same vouches, listed by their other end. */
function byOtherEnd({ offsets, edges }: Adjacency): Adjacency {
  const agents = offsets.length - 1
  const turned = offsetsOf(agents, edges.length, (i) => (edges[i] as number) >> DEPTH_BITS)
  const next = turned.slice()
  const turnedEdges = new Int32Array(edges.length)
  for (let agent = 0; agent < agents; agent++) {
    const end = offsets[agent + 1] as number
    for (let at = offsets[agent] as number; at < end; at++) {
      const edge = edges[at] as number
      turnedEdges[take(next, edge >> DEPTH_BITS)] = (agent << DEPTH_BITS) | (edge & DEPTH_MASK)
    }
  }
  return { offsets: turned, edges: turnedEdges }
}

/** Where each agent's part of a list begins that is sorted by agent. */
function offsetsOf(agents: number, count: number, agentOf: (i: number) => number): Uint32Array {
  const offsets = new Uint32Array(agents + 1)
  for (let i = 0; i < count; i++) take(offsets, agentOf(i) + 1)
  for (let agent = 0; agent < agents; agent++) (offsets[agent + 1] as number) += offsets[agent] as number
  return offsets
}

function take(counters: Uint32Array, at: number): number {
  const value = counters[at] as number
  counters[at] = value + 1
  return value
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

/** Gives a vouch that the graph was built with another depth, or gives it again. @returns, @throws as `unvouch` */
export function revouch(graph: TrustGraph, issuer: number, subject: number, depth: number): number[] {
  if (depth > limits.vouchDepth) throw new RangeError(`a depth is at most ${limits.vouchDepth}`)
  return setDepth(graph, issuer, subject, depth)
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

function setDepth(graph: TrustGraph, issuer: number, subject: number, depth: number): number[] {
  const found = mark(graph.given, issuer, subject, depth) && mark(graph.received, subject, issuer, depth)
  if (!found) throw new Problem('not-found', 'There is no such vouch in the graph.')
  const residual = residualOf(graph, subject)
  const offer = offerOf(graph, issuer, depth)
  if (offer > residual) reevaluate(graph, [subject])
  const isLess = offer < residual && graph.witness[subject] === issuer
  return isLess ? reevaluate(graph, invalidate(graph, subject)) : []
}

/** Writes the depth of all of an agent's vouches with one other end. @returns whether there are any */
function mark({ offsets, edges }: Adjacency, agent: number, other: number, depth: number): boolean {
  let found = false
  const end = offsets[agent + 1] as number
  for (let at = offsets[agent] as number; at < end; at++) {
    if ((edges[at] as number) >> DEPTH_BITS !== other) continue
    edges[at] = (other << DEPTH_BITS) | depth
    found = true
  }
  return found
}

/** Ends the trust of an agent and of all whose witnesses lead back to it. */
function invalidate({ residual, witness, given }: TrustGraph, first: number): number[] {
  const dependants = [first]
  residual[first] = UNTRUSTED
  for (const issuer of dependants) {
    const end = given.offsets[issuer + 1] as number
    for (let at = given.offsets[issuer] as number; at < end; at++) {
      const subject = (given.edges[at] as number) >> DEPTH_BITS
      if (witness[subject] !== issuer || residual[subject] === DISTRUSTED || residual[subject] === UNTRUSTED) continue
      residual[subject] = UNTRUSTED
      dependants.push(subject)
    }
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
  const { offsets, edges } = graph.received
  const end = offsets[subject + 1] as number
  for (let at = offsets[subject] as number; at < end; at++) {
    const edge = edges[at] as number
    const issuer = edge >> DEPTH_BITS
    raise(graph, subject, issuer, offerOf(graph, issuer, edge & DEPTH_MASK), undefined)
  }
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
  const { offsets, edges } = graph.given
  const end = offsets[issuer + 1] as number
  for (let at = offsets[issuer] as number; at < end; at++) {
    const edge = edges[at] as number
    const depth = edge & DEPTH_MASK
    if (depth !== WITHDRAWN) raise(graph, edge >> DEPTH_BITS, issuer, Math.min(residual - 1, depth), buckets)
  }
}

function raise(graph: TrustGraph, subject: number, issuer: number, offer: number, buckets: Buckets | undefined): void {
  if (offer <= (graph.residual[subject] as number)) return
  graph.residual[subject] = offer
  graph.witness[subject] = issuer
  buckets?.[offer]?.push(subject)
}
