/**
 * The hash trees of BEP 52: a file is cut into blocks of 16 KiB, their SHA-256 hashes are the leaves (level 0), a node is
 * SHA-256(left || right). Leaves that a file does not have are 32 zero bytes. Runs of hashes are packed, 32 bytes each.
 */
import { sha256, sha256Into } from '#primitives'
import { concat, type Bytes } from './bytes.ts'

export const BLOCK_BYTES = 16 * 1024
export const HASH_BYTES = 32

export const blocksOf = (length: number): number => Math.ceil(length / BLOCK_BYTES)

/** The least power of two that is at least `count`, and 1 for 0. */
export function widthOf(count: number): number {
  let width = 1
  while (width < count) width *= 2
  return width
}

/** The level whose nodes each cover `pieceLength` bytes, a power of two from 16 KiB up. */
export const levelOf = (pieceLength: number): number => Math.log2(pieceLength / BLOCK_BYTES)

const zeroHashes: Bytes[] = [new Uint8Array(HASH_BYTES)]

/** The node of that level over nothing but zero leaves. */
export function zeroHash(level: number): Bytes {
  for (let known = zeroHashes.length; known <= level; known++) {
    const child = zeroHashes[known - 1] as Bytes
    zeroHashes.push(sha256(concat(child, child)))
  }
  return zeroHashes[level] as Bytes
}

/** How many levels lie above the leaves of a piece. @param whole the piece is all of its file, and its tree no wider than that */
export const levelsOfPiece = (length: number, pieceLength: number, whole: boolean): number =>
  whole ? Math.log2(widthOf(blocksOf(length))) : levelOf(pieceLength)

/** The root of a piece from the hashes of its blocks. */
export const rootOfPiece = (leaves: Uint8Array, levels: number): Bytes =>
  foldInPlace(padded(leaves, 2 ** levels, 0), 2 ** levels)

/** What leads from a leaf of a piece to its root: a sibling for each level, the lowest first. */
export function pathOf(leaves: Uint8Array, levels: number, index: number): Bytes[] {
  let nodes = padded(leaves, 2 ** levels, 0)
  const path: Bytes[] = []
  for (let level = 0; level < levels; level++) {
    const sibling = ((index >> level) ^ 1) * HASH_BYTES
    path.push(nodes.slice(sibling, sibling + HASH_BYTES))
    nodes = layerAbove(nodes, level, level + 1)
  }
  return path
}

/** The root that a leaf and its path lead to. */
export const rootOfPath = (leaf: Bytes, index: number, path: readonly Bytes[]): Bytes =>
  path.reduce(
    (hash, sibling, level) => sha256((index >> level) % 2 === 0 ? concat(hash, sibling) : concat(sibling, hash)),
    leaf,
  )

/**
 * The root over `width` nodes (a power of two) in `hashes`, whose bytes are used up on the way: the nodes of each level
 * are written over those below.
 */
export function foldInPlace(hashes: Bytes, width: number): Bytes {
  for (let count = width; count > 1; count /= 2) {
    for (let at = 0; at < count * HASH_BYTES; at += 2 * HASH_BYTES) {
      sha256Into(hashes.subarray(at, at + 2 * HASH_BYTES), hashes, at / 2)
    }
  }
  return hashes.slice(0, HASH_BYTES)
}

/** The root of a file from all its hashes of one level, at least one. */
export function rootOf(hashes: Uint8Array, level: number): Bytes {
  const count = hashes.length / HASH_BYTES
  return foldInPlace(padded(hashes, widthOf(count), level), widthOf(count))
}

/** From all of a file's hashes of one level those of a higher one. */
export function layerAbove(hashes: Uint8Array, level: number, above: number): Bytes {
  const width = 2 ** (above - level)
  const count = Math.ceil(hashes.length / HASH_BYTES / width)
  const layer = new Uint8Array(count * HASH_BYTES)
  for (let i = 0; i < count; i++) {
    const children = hashes.subarray(i * width * HASH_BYTES, (i + 1) * width * HASH_BYTES)
    layer.set(foldInPlace(padded(children, width, level), width), i * HASH_BYTES)
  }
  return layer
}

function padded(hashes: Uint8Array, width: number, level: number): Bytes {
  const nodes = new Uint8Array(width * HASH_BYTES)
  nodes.set(hashes)
  for (let at = hashes.length; at < nodes.length; at += HASH_BYTES) nodes.set(zeroHash(level), at)
  return nodes
}
