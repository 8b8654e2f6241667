import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equal, toHex, type Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { evaluate as evaluateGraph, residualOf, trustGraph } from '../../protocol/trust-graph.ts'
import { evaluate, evaluateOne, UNTRUSTED, type Edge } from '../../protocol/trust.ts'
import { numbered } from '../repository/people.ts'

const id = (n: number): Bytes => numbered(3, n)
const hex = (n: number): string => toHex(id(n))
const edge = (issuer: number, subject: number, depth = 4, credit = 64): Edge => ({
  issuer: id(issuer),
  subject: id(subject),
  depth,
  credit,
  expires: 1,
})
const path = (chain: readonly Edge[]): number[] =>
  chain.map(({ subject }) => new DataView(subject.buffer, subject.byteOffset).getUint32(0))

describe('trust', () => {
  it('of nobody is what no vouch gives', () => {
    expect(evaluateOne(id(0), id(1), [])).toEqual(UNTRUSTED)
    expect(evaluateOne(id(0), id(1), [edge(2, 1)])).toEqual(UNTRUSTED)
  })

  it('takes the verifier’s own vouches with the depth and the credit they name, up to the caps', () => {
    expect(evaluateOne(id(0), id(1), [edge(0, 1, 2, 10)])).toMatchObject({ trusted: true, depth: 2, credit: 10 })
    expect(evaluateOne(id(0), id(1), [edge(0, 1, 4, 999)])).toMatchObject({ depth: 3, credit: 64 })
  })

  it('costs a step of depth and a cap of credit a hop', () => {
    const line = [edge(0, 1), edge(1, 2), edge(2, 3), edge(3, 4), edge(4, 5)]
    const all = evaluate(id(0), line)
    const found = [1, 2, 3, 4].map((n) => [all.get(hex(n))?.depth, all.get(hex(n))?.credit])
    expect(found).toEqual([
      [3, 64],
      [2, 32],
      [1, 16],
      [0, 8],
    ])
    expect(all.has(hex(5))).toBe(false)
    expect(path(all.get(hex(4))?.chain ?? [])).toEqual([1, 2, 3, 4])
  })

  it('reaches as many hops as have a cap of credit, and a chain has as many vouches', () => {
    expect([limits.creditByHop.length, limits.chainVouches]).toEqual([limits.vouchDepth, limits.vouchDepth])
  })

  it('has the best credit of any path and the best depth of any path, which may differ', () => {
    const edges = [edge(0, 1, 4, 3), edge(1, 3, 4, 64), edge(0, 2, 1, 30), edge(2, 3, 0, 64)]
    const verdict = evaluateOne(id(0), id(3), edges)
    expect(verdict).toMatchObject({ trusted: true, depth: 2, credit: 30 })
    expect(path(verdict.chain)).toEqual([2, 3])
  })

  it('gains nothing by a vouch for oneself or by a cycle', () => {
    const straight = [edge(0, 1, 2, 5), edge(1, 2, 4, 64)]
    const cycles = [...straight, edge(1, 1), edge(2, 1), edge(2, 2), edge(1, 0), edge(0, 0)]
    expect(evaluate(id(0), cycles)).toEqual(evaluate(id(0), straight))
  })

  it('leads neither to nor through a distrusted id', () => {
    const edges = [edge(0, 1), edge(1, 2), edge(0, 2, 1), edge(2, 3)]
    const all = evaluate(id(0), edges, { distrusted: new Set([hex(1)]) })
    expect([...all.keys()].toSorted()).toEqual([hex(2), hex(3)].toSorted())
    expect(all.get(hex(2))).toMatchObject({ depth: 1 })
  })

  it('gives whoever hides behind one vouch no more than that vouch has', () => {
    const crowd = Array.from({ length: 3000 }, (_, i) => edge(1, i + 2))
    const all = evaluate(id(0), [edge(0, 1, 4, 16), ...crowd])
    expect(all.size).toBe(3001)
    expect(Math.max(...[...all.values()].map(({ credit }) => credit))).toBe(16)
    expect([...all.values()].every(({ chain }) => equal(chain[0]?.subject ?? id(0), id(1)))).toBe(true)
  })
})

describe('any vouches', () => {
  const AGENTS = 8
  const agent = fc.nat(AGENTS - 1)
  const edges = fc.array(
    fc.tuple(agent, agent, fc.nat(4), fc.nat(70)).map((drawn) => edge(...drawn)),
    { maxLength: 24 },
  )

  /** Every path, one by one. */
  function byDefinition(all: readonly Edge[]): Map<string, { depth: number; credit: number }> {
    const found = new Map<string, { depth: number; credit: number }>()
    const walk = (at: Bytes, residual: number, credit: number, hop: number): void => {
      for (const each of all.filter(({ issuer }) => equal(issuer, at))) {
        const depth = Math.min(residual - 1, each.depth)
        if (depth < 0 || equal(each.subject, id(0))) continue
        const least = Math.min(credit, each.credit, limits.creditByHop[hop] ?? 0)
        const before = found.get(toHex(each.subject)) ?? { depth: -1, credit: 0 }
        found.set(toHex(each.subject), { depth: Math.max(before.depth, depth), credit: Math.max(before.credit, least) })
        walk(each.subject, depth, least, hop + 1)
      }
    }
    walk(id(0), limits.vouchDepth, Infinity, 0)
    return found
  }

  it('give the depth and credit that trying every path gives, and a chain of that credit', () => {
    fc.assert(
      fc.property(edges, (drawn) => {
        const all = evaluate(id(0), drawn)
        const expected = byDefinition(drawn)
        expect(new Map([...all].map(([key, { depth, credit }]) => [key, { depth, credit }]))).toEqual(expected)
        for (const [key, { chain, credit }] of all) {
          expect(toHex(chain.at(-1)?.subject ?? id(0))).toBe(key)
          chain.forEach((each, i) => expect(each.issuer).toEqual(chain[i - 1]?.subject ?? id(0)))
          expect(Math.min(...chain.map((each, hop) => Math.min(each.credit, limits.creditByHop[hop] ?? 0)))).toBe(
            credit,
          )
        }
      }),
      { numRuns: 300 },
    )
  })

  it('give the depths that the engine for large graphs gives', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(agent, agent, fc.nat(4)), { maxLength: 30 }), (drawn) => {
        const graph = trustGraph(
          {
            agents: AGENTS,
            issuers: Uint32Array.from(drawn, ([issuer]) => issuer),
            subjects: Uint32Array.from(drawn, ([, subject]) => subject),
            depths: Uint8Array.from(drawn, ([, , depth]) => depth),
          },
          0,
        )
        evaluateGraph(graph)
        const all = evaluate(
          id(0),
          drawn.map(([issuer, subject, depth]) => edge(issuer, subject, depth)),
        )
        for (let n = 1; n < AGENTS; n++) expect(all.get(hex(n))?.depth ?? -1).toBe(residualOf(graph, n))
      }),
    )
  })
})
