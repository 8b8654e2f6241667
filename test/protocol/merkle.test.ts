import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import {
  append,
  consistencyProof,
  consistencySpans,
  EMPTY_FRONTIER,
  EMPTY_ROOT,
  frontierRoot,
  hashSpan,
  inclusionProof,
  inclusionSpans,
  leafHash,
  levelsOf,
  nodeHash,
  readSpans,
  rootOf,
  subtrees,
  verifyConsistency,
  verifyInclusion,
} from '../../protocol/merkle.ts'
import vectors from '../vectors/merkle.json' with { type: 'json' }

const hashes = (texts: readonly string[]): Bytes[] => texts.map((text) => fromHex(text))
const leavesOf = (size: number): Bytes[] => Array.from({ length: size }, (_, i) => leafHash(utf8(`entry ${i}`)))
const flip = (bytes: Bytes): Bytes => bytes.map((byte, i) => (i === 7 ? byte ^ 8 : byte))
const published = hashes(vectors.leaves).map(leafHash)
const rootAt = (size: number): Bytes => fromHex(vectors.roots[size - 1] as string)
const sizes = fc.integer({ min: 1, max: 140 })

describe('the published vectors of RFC 6962 trees', () => {
  it('hashes the empty tree, a leaf and a node', () => {
    const { emptyRoot, leaf, node } = vectors.hashes
    expect(toHex(rootOf([]))).toBe(emptyRoot)
    expect(toHex(leafHash(fromHex(leaf.entry)))).toBe(leaf.hash)
    expect(toHex(nodeHash(fromHex(node.left), fromHex(node.right)))).toBe(node.hash)
  })

  it.each(vectors.roots.map((root, i) => [i + 1, root] as const))(
    'finds the root of the first %i leaves',
    (size, root) => {
      expect(toHex(rootOf(published.slice(0, size)))).toBe(root)
      expect(toHex(frontierRoot(append(EMPTY_FRONTIER, published.slice(0, size))))).toBe(root)
    },
  )

  it.each(vectors.inclusion)(
    'makes and accepts the inclusion proof of leaf $index of $size',
    ({ index, size, proof }) => {
      expect(inclusionProof(levelsOf(published.slice(0, size)), index).map(toHex)).toEqual(proof)
      expect(verifyInclusion(index, size, published[index] as Bytes, hashes(proof), rootAt(size))).toBe(true)
    },
  )

  it.each(vectors.consistency)('makes and accepts the proof from $oldSize to $size', ({ oldSize, size, proof }) => {
    expect(consistencyProof(levelsOf(published.slice(0, size)), oldSize).map(toHex)).toEqual(proof)
    expect(verifyConsistency(oldSize, size, hashes(proof), rootAt(oldSize), rootAt(size))).toBe(true)
  })

  it('accepts the proofs of a public log of 961,984,013 certificates', () => {
    const log = vectors.argon2020
    const [root, oldRoot] = [fromHex(log.root), fromHex(log.oldRoot)]
    expect(verifyInclusion(log.index, log.size, fromHex(log.leaf), hashes(log.inclusion), root)).toBe(true)
    expect(verifyInclusion(log.index + 1, log.size, fromHex(log.leaf), hashes(log.inclusion), root)).toBe(false)
    expect(verifyConsistency(log.oldSize, log.size, hashes(log.consistency), oldRoot, root)).toBe(true)
    expect(verifyConsistency(log.oldSize + 2, log.size, hashes(log.consistency), oldRoot, root)).toBe(false)
  })
})

