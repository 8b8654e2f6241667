/**
 * Hashes of pieces as their bytes arrive (BEP 52 and, beside it, BEP 3). Chunks may have any size; a block that lies in
 * one chunk is hashed where it lies, only a block that straddles chunks is gathered first.
 *
 * @example
 * const hasher = pieceHasherOf(meta, index)
 * for await (const chunk of body) hasher.update(chunk)
 * if (!equal(hasher.digest(), pieceHash(meta, index))) throw new Problem('piece-invalid', …)
 */
import { sha1Hasher, sha256Into } from '#primitives'
import { BLOCK_BYTES, blocksOf, foldInPlace, HASH_BYTES, levelOf, rootOf, widthOf } from './block-tree.ts'
import { equal, type Bytes } from './bytes.ts'
import { locatePiece, pieceHash, piecesOf, SHA1_BYTES, type Metainfo } from './metainfo.ts'
import { Problem } from './problem.ts'

const ZEROS = new Uint8Array(64 * 1024)

export interface PieceHasher {
  /** @throws Problem `piece-invalid` when more bytes come than the piece has */
  update(chunk: Uint8Array): void
  /**
   * The piece's node in its file's tree, 32 bytes; the hasher is used up.
   * @throws Problem `piece-invalid` when bytes are missing
   */
  digest(): Bytes
}

/**
 * @param length of the piece, above 0: the last of a file may be shorter than `pieceLength`
 * @param whole the piece is its whole file: its tree is then only as wide as the file has blocks
 * @param onLeaves is given the piece's block hashes, packed, before `digest` returns
 */
export function pieceHasher(
  length: number,
  pieceLength: number,
  whole: boolean,
  onLeaves?: (leaves: Bytes) => void,
): PieceHasher {
  const width = whole ? widthOf(blocksOf(length)) : pieceLength / BLOCK_BYTES
  const leaves = new Uint8Array(width * HASH_BYTES)
  let left = length
  let at = 0
  const blocks = blockCutter((block) => {
    sha256Into(block, leaves, at)
    at += HASH_BYTES
  })
  return {
    update(chunk) {
      left -= chunk.length
      if (left < 0) throw new Problem('piece-invalid', `The piece has ${length} bytes, more came.`)
      blocks.update(chunk)
    },
    digest() {
      if (left !== 0) throw new Problem('piece-invalid', `Of the ${length} bytes of the piece ${left} did not come.`)
      blocks.end()
      onLeaves?.(leaves.slice(0, at))
      return foldInPlace(leaves, width)
    },
  }
}

export function pieceHasherOf(meta: Metainfo, index: number): PieceHasher {
  const { length, whole } = locatePiece(meta, index)
  return pieceHasher(length, meta.pieceLength, whole)
}

/** Whether the bytes are that piece. */
export function verifyPiece(meta: Metainfo, index: number, bytes: Uint8Array): boolean {
  if (bytes.length !== locatePiece(meta, index).length) return false
  const hasher = pieceHasherOf(meta, index)
  hasher.update(bytes)
  return equal(hasher.digest(), pieceHash(meta, index))
}

/** Of one file; runs of hashes are packed. */
export interface FileHashes {
  readonly length: number
  /** BEP 52; an empty file has none. */
  readonly piecesRoot?: Bytes
  /** A hash of 32 bytes a piece; of a file of one piece it is the root. */
  readonly pieceHashes: Bytes
  /** BEP 3, 20 bytes a piece. */
  readonly sha1: Bytes
}

export interface FileHasher {
  /** @throws Problem `content-changed` when more bytes come than the file has */
  update(chunk: Uint8Array): void
  /** @throws Problem `content-changed` when bytes are missing */
  digest(): FileHashes
}

export interface FileHasherOptions {
  readonly length: number
  readonly pieceLength: number
  /** Another file follows in the torrent, so that v1 fills the last piece with zeros (BEP 47). */
  readonly padded: boolean
  /** Is given the block hashes of each piece, packed, and the index of the first of them in the file. */
  readonly onLeaves?: (from: number, leaves: Bytes) => void
}

/** One pass over a file; keeps 52 bytes a piece. */
export function fileHasher({ length, pieceLength, padded, onLeaves }: FileHasherOptions): FileHasher {
  const whole = length <= pieceLength
  const pieces = piecesOf(length, pieceLength)
  const pieceHashes = new Uint8Array(pieces * HASH_BYTES)
  const sha1 = new Uint8Array(pieces * SHA1_BYTES)
  let received = 0
  let piece: { left: number; v2: PieceHasher; v1: ReturnType<typeof sha1Hasher> } | undefined

  function begin(): NonNullable<typeof piece> {
    const from = blocksOf(received)
    const left = Math.min(pieceLength, length - received)
    const v2 = pieceHasher(left, pieceLength, whole, onLeaves && ((leaves) => onLeaves(from, leaves)))
    return { left, v2, v1: sha1Hasher() }
  }

  function end({ v2, v1 }: NonNullable<typeof piece>): void {
    const index = piecesOf(received, pieceLength) - 1
    if (received === length && padded) fillUp(v1, pieces * pieceLength - length)
    pieceHashes.set(v2.digest(), index * HASH_BYTES)
    sha1.set(v1.digest(), index * SHA1_BYTES)
    piece = undefined
  }

  function update(chunk: Uint8Array): void {
    if (received + chunk.length > length) throw new Problem('content-changed', 'The file grew while it was read.')
    for (let at = 0; at < chunk.length;) {
      piece ??= begin()
      const bytes = chunk.subarray(at, at + piece.left)
      piece.v2.update(bytes)
      piece.v1.update(bytes)
      piece.left -= bytes.length
      at += bytes.length
      received += bytes.length
      if (piece.left === 0) end(piece)
    }
  }

  function digest(): FileHashes {
    if (received < length) throw new Problem('content-changed', 'The file shrank while it was read.')
    const piecesRoot = whole ? pieceHashes : rootOf(pieceHashes, levelOf(pieceLength))
    return { length, ...(length > 0 && { piecesRoot }), pieceHashes, sha1 }
  }
  return { update, digest }
}

function fillUp(hasher: ReturnType<typeof sha1Hasher>, zeros: number): void {
  for (let left = zeros; left > 0; left -= ZEROS.length) hasher.update(ZEROS.subarray(0, left))
}

interface BlockCutter {
  update(chunk: Uint8Array): void
  /** The last block may be shorter. */
  end(): void
}

function blockCutter(onBlock: (block: Uint8Array) => void): BlockCutter {
  let gathered: Bytes | undefined
  let filled = 0

  /** Adds to the block that an earlier chunk began. @returns how many bytes it took */
  function gather(chunk: Uint8Array): number {
    gathered ??= new Uint8Array(BLOCK_BYTES)
    const part = chunk.subarray(0, BLOCK_BYTES - filled)
    gathered.set(part, filled)
    filled += part.length
    if (filled < BLOCK_BYTES) return part.length
    onBlock(gathered)
    filled = 0
    return part.length
  }

  return {
    update(chunk) {
      let at = filled === 0 ? 0 : gather(chunk)
      for (; at + BLOCK_BYTES <= chunk.length; at += BLOCK_BYTES) onBlock(chunk.subarray(at, at + BLOCK_BYTES))
      if (at < chunk.length) gather(chunk.subarray(at))
    },
    end() {
      if (filled > 0) onBlock((gathered as Bytes).subarray(0, filled))
    },
  }
}
