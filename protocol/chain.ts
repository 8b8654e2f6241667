/**
 * What shows that vouches hold, without asking anybody: books, or single vouches with their proofs, and the operation logs
 * of their issuers. From an agent's own book, from a repository, or carried by the subject itself.
 */
import { toHex } from './bytes.ts'
import { operationFromJson, replay, type IdentityState } from './identity.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { envelopeToJson, type EnvelopeJson } from './signed.ts'
import type { Edge } from './trust.ts'
import {
  checkBook,
  checkProof,
  isEquivocation,
  isLiveVouch,
  proofFromJson,
  proofToJson,
  requireAuthor,
  type Book,
  type BookHead,
  type SignedHead,
  type Vouch,
  type VouchProof,
  type VouchProofJson,
} from './vouch.ts'

export interface Evidence {
  /** Of issuers, their operation logs verified. */
  readonly identities: readonly IdentityState[]
  readonly books?: readonly Book[]
  readonly proofs?: readonly VouchProof[]
}

/** A chain is the proof of each of its vouches, from the verifier on. */
export interface ChainsJson {
  /** The operation log of every issuer. */
  readonly identities: readonly (readonly EnvelopeJson[])[]
  readonly chains: readonly (readonly VouchProofJson[])[]
}

/** What a book or a proof shows. */
interface Shown {
  readonly signed: SignedHead
  readonly head: BookHead
  readonly vouches: readonly Vouch[]
}

/**
 * The live vouches in the evidence. What does not verify is left out, so that it cannot spoil the rest. Of several books of
 * one issuer the newest counts, and none when its owner signed two under that number.
 * @param scope what trust is asked for: vouches for everything and for this count
 */
export function edgesOf({ identities, books = [], proofs = [] }: Evidence, nowMs: number, scope = ''): Edge[] {
  const shown = [
    ...keep(books, (book) => ({ signed: book, head: checkBook(book), vouches: book.vouches })),
    ...keep(proofs, (proof) => ({ signed: proof, head: checkProof(proof), vouches: [proof.vouch] })),
  ]
  const byIssuer = Map.groupBy(shown, ({ head }) => toHex(head.issuer))
  return identities.flatMap((issuer) => {
    const theirs = keep(byIssuer.get(toHex(issuer.id)) ?? [], (each) => {
      requireAuthor(each.signed, issuer, nowMs)
      return each
    })
    return newestOf(theirs, issuer).flatMap(({ head, vouches }) => liveEdges(head, vouches, nowMs, scope))
  })
}

function newestOf(shown: readonly Shown[], issuer: IdentityState): readonly Shown[] {
  const seq = Math.max(...shown.map(({ head }) => head.seq))
  const [first, ...others] = shown.filter(({ head }) => head.seq === seq)
  if (!first) return []
  const isTwoFaced = others.some(({ signed }) => isEquivocation(first.signed.head, signed.head, issuer))
  return isTwoFaced ? [] : [first, ...others]
}

/** Of a book that was checked. */
export const liveEdges = (head: BookHead, vouches: readonly Vouch[], nowMs: number, scope = ''): Edge[] =>
  vouches
    .filter((vouch) => isLiveVouch(head, vouch, nowMs) && (vouch.scope === '' || vouch.scope === scope))
    .map(({ subject, depth, credit, expires, notBefore }) => ({
      issuer: head.issuer,
      subject,
      depth,
      credit,
      expires: Math.min(expires, head.expires),
      since: notBefore,
      until: expires,
    }))

/**
 * Checks the form and the operation logs; the vouches are for `edgesOf`.
 * @throws Problem `too-large` for more chains, or longer ones, than the limits
 */
export function evidenceFromJson({ identities, chains }: ChainsJson, nowMs: number): Evidence {
  const isTooLong = chains.length > limits.chains || chains.some((chain) => chain.length > limits.chainVouches)
  if (isTooLong || identities.length > limits.chains * limits.chainVouches) {
    throw new Problem('too-large', `At most ${limits.chains} chains of ${limits.chainVouches} vouches are taken.`)
  }
  return {
    identities: keep(identities, (operations) => replay(operations.map(operationFromJson), nowMs)),
    proofs: keep(chains.flat(), proofFromJson),
  }
}

export const chainsToJson = (
  identities: readonly IdentityState[],
  chains: readonly (readonly VouchProof[])[],
): ChainsJson => ({
  identities: identities.map(({ operations }) => operations.map(({ envelope }) => envelopeToJson(envelope))),
  chains: chains.map((chain) => chain.map(proofToJson)),
})

/** The results of those that cause no problem. */
function keep<T, R>(values: readonly T[], read: (value: T) => R): R[] {
  return values.flatMap((value) => {
    try {
      return [read(value)]
    } catch (error) {
      if (error instanceof Problem) return []
      throw error
    }
  })
}
