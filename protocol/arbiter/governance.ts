/** What a majority of a federation's keys decides: the price of a unit, and which other ledgers are trusted. */
import { sha256 } from '#primitives'
import { equal, type Bytes } from '../bytes.ts'
import { field, type Fields } from '../encoding.ts'
import { parseMembership, parsePeer, parsePrice } from '../federation.ts'
import { limits } from '../limits.ts'
import { Problem } from '../problem.ts'
import type { Envelope } from '../signed.ts'
import { idOfLedger, requireHere } from './here.ts'
import { dictionary, keys, read, shaped, write, type Policy } from './items.ts'
import { once, type Step } from './step.ts'

const priceShape = {
  /** The price until `effective`. */
  before: field.amount,
  effective: field.integer(),
  seq: field.integer(),
  unitPrice: field.amount,
}
/** The last price that was ordered. */
export type Price = Fields<typeof priceShape>
export const prices = dictionary(shaped(priceShape))

const peerShape = {
  limit: field.amount,
  /** The highest limit since the last mint, where that was above `limit`: what comes back may lead up to it. */
  most: field.optional(field.amount),
  /** C2SP tlog-policy. */
  policy: field.text(),
  /** Credits that came from there, and those that went there and did not come back. */
  received: field.amount,
  sent: field.amount,
  seq: field.integer(),
}
/** Another ledger from which credits are taken up. */
export type Peer = Fields<typeof peerShape>
export const peers = dictionary(shaped(peerShape))

/** Up to how many credits more may have come from a peer than went there once what was locked is refunded. */
export const mostOf = ({ limit, most = limit }: Peer): bigint => most

/** The keys of the federation; where there is none, the ledger's own. */
export const governorsOf = ({ federation, key }: Policy): readonly Bytes[] => federation?.keys ?? [key]

/** More than half. */
export const majorityOf = (governors: readonly Bytes[]): number => Math.floor(governors.length / 2) + 1

/** What a unit costs at a time: the policy's price until the first order takes effect. */
export function priceAt(policy: Pick<Policy, 'unitPrice'>, price: Price | undefined, timeMs: number): bigint {
  if (!price) return policy.unitPrice
  return timeMs >= price.effective ? price.unitPrice : price.before
}

/** @throws Problem `unknown-key` for a key that does not decide, `forbidden` when they are not the majority */
function requireMajority(policy: Policy, signers: readonly Bytes[]): void {
  const governors = governorsOf(policy)
  if (!signers.every((key) => governors.some((governor) => equal(governor, key))))
    throw new Problem('unknown-key', 'One of the signers is not among the keys that decide about this ledger.')
  const majority = majorityOf(governors)
  if (signers.length < majority)
    throw new Problem('forbidden', `At least ${majority} of ${governors.length} have to sign.`)
}

/** @throws Problem `conflict` for an order that is not newer than the last */
function requireNewer(seq: number, last: { readonly seq: number } | undefined): void {
  if (last && seq <= last.seq)
    throw new Problem('conflict', `The last order has number ${last.seq}.`, { seq: last.seq })
}

export function setPrice(signed: readonly Envelope[]): Step {
  const { id, keys: signers, terms } = parsePrice(signed)
  const { effective, ledger, seq, unitPrice } = terms
  return once(id, async (view, nowMs) => {
    const policy = await requireHere(view, ledger, 'price')
    requireMajority(policy, signers)
    const last = await read(view, prices, keys.price)
    requireNewer(seq, last)
    if (effective < nowMs) throw new Problem('expired', 'The time at which the price takes effect is in the past.')
    write(view, prices, keys.price, { before: priceAt(policy, last, nowMs), effective, seq, unitPrice })
    return []
  })
}

export function setPeer(signed: readonly Envelope[]): Step {
  const { id, keys: signers, log, terms } = parsePeer(signed)
  const { ledger, limit, policy: text, seq } = terms
  const peer = sha256(log.key.key)
  return once(id, async (view) => {
    const policy = await requireHere(view, ledger, 'order')
    requireMajority(policy, signers)
    if (equal(peer, idOfLedger(policy))) throw new Problem('bad-request', 'A ledger is no peer of its own.')
    const last = await read(view, peers, keys.peer(peer))
    requireNewer(seq, last)
    const { received, sent } = last ?? { received: 0n, sent: 0n }
    const most = last && mostOf(last) > limit ? { most: mostOf(last) } : {}
    write(view, peers, keys.peer(peer), { limit, ...most, policy: text, received, sent, seq })
    return []
  })
}

/**
 * Whether somebody may open an account.
 * @param certificate what was shown with the identity
 * @throws Problem `forbidden` where the federation's authority has to certify it and has not, `expired`, `bad-request`
 *   where no certificate is asked for
 */
export function admission(certificate: Envelope | undefined): (policy: Policy, member: Bytes, nowMs: number) => void {
  const membership = certificate && parseMembership(certificate)
  return ({ federation }, member, nowMs) => {
    const authority = federation?.authority
    if (!authority) {
      if (membership) throw new Problem('bad-request', 'This ledger asks for no membership.')
      return
    }
    if (!membership || !equal(membership.member, member))
      throw new Problem('forbidden', 'An account here takes a membership of the federation.')
    if (!equal(membership.key, authority))
      throw new Problem('forbidden', 'The membership is not signed by the federation’s authority.')
    if (nowMs >= membership.expires) throw new Problem('expired', 'The membership has expired.')
    if (membership.issued > nowMs + limits.clockSkewMs)
      throw new Problem('bad-request', 'The membership was issued in the future.')
  }
}
