/** Bytes served, fetched and stored, by day and by peer: what an owner is billed by. Counted in memory, saved every few seconds. */
import { itemsOf } from '../protocol/items.ts'
import { dayOf } from '../protocol/delegation.ts'
import { limits } from '../protocol/limits.ts'
import { sumOf, type DayUsage, type UsageBytes } from '../protocol/usage.ts'
import type { AgentContext } from './context.ts'
import type { Change, Item } from '../protocol/store.ts'
import { decodeRecord, encodeRecord } from './records.ts'

export interface Usage {
  /** @param peer the payer's id, or `ANYONE` */
  served(peer: string, bytes: number): void
  /** @param peer the seller's id */
  fetched(peer: string, bytes: number): void
  stored(bytes: number): void
  /** From the UTC day of `sinceMs` on. */
  since(sinceMs: number): Promise<UsageBytes>
  byPeer(sinceMs: number): Promise<ReadonlyMap<string, UsageBytes>>
  /** Of the UTC days from one to another, both included, those that had any, in their order. */
  days(from: number, to: number): Promise<readonly DayUsage[]>
  /** Saves what was counted; a crash loses the count since the last time. */
  flush(): Promise<void>
  /** The same, and forgets days that are long over. */
  maintain(): Promise<void>
}

type Batch = readonly (readonly [string, UsageBytes])[]

/** The peer of what is free. */
export const ANYONE = 'anyone'
const PK = 'usage'
const DAY_DIGITS = 6
const SAVED_AT_ONCE = 50
/** The peer of what the owner's own storage took in. */
const OWNER = 'owner'
/** Beyond the first so many of a day, peers are not told apart. */
const OTHERS = 'others'
const NOTHING: UsageBytes = sumOf([])

export function createUsage(context: AgentContext): Usage {
  const { environment, store } = context
  const pending = new Map<string, UsageBytes>()

  /** Peers of a day that this instance counts by name. */
  const named = { day: -1, peers: new Set<string>() }

  function nameOf(peer: string, day: number): string {
    if (named.day !== day) Object.assign(named, { day, peers: new Set() })
    if (named.peers.size >= limits.usagePeers && !named.peers.has(peer)) return OTHERS
    named.peers.add(peer)
    return peer
  }

  function count(peer: string, kind: keyof UsageBytes, bytes: number): void {
    const day = dayOf(environment.clock.now())
    const sk = `${dayKey(day)} ${nameOf(peer, day)}`
    const sum = pending.get(sk) ?? NOTHING
    pending.set(sk, { ...sum, [kind]: sum[kind] + bytes })
  }

  async function flush(): Promise<void> {
    for (let left = Math.ceil(pending.size / SAVED_AT_ONCE); left > 0; left--) {
      const batch = [...pending].slice(0, SAVED_AT_ONCE)
      for (const [sk] of batch) pending.delete(sk)
      const changes = await sums(batch).catch((error: unknown) => {
        recount(batch)
        throw error
      })
      // False when another instance saved first. What becomes of a write that failed is not known: nothing counts twice.
      if (!(await store.write(changes))) recount(batch)
    }
  }

  const sums = (batch: Batch): Promise<Change[]> =>
    Promise.all(
      batch.map(async ([sk, more]) => {
        const item = await store.get(PK, sk)
        const sum = item ? plus(read(item), more) : more
        return { pk: PK, sk, expect: item?.version ?? 0, body: encodeRecord(sum) }
      }),
    )

  /** For the next flush. */
  function recount(batch: Batch): void {
    for (const [sk, more] of batch) pending.set(sk, plus(pending.get(sk) ?? NOTHING, more))
  }

  async function byPeer(sinceMs: number): Promise<Map<string, UsageBytes>> {
    const peers = new Map<string, UsageBytes>()
    for await (const { peer, bytes } of counted(dayOf(sinceMs)))
      peers.set(peer, plus(peers.get(peer) ?? NOTHING, bytes))
    return peers
  }

  async function* counted(from: number): AsyncGenerator<{ day: number; peer: string; bytes: UsageBytes }> {
    const first = dayKey(from)
    for await (const item of itemsOf(store, PK, { after: first })) yield { ...placeOf(item.sk), bytes: read(item) }
    for (const [sk, bytes] of pending) if (sk >= first) yield { ...placeOf(sk), bytes }
  }

  async function days(from: number, to: number): Promise<DayUsage[]> {
    const found = new Map<number, UsageBytes>()
    for await (const { day, bytes } of counted(from))
      if (day <= to) found.set(day, plus(found.get(day) ?? NOTHING, bytes))
    return Array.from(found, ([day, bytes]) => ({ day, ...bytes })).toSorted((a, b) => a.day - b.day)
  }

  async function sweep(): Promise<void> {
    const last = dayKey(dayOf(environment.clock.now()) - limits.usageDays)
    const oldest = await store.list(PK, { limit: SAVED_AT_ONCE })
    const over = oldest.filter(({ sk }) => sk < last).map(({ sk }) => ({ pk: PK, sk, expect: 'any' as const }))
    if (over.length > 0) await store.write(over)
  }

  return {
    served: (peer, bytes) => count(peer, 'served', bytes),
    fetched: (peer, bytes) => count(peer, 'fetched', bytes),
    stored: (bytes) => count(OWNER, 'stored', bytes),
    since: async (sinceMs) => sumOf([...(await byPeer(sinceMs)).values()]),
    byPeer,
    days,
    flush,
    async maintain() {
      await flush()
      await sweep()
    },
  }
}

const dayKey = (day: number): string => String(Math.max(0, day)).padStart(DAY_DIGITS, '0')

const placeOf = (sk: string) => ({ day: Number(sk.slice(0, DAY_DIGITS)), peer: sk.slice(DAY_DIGITS + 1) })

const read = (item: Item): UsageBytes => decodeRecord<UsageBytes>(item)

const plus = (a: UsageBytes, b: UsageBytes): UsageBytes => sumOf([a, b])
