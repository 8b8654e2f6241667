/**
 * The state of a replica in a store: so that its memory does not grow with the log, and so that it goes on where it was
 * after a crash. What entries change is kept back until one write takes it down together with how far the replica has
 * come: whatever the store holds is the state after so many entries, whole.
 */
import { attestations, type Attestation } from './items.ts'
import type { Kept, Position, ReplicaItems, ReplicaPast, Sums } from './replica.ts'
import { keyText, type Key } from './view.ts'
import { concat, type Bytes } from '../bytes.ts'
import { decode, encode, field, fields, type Fields } from '../encoding.ts'
import { itemsOf, readAll } from '../items.ts'
import { limits } from '../limits.ts'
import { HASH_BYTES, type Frontier } from '../merkle.ts'
import { Problem } from '../problem.ts'
import type { Change, Item, Store } from '../store.ts'
import type { Edge } from '../tile.ts'

/** How far a replica has come: what it and the tree over its entries go on from. */
export interface Progress {
  readonly position: Position
  readonly frontier: Frontier
  readonly edge: Edge
  /** Of a log in shards, whose root log the tree is: each shard's as far as that joins it. */
  readonly shards?: readonly { readonly frontier: Frontier; readonly edge: Edge }[]
}

export interface KeptState {
  /** Undefined at the start of a log. */
  readonly progress: Progress | undefined
  readonly items: ReplicaItems
  readonly past: ReplicaPast
  /** Whether so much is kept back that it should be taken down, of a log in so many shards. */
  isFull(shards?: number): boolean
  /** Takes down what was changed, and how far the replica is. @throws Problem `conflict` when another has its state there */
  save(progress: Progress): Promise<void>
  /** What was read since the last save is of no other replica. @throws Problem `conflict` */
  requireAlone(): Promise<void>
}

/** Room for what one more entry may change beside them. */
const KEPT_BACK = limits.changesPerWrite - 16
const ITEMS_CACHED = 4096
const PAST = 'past'
const PROGRESS = { pk: 'replica', sk: 'progress' }
/** Items of their own: all of them together may be too large for one. */
const SHARDS = 'shard/'
const DROPPED_AT_ONCE = 4
const STAMP_BYTES = 8

const sumFields = {
  available: field.amount,
  bonds: field.amount,
  earned: field.amount,
  frozen: field.amount,
  issued: field.amount,
}
const hash = field.bytes(HASH_BYTES)
const treeFields = { edge: field.list(field.list(hash)), peaks: field.list(hash), size: field.integer() }
const progressShape = {
  ...treeFields,
  /** Entries replayed, where the tree is not over these. */
  replayed: field.optional(field.integer()),
  sum: field.bytes(),
  sums: field.dict(sumFields),
}
const pastShape = { past: field.list(field.bytes()) }

export async function openKeptState(store: Store): Promise<KeptState> {
  const saved = await store.get(PROGRESS.pk, PROGRESS.sk)
  let version = saved?.version ?? 0
  const items = createItems(store)
  const past = await createPast(store)
  const trees = await readAll(store, PROGRESS.pk, readShard, { prefix: SHARDS })
  let kept: Progress['shards']
  return {
    progress: saved && { ...readProgress(saved.body), ...(trees.length > 0 && { shards: trees }) },
    items,
    past,
    isFull: (shards = 0) => items.changed() >= KEPT_BACK - shards,
    async save(progress) {
      const { shards = [] } = progress
      const changes = [
        { ...PROGRESS, expect: version, body: encodeProgress(progress) },
        ...(shards === kept ? [] : shards.map(shardChange)),
        ...past.changes(),
        ...items.changes(),
      ]
      if (!(await store.write(changes))) throw notAlone()
      version++
      kept = shards
      items.saved()
      past.saved()
    },
    async requireAlone() {
      const now = await store.get(PROGRESS.pk, PROGRESS.sk)
      if ((now?.version ?? 0) !== version) throw notAlone()
    },
  }
}

const notAlone = (): Problem =>
  new Problem('conflict', 'Another process keeps its replica of this log in the same place.')

function readProgress(body: Bytes): Progress {
  const { replayed, sum, sums, ...tree } = fields(decode(body), progressShape)
  return { ...readTree(tree), position: { size: replayed ?? tree.size, sum, sums: sums satisfies Sums } }
}

