/**
 * The state that a log leads to, made by replaying it: what an auditor checks a ledger with, and what a ledger attests
 * its own log from. Each entry is decided anew; it must come out as the very bytes that the log holds.
 */
import { compare, concat, equal, utf8, type Bytes } from '../bytes.ts'
import { decodeEntry, type Entry } from '../entry.ts'
import { leafHash, rootOf } from '../merkle.ts'
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
import { draft, keyText, type Draft, type Key, type Stored } from './view.ts'

/** One item of the state. */
export interface StateItem extends Key {
  readonly body: Bytes
}

/** Credits over all accounts; the first four make up the fifth. */
export type Sums = Readonly<Record<(typeof SUMS)[number], bigint>>

export interface Replica {
  /** Entries applied. */
  size(): number
  /**
   * Replays the next entry. A `state` entry is checked against the state it names.
   * @throws Problem `conflict` when the log holds what the rules do not lead to; the replica stays as it was
   */
  apply(entry: Bytes): Promise<Entry>
  /** What the first `size` entries lead to. @throws Problem `conflict` for a size before the last attested one, or to come */
  attestationAt(size: number): Attestation
  items(): readonly StateItem[]
}

interface Kept extends Stored, StateItem {}

/** What an entry replaced: to look back at the state before it. */
type Undo = readonly (readonly [key: string, before: Kept | undefined])[]

export function createReplica(): Replica {
  const items = new Map<string, Kept>()
  /** Of the entries from `undoFrom` on: an attestation is about the past, as its entry comes after those it attests. */
  let undos: Undo[] = []
  let undoFrom = 0

  const size = (): number => undoFrom + undos.length

  function itemsAt(at: number): readonly StateItem[] {
    const past = new Map(items)
    for (const undo of undos.slice(at - undoFrom).toReversed()) for (const [key, before] of undo) put(past, key, before)
    return [...past.values()].filter(isState)
  }

  function attestationAt(at: number): Attestation {
    if (at < undoFrom || at > size())
      throw new Problem('conflict', `The state of the first ${at} entries is not at hand.`)
    const state = itemsAt(at)
    const { bonds, ...rest } = sums(state)
    return { ...rest, ...(bonds > 0n && { bonds }), root: stateRoot(state), size: at }
  }

  return {
    size,
    attestationAt,
    items: () => itemsAt(size()),
    async apply(bytes) {
      const entry = decodeEntry(bytes)
      const view = draft(async (key) => items.get(keyText(key)), isFixed)
      await replay(view, entry, bytes)
      const stated = entry.kind === 'state' ? readAttestation(entry.data ?? {}) : undefined
      if (stated) checkAttestation(stated, attestationAt(stated.size))
      undos.push(commit(items, view, entry.time))
      if (stated) {
        undos = undos.slice(stated.size - undoFrom)
        undoFrom = stated.size
      }
      return entry
    },
  }
}

/** @throws Problem `conflict` unless the rules, at the entry's time, make this entry of its objects */
export async function replay<T extends Stored>(view: Draft<T>, entry: Entry, bytes: Bytes): Promise<void> {
  const { kind, parts, data, time } = entry
  if (!isCommandKind(kind)) throw new Problem('conflict', `There is no entry of the kind ${kind}.`)
  const command = { kind, parts, ...(isStated(kind) && data !== undefined && { data }) }
  const outcome = await decide(view, prepare(command), time)
  if (outcome.kind === 'repeat') throw new Problem('conflict', 'The entry repeats an earlier one.')
  if (!equal(outcome.bytes, bytes)) throw new Problem('conflict', 'The entry states what does not follow.')
  if (time < view.earliestMs()) throw new Problem('conflict', 'The entry is not later than what it rests on.')
}

function checkAttestation(stated: Attestation, found: Attestation): void {
  if (!equal(found.root, stated.root)) throw new Problem('conflict', 'The state root is not what the log leads to.')
  if (SUMS.some((sum) => found[sum] !== stated[sum]))
    throw new Problem('conflict', 'The sums are not what the log leads to.')
}

function commit(items: Map<string, Kept>, view: Draft<Kept>, timeMs: number): Undo {
  return view.touched().map(({ key, before, body }) => {
    const text = keyText(key)
    if (!before && items.has(text)) throw new Error(`${key.pk} is put as new and is not`)
    put(items, text, body && { ...key, body, timeMs })
    return [text, before]
  })
}

function put(items: Map<string, Kept>, key: string, item: Kept | undefined): void {
  if (item) items.set(key, item)
  else items.delete(key)
}

/** RFC 6962 root over the state items as leaves `pk NUL sk NUL body`, in bytewise order. */
export function stateRoot(items: Iterable<StateItem>): Bytes {
  const leaves = Array.from(items, ({ pk, sk, body }) => concat(utf8(`${pk}\0${sk}\0`), body))
  return rootOf(leaves.toSorted(compare).map(leafHash))
}

/** Added up from the items alone, whatever the entries said that they move. */
export function sums(items: Iterable<StateItem>): Sums {
  const total = { available: 0n, bonds: 0n, earned: 0n, frozen: 0n, issued: 0n }
  for (const item of items) {
    const held = heldIn(item)
    for (const sum of SUMS) total[sum] += held[sum] ?? 0n
  }
  return total
}

const SUMS = ['available', 'bonds', 'earned', 'frozen', 'issued'] as const

function heldIn({ pk, body }: StateItem): Partial<Sums> {
  const family = familyOf({ pk })
  if (family === 'account') {
    const account = accounts.decode(body)
    return { available: account.available, issued: issuedBy(account) }
  }
  if (family === 'declaration') return { frozen: unclaimedIn(reserves.decode(body)) }
  return family === 'lane' ? heldBy(lanes.decode(body)) : {}
}
