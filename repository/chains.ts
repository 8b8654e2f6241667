/**
 * Vouching chains from one id to another: out of the books around the first, the best chains are taken, each without the
 * vouches of those before.
 */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { chainsToJson, type ChainsJson } from '../protocol/chain.ts'
import { limits } from '../protocol/limits.ts'
import type { Levels } from '../protocol/merkle.ts'
import { evaluateOne, type Edge } from '../protocol/trust.ts'
import { bookTree, proveVouch, type Book, type VouchProof } from '../protocol/vouch.ts'
import type { OpenBook } from './books.ts'
import type { Neighbourhood, Neighbourhoods } from './neighbourhoods.ts'
import { createShelf } from './shelf.ts'

export interface ChainQuery {
  readonly from: Bytes
  readonly to: Bytes
  /** 1 to `limits.chains`. */
  readonly max: number
}

export interface Chains {
  /** At most `max` chains, the one of most credit first, as JSON of `ChainsJson`. Ids that are not known here have none. */
  find(query: ChainQuery): Promise<string>
}

/** An answer, for as long as what it was taken from is kept. */
interface Answered {
  readonly around: Neighbourhood
  readonly text: string
}

/** Characters of answers that are kept at hand. */
const ANSWERS_KEPT = 16 * 2 ** 20

export function createChains(neighbourhoods: Neighbourhoods): Chains {
  const prove = createProver()
  const answers = createShelf<Answered>(ANSWERS_KEPT, ({ text }) => text.length)

  function answer({ books, edges, received }: Neighbourhood, { from, to, max }: ChainQuery): ChainsJson {
    const chains = pickChains(leadingTo(to, edges, received), from, to, max)
    const issuers = new Set(chains.flat().map(({ issuer }) => toHex(issuer)))
    const openedBy = (id: string): OpenBook => books.get(id) as OpenBook
    return chainsToJson(
      [...issuers].map((id) => openedBy(id).issuer),
      chains.map((chain) => chain.map((edge) => prove(openedBy(toHex(edge.issuer)), edge))),
    )
  }

  return {
    async find(query) {
      const around = await neighbourhoods.around(query.from)
      const name = `${toHex(query.from)} ${toHex(query.to)} ${query.max}`
      const known = answers.get(name)
      if (known?.around === around) return known.text
      const text = JSON.stringify(answer(around, query))
      answers.put(name, { around, text })
      return text
    },
  }
}

function pickChains(edges: readonly Edge[], from: Bytes, to: Bytes, max: number): (readonly Edge[])[] {
  const chains: (readonly Edge[])[] = []
  let left = edges
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

/** The vouches that some path to the subject may use, in their order. */
function leadingTo(to: Bytes, edges: readonly Edge[], received: Neighbourhood['received']): readonly Edge[] {
  const leading = new Set<string>()
  const places: number[] = []
  let subjects = [toHex(to)]
  for (let hop = 0; hop < limits.chainVouches; hop++) {
    const theirs = subjects.flatMap((id) => received.get(id) ?? [])
    places.push(...theirs)
    subjects.forEach((id) => leading.add(id))
    const issuers = theirs.map((place) => toHex((edges[place] as Edge).issuer))
    subjects = [...new Set(issuers)].filter((id) => !leading.has(id))
  }
  return places.toSorted((a, b) => a - b).map((place) => edges[place] as Edge)
}

/** Makes each book's tree once, for as long as the book is at hand. */
function createProver() {
  const trees = new WeakMap<Book, Levels>()
  return ({ book }: OpenBook, { subject }: Edge): VouchProof => {
    const tree = trees.get(book) ?? bookTree(book)
    trees.set(book, tree)
    const index = book.vouches.findIndex((vouch) => vouch.scope === '' && equal(vouch.subject, subject))
    return proveVouch(book, index, tree)
  }
}
