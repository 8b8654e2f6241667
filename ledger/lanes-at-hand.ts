/** What a process keeps at hand of lanes. It may be lost at any time, and what it says may be out of date or not. */
import { keyText, type Key } from '../protocol/arbiter/view.ts'
import { limits } from '../protocol/limits.ts'
import type { Item, Store } from '../protocol/store.ts'
import { isLane, load, type Versioned } from './state.ts'

export type Load = (key: Key) => Promise<Versioned | undefined>

export interface LanesAtHand {
  /** As this process left it. */
  keep(key: Key, lane: Versioned): void
  read(): {
    /** Lanes at hand, and else from the store. */
    readonly load: Load
    /** Whether anything was at hand. */
    readonly isUsed: () => boolean
  }
}

export function createLanesAtHand(store: Store): LanesAtHand {
  const lanes = new Map<string, Versioned>()
  return {
    keep: ({ pk }, lane) => keepIn(lanes, pk, lane, limits.lanesCached),
    read() {
      let isUsed = false
      return {
        async load(key) {
          const lane = isLane(key) ? lanes.get(key.pk) : undefined
          if (lane) isUsed = true
          return lane ?? load(store, key)
        },
        isUsed: () => isUsed,
      }
    },
  }
}

/** Slots, at about 1 kB each. */
const SLOTS = 4096

/** A store that keeps slots at hand: once there, a slot never changes, and is soon read by sequencer and notary. */
export function withSlotsAtHand(store: Store): Store {
  const slots = new Map<string, Item>()
  const keep = (item: Item): void => keepIn(slots, keyText(item), item, SLOTS)
  return {
    ...store,
    async get(pk, sk) {
      const known = slots.get(keyText({ pk, sk }))
      if (known) return known
      const item = await store.get(pk, sk)
      if (item && isLane(item)) keep(item)
      return item
    },
    async write(changes) {
      const isWritten = await store.write(changes)
      for (const { pk, sk, body } of isWritten ? changes : []) {
        if (isLane({ pk }) && body) keep({ pk, sk, version: 1, body })
      }
      return isWritten
    },
  }
}

/** The newest last; the oldest goes when there are too many. */
function keepIn<T>(kept: Map<string, T>, key: string, value: T, most: number): void {
  kept.delete(key)
  kept.set(key, value)
  const [oldest] = kept.keys()
  if (kept.size > most && oldest !== undefined) kept.delete(oldest)
}
