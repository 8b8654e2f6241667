/**
 * Credits that go from one ledger to another. A **lock** takes them out of an account here, for an account there. There,
 * they are **minted** on proof that the lock is in the log here; or the lock is **declined** once it has expired, and
 * then they are **refunded** here on proof of that. There, one item decides between the two, so a lock is minted or
 * refunded and never both, whatever the clocks of the two say.
 */
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import { decodeEntry, type Entry } from './entry.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import type { JoinProof } from './shards.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** Body {amount, expires, from, ledger, nonce, recipient, target}: an owner sends credits to another ledger. */
export interface LockTerms {
  /** Credits, from 1. */
  readonly amount: bigint
  /** Milliseconds of the target's time; not minted from then on. */
  readonly expires: number
  /** The sender's id, 32 bytes. */
  readonly from: Bytes
  /** The id of the ledger they leave, 32 bytes. */
  readonly ledger: Bytes
  /** 16 bytes: the same twice is two locks. */
  readonly nonce: Bytes
  /** The id of the account that gets them, 32 bytes. */
  readonly recipient: Bytes
  /** The id of the ledger they go to, 32 bytes. */
  readonly target: Bytes
}
export type Lock = Signed<LockTerms>

/**
 * Body {checkpoint, entry, index, proof, shard?}: an entry of another ledger's log. Anyone may sign: what counts is the
 * proof. Of a log in shards, `index` and `proof` are in a shard, and `shard` proves that its checkpoint is in the log.
 */
export interface CarriedTerms {
  /** The signed note, with the cosignatures. */
  readonly checkpoint: string
  /** The leaf, as encoded. */
  readonly entry: Bytes
  readonly index: number
  /** RFC 6962 §2.1.1, 32 bytes each. */
  readonly proof: readonly Bytes[]
  readonly shard?: JoinProof
}

/** What carries a lock to its target, or word of its decline back. */
export interface Carried extends CarriedTerms {
  readonly id: Bytes
  readonly lock: Lock
}

export const lock = (terms: LockTerms, signer: Signer): Envelope => seal('lock', { ...terms }, signer)
export const mint = (terms: CarriedTerms, signer: Signer): Envelope => seal('mint', carriedBody(terms), signer)
export const refund = (terms: CarriedTerms, signer: Signer): Envelope => seal('refund', carriedBody(terms), signer)

const carriedBody = ({ shard, ...terms }: CarriedTerms) => ({ ...terms, ...(shard && { shard: { ...shard } }) })

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseLock(envelope: Envelope): Lock {
  const order = openEnvelope('lock', envelope, lockShape)
  if (order.amount === 0n) throw new Problem('bad-encoding', 'A lock is of at least one credit.')
  return order
}

/** An entry `lock` of the log that the credits come from. @throws Problem `bad-signature`, `bad-encoding`, `bad-request` */
export const parseMint = (envelope: Envelope): Carried => parseCarried('mint', 'lock', envelope)

/** An entry `decline` of the log that they were to go to. @throws Problem as `parseMint` */
export const parseRefund = (envelope: Envelope): Carried => parseCarried('refund', 'decline', envelope)

function parseCarried(kind: 'mint' | 'refund', entryKind: 'lock' | 'decline', envelope: Envelope): Carried {
  const carried = openEnvelope(kind, envelope, carriedShape)
  return { ...carried, lock: parseLock(lockIn(decodeEntry(carried.entry), entryKind)) }
}

function lockIn({ kind, parts }: Entry, expected: string): Envelope {
  const [envelope, ...others] = parts
  if (kind !== expected || !envelope || others.length > 0)
    throw new Problem('bad-request', `The entry is no ${expected}.`)
  return envelope
}

const lockShape = {
  amount: field.amount,
  expires: field.integer(),
  from: field.bytes(32),
  ledger: field.bytes(32),
  nonce: field.bytes(16),
  recipient: field.bytes(32),
  target: field.bytes(32),
}
const proof = field.list(field.bytes(32), { max: 64 })
const carriedShape = {
  checkpoint: field.text({ maxBytes: limits.carriedNoteBytes }),
  entry: field.bytes(),
  index: field.integer(),
  proof,
  shard: field.optional(field.dict({ entry: field.bytes(), index: field.integer(), proof, shard: field.integer() })),
}
