/**
 * Vouching chains from one id to another: the books around the first are read, a hop at a time and up to a budget, then the
 * best chains are taken out of what was found, each without the vouches of those before.
 */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { chainsToJson, type ChainsJson } from '../protocol/chain.ts'
import { limits } from '../protocol/limits.ts'
import type { Levels } from '../protocol/merkle.ts'
import { evaluateOne, type Edge } from '../protocol/trust.ts'
import { bookTree, proveVouch, type VouchProof } from '../protocol/vouch.ts'
import type { Books, OpenBook } from './books.ts'

export interface ChainQuery {
  readonly from: Bytes
  readonly to: Bytes
  /** 1 to `limits.chains`. */
  readonly max: number
}

export interface Chains {
  /** At most `max` chains, the one of most credit first. Ids that are not known here have none. */
  find(query: ChainQuery): Promise<ChainsJson>
}

/** What one query may read. */
const BOOKS_READ = 256
const VOUCHES_READ = 20_000

/** Books by issuer (hex). */
type Found = ReadonlyMap<string, OpenBook>

export function createChains(books: Books): Chains {
  async function explore(from: Bytes): Promise<Found> {
    const found = new Map<string, OpenBook>()
    const asked = new Set<string>()
    let vouchesRead = 0
    let issuers: readonly Bytes[] = [from]
    for (let hop = 0; hop < limits.chainVouches && issuers.length > 0; hop++) {
      const subjects = new Map<string, Bytes>()
      for (const id of issuers) {
        if (asked.size >= BOOKS_READ || vouchesRead >= VOUCHES_READ) return found
        asked.add(toHex(id))
        const opened = await books.open(id)
        if (!opened) continue
        found.set(toHex(id), opened)
        vouchesRead += opened.book.vouches.length
        for (const { subject, depth } of opened.edges) if (depth > 0) subjects.set(toHex(subject), subject)
      }
      issuers = [...subjects].filter(([id]) => !asked.has(id)).map(([, subject]) => subject)
    }
    return found
  }

  return {
    async find({ from, to, max }) {
      const found = await explore(from)
      const chains = pickChains(
        [...found.values()].flatMap(({ edges }) => edges),
        from,
        to,
        max,
      )
      const prove = prover(found)
      const issuers = new Set(chains.flat().map(({ issuer }) => toHex(issuer)))
      return chainsToJson(
        [...issuers].map((id) => (found.get(id) as OpenBook).issuer),
        chains.map((chain) => chain.map(prove)),
      )
    },
  }
}

function pickChains(edges: readonly Edge[], from: Bytes, to: Bytes, max: number): (readonly Edge[])[] {
  const chains: (readonly Edge[])[] = []
  let left = leadingTo(to, edges)
  while (chains.length < max) {
    const { trusted, chain, deepest } = evaluateOne(from, to, left)
    if (!trusted) break
    chains.push(chain)
    // The first two say all of what the books say: the most credit, and the greatest depth.
    if (chains.length === 1 && deepest.some((edge) => !chain.includes(edge)) && max > 1) chains.push(deepest)
    const used = new Set(chains.flat())
    left = left.filter((edge) => !used.has(edge))
  }
  return chains
}

/** The vouches that some path to the subject may use. */
function leadingTo(to: Bytes, edges: readonly Edge[]): readonly Edge[] {
  const received = Map.groupBy(edges, ({ subject }) => toHex(subject))
  const leading = new Set<string>()
  let subjects = [toHex(to)]
  for (let hop = 0; hop < limits.chainVouches; hop++) {
    subjects.forEach((id) => leading.add(id))
    const issuers = subjects.flatMap((id) => (received.get(id) ?? []).map(({ issuer }) => toHex(issuer)))
    subjects = [...new Set(issuers)].filter((id) => !leading.has(id))
  }
  return edges.filter(({ subject }) => leading.has(toHex(subject)))
}

/** Makes each book's tree once. */
function prover(found: Found): (edge: Edge) => VouchProof {
  const trees = new Map<string, Levels>()
  return ({ issuer, subject }) => {
    const id = toHex(issuer)
    const { book } = found.get(id) as OpenBook
    const tree = trees.get(id) ?? bookTree(book)
    trees.set(id, tree)
    return proveVouch(
      book,
      book.vouches.findIndex((vouch) => vouch.scope === '' && equal(vouch.subject, subject)),
      tree,
    )
  }
}
