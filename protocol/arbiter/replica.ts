/**
 * The state that a log leads to, made by replaying it: what an auditor checks a ledger with, and what a ledger attests
 * its own log from. Each entry is decided anew; it must come out as the very bytes that the log holds.
 *
 * Where the items are is for whoever replays to say. The replica itself has the sum that the state root is made of, and
 * the sums of credits, and so may stop after any entry and go on from there.
 */
import { equal, type Bytes } from '../bytes.ts'
import { decodeEntry, type Entry } from '../entry.ts'
import { Problem } from '../problem.ts'
import { decide, isCommandKind, isStated, prepare } from '../arbiter.ts'
import {
  accounts,
  familyOf,
  heldBy,
  isFixed,
  isState,
  issuedBy,
  lanes,
  readAttestation,
  reserves,
  unclaimedIn,
  type Attestation,
} from './items.ts'
import { createStateSum, type StateItem } from './state-root.ts'
import { draft, keyText, type Draft, type Key, type Stored, type Touched } from './view.ts'

/** Credits over all accounts; the first four make up the fifth. */
export type Sums = Readonly<Record<(typeof SUMS)[number], bigint>>

export interface Replica {
  /** Entries applied. */
  size(): number
  /**
   * Replays the next entry. A `state` entry is checked against the state it names.
   * @param decoded the same, where it was decoded before
   * @throws Problem `conflict` when the log holds what the rules do not lead to; the replica stays as it was
   */
  apply(entry: Bytes, decoded?: Entry): Promise<Entry>
  /** What the first `size` entries lead to. @throws Problem `conflict` for a size before the last attested one, or to come */
  attestationAt(size: number): Promise<Attestation>
  /** What to go on from, with the items as they are. */
  position(): Position
}

/** After how many entries, and what they add up to. */
export interface Position {
  readonly size: number
  /** Of the state items (state-root.ts), 2048 bytes. */
  readonly sum: Bytes
  readonly sums: Sums
}

export interface Kept extends Stored, StateItem {}

/** The state items of a replica. */
export interface ReplicaItems {
  get(key: Key): Promise<Kept | undefined>
  put(key: Key, item: Kept | undefined): void
}

/** What each size led to: an attestation is about the past, as its entry comes after those it attests. */
export interface ReplicaPast {
  at(size: number): Promise<Attestation | undefined>
  keep(attestation: Attestation): void
  /** Those of smaller sizes are not asked for any more. */
  forget(before: number): void
}

export interface ReplicaParts {
  readonly items: ReplicaItems
  readonly past: ReplicaPast
  /** The start of the log unless given. */
  readonly from?: Position
}

export function createReplicaOn({ items, past, from }: ReplicaParts): Replica {
  const sum = createStateSum(from?.sum)
  let { size, sums: credits } = from ?? { size: 0, sums: NOTHING }
  if (!from) past.keep(now())

  function now(): Attestation {
    const { bonds, ...rest } = credits
    return { ...rest, ...(bonds > 0n && { bonds }), root: sum.root(), size }
  }

  async function attestationAt(at: number): Promise<Attestation> {
    const found = at === size ? now() : await past.at(at)
    if (!found) throw new Problem('conflict', `The state of the first ${at} entries is not at hand.`)
    return found
  }

  async function requireNew(touched: readonly Touched<Kept>[]): Promise<void> {
    for (const { key, before } of touched) {
      if (!before && (await items.get(key))) throw new Error(`${key.pk} is put as new and is not`)
    }
  }

  function take({ key, before, body }: Touched<Kept>, timeMs: number): void {
    const after = body && { ...key, body, timeMs }
    items.put(key, after)
    if (before?.body === body) return
    if (before) sum.remove(before)
    if (after) sum.add(after)
    credits = addTo(addTo(credits, before, -1n), after, 1n)
  }

  return {
    size: () => size,
    attestationAt,
    position: () => ({ size, sum: sum.bytes(), sums: credits }),
    async apply(bytes, entry = decodeEntry(bytes)) {
      const view = draft(async (key) => (isState(key) ? items.get(key) : undefined), isFixed)
      await replay(view, entry, bytes)
      const stated = entry.kind === 'state' ? readAttestation(entry.data ?? {}) : undefined
      if (stated) checkAttestation(stated, await attestationAt(stated.size))
      const touched = view.touched().filter(({ key }) => isState(key))
      await requireNew(touched)
      for (const one of touched) take(one, entry.time)
      size++
      past.keep(now())
      if (stated) past.forget(stated.size)
      return entry
    },
  }
}

