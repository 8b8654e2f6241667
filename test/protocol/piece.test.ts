import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  BLOCK_BYTES,
  blocksOf,
  HASH_BYTES,
  layerAbove,
  levelOf,
  rootOf,
  widthOf,
  zeroHash,
} from '../../protocol/block-tree.ts'
import { checkBitfield, countPieces, emptyBitfield, fullBitfield, hasPiece, setPiece } from '../../protocol/bitfield.ts'
import { concat, fromBase64url, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { locatePiece, parseTorrent, pieceHashV1 } from '../../protocol/metainfo.ts'
import { fileHasher, pieceHasher } from '../../protocol/piece.ts'
import { coded } from '../problems.ts'
import { pattern } from '../pattern.ts'
import vectors from '../vectors/torrents.json' with { type: 'json' }
import { torrentOf } from './torrents.ts'

const KiB = 1024
const sha256 = (bytes: Uint8Array): Bytes => new Uint8Array(createHash('sha256').update(bytes).digest())
const sha1 = (bytes: Uint8Array): Bytes => new Uint8Array(createHash('sha1').update(bytes).digest())

/** BEP 52 by its words: leaves, zero leaves up to the width, pairs of pairs. */
function treeRoot(bytes: Uint8Array, width: number): Bytes {
  const leaves = Array.from({ length: width }, (_, i): Bytes => {
    const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
    return block.length === 0 ? new Uint8Array(32) : sha256(block)
  })
  const fold = (nodes: Bytes[]): Bytes => {
    if (nodes.length === 1) return nodes[0] as Bytes
    const half = nodes.length / 2
    return sha256(concat(fold(nodes.slice(0, half)), fold(nodes.slice(half))))
  }
  return fold(leaves)
}

const chunking = fc.array(fc.oneof(fc.nat(100), fc.nat(70_000), fc.constant(BLOCK_BYTES)), {
  minLength: 1,
  maxLength: 30,
})

/** Cuts bytes into chunks of these sizes, again and again. */
function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  const steps = sizes.some((size) => size > 0) ? sizes : [1]
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = steps[i % steps.length] as number
    yield bytes.subarray(at, at + size)
    at += size
  }
}

describe('a piece', () => {
  test('hashes the same in chunks of any size', () => {
    const length = fc.integer({ min: 1, max: 128 * KiB })
    fc.assert(
      fc.property(length, chunking, fc.boolean(), (length, sizes, whole) => {
        const bytes = pattern(length, length)
        const hasher = pieceHasher(length, 128 * KiB, whole)
        for (const chunk of cut(bytes, sizes)) hasher.update(chunk)
        expect(toHex(hasher.digest())).toBe(toHex(treeRoot(bytes, whole ? widthOf(blocksOf(length)) : 8)))
      }),
      { numRuns: 60 },
    )
  })

  test('does not change the chunks it is given, nor keep them', () => {
    const chunk = pattern(40 * KiB)
    const hasher = pieceHasher(80 * KiB, 128 * KiB, false)
    hasher.update(chunk)
    expect(chunk).toEqual(pattern(40 * KiB))
    chunk.fill(0)
    hasher.update(chunk)
    expect(hasher.digest()).toEqual(treeRoot(concat(pattern(40 * KiB), new Uint8Array(40 * KiB)), 8))
  })

  test('has a hash of v1 where that is of its bytes alone', () => {
    const files = [40_000, 5, 0].map((length, seed) => ({ path: [String(seed)], length, seed }))
    const emptyLast = { name: 'f', folder: true, pieceLength: 16 * KiB, files }
    const made = { ...emptyLast, torrent: toBase64url(torrentOf(emptyLast).torrent) }
    for (const { torrent, files } of [made, ...vectors.torrents]) {
      const meta = parseTorrent(fromBase64url(torrent))
      for (let index = 0; index < meta.pieces; index++) {
        const { file, offset, length } = locatePiece(meta, index)
        const bytes = pattern(offset + length, files[file]?.seed).subarray(offset)
        const isAlone = length === meta.pieceLength || !meta.folder
        expect(pieceHashV1(meta, index)).toEqual(isAlone ? sha1(bytes) : undefined)
      }
    }
  })

  test('refuses bytes too many and bytes too few', () => {
    const hasher = pieceHasher(10, 16 * KiB, false)
    hasher.update(pattern(9))
    expect(() => hasher.digest()).toThrow(coded('piece-invalid'))
    expect(() => hasher.update(pattern(2))).toThrow(coded('piece-invalid'))
  })
})

