import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  countByDepth,
  creditOf,
  distrust,
  evaluate,
  residualOf,
  vouch,
  trustGraph,
  undistrust,
  unvouch,
  type TrustGraph,
} from '../../protocol/trust-graph.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { evaluate as evaluateEdges, type Edge } from '../../protocol/trust.ts'
import { drawing, madeGraph } from '../bench/made-graph.ts'
import { coded } from '../problems.ts'

type Vouch = readonly [issuer: number, subject: number, depth: number]

const build = (agents: number, vouches: readonly Vouch[], depth = 4): TrustGraph => {
  const graph = trustGraph(
    {
      agents,
      issuers: Uint32Array.from(vouches, ([issuer]) => issuer),
      subjects: Uint32Array.from(vouches, ([, subject]) => subject),
      depths: Uint8Array.from(vouches, ([, , named]) => named),
    },
    0,
    depth,
  )
  evaluate(graph)
  return graph
}

const residuals = (graph: TrustGraph): number[] =>
  Array.from({ length: graph.agents }, (_, agent) => residualOf(graph, agent))

const inOrder = (agents: readonly number[]): number[] => agents.toSorted((a, b) => a - b)

/** The definition itself, until nothing changes. */
function byDefinition(
  agents: number,
  vouches: readonly Vouch[],
  distrusted: ReadonlySet<number>,
  depth: number,
): number[] {
  const residual = Array.from({ length: agents }, (_, agent) => (agent === 0 ? depth : -1))
  for (let changed = true; changed;) {
    changed = false
    for (const [issuer, subject, named] of vouches) {
      const offer = Math.min((residual[issuer] as number) - 1, named)
      if ((residual[issuer] as number) < 1 || distrusted.has(subject) || offer <= (residual[subject] as number))
        continue
      residual[subject] = offer
      changed = true
    }
  }
  return residual
}

describe('residual depth', () => {
  test('a vouch of the root counts with the depth it names, below the root’s own', () => {
    expect(
      residuals(
        build(3, [
          [0, 1, 4],
          [0, 2, 0],
        ]),
      ),
    ).toEqual([4, 3, 0])
  })

  test('each step costs one, and who has none left vouches for nobody', () => {
    const line: Vouch[] = [
      [0, 1, 4],
      [1, 2, 4],
      [2, 3, 4],
      [3, 4, 4],
      [4, 5, 4],
    ]
    expect(residuals(build(6, line))).toEqual([4, 3, 2, 1, 0, -1])
  })

  test('the best of several paths counts', () => {
    expect(
      residuals(
        build(4, [
          [0, 1, 1],
          [1, 3, 4],
          [0, 2, 3],
          [2, 3, 4],
        ]),
      ),
    ).toEqual([4, 1, 3, 2])
  })

  test('cycles and vouches for oneself gain nothing', () => {
    expect(
      residuals(
        build(3, [
          [0, 1, 1],
          [1, 1, 4],
          [1, 2, 4],
          [2, 1, 4],
          [2, 0, 4],
        ]),
      ),
    ).toEqual([4, 1, 0])
  })

  test.each([
    [0, [0, -1, -1], []],
    [1, [1, 0, -1], [1]],
    [2, [2, 1, 0], [1, 1]],
    [4, [4, 3, 2], [0, 0, 1, 1]],
  ])('the root looks no further than its own depth, %i', (depth, found, counts) => {
    const line: Vouch[] = [
      [0, 1, 4],
      [1, 2, 4],
    ]
    expect(residuals(build(3, line, depth))).toEqual(found)
    expect(countByDepth(build(3, line, depth))).toEqual(counts)
  })

  test('a vouch that names no agent or too great a depth is refused', () => {
    expect(() => build(2, [[0, 2, 1]])).toThrow(RangeError)
    expect(() => build(2, [[0, 1, 5]])).toThrow(RangeError)
  })
})

describe('prune', () => {
  const diamond: Vouch[] = [
    [0, 1, 4],
    [0, 2, 2],
    [1, 3, 4],
    [2, 3, 4],
    [3, 4, 4],
    [1, 5, 4],
  ]

  test('a withdrawn vouch loses what hung on it alone; a second path survives at its own depth', () => {
    const graph = build(6, diamond)
    expect(residuals(graph)).toEqual([4, 3, 2, 2, 1, 2])
    expect(inOrder(unvouch(graph, 0, 1))).toEqual([1, 5])
    expect(residuals(graph)).toEqual([4, -1, 2, 1, 0, -1])
  })

  test('a distrusted agent stays so when another vouches for it', () => {
    const graph = build(6, [...diamond, [2, 1, 4]])
    expect(inOrder(distrust(graph, 1))).toEqual([1, 5])
    expect(vouch(graph, 2, 1, 4)).toEqual([])
    expect(residualOf(graph, 1)).toBe(-1)
    evaluate(graph)
    expect(residualOf(graph, 1)).toBe(-1)
    undistrust(graph, 1)
    expect(residuals(graph)).toEqual([4, 3, 2, 2, 1, 2])
  })

  test('a vouch that the graph was not built with cannot be taken away', () => {
    expect(() => unvouch(build(6, diamond), 4, 5)).toThrow(coded('not-found'))
  })
})

