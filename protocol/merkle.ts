/**
 * Merkle trees of RFC 6962 §2.1 over SHA-256: roots, inclusion and consistency proofs, and the frontier that a log
 * appends to.
 *
 * A proof is planned before it is read: as the spans of leaves whose hashes make it up. A span splits into perfect
 * subtrees, and those are what a tree in memory or a tile holds, so a proof over a large log reads O(log n) of them.
 */
import { sha256 } from '#primitives'
import { concat, equal, type Bytes } from './bytes.ts'

export const HASH_BYTES = 32

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** MTH({}) */
export const EMPTY_ROOT: Bytes = sha256(new Uint8Array(0))

/** MTH({d}) = SHA-256(0x00 || d) */
export const leafHash = (entry: Uint8Array): Bytes => sha256(concat(LEAF, entry))

/** SHA-256(0x01 || left || right) */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Bytes => sha256(concat(NODE, left, right))

/** The perfect subtree over the leaves from `index * 2^level` up to `(index + 1) * 2^level`. */
export interface Node {
  readonly level: number
  readonly index: number
}

/** The leaves D[from:to] in the notation of RFC 6962 §2.1. */
export type Span = readonly [from: number, to: number]

/** Hashes of perfect subtrees of one tree, in the order asked for. */
export type NodeReader = (nodes: readonly Node[]) => Promise<readonly Bytes[]>

/** A tree in memory: `levels[l][i]` is the hash of the perfect subtree (l, i). */
export type Levels = readonly (readonly Bytes[])[]

export function levelsOf(leafHashes: readonly Bytes[]): Levels {
  const levels = [leafHashes]
  for (let level = leafHashes; level.length > 1;) {
    level = pairHashes(level)
    levels.push(level)
  }
  return levels
}

const pairHashes = (hashes: readonly Bytes[]): readonly Bytes[] =>
  Array.from({ length: Math.floor(hashes.length / 2) }, (_, i) =>
    nodeHash(hashes[2 * i] as Bytes, hashes[2 * i + 1] as Bytes),
  )

/** MTH(D[n]) */
export function rootOf(leafHashes: readonly Bytes[]): Bytes {
  return leafHashes.length === 0 ? EMPTY_ROOT : hashSpan([0, leafHashes.length], levelsOf(leafHashes))
}

/** PATH(index, D[size]), RFC 6962 §2.1.1: nearest sibling first. */
export function inclusionSpans(index: number, size: number): readonly Span[] {
  assertSizes(index + 1, size)
  return path(index, 0, size)
}

function path(index: number, from: number, to: number): readonly Span[] {
  if (to - from === 1) return []
  const middle = from + splitPoint(to - from)
  return index < middle ? [...path(index, from, middle), [middle, to]] : [...path(index, middle, to), [from, middle]]
}

/** PROOF(oldSize, D[size]), RFC 6962 §2.1.2. Empty when nothing was there or nothing came. */
export function consistencySpans(oldSize: number, size: number): readonly Span[] {
  assertSizes(oldSize, size)
  return oldSize === 0 ? [] : subproof(oldSize, 0, size, true)
}

/** `known`: the verifier holds the root of the old tree's leaves of this span. */
function subproof(oldSize: number, from: number, to: number, known: boolean): readonly Span[] {
  if (oldSize === to) return known ? [] : [[from, to]]
  const middle = from + splitPoint(to - from)
  return oldSize <= middle
    ? [...subproof(oldSize, from, middle, known), [middle, to]]
    : [...subproof(oldSize, middle, to, false), [from, middle]]
}

export const inclusionProof = (tree: Levels, index: number): Bytes[] =>
  inclusionSpans(index, sizeOf(tree)).map((span) => hashSpan(span, tree))

export const consistencyProof = (tree: Levels, oldSize: number): Bytes[] =>
  consistencySpans(oldSize, sizeOf(tree)).map((span) => hashSpan(span, tree))

/** MTH of a span that is a subtree of the tree: `[0, size]` is the root. */
export function hashSpan(span: Span, tree: Levels): Bytes {
  return fold(subtrees(span).map(({ level, index }) => tree[level]?.[index] as Bytes))
}

/** MTH of each span, with one read for all: what makes proofs and roots of a log that is kept in tiles. */
export async function readSpans(spans: readonly Span[], read: NodeReader): Promise<Bytes[]> {
  const parts = spans.map(subtrees)
  const hashes = await read(parts.flat())
  let at = 0
  return parts.map((part) => fold(hashes.slice(at, (at += part.length))))
}

/** The perfect subtrees that make up a span, from the left, largest first. */
export function subtrees([from, to]: Span): readonly Node[] {
  const nodes: Node[] = []
  for (let at = from; at < to;) {
    const level = floorLog2(to - at)
    nodes.push({ level, index: at / 2 ** level })
    at += 2 ** level
  }
  return nodes
}

/** The root over neighbouring subtrees of falling size. */
function fold(hashes: readonly Bytes[]): Bytes {
  return hashes.length === 0 ? EMPTY_ROOT : hashes.reduceRight((right, left) => nodeHash(left, right))
}

