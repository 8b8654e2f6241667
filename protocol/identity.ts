/**
 * Identities: a log of signed operations, each naming the keys that speak for the identity from then on, the highest
 * priority first. The id is the SHA-256 of the first operation, so it outlives every key. For 72 hours a key of higher
 * priority than an operation's signer may replace that operation and what followed: who stole a host's key is put out
 * by the recovery key above it, and never the other way.
 *
 * An operation's body: {created, keys, seq} for the first, {compromisedSince?, created, id, keys, prev, seq} for the others.
 */
import { equal, type Bytes } from './bytes.ts'
import { decode, encode, field, fields } from './encoding.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { checkKey } from './signature.ts'
import {
  envelopeFromJson,
  objectId,
  seal,
  verifyEnvelope,
  type Envelope,
  type EnvelopeJson,
  type Signer,
} from './signed.ts'

export interface Operation {
  /** SHA-256 of what was signed: the `prev` of the next operation. */
  readonly hash: Bytes
  /** Milliseconds, the signer's claim. */
  readonly created: number
  /** 1 to `limits.keysPerIdentity` public keys, the highest priority first. */
  readonly keys: readonly Bytes[]
  /** 0 for the first operation of an identity, which has neither `id` nor `prev`. */
  readonly seq: number
  readonly id?: Bytes
  readonly prev?: Bytes
  /**
   * The number of the first vouch book that keys of before did not rightly sign. Those below go on counting, whatever became of
   * the key; without it, none of theirs counts any more.
   */
  readonly compromisedSince?: number
  readonly envelope: Envelope
}

export interface AppliedOperation extends Operation {
  /** When the keeper of the state took it, in milliseconds: what the recovery window counts from. */
  readonly atMs: number
}

export interface IdentityState {
  readonly id: Bytes
  /** The keys of the last operation. */
  readonly keys: readonly Bytes[]
  readonly seq: number
  /** `hash` of the last operation. */
  readonly head: Bytes
  /** The operations in force, `seq` 0 to `seq`: at most `limits.operationsPerIdentity`. */
  readonly operations: readonly AppliedOperation[]
}

/**
 * The first operation of an identity; its `hash` becomes the id.
 * @param signers whose keys speak for it, the highest priority first; the first one signs
 */
export const genesis = (signers: readonly [Signer, ...Signer[]], createdMs: number): Envelope =>
  seal('identity', { created: createdMs, keys: signers.map(({ key }) => key), seq: 0 }, signers[0])

/**
 * An operation that follows the one numbered `after`: the last, or an earlier one to override what followed it.
 * @param compromisedSince of the vouch books that keys of before signed, the first that does not count
 */
export function rotate(
  state: IdentityState,
  keys: readonly Bytes[],
  createdMs: number,
  signer: Signer,
  after = state.seq,
  compromisedSince?: number,
): Envelope {
  const prev = state.operations[after]?.hash
  return seal('identity', { compromisedSince, created: createdMs, id: state.id, keys, prev, seq: after + 1 }, signer)
}

/** The id of the identity that an operation belongs to; for the first operation its own hash. */
export const identityOf = (operation: Operation): Bytes => operation.id ?? operation.hash

/** Checks the form only. @throws Problem of `envelopeFromJson` */
export const operationFromJson = (json: EnvelopeJson): Envelope => envelopeFromJson(json, 'identity')

/** @throws Problem `bad-encoding`, `bad-signature` */
export function parseOperation(envelope: Envelope): Operation {
  verifyEnvelope('identity', envelope)
  return readOperation(envelope)
}

/**
 * The state after an operation. One that is already in force changes nothing, so deliveries may repeat.
 * @param state undefined when the identity is not known yet: the operation must be its first
 * @throws Problem `bad-encoding`, `bad-signature`, `not-found` (not the first, and no state), `unknown-key` (signed by
 *   none of the keys before it), `conflict` (does not follow, or may not override), `limit-reached`
 */
export function applyOperation(state: IdentityState | undefined, envelope: Envelope, atMs: number): IdentityState {
  const operation: AppliedOperation = { ...parseOperation(envelope), atMs }
  if (operation.created > atMs + limits.clockSkewMs) {
    throw new Problem('bad-request', 'The operation was created in the future.')
  }
  if (!state) return first(operation)
  if (!equal(identityOf(operation), state.id)) throw new Problem('conflict', 'The operation is of another identity.')
  if (isInForce(state, operation.hash)) return state
  const before = state.operations.slice(0, operation.seq)
  checkFollows(operation, before.at(-1), state.operations[operation.seq])
  return stateOf([...before, operation])
}

/**
 * The state after operations in their order: a whole log, or what comes after a known state.
 * @throws Problem of `applyOperation`; `bad-request` for no operations or too many
 */
export function replay(operations: readonly Envelope[], atMs: number, known?: IdentityState): IdentityState {
  const [next, ...rest] = operations
  if (!next || operations.length > limits.operationsPerIdentity) {
    throw new Problem('bad-request', `An identity has 1 to ${limits.operationsPerIdentity} operations.`)
  }
  return rest.reduce((state, operation) => applyOperation(state, operation, atMs), applyOperation(known, next, atMs))
}

