/** Owners who open accounts and buy of each other, as often as they are asked to: what they sign, decided by the rules. */
import { decide, prepare } from '../../protocol/arbiter.ts'
import { familyOf, isFixed, isState } from '../../protocol/arbiter/items.ts'
import { sums, type Kept, type Sums } from '../../protocol/arbiter/replica.ts'
import { createStateSum } from '../../protocol/arbiter/state-root.ts'
import type { CommandKind } from '../../protocol/arbiter/step.ts'
import { draft, keyText, type Touched } from '../../protocol/arbiter/view.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Bencode } from '../../protocol/encoding.ts'
import { decodeEntry } from '../../protocol/entry.ts'
import type { Envelope } from '../../protocol/signed.ts'
import { sha256 } from '#primitives'
import { person, purchase, type Person } from '../ledger/people.ts'

/** Of one group. */
const PEOPLE = 50
const PURCHASES = 21
const UNITS = 64
const REDEMPTIONS = 8
/** Entries of a batch, or more: each has a millisecond of its own. */
export const BATCH = PURCHASES * (REDEMPTIONS + 4)

export interface Batch {
  readonly entries: readonly Bytes[]
  /** What the group's state, all of it, adds up to (state-root.ts), and its credits. */
  readonly sum: Bytes
  readonly sums: Sums
}

export interface Group {
  /** The accounts are opened first. @param fromMs the time of the first entry */
  next(fromMs: number): Promise<Batch>
  end(): Promise<void>
}

type Ordered = readonly [kind: CommandKind, ...parts: Envelope[]]

/** @param policy the entry of the ledger's policy, made at that time */
export function createGroup(number: number, policy: Bytes): Group {
  const people = Array.from({ length: PEOPLE }, (_, i) => person(`person ${number}.${i}`))
  const ledger = createBooks()
  const books = createBooks(ledger)
  let bought = 0

  /** Twelve entries: eight of them redemptions. */
  function* purchases(): Generator<Ordered> {
    for (const end = bought + PURCHASES; bought < end; bought++) {
      const [payer, payee] = [people[bought % PEOPLE], people[(bought * 7 + 1) % PEOPLE]] as [Person, Person]
      const nonce = sha256(utf8(`purchase ${number}.${bought}`)).slice(0, 16)
      const ordered = purchase(payer, { nonce, units: UNITS, segment: UNITS })
      const lane = ordered.lane(payee, { segments: 1, cap: UNITS })
      yield ['declare', ordered.declaration]
      yield ['claim', lane.commitment, lane.claim]
      for (let i = 1; i <= REDEMPTIONS; i++) yield ['redeem', lane.redeem((UNITS / REDEMPTIONS) * i)]
      yield ['release', lane.release(payee)]
      yield ['release', ordered.release()]
    }
  }

  async function* openings(): AsyncGenerator<Ordered> {
    const { data, kind, time } = decodeEntry(policy)
    await ledger.append(kind as CommandKind, [], time, data)
    for (const { identity } of people) yield ['register', identity]
  }

  let orders: () => Iterable<Ordered> | AsyncIterable<Ordered> = openings
  return {
    async next(fromMs) {
      const entries: Bytes[] = []
      for await (const [kind, ...parts] of orders())
        entries.push(await books.append(kind, parts, fromMs + entries.length))
      orders = purchases
      books.forget('declaration', 'lane', 'segments', 'accepted')
      return { entries, ...books.state() }
    },
    end: async () => {},
  }
}

export interface Books {
  get(text: string): Kept | undefined
  /** @returns the entry */
  append(kind: CommandKind, parts: readonly Envelope[], nowMs: number, data?: Bencode): Promise<Bytes>
  state(): Pick<Batch, 'sum' | 'sums'>
  /** What is over is touched no more: its items are let go, and stay in the sum. */
  forget(...families: readonly string[]): void
}

/** @param others whose items are read here, and are no part of this state */
export function createBooks(others?: Books): Books {
  const items = new Map<string, Kept>()
  const sum = createStateSum()
  const get = (text: string): Kept | undefined => items.get(text) ?? others?.get(text)

  function take({ key, before, body }: Touched<Kept>, nowMs: number): void {
    if (body) items.set(keyText(key), { ...key, body, timeMs: nowMs })
    else items.delete(keyText(key))
    if (before?.body === body) return
    if (before) sum.remove(before)
    if (body) sum.add({ ...key, body })
  }

  return {
    get,
    async append(kind, parts, nowMs, data) {
      const view = draft(async (key) => get(keyText(key)), isFixed)
      const outcome = await decide(view, prepare({ kind, parts, ...(data !== undefined && { data }) }), nowMs)
      if (outcome.kind !== 'accepted') throw new Error(`${kind} is a repeat`)
      for (const one of view.touched()) if (isState(one.key)) take(one, nowMs)
      return outcome.bytes
    },
    state: () => ({ sum: sum.bytes(), sums: sums(items.values()) }),
    forget(...families) {
      for (const [text, item] of items) if (families.includes(familyOf(item))) items.delete(text)
    },
  }
}
