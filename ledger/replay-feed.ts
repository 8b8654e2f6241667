/**
 * The entries of the log in the order in which they replay: of one log as they come, of a log in shards round by round,
 * as the root log joins them. What was read is held against the checkpoints.
 */
import { equal, type Bytes } from '../protocol/bytes.ts'
import type { Checkpoint } from '../protocol/checkpoint.ts'
import { decodeEntry, entryHash } from '../protocol/entry.ts'
import { append, EMPTY_FRONTIER, frontierRoot, type Frontier } from '../protocol/merkle.ts'
import { headsIn, inReplayOrder, readJoin, type ShardEntry } from '../protocol/shards.ts'
import type { Store } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { readEntries, readEntry, readFrontier, readHead } from './log.ts'
import { shardsOf } from './shards.ts'

export interface ReplayFeed {
  /** Those that come next; none when all was read that there is. @throws Unsound */
  next(): Promise<readonly Bytes[]>
  /** The next of them was replayed. @throws Unsound */
  took(entry: Bytes): void
  /** The log, or the root log, as far as it was replayed whole: to go on from, with the number of entries replayed. */
  frontier(): Frontier
}

/** The log is not what its checkpoints say. */
export class Unsound extends Error {}

/** @param replayed entries, from the start of the log */
export const createReplayFeed = (context: LedgerContext, from: Frontier, replayed: number): Promise<ReplayFeed> =>
  context.policy.shards === undefined
    ? Promise.resolve(createLogFeed(context.store, from))
    : createJoinedFeed(context, from, replayed)

function createLogFeed(store: Store, from: Frontier): ReplayFeed {
  let tree = from
  return {
    async next() {
      const head = await readHead(store)
      if (tree.size < head.size) return readEntries(store, tree.size, head.size)
      requireRoot(tree, frontierRoot(head))
      return []
    },
    took: (entry) => void (tree = append(tree, [entryHash(entry)])),
    frontier: () => tree,
  }
}

function requireRoot(tree: Frontier, rootHash: Bytes): void {
  if (!equal(frontierRoot(tree), rootHash)) throw new Unsound('the checkpoint has another root')
}

interface Round {
  /** The entry that joins it. */
  readonly join: Bytes
  readonly heads: readonly Checkpoint[]
  /** As they replay. */
  readonly entries: readonly ShardEntry[]
  /** Of these. */
  taken: number
}

async function createJoinedFeed(context: LedgerContext, from: Frontier, replayed: number): Promise<ReplayFeed> {
  const { store } = context
  const stores = shardsOf(context).map((shard) => shard.store)
  let tree = from
  let trees = await readTrees(store, stores, from)
  let round: Round | undefined
  let skipped = replayed - trees.reduce((sum, { size }) => sum + size, 0)

  async function read(taken: number): Promise<Round> {
    const join = await readEntry(store, tree.size)
    const heads = headsOf(join)
    const entries = await Promise.all(
      stores.map((each, shard) => readShard(each, shard, trees[shard]?.size ?? 0, heads[shard]?.size ?? 0)),
    )
    return { join, heads, entries: inReplayOrder(entries.flat()), taken }
  }

  function end({ entries, heads, join }: Round): void {
    trees = trees.map((known, shard) => grown(known, shard, entries))
    for (const [shard, known] of trees.entries()) requireRoot(known, heads[shard]?.rootHash as Bytes)
    tree = append(tree, [entryHash(join)])
    round = undefined
  }

  return {
    async next() {
      for (;;) {
        const head = await readHead(store)
        if (tree.size === head.size) {
          requireRoot(tree, frontierRoot(head))
          return []
        }
        round ??= await read(skipped)
        skipped = 0
        const due = round.entries.slice(round.taken)
        if (due.length > 0) return due.map(({ bytes }) => bytes)
        end(round)
      }
    },
    took() {
      if (round && ++round.taken === round.entries.length) end(round)
    },
    frontier: () => tree,
  }
}

const headsOf = (join: Bytes): Checkpoint[] => headsIn(readJoin(decodeEntry(join)))

/** The trees of the shards, as the last entry of the root log joins them. */
async function readTrees(store: Store, stores: readonly Store[], { size }: Frontier): Promise<Frontier[]> {
  if (size === 0) return stores.map(() => EMPTY_FRONTIER)
  const heads = headsOf(await readEntry(store, size - 1))
  return Promise.all(stores.map((each, shard) => readFrontier(each, heads[shard]?.size ?? 0)))
}

async function readShard(store: Store, shard: number, from: number, to: number): Promise<ShardEntry[]> {
  const entries: ShardEntry[] = []
  while (from + entries.length < to) {
    const first = from + entries.length
    const bundle = await readEntries(store, first, to)
    entries.push(...bundle.map((bytes, i) => ({ shard, index: first + i, bytes, timeMs: decodeEntry(bytes).time })))
  }
  return entries
}

const grown = (tree: Frontier, shard: number, entries: readonly ShardEntry[]): Frontier =>
  append(
    tree,
    entries
      .filter((entry) => entry.shard === shard)
      .toSorted((a, b) => a.index - b.index)
      .map(({ bytes }) => entryHash(bytes)),
  )
