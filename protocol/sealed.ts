/**
 * Sealed pieces: a seller sends a piece encrypted, the buyer pays for it, and the key follows. The keys of a lane are a
 * reverse hash chain: K(i-1) = SHA-256(K(i)), down to the anchor K(0) that the seller's claim names. So a key opens its
 * own unit and those before it, and the ledger, which publishes the key of what it redeems, checks it by hashing.
 *
 * What travels is the hashes of the piece's blocks (16 KiB, as in BEP 52), packed, and after them the piece under
 * AES-256-CTR, whose counter starts anew for each piece: a block can be decrypted alone. The encryption key is
 * HMAC-SHA256(K(i), "raincheck/sealed/v1" NUL piece as uint64, big-endian).
 */
import { aes256Ctr, hmacSha256, sha256Into, sha256Repeated } from '#primitives'
import { BLOCK_BYTES, blocksOf, HASH_BYTES, levelsOfPiece, rootOfPiece } from './block-tree.ts'
import { concat, equal, utf8, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { locatePiece, type Metainfo } from './metainfo.ts'

export const CIPHERS = ['aes-256-ctr'] as const
export type Cipher = (typeof CIPHERS)[number]

/** A piece as its hash tree sees it. */
export interface PieceShape {
  /** Its index in the content. */
  readonly piece: number
  /** Bytes, above 0. */
  readonly length: number
  /** Levels above the blocks: the tree has 2^levels leaves. */
  readonly levels: number
}

/** A key of a lane's chain, and the unit that it opens; the anchor opens unit 0, which is none. */
export interface UnitKey {
  readonly unit: number
  /** 32 bytes. */
  readonly key: Bytes
}

const PREFIX = utf8('raincheck/sealed/v1\0')
const AES_BLOCK_BYTES = 16
/** Encrypted at a time: enough that a call costs little, and little enough for the processor's cache. */
const RUN_BYTES = 4 * BLOCK_BYTES

export function pieceShape(meta: Metainfo, piece: number): PieceShape {
  const { length, whole } = locatePiece(meta, piece)
  return { piece, length, levels: levelsOfPiece(length, meta.pieceLength, whole) }
}

/** Bytes on the wire. */
export const sealedBytes = ({ length }: Pick<PieceShape, 'length'>): number => blocksOf(length) * HASH_BYTES + length

/** @param last the key of the lane's last unit, 32 secret bytes, another for each lane */
export const keyOf = (last: Bytes, cap: number, unit: number): Bytes => sha256Repeated(last, cap - unit)

/** Whether `key` is that of `unit` on the chain of a key that is known. Hashes once a unit between the two. */
export function isKeyOf(known: UnitKey, unit: number, key: Bytes): boolean {
  const isUnit = Number.isSafeInteger(unit) && unit >= 1 && unit <= limits.unitsPerSealedLane
  if (!isUnit || key.length !== HASH_BYTES) return false
  const distance = unit - known.unit
  return distance >= 0
    ? equal(sha256Repeated(key, distance), known.key)
    : equal(sha256Repeated(known.key, -distance), key)
}

/** Encrypts a block, and decrypts it. @param key of the unit */
export function cryptBlock(key: Bytes, piece: number, block: number, bytes: Uint8Array): Bytes {
  const crypted = new Uint8Array(bytes)
  aes256Ctr(pieceKey(key, piece), (block * BLOCK_BYTES) / AES_BLOCK_BYTES)(crypted)
  return crypted
}

function pieceKey(key: Bytes, piece: number): Bytes {
  const index = new Uint8Array(8)
  new DataView(index.buffer).setBigUint64(0, BigInt(piece))
  return hmacSha256(key, concat(PREFIX, index))
}

/** The two parts of what travels, as views. @param body of `sealedBytes` */
export function partsOf(body: Uint8Array, { length }: Pick<PieceShape, 'length'>) {
  const at = blocksOf(length) * HASH_BYTES
  return { leaves: body.subarray(0, at), bytes: body.subarray(at, at + length) }
}

/** Roots of 32 bytes. */
export interface Roots {
  /** Of the piece: its hash in the torrent. */
  readonly plainRoot: Bytes
  /** Of the encrypted piece, in a tree of the same shape. */
  readonly cipherRoot: Bytes
}

/**
 * Encrypts a piece that lies in its place of the body, and puts the hashes before it. A run of blocks is hashed,
 * encrypted and hashed again while it is in the processor's cache.
 * @param key of the unit
 */
export function sealPiece(body: Uint8Array, shape: PieceShape, key: Bytes): Roots {
  const { leaves, bytes } = partsOf(body, shape)
  const crypt = aes256Ctr(pieceKey(key, shape.piece), 0)
  const sealed = new Uint8Array(leaves.length)
  for (let at = 0; at < shape.length; at += RUN_BYTES) {
    const run = bytes.subarray(at, at + RUN_BYTES)
    hashBlocks(run, leaves, blocksOf(at))
    crypt(run)
    hashBlocks(run, sealed, blocksOf(at))
  }
  return { plainRoot: rootOfPiece(leaves, shape.levels), cipherRoot: rootOfPiece(sealed, shape.levels) }
}

/** What a body claims to be and what it is, before it is paid for. */
export function rootsOf(body: Uint8Array, shape: PieceShape): Roots {
  const reader = readSealed(body, shape)
  reader.arrived(body.length)
  return reader.roots()
}

/** Hashes a body while its bytes arrive: what came last is still in the processor's cache. */
export interface SealedReader {
  /** So many bytes more lie in the body, after those before. */
  arrived(bytes: number): void
  /** Once all have arrived. */
  roots(): Roots
}

export function readSealed(body: Uint8Array, shape: PieceShape): SealedReader {
  const { leaves, bytes } = partsOf(body, shape)
  const sealed = new Uint8Array(leaves.length)
  const count = blocksOf(shape.length)
  let here = -leaves.length
  let hashed = 0
  const hasNext = (): boolean => hashed < count && Math.min(shape.length, (hashed + 1) * BLOCK_BYTES) <= here
  return {
    arrived(more) {
      here += more
      for (; hasNext(); hashed++) sha256Into(blockIn(bytes, hashed), sealed, hashed * HASH_BYTES)
    },
    roots: () => ({ plainRoot: rootOfPiece(leaves, shape.levels), cipherRoot: rootOfPiece(sealed, shape.levels) }),
  }
}

/** The hashes of all blocks, packed. */
export function blockHashes(bytes: Uint8Array): Bytes {
  const hashes = new Uint8Array(blocksOf(bytes.length) * HASH_BYTES)
  hashBlocks(bytes, hashes, 0)
  return hashes
}

/** @param first whose hash theirs begin with */
function hashBlocks(bytes: Uint8Array, hashes: Uint8Array, first: number): void {
  for (let block = 0; block < blocksOf(bytes.length); block++) {
    sha256Into(blockIn(bytes, block), hashes, (first + block) * HASH_BYTES)
  }
}

/**
 * Decrypts a piece where it lies in its body.
 * @param key of the unit
 * @returns undefined once it is the piece; else the first block that is not what its hash says, and all is as it was
 */
export function openPiece(body: Uint8Array, shape: PieceShape, key: Bytes): number | undefined {
  const { leaves, bytes } = partsOf(body, shape)
  const crypt = aes256Ctr(pieceKey(key, shape.piece), 0)
  const hashes = new Uint8Array(leaves.length)
  for (let at = 0; at < shape.length; at += RUN_BYTES) {
    const run = bytes.subarray(at, at + RUN_BYTES)
    crypt(run)
    hashBlocks(run, hashes, blocksOf(at))
    const [from, to] = [blocksOf(at), blocksOf(at + run.length)].map((block) => block * HASH_BYTES)
    if (equal(hashes.subarray(from, to), leaves.subarray(from, to))) continue
    const closeAgain = aes256Ctr(pieceKey(key, shape.piece), 0)
    closeAgain(bytes.subarray(0, at + run.length))
    return Math.floor(hashes.findIndex((byte, i) => byte !== leaves[i]) / HASH_BYTES)
  }
  return undefined
}

/** The last may be shorter. */
const blockIn = (bytes: Uint8Array, block: number): Uint8Array =>
  bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