describe('proofs', () => {
  it('proves every leaf of every tree, and no other leaf by the same proof', () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, a, b) => {
        const leaves = leavesOf(size)
        const [index, other] = [a % size, b % size]
        const proof = inclusionProof(levelsOf(leaves), index)
        const root = rootOf(leaves)
        expect(verifyInclusion(index, size, leaves[index] as Bytes, proof, root)).toBe(true)
        expect(verifyInclusion(other, size, leaves[index] as Bytes, proof, root)).toBe(other === index)
        expect(verifyInclusion(index, size, leaves[other] as Bytes, proof, root)).toBe(other === index)
      }),
    )
  })

  it('proves that a tree grew from every earlier one, and from no other', () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, a, b) => {
        const leaves = leavesOf(size)
        const [oldSize, other] = [(a % size) + 1, (b % size) + 1]
        const proof = consistencyProof(levelsOf(leaves), oldSize)
        const [oldRoot, root] = [rootOf(leaves.slice(0, oldSize)), rootOf(leaves)]
        expect(verifyConsistency(oldSize, size, proof, oldRoot, root)).toBe(true)
        expect(verifyConsistency(oldSize, size, proof, rootOf(leaves.slice(0, other)), root)).toBe(other === oldSize)
      }),
    )
  })

  it('refuses a proof with a bit flipped, a hash too many or a hash too few', () => {
    fc.assert(
      fc.property(
        sizes.filter((size) => size > 1),
        fc.nat(),
        fc.nat(),
        (size, a, b) => {
          const leaves = leavesOf(size)
          const [index, oldSize] = [a % size, (a % (size - 1)) + 1]
          const root = rootOf(leaves)
          const inclusion = inclusionProof(levelsOf(leaves), index)
          const consistency = consistencyProof(levelsOf(leaves), oldSize)
          for (const proof of spoil(inclusion, b)) {
            expect(verifyInclusion(index, size, leaves[index] as Bytes, proof, root)).toBe(false)
          }
          for (const proof of spoil(consistency, b)) {
            expect(verifyConsistency(oldSize, size, proof, rootOf(leaves.slice(0, oldSize)), root)).toBe(false)
          }
        },
      ),
    )
  })

  it('takes any tree to have grown from the empty one, and nothing back to it', () => {
    const root = rootOf(leavesOf(3))
    expect(verifyConsistency(0, 3, [], EMPTY_ROOT, root)).toBe(true)
    expect(verifyConsistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)).toBe(true)
    expect(verifyConsistency(0, 3, [], root, root)).toBe(false)
    expect(verifyConsistency(0, 3, [root], EMPTY_ROOT, root)).toBe(false)
    expect(verifyConsistency(0, 0, [], EMPTY_ROOT, root)).toBe(false)
    expect(verifyConsistency(3, 0, [], root, EMPTY_ROOT)).toBe(false)
    expect(verifyConsistency(3, 3, [], root, EMPTY_ROOT)).toBe(false)
  })

  it.each([-1, 0.5, 3, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])(
    'refuses %d as an index of three leaves',
    (index) => {
      const leaves = leavesOf(3)
      const proof = inclusionProof(levelsOf(leaves), 0)
      expect(verifyInclusion(index, 3, leaves[0] as Bytes, proof, rootOf(leaves))).toBe(false)
      expect(verifyConsistency(index, 3, proof, rootOf(leaves), rootOf(leaves))).toBe(index === 3 && proof.length === 0)
    },
  )

  it('refuses hashes that are not 32 bytes long', () => {
    const leaf = leafHash(utf8('alone'))
    const short = leaf.subarray(1)
    expect(verifyInclusion(0, 1, short, [], short)).toBe(false)
    expect(verifyConsistency(1, 1, [], short, short)).toBe(false)
  })
})

describe('trees that are not in memory', () => {
  it('reads the perfect subtrees of a proof in one go, at most two a level', async () => {
    const leaves = leavesOf(1000)
    const tree = levelsOf(leaves)
    const asked: number[] = []
    const read = async (nodes: Parameters<Parameters<typeof readSpans>[1]>[0]): Promise<Bytes[]> => {
      asked.push(nodes.length)
      return nodes.map(({ level, index }) => tree[level]?.[index] as Bytes)
    }
    expect(await readSpans(inclusionSpans(617, 1000), read)).toEqual(inclusionProof(tree, 617))
    expect(await readSpans(consistencySpans(617, 1000), read)).toEqual(consistencyProof(tree, 617))
    expect(await readSpans([[0, 1000]], read)).toEqual([rootOf(leaves)])
    expect(asked).toHaveLength(3)
    expect(Math.max(...asked)).toBeLessThanOrEqual(20)
  })

  it('splits the spans of logs near 2^53 leaves exactly', () => {
    const size = 2 ** 53 - 1
    const nodes = subtrees([0, size])
    expect(nodes).toHaveLength(53)
    expect(nodes.reduce((sum, { level }) => sum + 2 ** level, 0)).toBe(size)
    expect(inclusionSpans(0, size)).toHaveLength(53)
    expect(inclusionSpans(size - 1, size)).toHaveLength(52)
  })

  it('appends in any batches to the same root', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 40 }), { maxLength: 8 }), (batches) => {
        const leaves = leavesOf(batches.reduce((sum, batch) => sum + batch, 0))
        let frontier = EMPTY_FRONTIER
        for (const batch of batches) frontier = append(frontier, leaves.slice(frontier.size, frontier.size + batch))
        expect(frontier.size).toBe(leaves.length)
        expect(frontierRoot(frontier)).toEqual(rootOf(leaves))
      }),
    )
  })

  it('hashes a span as the tree of its leaves alone', () => {
    const leaves = leavesOf(13)
    expect(hashSpan([8, 13], levelsOf(leaves))).toEqual(rootOf(leaves.slice(8, 13)))
  })
})

/** The proof with one defect each. */
function spoil(proof: readonly Bytes[], at: number): Bytes[][] {
  const extra = leafHash(utf8('extra'))
  const flipped = proof.map((hash, i) => (i === at % proof.length ? flip(hash) : hash))
  return [
    ...(proof.length > 0 ? [flipped, proof.slice(1), proof.slice(0, -1)] : []),
    [...proof, extra],
    [extra, ...proof],
  ]
}
