/**
 * What a federation decides about its ledgers. A **majority** of its keys changes what a unit costs and which other
 * ledgers are trusted, each signing the very same body; its **authority** signs who may open an account.
 */
import { equal, type Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { parseLogPolicy, type LogPolicy } from './log-policy.ts'
import { Problem } from './problem.ts'
import { objectId, openEnvelope, seal, type Envelope, type Kind, type Signed, type Signer } from './signed.ts'

/** Body {expires, issued, member}: the authority's word that an owner belongs to the federation, at all of its ledgers. */
export interface MembershipTerms {
  /** Milliseconds; invalid from then on. At most `limits.membershipMs` after `issued`. */
  readonly expires: number
  /** Milliseconds. */
  readonly issued: number
  /** The owner's id, 32 bytes. */
  readonly member: Bytes
}
export type Membership = Signed<MembershipTerms>

/** Body {effective, ledger, seq, unitPrice}: what a unit costs from a time on. */
export interface PriceTerms {
  /** Milliseconds of the ledger's time. */
  readonly effective: number
  /** The ledger's id, 32 bytes. */
  readonly ledger: Bytes
  /** From 1; above that of the order before. */
  readonly seq: number
  /** Credits. */
  readonly unitPrice: bigint
}

/** Body {ledger, limit, policy, seq}: another ledger, from which credits are taken up. */
export interface PeerTerms {
  /** The id of the ledger that trusts, 32 bytes. */
  readonly ledger: Bytes
  /** Credits that may have come from the peer beyond what went there: what its lies could cost. */
  readonly limit: bigint
  /** The peer's log, its witnesses and how many it needs (C2SP tlog-policy): one log. */
  readonly policy: string
  /** From 1; above that of the order before on the same peer. */
  readonly seq: number
}

export const certify = (terms: MembershipTerms, signer: Signer): Envelope => seal('membership', { ...terms }, signer)
export const setPrice = (terms: PriceTerms, signer: Signer): Envelope => seal('price', { ...terms }, signer)
export const trustPeer = (terms: PeerTerms, signer: Signer): Envelope => seal('peer', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseMembership(envelope: Envelope): Membership {
  const membership = openEnvelope('membership', envelope, membershipShape)
  const { expires, issued } = membership
  if (expires <= issued || expires - issued > limits.membershipMs)
    throw new Problem('bad-encoding', `A membership lasts up to ${limits.membershipMs} ms.`)
  return membership
}

/** The same body, signed by several keys. */
export interface Order<T> {
  readonly id: Bytes
  readonly terms: T
  /** Who signed, each once. */
  readonly keys: readonly Bytes[]
}

/** @throws Problem `bad-signature`, `bad-encoding`, `bad-request` unless all signed the same and nobody twice */
export const parsePrice = (signed: readonly Envelope[]): Order<PriceTerms> =>
  parseOrder('price', signed, (envelope) => openEnvelope('price', envelope, priceShape))

/** @throws Problem as `parsePrice`; `bad-encoding` unless the policy is of one log */
export function parsePeer(signed: readonly Envelope[]): Order<PeerTerms> & { readonly log: PeerLog } {
  const order = parseOrder('peer', signed, (envelope) => openEnvelope('peer', envelope, peerShape))
  return { ...order, log: readPeerPolicy(order.terms.policy) }
}

/** Which log a peer has, and what its checkpoints need. */
export interface PeerLog extends LogPolicy {
  readonly key: LogPolicy['logs'][number]['key']
}

/** @throws Problem `bad-encoding` unless the policy is of one log */
export function readPeerPolicy(text: string): PeerLog {
  const policy = parseLogPolicy(text)
  const [log, ...others] = policy.logs
  if (!log || others.length > 0) throw new Problem('bad-encoding', 'The policy of a peer names one log.')
  return { ...policy, key: log.key }
}

function parseOrder<T>(kind: Kind, signed: readonly Envelope[], parse: (envelope: Envelope) => Signed<T>): Order<T> {
  const [first, ...others] = signed.map((envelope) => ({ envelope, order: parse(envelope) }))
  if (!first) throw new Problem('bad-request', `A ${kind} is signed by at least one key.`)
  if (others.some(({ envelope }) => !equal(envelope.body, first.envelope.body)))
    throw new Problem('bad-request', `All signers of a ${kind} sign the same.`)
  const keys = signed.map(({ key }) => key)
  if (keys.some((key, i) => keys.findIndex((other) => equal(other, key)) !== i))
    throw new Problem('bad-request', 'A key signs once.')
  const { id: _id, key: _key, ...terms } = first.order
  return { id: objectId(kind, first.envelope.body), terms: terms as T, keys }
}

const membershipShape = { expires: field.integer(), issued: field.integer(), member: field.bytes(32) }
const priceShape = {
  effective: field.integer(),
  ledger: field.bytes(32),
  seq: field.integer({ min: 1 }),
  unitPrice: field.amount,
}
const peerShape = {
  ledger: field.bytes(32),
  limit: field.amount,
  policy: field.text({ maxBytes: limits.peerPolicyBytes }),
  seq: field.integer({ min: 1 }),
}
