/**
 * The lanes on which an agent sells, kept in its store: per lane the terms (written once) and the tab (once a piece); per
 * payer, and per vouch, what is owed over all lanes; an index of the lanes still open. What is kept in memory is a copy:
 * every write is conditional on the version it was computed from, so two requests for one tick, on one instance or on
 * two, cannot both win.
 */
import { toHex } from '../../protocol/bytes.ts'
import { checkLane, parseCommitment, type Commitment } from '../../protocol/commitment.ts'
import { parseDeclaration, type Declaration } from '../../protocol/declaration.ts'
import { itemsOf } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Change } from '../../protocol/store.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { debtChanges, newTab, type LaneTerms, type Owed, type Step, type Tab } from './tab.ts'

export interface SaleLane {
  readonly terms: LaneTerms
  readonly tab: Tab
  /** Of the tab's item. */
  readonly version: number
}

export interface SellerLanes {
  /** May be a copy that another instance has left behind: `check` and `update` find out. */
  find(lane: string): Promise<SaleLane | undefined>
  latest(lane: string): Promise<SaleLane | undefined>
  /** Keeps a lane that the ledger accepted; one that is kept already is returned as it is. */
  add(terms: LaneTerms, documents: LaneDocuments): Promise<SaleLane>
  /**
   * Applies a rule to the latest tab and saves what comes out, again after another change came first.
   * @param accounts of vouches that the debt may come to count against
   * @param checked what `check` came to with the same rule: it counts unless the lane has changed since
   * @throws Problem the rule's own, its `refusal` once the rest is saved, `conflict` after too many tries
   */
  update(lane: SaleLane, rule: TabRule, accounts?: readonly string[], checked?: Evaluation): Promise<SaleLane>
  /** What `update` would come to now; saves nothing. */
  check(lane: SaleLane, rule: TabRule, accounts?: readonly string[]): Promise<Evaluation>
  /** Pieces owed now on an account (`Owed`). */
  owed(account: string): Promise<number>
  /** Lanes not closed yet as they stand now, the first to expire first. */
  open(): AsyncGenerator<SaleLane>
  /** Keeps the payer's word that the lane is done. */
  keepSignoff(lane: string, signoff: Envelope): Promise<void>
  /** The one kept last. */
  signoff(lane: string): Promise<Envelope | undefined>
  /** Forgets lanes closed long ago. */
  sweep(nowMs: number): Promise<void>
}

/** The signed objects that a lane rests on. */
export interface LaneDocuments {
  readonly commitment: Envelope
  readonly declaration: Envelope
  /** The ledger's, for the claim. */
  readonly receipt: Envelope
}

/** May throw, to leave everything as it is. */
export type TabRule = (tab: Tab, owed: Owed) => Step

/** By account. */
type Owing = ReadonlyMap<string, { readonly owed: number; readonly version: number }>

export interface Evaluation {
  /** What the rule was applied to. */
  readonly lane: SaleLane
  readonly owing: Owing
  readonly step: Step
}

type TermsRecord = Readonly<Record<keyof LaneDocuments, EnvelopeJson>>

const OPEN = 'sale/open'
const CLOSED = 'sale/closed'
const TERMS = 'terms'
const TAB = 'tab'
const SIGNOFF = 'signoff'
const OWED = 'owed'
const TIME_DIGITS = 15
const PAGE = 100
/** More than a lane has. */
const ITEMS_OF_LANE = 10

const laneKey = (lane: string): string => `sale/lane/${lane}`
const accountKey = (account: string): string => `sale/account/${account}`
const byExpiry = ({ expires, lane }: LaneTerms): string => `${String(expires).padStart(TIME_DIGITS, '0')} ${lane}`
const laneIn = (sk: string): string => sk.slice(TIME_DIGITS + 1)

/**
 * The terms that a commitment and its declaration set, as far as the two can tell: the ledger has the last word.
 * @throws Problem `bad-request` unless the lane fits the declaration
 */
