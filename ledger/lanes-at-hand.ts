/**
 * What a process knows of lanes, whose slots stay as they are once they are put (state.ts).
 *
 * A slot that holds its lane whole is not read again. Which slot is a lane's latest only the store knows; but whoever puts
 * the next slot finds out, as that must be free. So a redemption may be decided on the slot that was the latest here.
 */
import { keyText } from '../protocol/arbiter/view.ts'
import { limits } from '../protocol/limits.ts'
import type { Item, Range, Store } from '../protocol/store.ts'
import { holdsLane, isLane } from './state.ts'

export interface LanesAtHand {
  /** What is in it, as it is now. */
  readonly store: Store
  /** As `store`, but for the latest slot of a lane that no other process was seen to change: since then, one may have. */
  readonly recent: Store
}

interface Latest {
  readonly slot: Item
  /** Others put slots too: what is known here is seldom the latest, and a write for nothing costs more than a read. */
  readonly isShared: boolean
}

export function keepLanes(store: Store): LanesAtHand {
  const whole = createCache<Item>()
  const latest = createCache<Latest>()

  function noteRead(slot: Item): void {
    const known = latest.get(slot.pk)
    const isShared = known !== undefined && (known.isShared || known.slot.sk < slot.sk)
    latest.set(slot.pk, { slot, isShared })
  }

  function notePut(slot: Item): void {
    const known = latest.get(slot.pk)
    if (!known || known.slot.sk < slot.sk) latest.set(slot.pk, { slot, isShared: known?.isShared ?? false })
  }

  const kept: Store = {
    ...store,
    async get(pk, sk) {
      if (!isLane({ pk })) return store.get(pk, sk)
      const text = keyText({ pk, sk })
      const known = whole.get(text)
      const item = known ?? (await store.get(pk, sk))
      if (item && (known || holdsLane(item))) whole.set(text, item)
      return item
    },
    async list(pk, range) {
      const items = await store.list(pk, range)
      if (items[0] && isOfLatest(pk, range)) noteRead(items[0])
      return items
    },
    async write(changes) {
      const isWritten = await store.write(changes)
      for (const { pk, sk, body } of isWritten ? changes : [])
        if (body && isLane({ pk })) notePut({ pk, sk, version: 1, body })
      return isWritten
    },
  }
  const recent: Store = {
    ...kept,
    async list(pk, range) {
      const known = isOfLatest(pk, range) ? latest.get(pk) : undefined
      return known && !known.isShared ? [known.slot] : kept.list(pk, range)
    },
  }
  return { store: kept, recent }
}

const isOfLatest = (pk: string, { reverse, limit }: Range): boolean => isLane({ pk }) && reverse === true && limit === 1

/** Lets go of what was used least recently. */
function createCache<T>() {
  /** The one that was used last comes last. */
  const kept = new Map<string, T>()
  return {
    get: (key: string): T | undefined => kept.get(key),
    set(key: string, value: T): void {
      kept.delete(key)
      kept.set(key, value)
      const [oldest] = kept.keys()
      if (kept.size > limits.lanesCached && oldest !== undefined) kept.delete(oldest)
    },
  }
}
