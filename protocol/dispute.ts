/**
 * Disputes: one block of a sealed piece that, under the key of its unit, is not what its label says. Body: {block, by,
 * cipher, cipherPath, label, leaf, leafPath, unitKey}. Whoever holds the label, the anchor of the lane's keys and this can judge.
 */
import { sha256 } from '#primitives'
import { BLOCK_BYTES, blocksOf, HASH_BYTES, pathOf, rootOfPath } from './block-tree.ts'
import { equal, type Bytes } from './bytes.ts'
import { field, type Field } from './encoding.ts'
import { LEVELS_MAX, type LabelTerms } from './label.ts'
import { Problem } from './problem.ts'
import { blockHashes, cryptBlock, isKeyOf, partsOf, type PieceShape, type UnitKey } from './sealed.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** A block of the encrypted piece, the hash that was promised of it, and that both lie under the roots of the label. */
export interface BlockEvidence {
  /** Of the piece, from 0. */
  readonly block: number
  /** As it came, encrypted: 16 KiB, less for the last. */
  readonly cipher: Bytes
  /** Siblings of 32 bytes, the lowest level first. */
  readonly cipherPath: readonly Bytes[]
  /** The hash of the block of the piece, 32 bytes. */
  readonly leaf: Bytes
  readonly leafPath: readonly Bytes[]
}

export interface DisputeTerms extends BlockEvidence {
  /** The payer's id, 32 bytes. */
  readonly by: Bytes
  /** The label's id, 32 bytes. */
  readonly label: Bytes
  /** The key of the label's unit, 32 bytes. */
  readonly unitKey: Bytes
}
export type Dispute = Signed<DisputeTerms>

export const dispute = (terms: DisputeTerms, signer: Signer): Envelope => seal('dispute', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export const parseDispute = (envelope: Envelope): Dispute => openEnvelope('dispute', envelope, shape)

const oneBlock: Field<Bytes> = {
  read(value, at) {
    const bytes = field.bytes().read(value, at)
    if (bytes.length <= BLOCK_BYTES) return bytes
    throw new Problem('bad-encoding', `A block has at most ${BLOCK_BYTES} bytes.`, { field: at })
  },
}
const path = field.list(field.bytes(HASH_BYTES), { max: LEVELS_MAX })
const shape = {
  block: field.integer({ max: 2 ** LEVELS_MAX - 1 }),
  by: field.bytes(32),
  cipher: oneBlock,
  cipherPath: path,
  label: field.bytes(32),
  leaf: field.bytes(HASH_BYTES),
  leafPath: path,
  unitKey: field.bytes(32),
}

/** What shows that a block is wrong. @param body as it came, still encrypted */
export function evidenceOf(body: Uint8Array, shape: PieceShape, block: number): BlockEvidence {
  const { leaves, bytes } = partsOf(body, shape)
  return {
    block,
    cipher: bytes.slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES),
    cipherPath: pathOf(blockHashes(bytes), shape.levels, block),
    leaf: leaves.slice(block * HASH_BYTES, (block + 1) * HASH_BYTES),
    leafPath: pathOf(leaves, shape.levels, block),
  }
}

/**
 * Returns when the label is false.
 * @param known a key of the lane's chain, or its anchor
 * @throws Problem `no-fault` when the evidence is not of this label, not under this key, or shows what was promised
 */
export function requireFault(
  label: LabelTerms,
  known: UnitKey,
  { unitKey, ...evidence }: BlockEvidence & Pick<DisputeTerms, 'unitKey'>,
): void {
  const { block, cipher, cipherPath, leaf, leafPath } = evidence
  if (!isKeyOf(known, label.unit, unitKey)) acquit('The key is not that of the unit.')
  if (block >= blocksOf(label.length)) acquit('The piece has no such block.')
  if (cipher.length !== Math.min(BLOCK_BYTES, label.length - block * BLOCK_BYTES)) acquit('The block is not whole.')
  // The depth is fixed: with another, the node of a tree could pass for a block of 64 bytes.
  if (cipherPath.length !== label.levels || leafPath.length !== label.levels) acquit('A path has not the tree’s depth.')
  if (!equal(rootOfPath(sha256(cipher), block, cipherPath), label.cipherRoot))
    acquit('The block is not what was sealed.')
  if (!equal(rootOfPath(leaf, block, leafPath), label.plainRoot)) acquit('The hash is not what was promised.')
  if (equal(sha256(cryptBlock(unitKey, label.piece, block, cipher)), leaf)) acquit('The block is what was promised.')
}

function acquit(detail: string): never {
  throw new Problem('no-fault', detail)
}