describe('a file', () => {
  test('hashes in one pass for v1 and v2, in chunks of any size', () => {
    const pieceLength = fc.constantFrom(16 * KiB, 32 * KiB, 64 * KiB)
    fc.assert(
      fc.property(fc.nat(300 * KiB), pieceLength, chunking, fc.boolean(), (length, pieceLength, sizes, padded) => {
        const bytes = pattern(length, length)
        const leaves: Bytes[] = []
        let blocks = 0
        const onLeaves = (from: number, run: Bytes): void => {
          expect(from).toBe(blocks)
          blocks += run.length / HASH_BYTES
          leaves.push(run)
        }
        const hasher = fileHasher({ length, pieceLength, padded, onLeaves })
        for (const chunk of cut(bytes, sizes)) hasher.update(chunk)
        const hashes = hasher.digest()
        const pieces = Math.ceil(length / pieceLength)
        expect(hashes.length).toBe(length)
        expect(hashes.pieceHashes.length).toBe(pieces * 32)
        expect(blocks).toBe(blocksOf(length))
        expectV1(bytes, pieceLength, padded, hashes.sha1)
        expect(hashes.piecesRoot === undefined).toBe(length === 0)
        if (length === 0) return
        const width = widthOf(pieces) * (pieceLength / BLOCK_BYTES)
        const expected = treeRoot(bytes, length <= pieceLength ? widthOf(blocksOf(length)) : width)
        expect(toHex(hashes.piecesRoot as Bytes)).toBe(toHex(expected))
        expect(toHex(rootOf(concat(...leaves), 0))).toBe(toHex(expected))
      }),
      { numRuns: 60 },
    )
  })

  function expectV1(bytes: Uint8Array, pieceLength: number, padded: boolean, hashes: Uint8Array): void {
    const pieces = Array.from({ length: Math.ceil(bytes.length / pieceLength) }, (_, i) => {
      const piece = bytes.subarray(i * pieceLength, (i + 1) * pieceLength)
      return sha1(padded ? concat(piece, new Uint8Array(pieceLength - piece.length)) : piece)
    })
    expect(toHex(hashes)).toBe(toHex(concat(...pieces)))
  }

  test('that grows or shrinks while it is read is refused', () => {
    const options = { length: 10, pieceLength: 16 * KiB, padded: false }
    expect(() => fileHasher(options).update(pattern(11))).toThrow(coded('content-changed'))
    const hasher = fileHasher(options)
    hasher.update(pattern(9))
    expect(() => hasher.digest()).toThrow(coded('content-changed'))
  })
})

describe('a tree of blocks', () => {
  test('has the hashes of every piece length above its leaves, and one root', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), (blocks) => {
        const leaves = concat(...Array.from({ length: blocks }, (_, i) => sha256(Uint8Array.of(i))))
        const root = toHex(rootOf(leaves, 0))
        for (let level = 1; 2 ** level <= widthOf(blocks); level++) {
          const layer = layerAbove(leaves, 0, level)
          expect(layer.length / HASH_BYTES).toBe(Math.ceil(blocks / 2 ** level))
          expect(layerAbove(layerAbove(leaves, 0, level - 1), level - 1, level)).toEqual(layer)
          expect(toHex(rootOf(layer, level))).toBe(root)
        }
      }),
      { numRuns: 30 },
    )
  })

  test('knows its levels and the hash of nothing at each', () => {
    expect([16 * KiB, 32 * KiB, 4096 * KiB].map(levelOf)).toEqual([0, 1, 8])
    expect(zeroHash(0)).toEqual(new Uint8Array(32))
    expect(zeroHash(3)).toEqual(treeRoot(new Uint8Array(0), 8))
    expect([0, 1, 2, 3, 4, 5].map(widthOf)).toEqual([1, 1, 2, 4, 4, 8])
  })
})

describe('a bitfield', () => {
  test('has the high bit of the first byte for piece 0 (BEP 3)', () => {
    const bits = emptyBitfield(10)
    setPiece(bits, 0)
    setPiece(bits, 9)
    expect(bits).toEqual(Uint8Array.of(0x80, 0x40))
    expect(fullBitfield(10)).toEqual(Uint8Array.of(0xff, 0xc0))
    expect(fullBitfield(8)).toEqual(Uint8Array.of(0xff))
    expect(fullBitfield(0)).toEqual(new Uint8Array(0))
  })

  test('holds the set of pieces that were put in', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(99)), (pieces) => {
        const bits = emptyBitfield(100)
        for (const piece of pieces) setPiece(bits, piece)
        expect(countPieces(bits)).toBe(pieces.length)
        const held = Array.from({ length: 120 }, (_, piece) => piece).filter((piece) => hasPiece(bits, piece))
        expect(held).toEqual(pieces.toSorted((a, b) => a - b))
        expect(() => checkBitfield(bits, 100)).not.toThrow()
      }),
    )
  })

  test('is refused with another length or with spare bits', () => {
    for (const [bits, pieces] of [
      [[0, 0], 8],
      [[], 1],
      [[0xff], 7],
      [[0, 1], 15],
    ] as const) {
      expect(() => checkBitfield(Uint8Array.from(bits), pieces)).toThrow(coded('bad-encoding'))
    }
  })
})
