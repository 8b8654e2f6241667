/** Bytes served, fetched and stored, by day and by peer: what an owner is billed by. Counted in memory, saved every few seconds. */
import { itemsOf } from '../protocol/items.ts'
import type { AgentContext } from './context.ts'
import { decodeRecord, encodeRecord } from './records.ts'

export interface UsageTotals {
  readonly stored: number
  readonly served: number
  readonly fetched: number
}

export interface Usage {
  /** @param peer the payer's id, or `anyone` for public content */
  served(peer: string, bytes: number): void
  /** @param peer the seller's id */
  fetched(peer: string, bytes: number): void
  stored(bytes: number): void
  /** From the UTC day of `sinceMs` on. */
  since(sinceMs: number): Promise<UsageTotals>
  byPeer(sinceMs: number): Promise<ReadonlyMap<string, UsageTotals>>
  /** Saves what was counted; a crash loses the count since the last time. */
  flush(): Promise<void>
}

const PK = 'usage'
const DAY_MS = 86_400_000
const DAY_DIGITS = 6
const SAVED_AT_ONCE = 50
/** The peer of what the owner's own storage took in. */
const OWNER = 'owner'
const NOTHING: UsageTotals = { stored: 0, served: 0, fetched: 0 }

export function createUsage(context: AgentContext): Usage {
  const { environment, store } = context
  const pending = new Map<string, UsageTotals>()

  function count(peer: string, kind: keyof UsageTotals, bytes: number): void {
    const sk = `${dayKey(environment.clock.now())} ${peer}`
    const sum = pending.get(sk) ?? NOTHING
    pending.set(sk, { ...sum, [kind]: sum[kind] + bytes })
  }

  async function flush(): Promise<void> {
    for (let left = Math.ceil(pending.size / SAVED_AT_ONCE); left > 0; left--) {
      const batch = [...pending].slice(0, SAVED_AT_ONCE)
      for (const [sk] of batch) pending.delete(sk)
      if (!(await save(batch))) recount(batch)
    }
  }

  /** False when another instance saved first: counted again, for the next flush. */
  async function save(batch: readonly (readonly [string, UsageTotals])[]): Promise<boolean> {
    const changes = await Promise.all(
      batch.map(async ([sk, more]) => {
        const item = await store.get(PK, sk)
        const sum = item ? plus(decodeRecord<UsageTotals>(item), more) : more
        return { pk: PK, sk, expect: item?.version ?? 0, body: encodeRecord(sum) }
      }),
    )
    return store.write(changes)
  }

  function recount(batch: readonly (readonly [string, UsageTotals])[]): void {
    for (const [sk, more] of batch) pending.set(sk, plus(pending.get(sk) ?? NOTHING, more))
  }

  async function byPeer(sinceMs: number): Promise<Map<string, UsageTotals>> {
    const first = dayKey(sinceMs)
    const peers = new Map<string, UsageTotals>()
    const add = (sk: string, more: UsageTotals): void => {
      const peer = sk.slice(DAY_DIGITS + 1)
      peers.set(peer, plus(peers.get(peer) ?? NOTHING, more))
    }
    for await (const item of itemsOf(store, PK, { after: first })) add(item.sk, decodeRecord<UsageTotals>(item))
    for (const [sk, more] of pending) if (sk >= first) add(sk, more)
    return peers
  }

  return {
    served: (peer, bytes) => count(peer, 'served', bytes),
    fetched: (peer, bytes) => count(peer, 'fetched', bytes),
    stored: (bytes) => count(OWNER, 'stored', bytes),
    since: async (sinceMs) => [...(await byPeer(sinceMs)).values()].reduce(plus, NOTHING),
    byPeer,
    flush,
  }
}

const dayKey = (ms: number): string => String(Math.floor(ms / DAY_MS)).padStart(DAY_DIGITS, '0')

const plus = (a: UsageTotals, b: UsageTotals): UsageTotals => ({
  stored: a.stored + b.stored,
  served: a.served + b.served,
  fetched: a.fetched + b.fetched,
})
