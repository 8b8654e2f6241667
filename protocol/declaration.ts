/**
 * Declarations: a payer freezes `units` x `unitPrice` at a ledger for one content and names the tick chain that will
 * spend it. Body: {content, disputeWindow, expires, ledger, nonce, payer, segment, tickRoot, unitBytes, unitPrice, units}.
 */
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { checkShape, type ChainShape } from './payword.ts'
import { Problem } from './problem.ts'
import { openEnvelope, readEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface DeclarationTerms extends ChainShape {
  /** v2 info hash, 32 bytes. */
  readonly content: Bytes
  /** Milliseconds after `expires` before the payer may take back what a lane has not redeemed. */
  readonly disputeWindow: number
  /** Milliseconds; nothing is claimed or redeemed from then on. */
  readonly expires: number
  /** The ledger's id, 32 bytes. */
  readonly ledger: Bytes
  /** 16 bytes: makes the object's id, and the seed of its chain, one of a kind. */
  readonly nonce: Bytes
  /** The payer's id, 32 bytes. */
  readonly payer: Bytes
  /** 32 bytes. */
  readonly tickRoot: Bytes
  /** Bytes a unit buys: the piece length. */
  readonly unitBytes: number
  /** Credits. */
  readonly unitPrice: bigint
}

/** `key` is who signed: that it speaks for the payer, or may spend for it, is for the caller to check. */
export type Declaration = Signed<DeclarationTerms>

export const declare = (terms: DeclarationTerms, signer: Signer): Envelope => seal('declaration', { ...terms }, signer)

/** What the declaration freezes, in credits. */
export const priceOf = ({ units, unitPrice }: Pick<DeclarationTerms, 'units' | 'unitPrice'>): bigint =>
  BigInt(units) * unitPrice

/** Of a declaration that was accepted: its signature was verified then. @throws Problem `bad-encoding` */
export const readDeclaration = (envelope: Envelope): Declaration => readEnvelope('declaration', envelope, shape)

/** @throws Problem `bad-signature`, `bad-encoding` for a body of another shape or beyond a limit */
export function parseDeclaration(envelope: Envelope): Declaration {
  const declaration = openEnvelope('declaration', envelope, shape)
  checkShape(declaration)
  if (priceOf(declaration) > limits.integer) throw new Problem('bad-encoding', 'The price of all units is too large.')
  return declaration
}

const shape = {
  content: field.bytes(32),
  disputeWindow: field.integer({ max: limits.disputeWindowMs }),
  expires: field.integer(),
  ledger: field.bytes(32),
  nonce: field.bytes(16),
  payer: field.bytes(32),
  segment: field.integer({ min: 1, max: limits.segmentUnitsMax }),
  tickRoot: field.bytes(32),
  unitBytes: field.integer({ min: 1, max: limits.pieceBytesMax }),
  unitPrice: field.amount,
  units: field.integer({ min: 1, max: limits.unitsPerDeclaration }),
}
