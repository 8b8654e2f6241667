/** A piece as a sealed lane sends it: encrypted under the key of its unit, and labelled. */
import { equal, toBase64url, type Bytes } from '../../protocol/bytes.ts'
import { label } from '../../protocol/label.ts'
import { Problem } from '../../protocol/problem.ts'
import { sealPiece, type PieceShape, type Roots } from '../../protocol/sealed.ts'
import { envelopeToJson, type Signer } from '../../protocol/signed.ts'
import type { SealedPart } from '../../protocol/x402.ts'
import { unitKeyOf } from './keys.ts'
import type { LaneTerms, Tab } from './tab.ts'

export interface Goods {
  readonly unit: number
  readonly shape: PieceShape
  readonly roots: Roots
}

/**
 * Encrypts the piece that lies in its place of the body. The hashes are made of the bytes as they were read, not taken
 * from what was once stored: a disk that decays would have us sign what costs the bond.
 * @throws Problem `content-changed` when it is not what was shared
 */
export function sealGoods(
  signer: Signer,
  terms: LaneTerms,
  { unit, shape, hash }: { readonly unit: number; readonly shape: PieceShape; readonly hash: Bytes },
  body: Uint8Array,
): Goods {
  const roots = sealPiece(body, shape, unitKeyOf(signer, terms, unit))
  if (!equal(roots.plainRoot, hash)) throw new Problem('content-changed', 'The piece is not what was shared.')
  return { unit, shape, roots }
}

/** What is said of it beside the bytes: the label, and the key of what is paid. */
export function sealedPart(signer: Signer, terms: LaneTerms, { unit: paid }: Tab, goods: Goods): SealedPart {
  const signed = label({ ...goods.shape, ...goods.roots, lane: terms.id, unit: goods.unit }, signer)
  return {
    label: envelopeToJson(signed),
    ...(paid > 0 && { key: toBase64url(unitKeyOf(signer, terms, paid)) }),
  }
}
