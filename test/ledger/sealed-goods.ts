/** Sealed pieces of a lane, honest and not, and what disputes them. */
import { blockHashes, openPiece, rootsOf, sealedBytes, sealPiece, type PieceShape } from '../../protocol/sealed.ts'
import { BLOCK_BYTES } from '../../protocol/block-tree.ts'
import { dispute, evidenceOf, type DisputeTerms } from '../../protocol/dispute.ts'
import { label, type LabelTerms } from '../../protocol/label.ts'
import { objectId, type Envelope, type Signer } from '../../protocol/signed.ts'
import type { Lane, Person } from './people.ts'

/** Three blocks of four, the last one short. */
export const SHAPE: PieceShape = { piece: 6, length: 2 * BLOCK_BYTES + 100, levels: 2 }

export interface Goods {
  readonly unit: number
  readonly body: Uint8Array
  readonly label: Envelope
  /** By the payer, about the first block that is wrong, or block 0. */
  accuse(payer: Person, forged?: Partial<DisputeTerms>, signer?: Signer): Envelope
}

/**
 * @param spoil changes the piece before it is encrypted, but not the hashes that are promised of it
 * @param signer of the label
 */
export function sealGoods(
  lane: Pick<Lane, 'id' | 'unitKey'>,
  unit: number,
  signer: Signer,
  spoil?: (piece: Uint8Array) => void,
  forged: Partial<LabelTerms> = {},
): Goods {
  const key = lane.unitKey(unit)
  const body = new Uint8Array(sealedBytes(SHAPE))
  const at = body.length - SHAPE.length
  const piece = Uint8Array.from({ length: SHAPE.length }, (_, i) => (i * 31 + unit) % 253)
  const promised = blockHashes(piece)
  spoil?.(piece)
  body.set(piece, at)
  sealPiece(body, SHAPE, key)
  body.set(promised)
  const terms = { ...SHAPE, ...rootsOf(body, SHAPE), lane: lane.id, unit, ...forged }
  const signed = label(terms, signer)
  return {
    unit,
    body,
    label: signed,
    accuse(payer, changes = {}, by = payer.signer) {
      const block = openPiece(Uint8Array.from(body), SHAPE, key) ?? 0
      const evidence = evidenceOf(body, SHAPE, block)
      const id = objectId('label', signed.body)
      return dispute({ ...evidence, by: payer.id, label: id, unitKey: key, ...changes }, by)
    },
  }
}

/** One bit of the second block. */
export const oneBit = (piece: Uint8Array): void =>
  void (piece[BLOCK_BYTES + 5] = (piece[BLOCK_BYTES + 5] as number) ^ 1)
