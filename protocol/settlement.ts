/**
 * What the parties sign to settle at a ledger: a payee claims and redeems, either side releases, an owner transfers,
 * a payer asks for a sign-off. That the key which signed speaks for the identity named is for the caller to check.
 */
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { PROOF_HASHES_MAX } from './payword.ts'
import { Problem } from './problem.ts'
import { CIPHERS, type Cipher } from './sealed.ts'
import { openEnvelope, readEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** What a payee promises of the pieces of a sealed lane. */
export interface SealedTerms {
  /** K(0) of the lane's keys, 32 bytes. */
  readonly anchor: Bytes
  /** Credits that a false label costs it: `leastBond` or more. */
  readonly bond: bigint
  readonly cipher: Cipher
}

/** The least that a payee puts up for a sealed lane, in credits. */
export const leastBond = ({ cap }: { readonly cap: number }, unitPrice: bigint): bigint =>
  BigInt(Math.min(cap, limits.bondUnits)) * unitPrice

/** Body {commitment, payee, sealed?}: the payee takes up a lane, once. */
export interface ClaimTerms {
  /** The lane's id, 32 bytes: the commitment's. */
  readonly commitment: Bytes
  /** The payee's id, 32 bytes. */
  readonly payee: Bytes
  /** Of a sealed lane, and of no other. */
  readonly sealed?: SealedTerms
}
export type Claim = Signed<ClaimTerms>

/** Body {lane, link, payee, proof, unit, unitKey?}: the payee turns its latest tick into credits. */
export interface RedemptionTerms {
  /** The lane's id, 32 bytes. */
  readonly lane: Bytes
  /** The link of `unit`, 32 bytes. */
  readonly link: Bytes
  /** The payee's id, 32 bytes. */
  readonly payee: Bytes
  /** That the link's anchor is under the tick root, 32 bytes each. */
  readonly proof: readonly Bytes[]
  /** The last unit paid, from 1. */
  readonly unit: number
  /** Of a sealed lane, and of no other: the key of `unit`, 32 bytes. */
  readonly unitKey?: Bytes
}
export type Redemption = Signed<RedemptionTerms>

/** Body {by, declaration, lane?}: what is left of a lane, or of what no lane has claimed, returns to the payer. */
export interface ReleaseTerms {
  /** The id of the payer or, for a lane, of its payee, 32 bytes. */
  readonly by: Bytes
  /** The declaration's id, 32 bytes. */
  readonly declaration: Bytes
  /** The lane's id, 32 bytes; absent to release what no lane has claimed. */
  readonly lane?: Bytes
}
export type Release = Signed<ReleaseTerms>

/** Body {amount, from, ledger, nonce, to}: an owner gives credits to another account. */
export interface TransferTerms {
  /** Credits, from 1. */
  readonly amount: bigint
  /** The giver's id, 32 bytes. */
  readonly from: Bytes
  /** The id of the ledger that is to do it, 32 bytes: the giver may have accounts at several. */
  readonly ledger: Bytes
  /** 16 bytes: the same amount twice is two transfers. */
  readonly nonce: Bytes
  /** The receiver's id, 32 bytes. */
  readonly to: Bytes
}
export type Transfer = Signed<TransferTerms>

/** Body {lane, unit}: the payer asks the payee to redeem and to sign the lane off. */
export interface SignoffTerms {
  /** The lane's id, 32 bytes. */
  readonly lane: Bytes
  /** The last unit that the payer has paid; 0 for none. */
  readonly unit: number
}
export type Signoff = Signed<SignoffTerms>

export const claim = ({ sealed, ...terms }: ClaimTerms, signer: Signer): Envelope =>
  seal('claim', { ...terms, ...(sealed && { sealed: { ...sealed } }) }, signer)
export const redeem = (terms: RedemptionTerms, signer: Signer): Envelope => seal('redemption', { ...terms }, signer)
export const release = (terms: ReleaseTerms, signer: Signer): Envelope => seal('release', { ...terms }, signer)
export const transfer = (terms: TransferTerms, signer: Signer): Envelope => seal('transfer', { ...terms }, signer)
export const signOff = (terms: SignoffTerms, signer: Signer): Envelope => seal('signoff', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding`; so do the others */
export const parseClaim = (envelope: Envelope): Claim => openEnvelope('claim', envelope, claimShape)
export const parseRedemption = (envelope: Envelope): Redemption => openEnvelope('redemption', envelope, redemptionShape)
/** Of a redemption that was accepted: its signature was verified then. @throws Problem `bad-encoding` */
export const readRedemption = (envelope: Envelope): Redemption => readEnvelope('redemption', envelope, redemptionShape)
export const parseRelease = (envelope: Envelope): Release => openEnvelope('release', envelope, releaseShape)
export const parseSignoff = (envelope: Envelope): Signoff => openEnvelope('signoff', envelope, signoffShape)
export function parseTransfer(envelope: Envelope): Transfer {
  const order = openEnvelope('transfer', envelope, transferShape)
  if (order.amount === 0n) throw new Problem('bad-encoding', 'A transfer moves at least one credit.')
  return order
}

const claimShape = {
  commitment: field.bytes(32),
  payee: field.bytes(32),
  sealed: field.optional(field.dict({ anchor: field.bytes(32), bond: field.amount, cipher: field.choice(...CIPHERS) })),
}

const redemptionShape = {
  lane: field.bytes(32),
  link: field.bytes(32),
  payee: field.bytes(32),
  proof: field.list(field.bytes(32), { max: PROOF_HASHES_MAX }),
  unit: field.integer({ min: 1, max: limits.unitsPerDeclaration }),
  unitKey: field.optional(field.bytes(32)),
}

const releaseShape = { by: field.bytes(32), declaration: field.bytes(32), lane: field.optional(field.bytes(32)) }

const transferShape = {
  amount: field.amount,
  from: field.bytes(32),
  ledger: field.bytes(32),
  nonce: field.bytes(16),
  to: field.bytes(32),
}

const signoffShape = { lane: field.bytes(32), unit: field.integer({ max: limits.unitsPerDeclaration }) }
