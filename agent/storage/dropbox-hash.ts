/** Dropbox's content hash: SHA-256 over the SHA-256s of blocks of 4 MiB, hex. */
import { sha256 } from '#primitives'
import { toHex, type Bytes } from '../../protocol/bytes.ts'

export const BLOCK_BYTES = 4 * 1024 * 1024
const HASH_BYTES = 32

/** Of a run that begins at a block, packed. */
export function blockHashes(bytes: Uint8Array): Bytes {
  const hashes = new Uint8Array(Math.ceil(bytes.length / BLOCK_BYTES) * HASH_BYTES)
  for (let block = 0; block * BLOCK_BYTES < bytes.length; block++) {
    hashes.set(sha256(bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)), block * HASH_BYTES)
  }
  return hashes
}

export const hashOfBlocks = (hashes: Uint8Array): string => toHex(sha256(hashes))
