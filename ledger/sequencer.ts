/**
 * The only writer of the log. It takes what waits in order of time, and in one conditional write appends the entries,
 * the tiles of their hashes and their rows on the accounts' statements, moves the head to the new signed checkpoint
 * and takes the entries off the waiting list.
 *
 * - A crash before the write: nothing happened; the entries wait for the next run, here or in another process.
 * - A crash during the write, or an answer that is lost: the store did all of it or nothing. The next run reads the
 *   head and the waiting list anew and sees which.
 * - A crash after the write: all of it is done. Nothing is published before, so no checkpoint was ever seen whose
 *   tiles are missing, and none is ever taken back.
 * - Two sequencers at once: both build on the head they read, and the write of one makes the other's condition fail.
 *   The loser has changed nothing and starts again from the new head. As the entries leave the list in the very write
 *   that appends them, none is appended twice and none is lost.
 *
 * Entries that rest on each other have rising times (see arbiter/view.ts). The list is read from the latest to the
 * earliest, so whatever was written while it was read, what an entry on it rests on is on it too, or in the log.
 */
import { formatCheckpoint, signNote } from '../protocol/checkpoint.ts'
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { movementsOf } from '../protocol/arbiter.ts'
import { decodeEntry, entryHash, type Entry } from '../protocol/entry.ts'
import { readAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { append, frontierRoot } from '../protocol/merkle.ts'
import type { Change, Item } from '../protocol/store.ts'
import { encodeBundle, growTiles } from '../protocol/tile.ts'
import type { LedgerContext } from './context.ts'
import { bundleOf, encodeHead, logKeys, PENDING, readEdge, readHead, type Head } from './log.ts'
import { encodeRows, statementKey, type StatementRow } from './statement.ts'

/** Of one write: what the head, the tiles and the runs of entries may take. The rest is for entries and statements. */
const OVERHEAD_CHANGES = 24
/** DynamoDB takes 4 MB a transaction. */
const BATCH_BYTES = 1024 * 1024
/** What stands before each entry in a bundle. */
const LENGTH_BYTES = 2

/** An entry that waits, and its place in the log to be. */
interface Placed {
  readonly item: Item
  readonly index: number
  readonly hash: Bytes
  readonly entry: Entry
}

/**
 * Appends all that waits.
 * @returns how many entries this run appended
 * @throws Problem `store-unavailable`: to be run again
 */
export async function sequence(context: LedgerContext): Promise<number> {
  let appended = 0
  for (let beaten: Head | undefined; ;) {
    const head = await readHead(context.store)
    if (beaten && head.version <= beaten.version) throw new Error('the log holds what its head does not know of')
    const reached = await appendAll(context, head, await readWaiting(context))
    appended += reached.head.size - head.size
    if (reached.isComplete) return appended
    beaten = reached.head
  }
}

/** What waits, the earliest first. */
const readWaiting = async ({ store }: LedgerContext): Promise<Item[]> =>
  (await readAll(store, PENDING, (item) => item, { reverse: true })).toReversed()

interface Reached {
  readonly head: Head
  /** False when another sequencer came first. */
  readonly isComplete: boolean
}

async function appendAll(context: LedgerContext, from: Head, waiting: readonly Item[]): Promise<Reached> {
  let head = from
  for (let done = 0; done < waiting.length;) {
    const batch = takeBatch(waiting.slice(done), head.size)
    const next = nextHead(context, head, batch)
    const changes = await changesOf(context, head, next, batch)
    if (!(await context.store.write(changes))) return { head, isComplete: false }
    done += batch.length
    head = next
  }
  return { head, isComplete: true }
}

/** As many entries, at least one, as one write holds. */
function takeBatch(waiting: readonly Item[], size: number): Placed[] {
  const batch: Placed[] = []
  const accounts = new Set<string>()
  let bytes = 0
  for (const item of waiting) {
    const entry = decodeEntry(item.body)
    for (const { account } of movementsOf(entry)) accounts.add(toHex(account))
    bytes += item.body.length
    const changes = OVERHEAD_CHANGES + batch.length + 1 + accounts.size
    if (batch.length > 0 && (changes > limits.changesPerWrite || bytes > BATCH_BYTES)) break
    batch.push({ item, entry, index: size + batch.length, hash: entryHash(item.body) })
  }
  return batch
}

function nextHead({ origin, signer }: LedgerContext, head: Head, batch: readonly Placed[]): Head {
  const grown = append(
    head,
    batch.map(({ hash }) => hash),
  )
  const text = formatCheckpoint({ origin, size: grown.size, rootHash: frontierRoot(grown) })
  return { ...grown, version: head.version + 1, note: signNote(text, { name: origin, signer }) }
}

async function changesOf(
  { store }: LedgerContext,
  head: Head,
  next: Head,
  batch: readonly Placed[],
): Promise<Change[]> {
  const edge = await readEdge(store, head.size)
  const { tiles } = growTiles(
    edge,
    head.size,
    batch.map(({ hash }) => hash),
  )
  return [
    { ...logKeys.head, expect: head.version, body: encodeHead(next) },
    ...batch.map(({ item }) => ({ pk: item.pk, sk: item.sk, expect: item.version })),
    ...runsOf(batch).map((run) => ({
      ...logKeys.entries(run[0].index),
      expect: 0,
      body: encodeBundle(run.map(({ item }) => item.body)),
    })),
    ...tiles.map(({ tile, bytes }) => ({
      ...logKeys.tile(tile.level, tile.index),
      expect: 'any' as const,
      body: bytes,
    })),
    ...statementChanges(batch),
  ]
}

type Run<T> = [T, ...T[]]

/** Entries that go into one item: of one bundle, and within the size of an item. */
function runsOf(batch: readonly Placed[]): readonly Run<Placed>[] {
  const runs: Run<Placed>[] = []
  let bytes = 0
  for (const placed of batch) {
    const run = runs.at(-1)
    const more = placed.item.body.length + LENGTH_BYTES
    const fits = run && bytes + more <= limits.itemBytes && bundleOf(run[0].index) === bundleOf(placed.index)
    bytes = fits ? bytes + more : more
    if (fits) run.push(placed)
    else runs.push([placed])
  }
  return runs
}

function statementChanges(batch: readonly Placed[]): Change[] {
  const runs = new Map<string, Run<StatementRow>>()
  for (const { entry, hash, index } of batch) {
    for (const movement of movementsOf(entry)) {
      const row = { ...movement, entry: hash, index, kind: entry.kind, time: entry.time }
      const run = runs.get(toHex(movement.account))
      if (run) run.push(row)
      else runs.set(toHex(movement.account), [row])
    }
  }
  return [...runs.values()].map((rows) => ({
    ...statementKey(rows[0].account, rows[0].index),
    expect: 0,
    body: encodeRows(rows),
  }))
}
