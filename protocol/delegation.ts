/**
 * Delegations: the owner's key lets an agent's key act within caps. An agent spends, announces or renews a book; it
 * never withdraws. Body: {agent, day, expires, issued, ledger?, may, owner, payees?, total}.
 */
import { equal, type Bytes } from './bytes.ts'
import { decode, field, fields } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { checkKey } from './signature.ts'
import { objectId, seal, verifyEnvelope, type Envelope, type Signer } from './signed.ts'

export const POWERS = ['spend', 'announce', 'book'] as const
export type Power = (typeof POWERS)[number]

export interface DelegationTerms {
  /** The agent's public key, 32 bytes. */
  readonly agent: Bytes
  /** The owner's id, 32 bytes. */
  readonly owner: Bytes
  readonly may: readonly Power[]
  /** Credits that may be spent in one UTC day. */
  readonly day: bigint
  /** Credits that may be spent in all. */
  readonly total: bigint
  /** Milliseconds; at most `limits.delegationMs` before `expires`. A later `issued` replaces an earlier one. */
  readonly issued: number
  /** Milliseconds; invalid from then on. */
  readonly expires: number
  /** The id of the ledger where it counts, 32 bytes. A ledger takes no other; elsewhere it says nothing. */
  readonly ledger?: Bytes
  /** Ids of who may be paid, 32 bytes each; anyone when absent. */
  readonly payees?: readonly Bytes[]
}

export interface Delegation extends DelegationTerms {
  /** 32 bytes. */
  readonly id: Bytes
  /** Who signed: the caller checks that this key speaks for `owner`. */
  readonly key: Bytes
}

/** What an agent's key has spent, whatever delegation it had at the time. */
export interface GrantUsage {
  readonly total: bigint
  /** UTC day, counted from 1970-01-01. */
  readonly day: number
  /** Spent on that day. */
  readonly today: bigint
}

export const NOTHING_USED: GrantUsage = { total: 0n, day: 0, today: 0n }

const DAY_MS = 86_400_000

/** The UTC day of a time, counted from 1970-01-01. */
export const dayOf = (ms: number): number => Math.floor(ms / DAY_MS)

export const delegate = (terms: DelegationTerms, signer: Signer): Envelope => seal('delegation', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseDelegation(envelope: Envelope): Delegation {
  verifyEnvelope('delegation', envelope)
  const terms = fields(decode(envelope.body), shape)
  checkKey(terms.agent)
  if (new Set(terms.may).size !== terms.may.length) refuse('A power is listed twice.')
  if (terms.expires <= terms.issued || terms.expires - terms.issued > limits.delegationMs) {
    refuse(`A delegation lasts up to ${limits.delegationMs} ms.`)
  }
  return { ...terms, id: objectId('delegation', envelope.body), key: envelope.key }
}

const shape = {
  agent: field.bytes(32),
  day: field.amount,
  expires: field.integer(),
  issued: field.integer(),
  ledger: field.optional(field.bytes(32)),
  may: field.list(field.choice(...POWERS), { max: POWERS.length }),
  owner: field.bytes(32),
  payees: field.optional(field.list(field.bytes(32), { max: limits.payeesPerDelegation })),
  total: field.amount,
}

/** @throws Problem `delegation-exceeded` unless the delegation is in force and gives this power */
export function requirePower(delegation: Delegation, power: Power, nowMs: number): void {
  if (!delegation.may.includes(power)) exceeded(`The delegation does not allow to ${power}.`)
  requireInForce(delegation, nowMs)
}

/** @throws Problem `delegation-exceeded` */
export function requireInForce(delegation: Delegation, nowMs: number): void {
  if (nowMs >= delegation.expires) exceeded('The delegation has expired.')
  if (nowMs + limits.clockSkewMs < delegation.issued) exceeded('The delegation is not yet valid.')
}

/** @throws Problem `delegation-exceeded` unless the payee, an id, is among those allowed */
export function requirePayee(delegation: Delegation, payee: Bytes): void {
  if (delegation.payees && !delegation.payees.some((allowed) => equal(allowed, payee))) {
    exceeded('The delegation does not allow to pay this payee.')
  }
}

/**
 * The usage after spending `amount`.
 * @param payee undefined while nobody in particular is paid: funds are only frozen
 * @throws Problem `delegation-exceeded` when not allowed now, not to this payee, or beyond a cap
 */
export function spend(
  delegation: Delegation,
  usage: GrantUsage,
  amount: bigint,
  payee: Bytes | undefined,
  nowMs: number,
): GrantUsage {
  requirePower(delegation, 'spend', nowMs)
  if (payee) requirePayee(delegation, payee)
  const { day, today, total } = rollOver(usage, nowMs)
  if (total + amount > delegation.total) exceeded(`At most ${delegation.total} credits may be spent in all.`)
  if (today + amount > delegation.day) exceeded(`At most ${delegation.day} credits may be spent in a day.`)
  return { day, today: today + amount, total: total + amount }
}

/** The usage after `amount` came back unspent: off the total, and off today as far as it was spent today. */
export function giveBack(usage: GrantUsage, amount: bigint, nowMs: number): GrantUsage {
  const { day, today, total } = rollOver(usage, nowMs)
  return { day, today: lessAtMost(today, amount), total: lessAtMost(total, amount) }
}

/** A clock that steps back opens no second allowance for the day before. */
function rollOver(usage: GrantUsage, nowMs: number): GrantUsage {
  const day = dayOf(nowMs)
  return day > usage.day ? { ...usage, day, today: 0n } : usage
}

const lessAtMost = (spent: bigint, amount: bigint): bigint => (amount < spent ? spent - amount : 0n)

function refuse(detail: string): never {
  throw new Problem('bad-encoding', detail)
}

function exceeded(detail: string): never {
  throw new Problem('delegation-exceeded', detail)
}