/** The root that a leaf and its proof lead to; undefined when the proof has not the length that index and size ask for. */
export function rootFromInclusion(
  index: number,
  size: number,
  leaf: Bytes,
  proof: readonly Bytes[],
): Bytes | undefined {
  if (!areSizes(index, size - 1)) return undefined
  const spans = inclusionSpans(index, size)
  if (proof.length !== spans.length || !areHashes([leaf, ...proof])) return undefined
  return spans.reduce((hash, [from], i) => {
    const sibling = proof[i] as Bytes
    return from > index ? nodeHash(hash, sibling) : nodeHash(sibling, hash)
  }, leaf)
}

/** Whether the leaf is the one at `index` of the tree of `size` leaves with that root (RFC 6962 §2.1.1). */
export function verifyInclusion(
  index: number,
  size: number,
  leaf: Bytes,
  proof: readonly Bytes[],
  root: Bytes,
): boolean {
  const computed = rootFromInclusion(index, size, leaf, proof)
  return computed !== undefined && equal(computed, root)
}

/**
 * Whether the old tree's leaves are the first leaves of the new tree (RFC 6962 §2.1.2). Anything grows from the empty
 * tree, whose proof is empty and whose root is fixed.
 */
export function verifyConsistency(
  oldSize: number,
  size: number,
  proof: readonly Bytes[],
  oldRoot: Bytes,
  root: Bytes,
): boolean {
  if (!areSizes(oldSize, size) || !areHashes([oldRoot, root, ...proof])) return false
  const spans = consistencySpans(oldSize, size)
  if (proof.length !== spans.length) return false
  if (oldSize === 0) return equal(oldRoot, EMPTY_ROOT) && (size > 0 || equal(root, EMPTY_ROOT))
  // Where the old tree is a perfect subtree of the new one, the proof leaves out its root.
  const start = isWhole(oldSize, size) ? oldRoot : (proof[0] as Bytes)
  const roots = consistencyRoots(oldSize, size, start, isWhole(oldSize, size) ? proof : proof.slice(1))
  return equal(roots.old, oldRoot) && equal(roots.now, root)
}

const isWhole = (oldSize: number, size: number): boolean => oldSize === size || oldSize === 2 ** floorLog2(oldSize)

/** The subtree that a consistency proof begins with: of a proof that leaves it out, the old tree itself. */
export const consistencyStart = (oldSize: number, size: number): Span =>
  isWhole(oldSize, size) ? [0, oldSize] : (consistencySpans(oldSize, size)[0] as Span)

/** The rest of it: RFC 6962 §2.1.2 without the start. */
export const consistencyRest = (oldSize: number, size: number): readonly Span[] =>
  consistencySpans(oldSize, size).slice(isWhole(oldSize, size) ? 0 : 1)

/**
 * The roots of both trees that the hashes of a proof lead to, for 0 < oldSize <= size. As the new root fixes the hashes,
 * they show what the root over its first `oldSize` leaves is.
 */
export function consistencyRoots(
  oldSize: number,
  size: number,
  start: Bytes,
  rest: readonly Bytes[],
): { readonly old: Bytes; readonly now: Bytes } {
  let [old, now] = [start, start]
  for (const [i, [from]] of consistencyRest(oldSize, size).entries()) {
    const sibling = rest[i] as Bytes
    if (from < oldSize) old = nodeHash(sibling, old)
    now = from < oldSize ? nodeHash(sibling, now) : nodeHash(now, sibling)
  }
  return { old, now }
}

/** What an appender keeps of a log: the roots of the perfect subtrees of falling size that its leaves make up. */
export interface Frontier {
  readonly size: number
  readonly peaks: readonly Bytes[]
}

export const EMPTY_FRONTIER: Frontier = { size: 0, peaks: [] }

export function append({ size, peaks }: Frontier, leafHashes: readonly Bytes[]): Frontier {
  const grown = [...peaks]
  for (const [i, leaf] of leafHashes.entries()) {
    let hash = leaf
    for (let full = size + i; full % 2 === 1; full = (full - 1) / 2) hash = nodeHash(grown.pop() as Bytes, hash)
    grown.push(hash)
  }
  return { size: size + leafHashes.length, peaks: grown }
}

export const frontierRoot = ({ peaks }: Frontier): Bytes => fold(peaks)

/** The largest power of two smaller than n (the k of RFC 6962 §2.1), for n > 1. */
const splitPoint = (n: number): number => 2 ** floorLog2(n - 1)

/** Exact for every safe integer from 1 on, where rounding `Math.log2` down is not. */
function floorLog2(n: number): number {
  const high = Math.floor(n / 2 ** 32)
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(n)
}

const sizeOf = (tree: Levels): number => tree[0]?.length ?? 0
const areHashes = (hashes: readonly Bytes[]): boolean => hashes.every((hash) => hash.length === HASH_BYTES)
const areSizes = (oldSize: number, size: number): boolean =>
  Number.isSafeInteger(oldSize) && Number.isSafeInteger(size) && oldSize >= 0 && oldSize <= size

function assertSizes(oldSize: number, size: number): void {
  if (!areSizes(oldSize, size)) throw new RangeError(`no tree of ${size} leaves has ${oldSize}`)
}