describe('any sequence of changes', () => {
  const AGENTS = 12
  const agent = fc.nat(AGENTS - 1)
  const drawnVouch = fc.tuple(agent, agent, fc.nat(4))
  const change = fc.oneof(
    fc.record({ kind: fc.constantFrom('unvouch' as const, 'revouch' as const), at: fc.nat(), depth: fc.nat(4) }),
    fc.record({
      kind: fc.constantFrom('distrust' as const, 'undistrust' as const),
      at: fc.integer({ min: 1, max: AGENTS - 1 }),
      depth: fc.constant(0),
    }),
  )

  test('leaves what a full evaluation finds, and reports whom it lost', () => {
    fc.assert(
      fc.property(
        fc.array(drawnVouch, { minLength: 1, maxLength: 60 }),
        fc.array(change, { maxLength: 40 }),
        fc.nat(4),
        (drawn, changes, rootDepth) => {
          const unique = new Map(drawn.map((each) => [`${each[0]} ${each[1]}`, each as Vouch]))
          const live = new Map(unique)
          const distrusted = new Set<number>()
          const graph = build(AGENTS, [...unique.values()], rootDepth)
          for (const { kind, at, depth } of changes) {
            const [key, [issuer, subject]] = [...unique][at % unique.size] as [string, Vouch]
            const before = residuals(graph)
            let lost: number[] = []
            if (kind === 'unvouch') {
              live.delete(key)
              lost = unvouch(graph, issuer, subject)
            } else if (kind === 'revouch') {
              live.set(key, [issuer, subject, depth])
              lost = vouch(graph, issuer, subject, depth)
            } else if (kind === 'distrust') {
              distrusted.add(at)
              lost = distrust(graph, at)
            } else {
              distrusted.delete(at)
              undistrust(graph, at)
            }
            const after = residuals(graph)
            expect(after).toEqual(byDefinition(AGENTS, [...live.values()], distrusted, rootDepth))
            const gone = after.flatMap((residual, i) => (residual < 0 && (before[i] as number) >= 0 ? [i] : []))
            expect(inOrder(lost)).toEqual(gone)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('ten thousand changes', () => {
  const AGENTS = 40
  const id = (agent: number): Bytes => new Uint8Array(32).fill(agent + 1)

  /** The same rules, run over the edges of a small graph. */
  function byRules(live: ReadonlyMap<string, Edge>, distrusted: ReadonlySet<number>): string[] {
    const ids = new Set(Array.from(distrusted, (agent) => toHex(id(agent))))
    const all = evaluateEdges(id(0), [...live.values()], { distrusted: ids })
    return Array.from({ length: AGENTS }, (_, agent) => {
      const { depth, credit } = all.get(toHex(id(agent))) ?? { depth: agent === 0 ? 4 : -1, credit: 0 }
      return `${depth} ${credit}`
    })
  }

  test.each([1, 2])('leave after each the depths and the credit that a full evaluation finds (seed %i)', (seed) => {
    const draw = drawing(seed)
    const some = (most: number): number => Math.floor(draw() * most)
    const graph = trustGraph(madeGraph(AGENTS, 90, seed), 0)
    evaluate(graph)
    const { issuers, subjects, depths, credits } = madeGraph(AGENTS, 90, seed)
    const live = new Map<string, Edge>()
    const put = (issuer: number, subject: number, depth: number, credit: number): void =>
      void live.set(`${issuer} ${subject}`, { issuer: id(issuer), subject: id(subject), depth, credit, expires: 1 })
    issuers.forEach((issuer, i) => {
      const [subject, depth, credit] = [subjects[i] as number, depths[i] as number, credits[i] as number]
      vouch(graph, issuer, subject, depth, credit)
      put(issuer, subject, depth, credit)
    })
    const distrusted = new Set<number>()
    for (let change = 0; change < 10_000; change++) {
      const [issuer, subject] = [some(AGENTS), some(AGENTS)]
      const kind = some(10)
      if (kind < 4) {
        const [depth, credit] = [some(5), some(70)]
        vouch(graph, issuer, subject, depth, credit)
        put(issuer, subject, depth, credit)
      } else if (kind < 8) {
        const known = [...live.keys()][some(live.size)]
        const [from, to] = (known ?? '').split(' ').map(Number) as [number, number]
        if (known !== undefined) unvouch(graph, from, to)
        if (known !== undefined) live.delete(known)
      } else if (kind === 8 && subject !== 0) {
        distrust(graph, subject)
        distrusted.add(subject)
      } else {
        undistrust(graph, subject)
        distrusted.delete(subject)
      }
      const found = residuals(graph).map((depth, agent) => `${depth} ${creditOf(graph, agent)}`)
      expect(found, `after change ${change}`).toEqual(byRules(live, distrusted))
    }
  })
})
