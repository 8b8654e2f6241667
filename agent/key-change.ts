/**
 * Changes of an owner's keys. A change is saved before anybody is told, and becomes the owner's identity once ledger and
 * repository have taken it: whatever is interrupted goes on where it was when the command is given again.
 */
import { equal, type Bytes } from '../protocol/bytes.ts'
import type { Environment } from '../protocol/environment.ts'
import {
  applyOperation,
  parseOperation,
  replay,
  rotate,
  type AppliedOperation,
  type IdentityState,
} from '../protocol/identity.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Envelope, Signer } from '../protocol/signed.ts'
import type { LedgerClient, LedgerOperations } from './clients/ledger-client.ts'
import type { RepositoryClient } from './clients/repository-client.ts'
import type { Home } from './home.ts'

/** Who keeps the identity; each may be missing where the owner uses none yet. */
export interface Keepers {
  readonly ledger?: LedgerClient
  readonly repository?: RepositoryClient
}

export interface KeyChange {
  readonly home: Home
  readonly environment: Environment
  readonly keepers: Keepers
  /** @param state the identity as its ledger has it @returns the operations in force from now on */
  readonly make: (state: IdentityState, nowMs: number) => Promise<readonly Envelope[]>
  /** What is known of the identity. */
  readonly state: () => Promise<IdentityState>
}

/** @throws Problem of the keepers; the change is kept unless one says that it can never be */
export async function changeKeys({ environment, home, keepers, make, state }: KeyChange): Promise<IdentityState> {
  const nowMs = environment.clock.now()
  const saved = await home.change()
  // A keeper takes no change before its time: one made while the clock was ahead is made anew, with the same new key.
  const begun = saved?.every((operation) => isDue(operation, nowMs)) ? saved : undefined
  const operations = begun ?? (await make(await state(), nowMs))
  if (!begun) await home.saveChange(operations)
  const changed = replay(operations, nowMs)
  try {
    await publishIdentity(operations, keepers)
  } catch (error) {
    if (isFinal(error)) await home.dropChange()
    throw error
  }
  await home.takeChange()
  return changed
}

const isDue = (operation: Envelope, nowMs: number): boolean =>
  parseOperation(operation).created <= nowMs + limits.clockSkewMs

/** What a keeper says of a change that does not follow from what it knows. */
const isFinal = (error: unknown): boolean =>
  error instanceof Problem && (error.code === 'conflict' || error.code === 'unknown-key')

/** Every step may be repeated. */
export async function publishIdentity(operations: readonly Envelope[], { ledger, repository }: Keepers): Promise<void> {
  const [first, ...later] = operations as [Envelope, ...Envelope[]]
  await ledger?.register(first)
  for (const operation of later) await ledger?.rotate(operation)
  await repository?.putIdentity(operations)
}

/** The identity as a ledger has it, with when it took what. @throws Problem `peer-failed` when it is another's */
export function identityAt(id: Bytes, operations: LedgerOperations): IdentityState {
  const state = operations.reduce<IdentityState | undefined>(
    (known, { at, operation }) => applyOperation(known, operation, at),
    undefined,
  )
  if (!state || !equal(state.id, id)) throw new Problem('peer-failed', 'The ledger answered with another identity.')
  return state
}

/**
 * Replaces a key by another in its place, signed by the old one.
 * @param books how many vouch books the owner has written: they go on counting
 */
export function replaceKey(
  state: IdentityState,
  signer: Signer,
  keys: readonly Bytes[],
  nowMs: number,
  books?: number,
): Envelope[] {
  return [...state.operations.map(({ envelope }) => envelope), rotate(state, keys, nowMs, signer, state.seq, books)]
}

/**
 * What puts out whoever took a key below the recovery key: it overrides all that lower keys did as far back as the
 * window reaches, and leaves of the keys those above it, itself and a new one. No book that a key of before signed counts
 * any more, whatever number a later change of keys names.
 * @throws Problem `unknown-key` when the recovery key has no say any more
 */
export function recoverKeys(state: IdentityState, recovery: Signer, next: Bytes, nowMs: number): Envelope[] {
  const after = state.operations.findIndex((operation, i) =>
    mayFollow(operation, state.operations[i + 1], recovery, nowMs),
  )
  const last = state.operations[after]
  if (!last) {
    throw new Problem(
      'unknown-key',
      'The recovery key does not belong to the identity, or its 72 hours to override have passed.',
    )
  }
  const above = last.keys.slice(0, rankOf(last.keys, recovery.key) + 1)
  const kept = state.operations.slice(0, after + 1).map(({ envelope }) => envelope)
  return [...kept, rotate(state, [...above, next], nowMs, recovery, after, 0)]
}

/** Whether the recovery key may sign what follows an operation, in place of what does. */
function mayFollow(
  { keys }: AppliedOperation,
  replaced: AppliedOperation | undefined,
  { key }: Signer,
  nowMs: number,
): boolean {
  const rank = rankOf(keys, key)
  if (rank < 0) return false
  if (!replaced) return true
  return rank < rankOf(keys, replaced.envelope.key) && nowMs <= replaced.atMs + limits.recoveryWindowMs
}

const rankOf = (keys: readonly Bytes[], key: Bytes): number => keys.findIndex((known) => equal(known, key))
