/**
 * Receipts: the ledger promises that an entry will be in its log at most `mergeDelay` after `time`. Body:
 * {entry, ledger, mergeDelay, time}. A receipt whose entry is missing after that proves a breach.
 */
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface ReceiptTerms {
  /** The entry's leaf hash (RFC 6962 §2.1), 32 bytes. */
  readonly entry: Bytes
  /** The ledger's id, 32 bytes: SHA-256 of the key of its checkpoints. */
  readonly ledger: Bytes
  /** Milliseconds. */
  readonly mergeDelay: number
  /** The ledger's clock, in milliseconds. */
  readonly time: number
}

/** `key` is who signed: that it is the ledger's is for the caller to check. */
export type Receipt = Signed<ReceiptTerms>

export const issueReceipt = (terms: ReceiptTerms, signer: Signer): Envelope => seal('receipt', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export const parseReceipt = (envelope: Envelope): Receipt => openEnvelope('receipt', envelope, shape)

const shape = { entry: field.bytes(32), ledger: field.bytes(32), mergeDelay: field.integer(), time: field.integer() }