/** Whether the operation of that hash is one of the state's, which holds all before it as well. */
export const isInForce = ({ operations }: IdentityState, hash: Bytes): boolean =>
  operations.some((operation) => equal(operation.hash, hash))

/** Whether an envelope's key is one of the identity's now. */
export const speaksFor = (state: IdentityState, key: Bytes): boolean => rank(state.keys, key) >= 0

/** Whether a key is one of the identity's, or was. */
export const hasSpokenFor = ({ operations }: IdentityState, key: Bytes): boolean =>
  operations.some(({ keys }) => rank(keys, key) >= 0)

/**
 * Whether a key may have signed the vouch book of that number: one of the identity's now, or one of before, as far as the
 * operations since say that its books count. The number decides, no date.
 */
export function wroteFor(state: IdentityState, key: Bytes, book: number): boolean {
  if (speaksFor(state, key)) return true
  const last = state.operations.findLastIndex(({ keys }) => rank(keys, key) >= 0)
  if (last < 0) return false
  const since = state.operations.slice(last + 1).flatMap(({ compromisedSince = [] }) => compromisedSince)
  return since.length > 0 && book < Math.min(...since)
}

/** Canonical bencode {operations: [{at, body, key, signature}]}, to be stored. */
export const encodeIdentity = (state: IdentityState): Bytes =>
  encode({ operations: state.operations.map(({ envelope, atMs }) => ({ ...envelope, at: atMs })) })

/** Reads what `encodeIdentity` wrote; signatures were checked before it was stored. @throws Problem `bad-encoding` */
export function decodeIdentity(bytes: Uint8Array): IdentityState {
  const { operations } = fields(decode(bytes), storedShape)
  return stateOf(operations.map(({ at, ...envelope }) => ({ ...readOperation(envelope), atMs: at })))
}

const storedShape = {
  operations: field.list(
    field.dict({ at: field.integer(), body: field.bytes(), key: field.bytes(32), signature: field.bytes(64) }),
    { min: 1, max: limits.operationsPerIdentity },
  ),
}

const bodyShape = {
  compromisedSince: field.optional(field.integer()),
  created: field.integer(),
  id: field.optional(field.bytes(32)),
  keys: field.list(field.bytes(32), { min: 1, max: limits.keysPerIdentity }),
  prev: field.optional(field.bytes(32)),
  seq: field.integer({ max: limits.operationsPerIdentity }),
}

function readOperation(envelope: Envelope): Operation {
  const body = fields(decode(envelope.body), bodyShape)
  const linked = [body.id, body.prev].filter((link) => link !== undefined).length
  if (linked !== (body.seq === 0 ? 0 : 2)) {
    throw new Problem('bad-encoding', 'All operations but the first have "id" and "prev".')
  }
  if (body.seq === 0 && body.compromisedSince !== undefined)
    throw new Problem('bad-encoding', 'The first operation has no "compromisedSince": there are no keys before it.')
  body.keys.forEach((key, i) => {
    checkKey(key)
    if (rank(body.keys, key) !== i) throw new Problem('bad-encoding', 'A key is listed twice.')
  })
  return { ...body, hash: objectId('identity', envelope.body), envelope }
}

function first(operation: AppliedOperation): IdentityState {
  if (operation.seq !== 0) throw new Problem('not-found', 'The identity is not known here.')
  signerRank(operation, operation.keys)
  return stateOf([operation])
}

/** @param replaced what stands in the operation's place now */
function checkFollows(
  operation: AppliedOperation,
  previous: Operation | undefined,
  replaced: AppliedOperation | undefined,
): void {
  if (!previous || previous.seq !== operation.seq - 1 || !operation.prev || !equal(operation.prev, previous.hash)) {
    throw new Problem('conflict', 'The operation does not follow one that is in force.')
  }
  if (operation.seq >= limits.operationsPerIdentity) {
    throw new Problem('limit-reached', `An identity has at most ${limits.operationsPerIdentity} operations.`)
  }
  const signer = signerRank(operation, previous.keys)
  if (!replaced) return
  if (signer >= signerRank(replaced, previous.keys)) {
    throw new Problem('conflict', 'Only a key of higher priority overrides an operation.')
  }
  if (operation.atMs > replaced.atMs + limits.recoveryWindowMs) {
    throw new Problem('conflict', 'The time to override this operation is over.')
  }
}

function signerRank(operation: Operation, keys: readonly Bytes[]): number {
  const found = rank(keys, operation.envelope.key)
  if (found < 0) throw new Problem('unknown-key', 'The signer is none of the identity’s keys.')
  return found
}

const rank = (keys: readonly Bytes[], key: Uint8Array): number => keys.findIndex((known) => equal(known, key))

function stateOf(operations: readonly AppliedOperation[]): IdentityState {
  const [genesisOperation, last] = [operations[0], operations.at(-1)]
  if (!genesisOperation || !last) throw new Problem('bad-encoding', 'An identity has at least one operation.')
  return { id: genesisOperation.hash, keys: last.keys, seq: last.seq, head: last.hash, operations }
}
