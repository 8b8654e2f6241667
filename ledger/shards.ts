/**
 * A ledger's log in shards (protocol/shards.ts): where each lies in the store, and the rounds that end on all of them.
 *
 * What waits is labelled with the round that is open when it is written, a label read *after* everything that it rests
 * on. So what it rests on was written before the round was closed, and whoever collects once it is closed finds it: all
 * that waits of closed rounds is closed under what rests on what, whichever shards it is on. Of a write that took effect
 * long after its label was read, nothing in a closed round can know: it comes with a later one.
 *
 * 1. *Close*: when the last round is joined and something waits, the number of the open round goes up by one.
 * 2. *Append*: the sequencer of each shard, wherever it runs, appends what waits of closed rounds and notes the round in
 *    the shard's head. Until the next is closed, it appends nothing more.
 * 3. *Join*: when all heads have come to the round, they rest, and their checkpoints are an entry of the root log.
 *
 * Each step is one conditional write, and whoever finds it undone does it: a crash anywhere holds up the round until
 * another, or the same started again, goes on with it.
 */
import { familyOf } from '../protocol/arbiter/items.ts'
import { noteText, parseCheckpoint } from '../protocol/checkpoint.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decodeEntry, entryHash } from '../protocol/entry.ts'
import { encodeJoin, headsIn, readJoin, shardOrigin, type Join } from '../protocol/shards.ts'
import type { Store } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { readEntry, readHead, readProven, type ProvenEntry } from './log.ts'
import { isWaiting } from './pending.ts'
import { sortable } from './places.ts'
import { createSequencer, type Progress, type Sequencer } from './sequencer.ts'
import type { Part } from './waiting.ts'

/** Of a log, and what waits for it. The state is of no shard. */
const SHARDED = new Set(['log', 'entries', 'tile', 'directory', 'pending', 'pointers'])

/** The store as the log of one shard sees it. */
function shardStore(store: Store, shard: number): Store {
  const prefix = `shard/${sortable(shard)}/`
  const place = (pk: string): string => (SHARDED.has(familyOf({ pk })) ? prefix + pk : pk)
  return {
    async get(pk, sk) {
      const item = await store.get(place(pk), sk)
      return item && { ...item, pk }
    },
    list: async (pk, range) => (await store.list(place(pk), range)).map((item) => ({ ...item, pk })),
    write: (changes) => store.write(changes.map((change) => ({ ...change, pk: place(change.pk) }))),
    close: () => store.close(),
  }
}

/** The world of each shard; of a log that is not in shards, its own. */
export function shardsOf(context: LedgerContext): readonly LedgerContext[] {
  const { origin, policy, store } = context
  if (policy.shards === undefined) return [context]
  return Array.from({ length: policy.shards }, (_, shard) => ({
    ...context,
    store: shardStore(store, shard),
    origin: shardOrigin(origin, shard),
    openRound: async () => (await readRound(store)).open,
  }))
}

const ROUND = { pk: 'log', sk: 'round' }
const roundShape = { open: field.integer() }

async function readRound(store: Store): Promise<{ readonly open: number; readonly version: number }> {
  const item = await store.get(ROUND.pk, ROUND.sk)
  return item ? { ...fields(decode(item.body), roundShape), version: item.version } : { open: 0, version: 0 }
}

/** The last join in the root log of `size` entries; undefined while it is empty. */
async function readLastJoin(store: Store, size: number): Promise<Join | undefined> {
  return size > 0 ? readJoin(decodeEntry(await readEntry(store, size - 1))) : undefined
}

/** The checkpoints of the shards that a checkpoint of the root log covers last: none while that is empty. */
export async function readShown(root: Store, note: string): Promise<readonly string[]> {
  const { size } = parseCheckpoint(noteText(note))
  return (await readLastJoin(root, size))?.checkpoints ?? []
}

/** An entry of a shard, and the last entry of the root log, which joins the shard. @throws Problem `not-found` unless it is joined */
export async function readJoined(
  root: Store,
  store: Store,
  shard: number,
  index: number,
): Promise<{ readonly entry: ProvenEntry; readonly join: ProvenEntry }> {
  const { size } = await readHead(root)
  const join = await readProven(root, Math.max(size - 1, 0), size)
  const head = headsIn(readJoin(decodeEntry(join.bytes)))[shard]
  return { entry: await readProven(store, index, head?.size ?? 0), join }
}

/** All shards as one; of a log that is not in shards, its sequencer. */
export function createSequencers(context: LedgerContext): Sequencer {
  if (context.policy.shards === undefined) return createSequencer(context)
  const shards = shardsOf(context)
  const sequencers = shards.map((shard) => createSequencer(shard))
  const root = createSequencer(context, ({ size }) => collectJoin(context, shards, size))

  /** @returns whether a round is closed that is not joined */
  async function close(): Promise<boolean> {
    const { store } = context
    const { open, version } = await readRound(store)
    const joined = await readLastJoin(store, (await readHead(store)).size)
    if ((joined?.round ?? 0) !== open) return true
    const waits = await Promise.all(shards.map((shard) => isWaiting(shard.store)))
    if (!waits.includes(true)) return false
    // Where this fails, another has closed it.
    await store.write([{ ...ROUND, expect: version, body: encode({ open: open + 1 }) }])
    return true
  }

  async function appendAll(): Promise<number> {
    const appended = await Promise.all(sequencers.map((sequencer) => sequencer.sequence()))
    await root.sequence()
    return appended.reduce((sum, count) => sum + count, 0)
  }

  /** @returns undefined when another process is at each shard */
  async function assist(): Promise<Progress | undefined> {
    const done = (await Promise.all(sequencers.map((sequencer) => sequencer.assist()))).filter(
      (one) => one !== undefined,
    )
    if (done.length === 0) return undefined
    await root.sequence()
    return total(done)
  }

  // The round that another left, and then one of all that waits now.
  return {
    async sequence() {
      const left = await appendAll()
      return (await close()) ? left + (await appendAll()) : left
    },
    async assist() {
      const left = await assist()
      if (!left || !(await close())) return left
      const next = await assist()
      return next ? total([left, next]) : left
    },
    isSteady: () => sequencers.some((sequencer) => sequencer.isSteady()),
  }
}

const total = (parts: readonly Progress[]): Progress => ({
  appended: parts.reduce((sum, { appended }) => sum + appended, 0),
  isAll: parts.every(({ isAll }) => isAll),
})

/** What the root log grows by: the join of the closed round, when all shards have come to its end. */
async function collectJoin(
  { environment: { clock }, store }: LedgerContext,
  shards: readonly LedgerContext[],
  size: number,
): Promise<Part> {
  const joined = (await readLastJoin(store, size))?.round ?? 0
  const heads = await Promise.all(shards.map((shard) => readHead(shard.store)))
  const round = joined + 1
  if (!heads.every((head) => head.round === round)) return { waiting: [], isAll: true }
  const bytes = encodeJoin({ round, checkpoints: heads.map(({ note }) => note) }, clock.now())
  return { waiting: [{ bytes, entry: decodeEntry(bytes), hash: entryHash(bytes) }], isAll: true }
}
