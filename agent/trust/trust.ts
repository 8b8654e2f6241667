/**
 * Whom the owner trusts, and for how many unpaid pieces: by the owner's own vouch book, and through it by chains that the
 * repository finds and this agent checks. What the owner distrusts stays distrusted, whatever anyone vouches for.
 */
import { sha256 } from '#primitives'
import { concat, equal, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson, type Evidence } from '../../protocol/chain.ts'
import { replay } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { allowanceOf, evaluateOne, UNTRUSTED, type Edge, type Verdict } from '../../protocol/trust.ts'
import type { Book } from '../../protocol/vouch.ts'
import type { AgentContext } from '../context.ts'
import { createDistrusts, type Distrusting, type Distrusts } from './distrusts.ts'
import { createLogView, type RepositoryBreach } from './log-view.ts'
import { createOwnBook } from './own-book.ts'
import { createPruner, type PruneReport, type PruneRequest } from './prune.ts'
import { readNotices, type ToldNotice } from './notices.ts'
import { lookAround, type Surroundings } from './surroundings.ts'

export interface TrustVerdict extends Pick<Verdict, 'trusted' | 'depth' | 'credit'> {
  readonly id: string
  /** The ids from the owner to this one, both included; empty when it is not trusted. */
  readonly chain: readonly string[]
}

export interface Trust {
  /** The owner's newest, as far as the repository answers. */
  book(): Promise<Book | undefined>
  /**
   * Keeps and publishes a newer book of the owner's; the same again publishes it again.
   * @throws Problem `conflict` for one that is not newer, `unknown-key`, `delegation-exceeded`, `bad-signature`,
   *   `bad-encoding`; `peer-failed` when it is kept but the repository did not take it
   */
  putBook(book: Book): Promise<void>
  /** Ids in hex. */
  distrusted(): Promise<readonly string[]>
  putDistrusted(ids: readonly string[]): Promise<void>
  prune(id: string, request: PruneRequest): Promise<PruneReport>
  /** Whether ids that the repository no longer stands by are distrusted as well. */
  followPrunes(follows: boolean): Promise<void>
  /** For those who ask with each piece. */
  readonly distrusts: Pick<Distrusts, 'current' | 'has' | 'onChange'>
  /** What the owner was told by those who believed its vouches. @throws Problem `peer-failed` when the repository does not answer */
  notices(): Promise<readonly ToldNotice[]>
  /** The live vouches around the owner, and what the owner makes of them. */
  around(): Promise<Surroundings & Distrusting>
  /** @param id hex */
  verdict(id: string): Promise<TrustVerdict>
  /** @param payer hex */
  creditFor(payer: string): Promise<CreditLine>
  /**
   * Chains that a subject brings along, for when the repository does not answer; with its view of the repository's log.
   * @param subject hex. @returns the credit that it has now. @throws Problem of `evidenceFromJson`
   */
  carry(subject: string, chains: ChainsJson, note?: string): Promise<number>
  /** The newest checkpoint of the repository's log that was seen. */
  note(): Promise<string | undefined>
  /** Another's view of the same log, held against the own. @throws Problem when it is none */
  compare(note: string): Promise<void>
  /** What the repository was caught at. */
  breaches(): Promise<readonly RepositoryBreach[]>
  /** Renews the owner's book, its vouches unchanged, before it ends; tells the repository what it has not taken. */
  maintain(): Promise<void>
}

/** What a payer may owe, and whose debt it is: all that come through a vouch share what it allows. */
export interface CreditLine {
  /** Pieces; 0 for who is not trusted. */
  readonly credit: number
  /** Those of the path to the payer, the owner's own first: pieces that may be owed through each, over all payers. */
  readonly vouches: readonly { readonly account: string; readonly most: number }[]
}

interface Remembered {
  readonly line: CreditLine
  readonly atMs: number
}

const NO_CREDIT: CreditLine = { credit: 0, vouches: [] }
const ACCOUNT_BYTES = 16

/** Under which name the debt that came through a vouch is kept: one for issuer and subject, whatever the vouch says. */
export const vouchAccount = ({ issuer, subject }: Pick<Edge, 'issuer' | 'subject'>): string =>
  toHex(sha256(concat(issuer, subject)).subarray(0, ACCOUNT_BYTES))

