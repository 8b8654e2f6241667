/** Whom the owner trusts, as a tree: each under the one whose vouch gives it its depth. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { allowanceOf, evaluate, type Edge, type Verdict } from '../../protocol/trust.ts'
import type { Distrusting } from './distrusts.ts'
import type { Surroundings } from './surroundings.ts'
import { vouchAccount } from './trust.ts'

/** Ids in hex. */
export interface TreeNode {
  readonly id: string
  /** Whose vouch it hangs on. */
  readonly by: string
  /** Vouches from the owner. */
  readonly hop: number
  readonly depth: number
  readonly credit: number
  /** Of the credit, what it could owe now: what it and others on its way owe is taken off. */
  readonly left: number
  /** The vouch it hangs on. */
  readonly vouch: { readonly depth: number; readonly credit: number; readonly expires: number }
}

export interface TrustTree {
  /** Each after the one it hangs on; siblings with the most credit first. */
  readonly nodes: readonly TreeNode[]
  /** False when not all books around could be read, or there are more ids than are listed. */
  readonly isWhole: boolean
}

/** The nearest are listed. */
const NODES = 1000

/** @param owed pieces owed now on an account */
export async function trustTree(
  owner: Bytes,
  { edges, isWhole, ...options }: Surroundings & Distrusting,
  owed: (account: string) => Promise<number>,
): Promise<TrustTree> {
  const verdicts = evaluate(owner, edges, options)
  const nearest = [...verdicts].toSorted(([, a], [, b]) => a.deepest.length - b.deepest.length).slice(0, NODES)
  const nodes = await Promise.all(nearest.map(([id, verdict]) => nodeOf(id, verdict, options, owed)))
  const under = Map.groupBy(nodes, ({ by }) => by)
  const inOrder = (by: string): TreeNode[] =>
    (under.get(by) ?? []).toSorted((a, b) => b.credit - a.credit).flatMap((node) => [node, ...inOrder(node.id)])
  return { nodes: inOrder(toHex(owner)), isWhole: isWhole && verdicts.size <= NODES }
}

async function nodeOf(
  id: string,
  { depth, credit, chain, deepest }: Verdict,
  options: Distrusting,
  owed: (account: string) => Promise<number>,
): Promise<TreeNode> {
  const last = deepest.at(-1) as Edge
  const lefts = chain.map(async (edge, hop) => allowanceOf(edge, hop, options) - (await owed(vouchAccount(edge))))
  const left = Math.min(credit - (await owed(id)), ...(await Promise.all(lefts)))
  return {
    id,
    by: toHex(last.issuer),
    hop: deepest.length,
    depth,
    credit,
    left: Math.max(0, left),
    vouch: { depth: last.depth, credit: last.credit, expires: last.until ?? last.expires },
  }
}
