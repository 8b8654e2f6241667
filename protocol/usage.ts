/**
 * Usage: an agent's signed word on the bytes that it stored, served and fetched for its owner, day by day. What a
 * provider bills by, and can show. Body: {by, days: [{day, fetched, served, stored}], from, issued, to}.
 */
import { requireSpeaker } from './authority.ts'
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import type { IdentityState } from './identity.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface UsageBytes {
  /** Into the owner's storages. */
  readonly stored: number
  /** Of pieces, to others. */
  readonly served: number
  /** Of pieces, from others. */
  readonly fetched: number
}

export interface DayUsage extends UsageBytes {
  /** UTC, counted from 1970-01-01. */
  readonly day: number
}

export interface UsageTerms {
  /** The id of the owner, 32 bytes. */
  readonly by: Bytes
  /** In their order; one that is not there had none. */
  readonly days: readonly DayUsage[]
  /** The first day and the last one. */
  readonly from: number
  /** Milliseconds. Of two statements on a day the later one counts: a day goes on until it is over. */
  readonly issued: number
  readonly to: number
}

export type UsageStatement = Signed<UsageTerms>

const shape = {
  by: field.bytes(32),
  days: field.list(
    field.dict({ day: field.integer(), fetched: field.integer(), served: field.integer(), stored: field.integer() }),
    { max: limits.usageDaysStated },
  ),
  from: field.integer(),
  issued: field.integer(),
  to: field.integer(),
}

export const stateUsage = ({ days, ...terms }: UsageTerms, signer: Signer): Envelope =>
  seal('usage', { ...terms, days: days.map((day) => ({ ...day })) }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseUsage(envelope: Envelope): UsageStatement {
  const statement = openEnvelope('usage', envelope, shape)
  const { days, from, to } = statement
  const isInOrder = days.every(({ day }, i) => day > (days[i - 1]?.day ?? -1))
  if (!isInOrder || days.some(({ day }) => day < from || day > to))
    throw new Problem('bad-encoding', 'The days of a statement are in their order, each once, within its bounds.')
  return statement
}

/**
 * The owner's keys, or an agent's that may `announce`.
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export const requireCounter = (statement: UsageStatement, by: IdentityState, delegation: Envelope | undefined): void =>
  requireSpeaker(statement, by, { delegation, power: 'announce', atMs: statement.issued })

export const sumOf = (days: readonly UsageBytes[]): UsageBytes =>
  days.reduce<UsageBytes>(
    (sum, { stored, served, fetched }) => ({
      stored: sum.stored + stored,
      served: sum.served + served,
      fetched: sum.fetched + fetched,
    }),
    { stored: 0, served: 0, fetched: 0 },
  )
