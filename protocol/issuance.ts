/**
 * Credits for outside money: the ledger's issuer makes them when it was paid, and takes them out when it pays. What was
 * paid, and how, stays outside; the `reference` names it, and can be used once.
 */
import { equal, type Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** Body {account, amount, ledger, reference}: the issuer was paid for credits. */
export interface BuyTerms {
  /** The buyer's id, 32 bytes. */
  readonly account: Bytes
  /** Credits, from 1. */
  readonly amount: bigint
  /** The ledger's id, 32 bytes. */
  readonly ledger: Bytes
  /** Names the payment; no other order of this ledger bears it. Public: to be opaque. */
  readonly reference: string
}
export type Buy = Signed<BuyTerms>

/** Body {account, amount, expires, ledger, reference}: the owner gives credits back, and the issuer pays for them. */
export interface SellTerms extends BuyTerms {
  /** Milliseconds; the owner is bound until then. */
  readonly expires: number
}
export interface Sell extends SellTerms {
  readonly id: Bytes
  /** Who gives up the credits, and who says that they were paid for. */
  readonly ownerKey: Bytes
  readonly issuerKey: Bytes
}

export const buy = (terms: BuyTerms, signer: Signer): Envelope => seal('buy', { ...terms }, signer)
export const sell = (terms: SellTerms, signer: Signer): Envelope => seal('sell', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export const parseBuy = (envelope: Envelope): Buy => positive(openEnvelope('buy', envelope, buyShape))

/**
 * @param byOwner and `byIssuer` have the same body
 * @throws Problem `bad-signature`, `bad-encoding`, `bad-request` when they have not
 */
export function parseSell(byOwner: Envelope, byIssuer: Envelope): Sell {
  const { key: ownerKey, ...terms } = positive(openEnvelope('sell', byOwner, sellShape))
  const { key: issuerKey } = openEnvelope('sell', byIssuer, sellShape)
  if (!equal(byOwner.body, byIssuer.body)) throw new Problem('bad-request', 'Owner and issuer sign the same.')
  return { ...terms, ownerKey, issuerKey }
}

function positive<T extends { readonly amount: bigint; readonly reference: string }>(order: T): T {
  if (order.amount === 0n || order.reference === '')
    throw new Problem('bad-encoding', 'At least one credit is bought or sold, under a reference.')
  return order
}

const buyShape = {
  account: field.bytes(32),
  amount: field.amount,
  ledger: field.bytes(32),
  reference: field.text({ maxBytes: limits.referenceBytes }),
}
const sellShape = { ...buyShape, expires: field.integer() }
