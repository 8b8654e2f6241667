/**
 * The entries of a log in shards for its audit, in the order in which they replay: round by round, as the root log joins
 * the shards. Each join is signed, goes on from the one before and leaves out none; the entries between two joins are
 * those of the shards' trees, and each is in the shard that it belongs in; what the ledger shows of a shard is joined.
 */
import { shardOf } from '../../protocol/arbiter/shard-of.ts'
import { equal, fromUtf8, type Bytes } from '../../protocol/bytes.ts'
import type { Checkpoint, NoteKey } from '../../protocol/checkpoint.ts'
import { decodeEntry } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  inReplayOrder,
  JOIN,
  joinFault,
  openJoin,
  openShard,
  readJoin,
  shardKey,
  shardOrigin,
  shardPath,
  type OpenJoin,
} from '../../protocol/shards.ts'
import { decodeBundle, tilePath, tileWidth } from '../../protocol/tile.ts'
import {
  createLogReader,
  Fault,
  type Grown,
  type LogReader,
  type Place,
  type PlacedEntry,
  type ReadSoFar,
} from './audit-reader.ts'
import type { LogSource } from './log-source.ts'

export interface ShardedLog {
  readonly source: LogSource
  /** Of the root log, and of how many entries. */
  readonly key: NoteKey
  readonly size: number
  /** What is shown of the shards, the signed notes. */
  readonly shown: readonly string[]
}

/** As it is shown; empty when it is not. @throws Problem `log-behind` for a copy that has not got it yet */
export async function shownShard(source: LogSource, shard: number): Promise<string> {
  try {
    return fromUtf8(await source.tile(`${shardPath(shard)}checkpoint`))
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'not-found') throw error
    if (source.isCopy) throw new Problem('log-behind', `The copy does not hold the checkpoint of shard ${shard}.`)
    return ''
  }
}

/** How many shards the log is in, by its first entry; 0 when that is no join, or cannot be read, which the audit finds out. */
export async function countShards(source: LogSource, size: number): Promise<number> {
  const [first] = await readEntries(source, 0, size)
  try {
    const entry = first && decodeEntry(first)
    return entry?.kind === JOIN ? readJoin(entry).checkpoints.length : 0
  } catch {
    return 0
  }
}

/** Those of the bundle that holds the entry; none when it cannot be read. */
async function readEntries(source: LogSource, index: number, size: number): Promise<readonly Bytes[]> {
  if (size === 0) return []
  const bundle = Math.floor(index / limits.entriesPerTile)
  const width = tileWidth('entries', bundle, size)
  try {
    return decodeBundle(await source.tile(tilePath({ level: 'entries', index: bundle, width })), width)
  } catch (error) {
    if (error instanceof Problem) return []
    throw error
  }
}

const START: Grown = { frontier: EMPTY_FRONTIER, edge: [] }

/** @param saved where an earlier audit was. @throws Fault, Problem */
export async function createShardReader(
  log: ShardedLog,
  saved: (ReadSoFar & Replayed) | undefined,
): Promise<LogReader> {
  const { key, size, source } = log
  const rootLog = { name: 'the root log', origin: key.name }
  const root = createLogReader(source, size, saved ?? START, rootLog)
  const last = await lastJoin(log, rootLog)
  const begun = saved?.shards ?? last.heads.map(() => START)
  const shards = last.heads.map((_, shard) => createShard(log, last, shard, begun[shard] ?? START))
  const unseen = unseenOf(log, saved && saved.frontier.size > 0 ? begun : [])
  let read: ReadSoFar = { ...root.grown(), shards: begun }
  let before: OpenJoin | undefined = saved && joinOf(saved)
  let skipped = saved ? saved.position.size - sizeOf(begun) : 0
  /** The join whose round is being replayed, and how many of its entries are left. */
  let under: { readonly join: PlacedEntry; left: number } | undefined

  function joinOf({ shards: trees = [], frontier }: ReadSoFar): OpenJoin | undefined {
    if (frontier.size === 0) return undefined
    const heads = trees.map((tree, shard) => headOf(tree, shardOrigin(key.name, shard)))
    return { round: frontier.size, checkpoints: [], heads }
  }

  async function readRound(placed: PlacedEntry): Promise<PlacedEntry[]> {
    const join = openAll(placed.bytes, placed, log)
    const fault = joinFault(before, join)
    if (fault !== undefined) throw new Fault(fault, placed)
    before = join
    for (const head of join.heads) unseen.delete(textOf(head))
    const entries = await Promise.all(shards.map((shard, i) => shard.upTo(join.heads[i] as Checkpoint, placed)))
    return inReplayOrder(entries.flat()).map(({ bytes, decoded, index, shard }) => ({
      bytes,
      decoded,
      index,
      log: nameOf(key, shard),
    }))
  }

  function end(join: PlacedEntry): void {
    root.take(join)
    read = { ...root.grown(), shards: shards.map((shard) => shard.grown()) }
    under = undefined
  }

  async function* bundles(): AsyncGenerator<readonly PlacedEntry[]> {
    for await (const joins of root.bundles()) {
      for (const join of joins) {
        const entries = (await readRound(join)).slice(skipped)
        skipped = 0
        under = { join, left: entries.length }
        if (entries.length > 0) yield entries
        else end(join)
      }
    }
    await checkTiles()
    const [missing] = unseen.values()
    if (missing !== undefined)
      throw new Fault(`the checkpoint that is shown of shard ${missing} is not in the root log`)
  }

  async function checkTiles(): Promise<void> {
    for (const tree of [root, ...shards]) await tree.checkTiles()
  }

  return {
    shards: last.heads.length,
    size: last.heads.reduce((sum, head) => sum + head.size, 0),
    bundles,
    take() {
      if (under && --under.left === 0) end(under.join)
    },
    grown: () => read,
    checkTiles,
  }
}

