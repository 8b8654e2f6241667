/**
 * Labels: a seller's signed word on one sealed piece. Body: {cipherRoot, lane, length, levels, piece, plainRoot, unit}.
 * The buyer holds both roots against what it has before it pays; what the key makes of the bytes, the label answers for.
 */
import { HASH_BYTES } from './block-tree.ts'
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import type { PieceShape, Roots } from './sealed.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface LabelTerms extends PieceShape, Roots {
  /** The lane's id, 32 bytes. */
  readonly lane: Bytes
  /** Whose key opens it, from 1. */
  readonly unit: number
}

/** `key` is who signed: that it is the one which claimed the lane is for the caller to check. */
export type Label = Signed<LabelTerms>

const BLOCK_BYTES_LOG2 = 14
/** Of a piece of `limits.pieceBytesMax`. */
export const LEVELS_MAX = Math.log2(limits.pieceBytesMax) - BLOCK_BYTES_LOG2

export const label = (terms: LabelTerms, signer: Signer): Envelope => seal('label', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding`, also for a length that the tree does not have room for */
export function parseLabel(envelope: Envelope): Label {
  const terms = openEnvelope('label', envelope, shape)
  if (terms.length > 2 ** (terms.levels + BLOCK_BYTES_LOG2)) {
    throw new Problem('bad-encoding', 'The piece is longer than its tree is wide.', { field: 'length' })
  }
  return terms
}

const shape = {
  cipherRoot: field.bytes(HASH_BYTES),
  lane: field.bytes(32),
  length: field.integer({ min: 1, max: limits.pieceBytesMax }),
  levels: field.integer({ max: LEVELS_MAX }),
  piece: field.integer({ max: limits.pieces - 1 }),
  plainRoot: field.bytes(HASH_BYTES),
  unit: field.integer({ min: 1, max: limits.unitsPerSealedLane }),
}
