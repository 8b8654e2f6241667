/** What is kept at hand by name, up to a weight in all: what was not asked for the longest makes room. */
export interface Shelf<T> {
  get(name: string): T | undefined
  put(name: string, kept: T): void
  drop(isGone: (kept: T, name: string) => boolean): void
}

/** @param most weight of all together; the last that was put stays in any case */
export function createShelf<T>(most: number, weightOf: (kept: T) => number): Shelf<T> {
  const all = new Map<string, T>()
  let weight = 0
  function remove(name: string): void {
    const kept = all.get(name)
    if (kept === undefined) return
    weight -= weightOf(kept)
    all.delete(name)
  }
  return {
    get(name) {
      const kept = all.get(name)
      if (kept === undefined) return undefined
      all.delete(name)
      all.set(name, kept)
      return kept
    },
    put(name, kept) {
      remove(name)
      all.set(name, kept)
      weight += weightOf(kept)
      while (all.size > 1 && weight > most) remove(all.keys().next().value as string)
    },
    drop(isGone) {
      for (const [name, kept] of all) if (isGone(kept, name)) remove(name)
    },
  }
}
