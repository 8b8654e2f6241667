/** What a key makes of a sealed piece that was paid for: the piece, or the case against its label. */
import { fromHex, type Bytes } from '../../protocol/bytes.ts'
import { dispute, evidenceOf } from '../../protocol/dispute.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { keyOf, openPiece, partsOf, type PieceShape } from '../../protocol/sealed.ts'
import { objectId, type Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'

export interface SealedGoods {
  readonly shape: PieceShape
  /** The seller's, whose roots are those of the piece and of the body. */
  readonly label: Envelope
  /** As it came; what is opened lies in it. */
  readonly body: Uint8Array
}

export type Opened =
  | { readonly kind: 'piece'; readonly bytes: Uint8Array }
  /** The label is false: `dispute` shows it. */
  | { readonly kind: 'false'; readonly dispute: Envelope }

/** @param key that of the label's unit */
export function openGoods({ owner, signer }: AgentContext, goods: SealedGoods, key: Bytes): Opened {
  const { body, label, shape } = goods
  const wrong = openPiece(body, shape, key)
  if (wrong === undefined) return { kind: 'piece', bytes: partsOf(body, shape).bytes }
  const terms = { ...evidenceOf(body, shape, wrong), by: owner, label: objectId('label', label.body), unitKey: key }
  return { kind: 'false', dispute: dispute(terms, signer) }
}

/** The key of a unit as the ledger publishes it. @returns undefined while the unit is not redeemed, or the ledger does not answer */
export async function publishedKey({ ledger }: AgentContext, lane: string, unit: number): Promise<Bytes | undefined> {
  const known = await ledger.lane(lane).catch(unlessBug)
  if (!known?.sealed || known.redeemed < unit) return undefined
  return keyOf(fromHex(known.sealed.key), known.redeemed, unit)
}

/** Whether the key of a unit of an expired lane is published: also where the ledger does not answer. */
export async function mayBeShown({ ledger }: AgentContext, lane: string, unit: number): Promise<boolean> {
  try {
    return (await ledger.lane(lane)).redeemed >= unit
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return error.code !== 'not-found'
  }
}