/** A replica in memory. */
export interface MemoryReplica extends Replica {
  items(): readonly StateItem[]
}

export function createReplica(): MemoryReplica {
  const items = new Map<string, Kept>()
  const past = new Map<number, Attestation>()
  const replica = createReplicaOn({
    items: {
      get: async (key) => items.get(keyText(key)),
      put(key, item) {
        if (item) items.set(keyText(key), item)
        else items.delete(keyText(key))
      },
    },
    past: {
      at: async (size) => past.get(size),
      keep: (attestation) => void past.set(attestation.size, attestation),
      forget(before) {
        for (const size of past.keys()) if (size < before) past.delete(size)
      },
    },
  })
  return { ...replica, items: () => [...items.values()] }
}

/** @throws Problem `conflict` unless the rules, at the entry's time, make this entry of its objects */
async function replay<T extends Stored>(view: Draft<T>, entry: Entry, bytes: Bytes): Promise<void> {
  const { kind, parts, data, time } = entry
  if (!isCommandKind(kind)) throw new Problem('conflict', `There is no entry of the kind ${kind}.`)
  const command = { kind, parts, ...(isStated(kind) && data !== undefined && { data }) }
  const outcome = await decide(view, prepare(command), time)
  if (outcome.kind === 'repeat') throw new Problem('conflict', 'The entry repeats an earlier one.')
  if (!equal(outcome.bytes, bytes))
    throw new Problem('conflict', 'The entry is not what the rules make of its signed objects.')
  if (time < view.earliestMs()) throw new Problem('conflict', 'The entry is not later than what it rests on.')
}

function checkAttestation(stated: Attestation, found: Attestation): void {
  if (!equal(found.root, stated.root)) throw new Problem('conflict', 'The state root is not what the log leads to.')
  if (SUMS.some((sum) => found[sum] !== stated[sum]))
    throw new Problem('conflict', 'The sums are not what the log leads to.')
}

/** Added up from the items alone, whatever the entries said that they move. */
export const sums = (items: Iterable<StateItem>): Sums =>
  Array.from(items).reduce((total, item) => addTo(total, item, 1n), NOTHING)

const SUMS = ['available', 'bonds', 'earned', 'frozen', 'issued'] as const

const NOTHING: Sums = { available: 0n, bonds: 0n, earned: 0n, frozen: 0n, issued: 0n }

function addTo(total: Sums, item: StateItem | undefined, sign: bigint): Sums {
  const held = item && heldIn(item)
  if (!held) return total
  return {
    available: total.available + sign * (held.available ?? 0n),
    bonds: total.bonds + sign * (held.bonds ?? 0n),
    earned: total.earned + sign * (held.earned ?? 0n),
    frozen: total.frozen + sign * (held.frozen ?? 0n),
    issued: total.issued + sign * (held.issued ?? 0n),
  }
}

/** Undefined for an item that holds no credits. */
function heldIn({ pk, body }: StateItem): Partial<Sums> | undefined {
  const family = familyOf({ pk })
  if (family === 'account') {
    const account = accounts.decode(body)
    return { available: account.available, issued: issuedBy(account) }
  }
  if (family === 'declaration') return { frozen: unclaimedIn(reserves.decode(body)) }
  return family === 'lane' ? heldBy(lanes.decode(body)) : undefined
}
