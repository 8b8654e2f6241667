/**
 * A store that keeps at hand the slots that hold a lane whole (state.ts): what is once in a slot stays there as it is. Which
 * slot of a lane is its latest, the store is asked each time.
 */
import { keyText } from '../protocol/arbiter/view.ts'
import { limits } from '../protocol/limits.ts'
import type { Item, Store } from '../protocol/store.ts'
import { holdsLane, isLane } from './state.ts'

export function keepLanes(store: Store): Store {
  /** The one that was read last comes last. */
  const kept = new Map<string, Item>()

  function keep(text: string, item: Item): void {
    kept.delete(text)
    kept.set(text, item)
    const [oldest] = kept.keys()
    if (kept.size > limits.lanesCached && oldest !== undefined) kept.delete(oldest)
  }

  return {
    ...store,
    async get(pk, sk) {
      if (!isLane({ pk })) return store.get(pk, sk)
      const text = keyText({ pk, sk })
      const known = kept.get(text)
      const item = known ?? (await store.get(pk, sk))
      if (item && (known || holdsLane(item))) keep(text, item)
      return item
    },
  }
}
