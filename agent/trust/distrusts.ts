/**
 * Whom the owner distrusts, and whom it believes less because they vouched for such: local, kept until the owner takes it
 * back. A copy is at hand for those who ask with each piece; another instance's change is seen by `reload`.
 */
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Distrusting {
  /** Ids in hex. */
  readonly distrusted: ReadonlySet<string>
  /** By id in hex: for how many distrusted ids they vouched. */
  readonly halved: ReadonlyMap<string, number>
  readonly follows: boolean
}

/** Vouchers, by the distrusted id that they vouched for; all in hex. */
export type Blame = Readonly<Record<string, readonly string[]>>

export interface Distrusts {
  current(): Promise<Distrusting>
  /** As last read or written. */
  has(id: string): boolean
  /** Who is blamed for it, as last read or written. */
  blamedFor(id: string): readonly string[]
  /** Takes the place of the list; blame that rested on an id that is not in it ends. */
  put(ids: readonly string[]): Promise<void>
  add(ids: readonly string[], blame: Blame): Promise<void>
  /** Whether what the repository prunes is distrusted as well. */
  follow(follows: boolean): Promise<void>
  reload(): Promise<void>
  /** @returns how to stop being told */
  onChange(listener: () => void): () => void
}

interface Kept {
  /** Whether what the repository prunes is distrusted as well. */
  readonly follows?: boolean
  readonly ids: readonly string[]
  readonly blame: Blame
}

const PK = 'trust'
const SK = 'distrusts'

export function createDistrusts(store: Store): Distrusts {
  const listeners = new Set<() => void>()
  let known: Distrusting | undefined
  let blamed: Blame = {}
  let text = ''

  async function read(): Promise<{ kept: Kept; version: number }> {
    const item = await store.get(PK, SK)
    return { kept: item ? decodeRecord<Kept>(item) : { ids: [], blame: {} }, version: item?.version ?? 0 }
  }

  function take(kept: Kept): Distrusting {
    const now = JSON.stringify(kept)
    if (known && now === text) return known
    const isFirst = known === undefined
    text = now
    known = distrustingOf(kept)
    blamed = kept.blame
    if (!isFirst) for (const listener of listeners) listener()
    return known
  }

  async function change(apply: (kept: Kept) => Kept): Promise<void> {
    for (;;) {
      const { kept, version } = await read()
      const after = apply(kept)
      if (await store.write([{ pk: PK, sk: SK, expect: version, body: encodeRecord(after) }])) return void take(after)
    }
  }

  async function reload(): Promise<void> {
    take((await read()).kept)
  }

  return {
    current: async () => known ?? take((await read()).kept),
    has: (id) => known?.distrusted.has(id) ?? false,
    blamedFor: (id) => blamed[id] ?? [],
    put: (ids) => change(({ blame, ...rest }) => ({ ...rest, ...keptOf(ids, blame) })),
    add: (ids, more) =>
      change(({ ids: before, blame, ...rest }) => ({ ...rest, ...keptOf([...before, ...ids], { ...blame, ...more }) })),
    follow: (follows) => change((kept) => ({ ...kept, follows })),
    reload,
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

function keptOf(ids: readonly string[], blame: Blame): Kept {
  const unique = [...new Set(ids)]
  const standing = Object.entries(blame).filter(([id]) => unique.includes(id))
  return { ids: unique, blame: Object.fromEntries(standing) }
}

function distrustingOf({ ids, blame, follows = false }: Kept): Distrusting {
  const halved = new Map<string, number>()
  for (const voucher of Object.values(blame).flat()) halved.set(voucher, (halved.get(voucher) ?? 0) + 1)
  return { distrusted: new Set(ids), halved, follows }
}
