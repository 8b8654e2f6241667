/**
 * The vouches of a large graph by issuer and by subject, in compact arrays: built once, then changed in place. Vouches
 * that the graph was not built with are kept beside.
 */
import { limits } from './limits.ts'

/** Agents are numbered from 0; vouch `i` is `issuers[i]` vouching for `subjects[i]` to `depths[i]`. */
export interface VouchList {
  readonly agents: number
  readonly issuers: Uint32Array
  readonly subjects: Uint32Array
  readonly depths: Uint8Array
  /** Pieces; as many as the first hop allows unless given. */
  readonly credits?: Uint32Array
}

/** The vouches of agent `a` are `edges[offsets[a]]` to before `offsets[a + 1]`, each `other end << DEPTH_BITS | depth`. */
export interface Adjacency {
  readonly offsets: Uint32Array
  readonly edges: Int32Array
  /** Of each edge, up to what the first hop allows; all as much as that where there are none. */
  readonly credits: Uint8Array | undefined
  /** Vouches that came since, by agent. */
  readonly later: Map<number, Later>
}

interface Later {
  readonly edges: number[]
  readonly credits: number[]
}

/** An edge is `other end << DEPTH_BITS | depth`. */
export const DEPTH_BITS = 3
export const DEPTH_MASK = 7
/** In place of a vouch's depth. */
export const WITHDRAWN = 7
/** No hop allows more. */
export const MOST_CREDIT = limits.creditByHop[0]

/**
 * The vouches by issuer; their credits are not asked for from there.
 * @throws RangeError for a depth beyond the limit, or a vouch that names none of the agents
 */
export function byIssuer({ agents, issuers, subjects, depths }: VouchList): Adjacency {
  const offsets = offsetsOf(agents, issuers)
  const edges = new Int32Array(issuers.length)
  const next = offsets.slice()
  for (let i = 0; i < edges.length; i++) {
    const [issuer, subject, depth] = [issuers[i] as number, subjects[i] as number, depths[i] as number]
    if (issuer >= agents || subject >= agents || depth > limits.vouchDepth) {
      throw new RangeError(`vouch ${i} is invalid`)
    }
    edges[take(next, issuer)] = (subject << DEPTH_BITS) | depth
  }
  return { offsets, edges, credits: undefined, later: new Map() }
}

/** The same vouches by subject. */
export function bySubject({ agents, issuers, subjects, depths, credits: named }: VouchList): Adjacency {
  const offsets = offsetsOf(agents, subjects)
  const edges = new Int32Array(issuers.length)
  const credits = named ? new Uint8Array(issuers.length) : undefined
  const next = offsets.slice()
  for (let i = 0; i < edges.length; i++) {
    const at = take(next, subjects[i] as number)
    edges[at] = ((issuers[i] as number) << DEPTH_BITS) | (depths[i] as number)
    if (credits) credits[at] = Math.min((named as Uint32Array)[i] as number, MOST_CREDIT)
  }
  return { offsets, edges, credits, later: new Map() }
}

/** Where each agent's part of a list begins that is sorted by agent. */
function offsetsOf(agents: number, ends: Uint32Array): Uint32Array {
  const offsets = new Uint32Array(agents + 1)
  for (let i = 0; i < ends.length; i++) take(offsets, (ends[i] as number) + 1)
  for (let agent = 0; agent < agents; agent++) (offsets[agent + 1] as number) += offsets[agent] as number
  return offsets
}

function take(counters: Uint32Array, at: number): number {
  const value = counters[at] as number
  counters[at] = value + 1
  return value
}

/** Writes the depth, and the credit if given, of all of an agent's vouches with one other end. @returns whether there are any */
export function mark(adjacency: Adjacency, agent: number, other: number, depth: number, credit?: number): boolean {
  const { offsets, later } = adjacency
  const more = later.get(agent)
  const place = { other, depth, credit }
  const found = markIn(adjacency, offsets[agent] as number, offsets[agent + 1] as number, place)
  return more ? markIn(more, 0, more.edges.length, place) || found : found
}

interface Lists {
  readonly edges: Int32Array | number[]
  readonly credits: Uint8Array | number[] | undefined
}

function markIn({ edges, credits }: Lists, from: number, to: number, { other, depth, credit }: Marked): boolean {
  let found = false
  for (let at = from; at < to; at++) {
    if ((edges[at] as number) >> DEPTH_BITS !== other) continue
    edges[at] = (other << DEPTH_BITS) | depth
    if (credits && credit !== undefined) credits[at] = credit
    found = true
  }
  return found
}

interface Marked {
  readonly other: number
  readonly depth: number
  readonly credit: number | undefined
}

export function add({ later }: Adjacency, agent: number, other: number, depth: number, credit: number): void {
  const list = later.get(agent) ?? { edges: [], credits: [] }
  list.edges.push((other << DEPTH_BITS) | depth)
  list.credits.push(credit)
  later.set(agent, list)
}

/** All vouches of an agent, those that came later last. */
export function forEachEdge(adjacency: Adjacency, agent: number, visit: (edge: number, credit: number) => void): void {
  const { offsets, edges, credits, later } = adjacency
  const end = offsets[agent + 1] as number
  for (let at = offsets[agent] as number; at < end; at++) visit(edges[at] as number, credits?.[at] ?? MOST_CREDIT)
  const more = later.size === 0 ? undefined : later.get(agent)
  more?.edges.forEach((edge, at) => visit(edge, more.credits[at] as number))
}