const encodeProgress = ({ position, ...tree }: Progress): Bytes =>
  encode({
    ...writeTree(tree),
    ...(position.size !== tree.frontier.size && { replayed: position.size }),
    sum: position.sum,
    sums: { ...position.sums },
  })

const readTree = ({ edge, peaks, size }: Fields<typeof treeFields>) => ({ edge, frontier: { peaks, size } })

const readShard = ({ body }: Item) => readTree(fields(decode(body), treeFields))

const shardChange = (tree: Pick<Progress, 'edge' | 'frontier'>, shard: number): Change => ({
  pk: PROGRESS.pk,
  sk: `${SHARDS}${sortable(shard)}`,
  expect: 'any',
  body: encode(writeTree(tree)),
})

const writeTree = ({ edge, frontier }: Pick<Progress, 'edge' | 'frontier'>) => ({
  edge: edge.map((row) => [...row]),
  peaks: [...frontier.peaks],
  size: frontier.size,
})

function createItems(store: Store) {
  /** The latest used last; those that were changed stay until they are taken down. */
  const known = new Map<string, Kept | undefined>()
  const changed = new Map<string, Key>()

  function remember(text: string, item: Kept | undefined): void {
    known.delete(text)
    known.set(text, item)
    for (const oldest of known.keys()) {
      if (known.size <= ITEMS_CACHED) break
      if (changed.has(oldest)) remember(oldest, known.get(oldest))
      else known.delete(oldest)
    }
  }

  return {
    async get(key: Key): Promise<Kept | undefined> {
      const text = keyText(key)
      const item = known.has(text) ? known.get(text) : await load(store, key)
      remember(text, item)
      return item
    },
    put(key: Key, item: Kept | undefined): void {
      changed.set(keyText(key), key)
      remember(keyText(key), item)
    },
    changed: () => changed.size,
    changes: (): Change[] =>
      Array.from(changed, ([text, { pk, sk }]) => {
        const item = known.get(text)
        return { pk, sk, expect: 'any', ...(item && { body: stamped(item) }) }
      }),
    saved: () => changed.clear(),
  }
}

async function load(store: Store, { pk, sk }: Key): Promise<Kept | undefined> {
  const item = await store.get(pk, sk)
  if (!item) return undefined
  const timeMs = Number(new DataView(item.body.buffer, item.body.byteOffset).getBigUint64(0))
  return { pk, sk, timeMs, body: item.body.slice(STAMP_BYTES) }
}

function stamped({ timeMs, body }: Kept): Bytes {
  const bytes = concat(new Uint8Array(STAMP_BYTES), body)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(timeMs))
  return bytes
}

/** Runs of what sizes led to, one item for each that was saved, under the first size of it. */
async function createPast(store: Store) {
  let runs: number[] = []
  for await (const { sk } of itemsOf(store, PAST)) runs.push(Number(sk))
  let fresh: Attestation[] = []
  let dropped: number[] = []

  async function read(first: number): Promise<Attestation[]> {
    const item = await store.get(PAST, sortable(first))
    return item ? fields(decode(item.body), pastShape).past.map((one) => attestations.decode(one)) : []
  }

  return {
    async at(size: number): Promise<Attestation | undefined> {
      const first = runs.findLast((run) => run <= size)
      const kept = first === undefined ? [] : await read(first)
      return [...kept, ...fresh].find((one) => one.size === size)
    },
    keep: (attestation: Attestation) => void fresh.push(attestation),
    forget(before: number): void {
      fresh = fresh.filter(({ size }) => size >= before)
      // A run may go on beyond the size: only one that another follows is certain to end before.
      const first = Math.max(
        0,
        runs.findLastIndex((run) => run <= before),
      )
      dropped = [...dropped, ...runs.slice(0, first)]
      runs = runs.slice(first)
    },
    changes(): Change[] {
      const [first] = fresh
      const body = encode({ past: fresh.map((one) => attestations.encode(one)) })
      return [
        ...dropped.slice(0, DROPPED_AT_ONCE).map((run) => ({ pk: PAST, sk: sortable(run), expect: 'any' as const })),
        ...(first ? [{ pk: PAST, sk: sortable(first.size), expect: 'any' as const, body }] : []),
      ]
    },
    saved(): void {
      const [first] = fresh
      if (first) runs.push(first.size)
      fresh = []
      dropped = dropped.slice(DROPPED_AT_ONCE)
    },
  }
}

const sortable = (size: number): string => String(size).padStart(16, '0')
