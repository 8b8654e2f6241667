/**
 * What holds an owner's credits at a ledger, as the ledger tells it: no agent is asked. The account names its
 * declarations and the lanes to it; the lanes of a declaration stand in the entries that claimed them.
 */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import { parseDeclaration } from '../../protocol/declaration.ts'
import { decodeEntry } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  statementOf,
  type LedgerAccount,
  type LedgerClient,
  type LedgerDeclaration,
  type LedgerLane,
  type PlacedRow,
} from '../clients/ledger-client.ts'

/**
 * `unclaimed`: of the owner's declaration, in no lane. `spent`: in a lane of it, not redeemed. `earned`: redeemed in an
 * open lane to the owner, with the bond where it is sealed.
 */
export type HoldKind = 'unclaimed' | 'spent' | 'earned'

/** What one release makes available to the owner. */
export interface Hold {
  readonly kind: HoldKind
  /** Hex. */
  readonly declaration: string
  /** Hex; of what is in a lane. */
  readonly lane?: string
  readonly credits: bigint
  /** Of these, what the owner put up for a sealed lane. */
  readonly bond: bigint
  /** From when on nobody has a use for it any more, in milliseconds. */
  readonly dueMs: number
}

/** A declaration of the owner's, as it stands. */
interface Declared extends LedgerDeclaration {
  readonly id: string
  readonly expires: number
  readonly unitPrice: bigint
}

const ASKED_AT_ONCE = 16

/** @param progress told how many claims have been looked at, of how many */
export async function findHolds(
  ledger: LedgerClient,
  account: LedgerAccount,
  progress: (done: number, of: number) => void,
): Promise<Hold[]> {
  const declared = await inRounds(account.declarations, (id) => readDeclared(ledger, id))
  const incoming = await inRounds(account.lanes, async (id) => ({ ...(await ledger.lane(id)), id }))
  return [
    ...declared.filter(({ closed }) => !closed).map(unclaimedOf),
    ...(await findLanes(ledger, account.id, declared, progress)).map(spentOf),
    ...incoming.filter(({ closed }) => !closed).map(earnedOf),
  ]
}

async function readDeclared(ledger: LedgerClient, id: string): Promise<Declared> {
  const state = await ledger.declaration(id)
  const { expires, id: signed, unitPrice } = parseDeclaration(state.declaration)
  if (toHex(signed) !== id) throw new Problem('peer-failed', `${ledger.url} answers with another declaration.`)
  return { ...state, id, expires, unitPrice }
}

/** The ledger gives it back at any time, and the clocks may differ: an agent may still have a use for it. */
const unclaimedOf = ({ expires, id, unclaimed, unitPrice }: Declared): Hold => ({
  kind: 'unclaimed',
  declaration: id,
  credits: BigInt(unclaimed) * unitPrice,
  bond: 0n,
  dueMs: expires + limits.clockSkewMs,
})

interface OpenLane extends LedgerLane {
  readonly id: string
}

const disputableUntil = ({ disputeWindow, expires }: LedgerLane): number => expires + disputeWindow

const spentOf = (lane: OpenLane): Hold => ({
  kind: 'spent',
  declaration: lane.declaration,
  lane: lane.id,
  credits: BigInt(lane.cap - lane.redeemed) * lane.unitPrice,
  bond: 0n,
  dueMs: disputableUntil(lane),
})

/** What is not redeemed is given up, so not before nothing can be. */
const earnedOf = (lane: OpenLane): Hold => {
  const bond = lane.sealed?.bond ?? 0n
  return {
    kind: 'earned',
    declaration: lane.declaration,
    lane: lane.id,
    credits: BigInt(lane.redeemed) * lane.unitPrice + bond,
    bond,
    dueMs: lane.sealed ? disputableUntil(lane) : lane.expires + limits.clockSkewMs,
  }
}

/** Those that are open, of declarations that have such: the newest claims are looked at first, until all are found. */
async function findLanes(
  ledger: LedgerClient,
  account: string,
  declared: readonly Declared[],
  progress: (done: number, of: number) => void,
): Promise<OpenLane[]> {
  const missing = new Map(declared.map(({ id, openLanes }) => [id, openLanes]))
  const isMissing = (id: string): boolean => (missing.get(id) ?? 0) > 0
  const oldest = Math.min(...declared.filter(({ id }) => isMissing(id)).map(({ expires }) => expires))
  if (oldest === Infinity) return []
  const claims = (await statementOf(ledger, account))
    .filter(({ kind, time }) => kind === 'claim' && time >= oldest - limits.declarationMs)
    .toReversed()
  const found: OpenLane[] = []
  for (const [i, rows] of roundsOf(claims).entries()) {
    if (!declared.some(({ id }) => isMissing(id))) break
    progress(i * ASKED_AT_ONCE, claims.length)
    for (const lane of await Promise.all(rows.map((row) => openLaneOf(ledger, row, isMissing)))) {
      if (!lane) continue
      found.push(lane)
      missing.set(lane.declaration, (missing.get(lane.declaration) ?? 0) - 1)
    }
  }
  return found
}

/** @returns undefined for the claim of a lane that has ended or is of another declaration */
async function openLaneOf(
  ledger: LedgerClient,
  { index, shard }: PlacedRow,
  isWanted: (declaration: string) => boolean,
): Promise<OpenLane | undefined> {
  const bytes = await entryAt(ledger, index, shard)
  const [envelope] = bytes ? decodeEntry(bytes).parts : []
  const commitment = envelope && parseCommitment(envelope)
  if (!commitment || !isWanted(toHex(commitment.declaration))) return undefined
  const id = toHex(commitment.id)
  const lane = await ledger.lane(id)
  return lane.closed ? undefined : { ...lane, id }
}

/** Undefined while it is in a shard and not joined: its lane is too young to be released. */
async function entryAt(ledger: LedgerClient, index: number, shard?: number): Promise<Bytes | undefined> {
  try {
    return (await ledger.entry(index, shard)).entry
  } catch (error) {
    if (error instanceof Problem && error.code === 'not-found') return undefined
    throw error
  }
}

const roundsOf = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / ASKED_AT_ONCE) }, (_, i) =>
    items.slice(i * ASKED_AT_ONCE, (i + 1) * ASKED_AT_ONCE),
  )

async function inRounds<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = []
  for (const round of roundsOf(items)) answers.push(...(await Promise.all(round.map(ask))))
  return answers
}