interface Replayed {
  readonly position: { readonly size: number }
}

const sizeOf = (trees: readonly Grown[]): number => trees.reduce((sum, { frontier }) => sum + frontier.size, 0)

const nameOf = ({ name }: NoteKey, shard: number): NonNullable<Place['log']> => ({
  name: `shard ${shard}`,
  origin: shardOrigin(name, shard),
})

const headOf = ({ frontier }: Grown, origin: string): Checkpoint => ({
  origin,
  size: frontier.size,
  rootHash: frontierRoot(frontier),
})

/** What says how large the shards are that the checkpoint covers. @throws Fault for the first join that is none of them all */
async function lastJoin(log: ShardedLog, rootLog: Place['log'] & object): Promise<OpenJoin> {
  const { size, source } = log
  const last = (await readEntries(source, size - 1, size)).at(-1)
  const place = { index: size - 1, log: rootLog }
  if (!last) throw new Fault('it cannot be read', place)
  try {
    return openAll(last, place, log)
  } catch (fault) {
    for await (const joins of createLogReader(source, size, START, rootLog).bundles())
      for (const join of joins) openAll(join.bytes, join, log)
    throw fault
  }
}

/** @throws Fault unless it joins as many as the first does */
function openAll(bytes: Bytes, place: Place, { key, shown }: ShardedLog): OpenJoin {
  const join = orFault(() => openJoin(bytes, key), place)
  if (join.heads.length !== shown.length)
    throw new Fault(`it joins ${join.heads.length} shards of ${shown.length}`, place)
  return join
}

/** The checkpoints that are shown and not known to be joined, by what they say. @param known trees that were audited. @throws Fault */
function unseenOf({ key, shown }: ShardedLog, known: readonly Grown[]): Map<string, number> {
  const heads = shown.map((note, shard) => {
    try {
      return openShard(note, shardKey(key, shard))
    } catch (error) {
      if (error instanceof Problem) throw new Fault(`the checkpoint of shard ${shard}: ${error.message}`)
      throw error
    }
  })
  // What is older than an earlier audit was found in the root log by that.
  return new Map(
    heads.flatMap((head, shard) => {
      const tree = known[shard]
      const isKnown = tree && (head.size < tree.frontier.size || textOf(head) === textOf(headOf(tree, head.origin)))
      return isKnown ? [] : [[textOf(head), shard] as const]
    }),
  )
}

const textOf = ({ origin, rootHash, size }: Checkpoint): string => `${origin} ${size} ${rootHash.join()}`

/** A shard, read as far as each join says. */
function createShard({ key, source }: ShardedLog, { heads }: OpenJoin, shard: number, from: Grown) {
  const path = shardPath(shard)
  const size = heads[shard]?.size ?? 0
  const log = nameOf(key, shard)
  const reader = createLogReader({ ...source, tile: (tile) => source.tile(path + tile) }, size, from, log)
  const bundles = reader.bundles()
  let read = from.frontier.size
  let ahead: readonly PlacedEntry[] = []

  async function next(join: Place): Promise<PlacedEntry> {
    if (ahead.length === 0) {
      const found = await bundles.next()
      if (found.done === true) throw new Fault(`it joins more of shard ${shard} than the last does`, join)
      ahead = found.value
    }
    const [entry, ...rest] = ahead as [PlacedEntry, ...PlacedEntry[]]
    ahead = rest
    return entry
  }

  return {
    grown: () => reader.grown(),
    checkTiles: () => reader.checkTiles(),
    async upTo(head: Checkpoint, join: Place) {
      const entries = []
      for (; read < head.size; read++) {
        const entry = await next(join)
        reader.take(entry)
        entries.push({ ...entry, shard, timeMs: checkPlace(entry, shard) })
      }
      if (!equal(frontierRoot(reader.grown().frontier), head.rootHash))
        throw new Fault(`the entries of shard ${shard} do not add up to the root that it joins`, join)
      return entries
    },
  }

  /** @returns the time of the entry */
  function checkPlace(placed: PlacedEntry, at: number): number {
    const entry = placed.decoded ?? orFault(() => decodeEntry(placed.bytes), placed)
    const due = orFault(() => shardOf(entry, heads.length), placed)
    if (due !== at) throw new Fault(`it belongs in shard ${due}`, placed)
    return entry.time
  }
}

function orFault<T>(work: () => T, place: Place): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof Problem) throw new Fault(error.message, place)
    throw error
  }
}
