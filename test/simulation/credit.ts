/** What sellers may be owed, told apart from the shipped evaluation of trust so that each can show the other wrong. */
import { limits } from '../../protocol/limits.ts'

export interface KnownVouch {
  /** Ids in hex. */
  readonly issuer: string
  readonly subject: string
  readonly credit: number
  readonly depth: number
}

/** Payers who may owe a seller so many pieces together. */
export interface CreditGroup {
  readonly payers: readonly string[]
  readonly most: number
}

export interface Credit {
  /** Pieces that the seller may let the payer owe, at most: what the best chain of vouches gives. */
  of(seller: string, payer: string): number
  /** The payer and all others whom the seller trusts through the same vouch of its own alone; undefined where there are more ways. */
  groupOf(seller: string, payer: string): CreditGroup | undefined
}

/** @param people all ids */
export function createCredit(vouches: readonly KnownVouch[], people: readonly string[]): Credit {
  const groups = new Map<string, CreditGroup>()
  for (const vouch of vouches) {
    const others = vouches.filter((one) => one !== vouch)
    const { issuer, credit } = vouch
    const payers = people.filter((id) => creditOf(vouches, issuer, id) > 0 && creditOf(others, issuer, id) === 0)
    for (const payer of payers) groups.set(`${issuer} ${payer}`, { payers, most: allowance(credit, 0) })
  }
  return {
    of: (seller, payer) => creditOf(vouches, seller, payer),
    groupOf: (seller, payer) => groups.get(`${seller} ${payer}`),
  }
}

const allowance = (credit: number, hop: number): number => Math.min(credit, limits.creditByHop[hop] ?? 0)

function creditOf(vouches: readonly KnownVouch[], verifier: string, subject: string): number {
  const follow = (at: string, depth: number, credit: number, hop: number): number => {
    if (at === subject) return credit
    const onward = vouches.filter(({ issuer }) => issuer === at && depth > 0)
    return Math.max(
      0,
      ...onward.map((vouch) => {
        const left = Math.min(depth - 1, vouch.depth)
        return follow(vouch.subject, left, Math.min(credit, allowance(vouch.credit, hop)), hop + 1)
      }),
    )
  }
  return verifier === subject ? 0 : follow(verifier, limits.vouchDepth, Infinity, 0)
}