export function termsOf(commitment: Commitment, declaration: Declaration): LaneTerms {
  checkLane(commitment, declaration)
  return {
    id: commitment.id,
    lane: toHex(commitment.id),
    mode: commitment.mode,
    ledger: declaration.ledger,
    declaration: declaration.id,
    payer: toHex(declaration.payer),
    payerKeys: [commitment.key, declaration.key],
    content: toHex(declaration.content),
    price: declaration.unitPrice,
    cap: commitment.cap,
    first: commitment.first,
    tickRoot: declaration.tickRoot,
    shape: { units: declaration.units, segment: declaration.segment },
    expires: declaration.expires,
    disputeWindow: declaration.disputeWindow,
  }
}

export function createSellerLanes({ store, environment }: AgentContext): SellerLanes {
  const cache = new Map<string, SaleLane>()

  function remember(lane: SaleLane): SaleLane {
    const name = lane.terms.lane
    cache.delete(name)
    cache.set(name, lane)
    if (cache.size > limits.lanesCached) cache.delete(cache.keys().next().value as string)
    return lane
  }

  async function find(lane: string): Promise<SaleLane | undefined> {
    return cache.get(lane) ?? load(lane)
  }

  async function load(name: string): Promise<SaleLane | undefined> {
    const [terms, tab] = await Promise.all([store.get(laneKey(name), TERMS), store.get(laneKey(name), TAB)])
    if (!terms || !tab) return undefined
    const { commitment, declaration } = decodeRecord<TermsRecord>(terms)
    const agreed = termsOf(
      parseCommitment(envelopeFromJson(commitment)),
      parseDeclaration(envelopeFromJson(declaration)),
    )
    return remember({ terms: agreed, tab: decodeRecord<Tab>(tab), version: tab.version })
  }

  /** Whatever another instance has done on it; its terms stay as they were. */
  async function latest(name: string): Promise<SaleLane | undefined> {
    const known = cache.get(name)
    if (!known) return load(name)
    const tab = await store.get(laneKey(name), TAB)
    if (!tab || tab.version === known.version) return tab && known
    return remember({ terms: known.terms, tab: decodeRecord<Tab>(tab), version: tab.version })
  }

  async function add(terms: LaneTerms, documents: LaneDocuments): Promise<SaleLane> {
    const pk = laneKey(terms.lane)
    const record: TermsRecord = {
      commitment: envelopeToJson(documents.commitment),
      declaration: envelopeToJson(documents.declaration),
      receipt: envelopeToJson(documents.receipt),
    }
    const tab = newTab(environment.clock.now())
    const fresh = await store.write([
      { pk, sk: TERMS, expect: 0, body: encodeRecord(record) },
      { pk, sk: TAB, expect: 0, body: encodeRecord(tab) },
      { pk: OPEN, sk: byExpiry(terms), expect: 'any', body: encodeRecord({}) },
    ])
    if (fresh) return remember({ terms, tab, version: 1 })
    const kept = await load(terms.lane)
    if (!kept) throw new Problem('conflict', 'The lane is being opened; try again.')
    return kept
  }

  /** What is kept now, whatever the copy in memory says. */
  async function reload(lane: SaleLane): Promise<SaleLane> {
    cache.delete(lane.terms.lane)
    const latest = await load(lane.terms.lane)
    if (!latest) throw new Problem('not-found', 'The lane is not kept here.')
    return latest
  }

  /** Runs the rule on the copy in memory; a refusal counts only when that was the latest. */
  async function evaluate(lane: SaleLane, rule: TabRule, accounts?: readonly string[]): Promise<Evaluation> {
    try {
      return await apply(lane, rule, accounts)
    } catch (error) {
      const latest = await reload(lane)
      if (latest.version === lane.version) throw error
      return apply(latest, rule, accounts)
    }
  }

  async function apply(lane: SaleLane, rule: TabRule, accounts?: readonly string[]): Promise<Evaluation> {
    const owing = await owingOf(lane, accounts)
    return { lane, owing, step: rule(lane.tab, (account) => owing.get(account)?.owed ?? 0) }
  }

  async function update(
    lane: SaleLane,
    rule: TabRule,
    accounts?: readonly string[],
    checked?: Evaluation,
  ): Promise<SaleLane> {
    let current = cache.get(lane.terms.lane) ?? lane
    for (let attempt = 0; attempt < limits.writeAttempts; attempt++) {
      const evaluation = checked?.lane === current ? checked : await evaluate(current, rule, accounts)
      const saved = await save(evaluation)
      if (saved && evaluation.step.refusal) throw evaluation.step.refusal
      if (saved) return saved
      current = await reload(current)
    }
    throw new Problem('conflict', 'Other requests on this lane come first; try again.')
  }

  /** Undefined when another change came first. */
  async function save({ lane, step, owing }: Evaluation): Promise<SaleLane | undefined> {
    const changes = changesOf(lane, step, owing)
    if (changes.length === 0) return lane
    // Whether a write that failed was made is not known: the next look is at the store.
    cache.delete(lane.terms.lane)
    if (!(await store.write(changes))) return undefined
    return remember({ terms: lane.terms, tab: step.tab, version: lane.version + 1 })
  }

  /** Only credit is owed: a prepaid lane has no need to know. */
  async function owingOf({ terms: { mode, payer }, tab }: SaleLane, vouches: readonly string[] = []): Promise<Owing> {
    const accounts = mode === 'credit' ? new Set([payer, ...vouches, ...(tab.vouches ?? [])]) : []
    return new Map(await Promise.all(Array.from(accounts, owedBy)))
  }

  async function owedBy(account: string) {
    const item = await store.get(accountKey(account), OWED)
    const { owed } = item ? decodeRecord<{ owed: number }>(item) : { owed: 0 }
    return [account, { owed, version: item?.version ?? 0 }] as const
  }

  async function* open(): AsyncGenerator<SaleLane> {
    for await (const { sk } of itemsOf(store, OPEN)) {
      const lane = await latest(laneIn(sk))
      if (lane) yield lane
    }
  }

  async function sweep(nowMs: number): Promise<void> {
    for (const { sk } of await store.list(CLOSED, { limit: PAGE })) {
      if (Number(sk.slice(0, TIME_DIGITS)) + limits.disputeWindowMs > nowMs) return
      const items = await store.list(laneKey(laneIn(sk)), { limit: ITEMS_OF_LANE })
      const gone = [...items, { pk: CLOSED, sk }].map((item) => ({ pk: item.pk, sk: item.sk, expect: 'any' as const }))
      cache.delete(laneIn(sk))
      await store.write(gone)
    }
  }

  return {
    find,
    latest,
    add,
    check: (lane, rule, accounts) => evaluate(cache.get(lane.terms.lane) ?? lane, rule, accounts),
    update,
    owed: async (account) => (await owedBy(account))[1].owed,
    open,
    keepSignoff: async (lane, signoff) => {
      const body = encodeRecord(envelopeToJson(signoff))
      await store.write([{ pk: laneKey(lane), sk: SIGNOFF, expect: 'any', body }])
    },
    signoff: async (lane) => {
      const item = await store.get(laneKey(lane), SIGNOFF)
      return item && envelopeFromJson(decodeRecord<EnvelopeJson>(item))
    },
    sweep,
  }
}

function changesOf(lane: SaleLane, step: Step, owing: Owing): readonly Change[] {
  const { terms, tab } = lane
  const pk = laneKey(terms.lane)
  const changes: Change[] = []
  if (step.tab !== tab) changes.push({ pk, sk: TAB, expect: lane.version, body: encodeRecord(step.tab) })
  for (const [account, more] of debtChanges(terms, tab, step.tab)) {
    const { owed, version } = owing.get(account) ?? { owed: 0, version: 0 }
    if (more !== 0)
      changes.push({ pk: accountKey(account), sk: OWED, expect: version, body: encodeRecord({ owed: owed + more }) })
  }
  if (step.tab.state === 'closed' && tab.state !== 'closed') {
    changes.push({ pk: OPEN, sk: byExpiry(terms), expect: 'any' })
    changes.push({ pk: CLOSED, sk: byExpiry(terms), expect: 'any', body: encodeRecord({}) })
  }
  return changes
}