export function createTrust(context: AgentContext): Trust {
  const { environment, repository, store } = context
  const { clock } = environment
  const distrusts = createDistrusts(store)
  const owner = replay(context.operations, clock.now())
  const lines = new Map<string, Remembered>()
  const view = createLogView(context)
  const book = createOwnBook(context, { owner, view, onChange: forgetLines })
  /** By subject, hex: what it brought along. */
  const carriedBy = new Map<string, Evidence>()
  const pruner = createPruner(context, { distrusts, lookAround: surroundings })
  /** Until then the repository is not asked for chains: it did not answer. */
  let awayUntilMs = 0
  /** Of what the lines rest on. */
  let epoch = 0
  distrusts.onChange(forgetLines)

  function forgetLines(): void {
    epoch++
    lines.clear()
  }

  async function surroundings(): Promise<Surroundings> {
    const kept = await book.newest()
    return kept ? lookAround(context, { owner, book: kept }) : { edges: [], isWhole: true }
  }

  /** The owner's own, and where the owner wants it the repository's. */
  async function distrusting(): Promise<Distrusting> {
    const own = await distrusts.current()
    return own.follows ? { ...own, distrusted: new Set([...own.distrusted, ...(await view.pruned())]) } : own
  }

  /** @param brought in place of what the repository shows */
  async function evaluate(subject: Bytes, brought?: Evidence): Promise<Verdict> {
    const [kept, options] = [await book.kept(), await distrusting()]
    if (!kept || options.distrusted.has(toHex(subject))) return UNTRUSTED
    const own = edgesOf({ identities: [owner], books: [kept] }, clock.now())
    const direct = evaluateOne(context.owner, subject, own, options)
    if (direct.credit > 0 || own.every(({ depth }) => depth === 0)) return direct
    if (clock.now() >= awayUntilMs) await view.refresh()
    const ageMs = await view.ageMs()
    // Nobody knows what was revoked since: the first hop is the owner's own word.
    if (ageMs > limits.staleMs) return direct
    const found = await standing(brought ? { ...brought, isShown: false } : await chainsTo(subject))
    const identities = [owner, ...found.identities.filter(({ id }) => !equal(id, owner.id))]
    const edges = edgesOf({ ...found, identities, books: [kept] }, clock.now())
    const verdict = evaluateOne(context.owner, subject, edges, options)
    return ageMs > limits.freshMs ? { ...verdict, credit: Math.min(verdict.credit, limits.agingCredit) } : verdict
  }

  /** Without what the repository's log has newer books or later keys of. */
  async function standing({ identities, proofs = [], isShown }: Evidence & { isShown: boolean }): Promise<Evidence> {
    const outdated = await Promise.all(identities.map((shown) => view.isOutdated(shown, isShown)))
    const revoked = await Promise.all(proofs.map((proof) => view.isRevoked(proof, isShown)))
    return { identities: identities.filter((_, i) => !outdated[i]), proofs: proofs.filter((_, i) => !revoked[i]) }
  }

  /** A repository that is away, or talks nonsense, leaves what the subject carries. */
  async function chainsTo(subject: Bytes): Promise<Evidence & { isShown: boolean }> {
    const carried = carriedBy.get(toHex(subject)) ?? { identities: [] }
    if (clock.now() < awayUntilMs) return { ...carried, isShown: false }
    try {
      const chains = await repository.chains({ from: toHex(context.owner), to: toHex(subject) })
      const evidence = evidenceFromJson(chains, clock.now())
      if (chains.chains.length > 0) remember(toHex(subject), evidence)
      return { ...evidence, isShown: true }
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (error.code === 'peer-failed') awayUntilMs = clock.now() + limits.askAgainMs
      return { ...carried, isShown: false }
    }
  }

  /** For when the repository does not answer; the oldest make room. */
  function remember(subject: string, evidence: Evidence): void {
    carriedBy.delete(subject)
    carriedBy.set(subject, evidence)
    if (carriedBy.size > limits.chainsCarried) carriedBy.delete(carriedBy.keys().next().value as string)
  }

  /** Anybody may bring chains for anybody: those are kept that give their subject more than it has. */
  async function carry(subject: string, chains: ChainsJson, note?: string): Promise<number> {
    if (note !== undefined) await view.compare(note).catch(unlessBug)
    const brought = evidenceFromJson(chains, clock.now())
    const { credit } = await creditFor(subject)
    if ((await evaluate(fromHex(subject, 32), brought)).credit <= credit) return credit
    remember(subject, brought)
    lines.delete(subject)
    return (await creditFor(subject)).credit
  }

  /** A seller asks with each piece: what was found is believed for a moment. */
  async function creditFor(payer: string): Promise<CreditLine> {
    const known = lines.get(payer)
    if (known && Math.abs(clock.now() - known.atMs) < limits.verdictMs) return known.line
    const before = epoch
    const line = creditLineOf(await evaluate(fromHex(payer, 32)), await distrusts.current())
    if (epoch !== before) return creditFor(payer)
    lines.delete(payer)
    if (lines.size >= limits.verdictsCached) lines.delete(lines.keys().next().value as string)
    lines.set(payer, { line, atMs: clock.now() })
    return line
  }

  async function maintain(): Promise<void> {
    await distrusts.reload()
    if (await book.newest()) await view.refresh()
    await pruner.maintain()
    await book.maintain()
  }

  return {
    book: () => book.newest(),
    putBook: (next) => book.put(next),
    distrusted: async () => [...(await distrusts.current()).distrusted],
    putDistrusted: (ids) => distrusts.put(ids),
    prune: (id, request) => pruner.prune(id, request),
    distrusts,
    notices: () => readNotices(context),
    around: async () => ({ ...(await surroundings()), ...(await distrusting()) }),
    followPrunes: (follows) => distrusts.follow(follows),
    async verdict(id) {
      await book.newest()
      const { trusted, depth, credit, chain } = await evaluate(fromHex(id, 32))
      const ids = chain.length > 0 ? [context.owner, ...chain.map(({ subject }) => subject)] : []
      return { id, trusted, depth, credit, chain: ids.map(toHex) }
    },
    creditFor,
    carry,
    async note() {
      if (clock.now() >= awayUntilMs) await view.refresh()
      return view.note()
    },
    compare: (note) => view.compare(note),
    breaches: () => view.breaches(),
    maintain,
  }
}

/** What a verdict lets a payer owe. */
export const creditLineOf = ({ trusted, credit, chain }: Verdict, options: Distrusting): CreditLine =>
  trusted
    ? {
        credit,
        vouches: chain.map((edge, hop) => ({ account: vouchAccount(edge), most: allowanceOf(edge, hop, options) })),
      }
    : NO_CREDIT
