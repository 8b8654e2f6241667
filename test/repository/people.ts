/** Identities for tests: who somebody is depends on their number alone. */
import type { Bytes } from '../../protocol/bytes.ts'
import { delegate, type DelegationTerms, type Power } from '../../protocol/delegation.ts'
import { applyOperation, genesis, type IdentityState } from '../../protocol/identity.ts'
import { signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { proveVouch, writeBook, type Book, type BookTerms, type Vouch, type VouchProof } from '../../protocol/vouch.ts'

export const DAY = 86_400_000
export const NOW = 20_000 * DAY

export interface Person {
  readonly id: Bytes
  readonly owner: Signer
  readonly agent: Signer
  readonly state: IdentityState
  readonly operations: readonly Envelope[]
}

export const numbered = (kind: number, number: number, length = 32): Bytes => {
  const bytes = new Uint8Array(length).fill(kind)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

export function person(number: number): Person {
  const owner = signerFrom(numbered(1, number))
  const operation = genesis([owner], NOW - 30 * DAY)
  const state = applyOperation(undefined, operation, NOW)
  return { id: state.id, owner, agent: signerFrom(numbered(2, number)), state, operations: [operation] }
}

export const delegationOf = (
  { id, owner, agent }: Person,
  may: readonly Power[],
  changes: Partial<DelegationTerms> = {},
): Envelope =>
  delegate(
    { agent: agent.key, owner: id, may, day: 0n, total: 0n, issued: NOW - DAY, expires: NOW + 300 * DAY, ...changes },
    owner,
  )

export const vouchFor = (subject: Bytes, changes: Partial<Vouch> = {}): Vouch => ({
  subject,
  depth: 4,
  credit: 16,
  scope: '',
  notBefore: NOW - DAY,
  expires: NOW + 80 * DAY,
  salt: subject.slice(0, 16),
  ...changes,
})

export const bookOf = (issuer: Person, vouches: readonly Vouch[], changes: Partial<BookTerms> = {}): Book =>
  writeBook({ issuer: issuer.id, seq: 0, issued: NOW, expires: NOW + 7 * DAY, ...changes }, vouches, issuer.owner)

/** The proof that a book vouches for a subject. */
export const proofOf = (book: Book, subject: Bytes): VouchProof =>
  proveVouch(
    book,
    book.vouches.findIndex((vouch) => vouch.subject.every((byte, i) => byte === subject[i])),
  )
