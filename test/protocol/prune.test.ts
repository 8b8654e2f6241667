import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { firstVoucherTree, lossOf, vouchersOf } from '../../protocol/prune.ts'
import { evaluate, type Edge } from '../../protocol/trust.ts'

const id = (n: number): Bytes => new Uint8Array(32).fill(n)
const hex = (n: number): string => toHex(id(n))
const edge = (issuer: number, subject: number, since = 0, depth = 4, credit = 64): Edge => ({
  issuer: id(issuer),
  subject: id(subject),
  depth,
  credit,
  expires: 1,
  since,
})
const without = (...ids: number[]) => ({ distrusted: new Set(ids.map(hex)) })
const root = id(0)

describe('a loss', () => {
  const edges = [edge(0, 1), edge(1, 2), edge(2, 3), edge(0, 4, 0, 2, 5), edge(4, 3)]

  it('is who is out of reach; who has another path goes on at its lower depth and credit', () => {
    expect(lossOf(root, edges, {}, without(2))).toEqual({
      lost: [hex(2)],
      weaker: [{ id: hex(3), depth: 1, credit: 5 }],
    })
    const { lost, weaker } = lossOf(root, [...edges, edge(3, 5)], {}, without(1))
    expect(lost.toSorted()).toEqual([hex(1), hex(2)])
    expect(weaker.map(({ id: each, credit }) => [each, credit])).toEqual([
      [hex(3), 5],
      [hex(5), 5],
    ])
    const best = [edge(0, 1), edge(1, 3), edge(0, 4, 0, 1, 5), edge(4, 3)]
    expect(lossOf(root, best, {}, without(1)).weaker).toEqual([{ id: hex(3), depth: 0, credit: 5 }])
  })

  it('is what evaluating twice finds, for any vouches', () => {
    const some = fc.array(
      fc.tuple(fc.nat(7), fc.nat(7), fc.nat(4)).map(([a, b, depth]) => edge(a, b, 0, depth)),
      { maxLength: 30 },
    )
    fc.assert(
      fc.property(some, fc.integer({ min: 1, max: 7 }), (drawn, pruned) => {
        const [before, after] = [evaluate(root, drawn), evaluate(root, drawn, without(pruned))]
        const { lost, weaker } = lossOf(root, drawn, {}, without(pruned))
        expect(lost.toSorted()).toEqual([...before.keys()].filter((each) => !after.has(each)).toSorted())
        for (const { id: each, credit } of weaker) expect(after.get(each)?.credit).toBe(credit)
      }),
    )
  })
})

describe('the tree of who came in by an id', () => {
  it('hangs each on its oldest voucher, whoever else vouches since', () => {
    const edges = [
      edge(0, 1, 1),
      edge(1, 2, 2),
      edge(0, 2, 9),
      edge(2, 3, 3),
      edge(0, 4, 1),
      edge(4, 5, 1),
      edge(1, 5, 2),
    ]
    expect(firstVoucherTree(root, edges, hex(1)).toSorted()).toEqual([1, 2, 3].map(hex))
    expect(firstVoucherTree(root, edges, hex(4)).toSorted()).toEqual([4, 5].map(hex))
    expect(lossOf(root, edges, {}, without(1)).lost).toEqual([hex(1)])
    expect(lossOf(root, edges, {}, without(1, 2, 3)).lost.toSorted()).toEqual([1, 2, 3].map(hex))
  })

  it('counts no vouch of who is not trusted, and ends for any vouches', () => {
    expect(firstVoucherTree(root, [edge(7, 2, 0), edge(0, 1, 1), edge(1, 2, 2)], hex(7))).toEqual([hex(7)])
    const drawn = fc.array(
      fc.tuple(fc.nat(7), fc.nat(7), fc.nat(9)).map(([a, b, at]) => edge(a, b, at)),
      { maxLength: 40 },
    )
    fc.assert(
      fc.property(drawn, (edges) => {
        const tree = firstVoucherTree(root, edges, hex(1))
        expect(tree[0]).toBe(hex(1))
        expect(new Set(tree).size).toBe(tree.length)
        expect(tree).not.toContain(hex(0))
      }),
    )
  })
})

describe('who answers for an id', () => {
  it('is who vouches for it and is trusted to vouch, but the verifier', () => {
    const edges = [edge(0, 1), edge(1, 3), edge(0, 2, 0, 0), edge(2, 3), edge(9, 3), edge(0, 3)]
    expect(vouchersOf(root, edges, hex(3))).toEqual([hex(1)])
  })

  it('is believed half as much, and half of that for the next', () => {
    const edges = [edge(0, 1), edge(1, 2)]
    const credits = [0, 1, 2, 7].map((times) => {
      const all = evaluate(root, edges, { halved: new Map([[hex(1), times]]) })
      return [all.get(hex(1))?.credit, all.get(hex(2))?.credit]
    })
    expect(credits).toEqual([
      [64, 32],
      [32, 32],
      [16, 16],
      [0, 0],
    ])
  })
})
