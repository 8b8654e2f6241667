/**
 * Follows the log, replays it with the arbiter's rules and states from time to time, as an entry like any other, what
 * its first entries lead to. All that it knows comes from the log, so it may be killed and started anywhere; of two,
 * the slower one's statement is refused. Where it has a store for its state, it goes on from there at the next start, and
 * its memory does not grow with the log. It replays nothing before there is something to attest.
 *
 * A log that does not replay is a fault of ours that no later entry can mend: it is reported, and nothing is attested
 * from there on.
 */
import { attestations, keys, readAttestation } from '../protocol/arbiter/items.ts'
import { openKeptState, type KeptState } from '../protocol/arbiter/kept-state.ts'
import { createReplica, createReplicaOn, type Replica } from '../protocol/arbiter/replica.ts'
import { equal, type Bytes } from '../protocol/bytes.ts'
import { decode } from '../protocol/encoding.ts'
import { decodeEntry } from '../protocol/entry.ts'
import { EMPTY_FRONTIER, frontierRoot } from '../protocol/merkle.ts'
import { Problem, problemOf } from '../protocol/problem.ts'
import type { Store } from '../protocol/store.ts'
import type { Accept } from './accept.ts'
import type { LedgerContext } from './context.ts'
import { readEntry, readHead, readRoot } from './log.ts'
import { createReplayFeed, Unsound, type ReplayFeed } from './replay-feed.ts'
import { createTurn } from './turn.ts'

/** An attestation after so many entries, or when nothing has come for so long. */
const ENTRIES_BETWEEN = 1000
const IDLE_MS = 3000
/** Requests are answered between two such stretches. */
const ENTRIES_AT_ONCE = 32
const LATER = new Set<string>(['conflict', 'ledger-busy'])

export interface Notary {
  /** Replays what is new, and attests when it is time to. @throws Error once, when what the log holds does not follow */
  follow(): Promise<void>
  /**
   * Attests all entries there are now, unless nothing came since the last attestation; of a log that it has not replayed by
   * `untilMs`, what it has, and the next goes on from there.
   */
  attest(untilMs?: number): Promise<void>
}

export function createNotary(context: LedgerContext, accept: Accept): Notary {
  const { clock } = context.environment
  const inTurn = createTurn()
  let following: Following | undefined
  let newsMs = clock.now()
  let isSound = true

  async function catchUp(untilMs: number): Promise<Following> {
    following ??= await begin(context)
    try {
      await readOn(following, untilMs)
    } catch (error) {
      throw error instanceof Unsound ? unsound(following.replica, error.message) : error
    }
    return following
  }

  async function readOn(to: Following, untilMs: number): Promise<void> {
    for (let entries = await to.feed.next(); entries.length > 0; entries = await to.feed.next()) {
      for (const bytes of entries) {
        await apply(to, bytes)
        if (to.replica.size() % ENTRIES_AT_ONCE === 0) await clock.sleep(0)
      }
      if (clock.now() >= untilMs) return
    }
  }

  async function apply(to: Following, bytes: Bytes): Promise<void> {
    const { data, kind } = await to.replica.apply(bytes).catch((error: unknown) => {
      throw unsound(to.replica, problemOf(error).message, error)
    })
    to.feed.took(bytes)
    if (kind === 'state') to.attested = readAttestation(data ?? {}).size
    else [to.news, newsMs] = [to.replica.size(), clock.now()]
    if (to.kept?.isFull()) await save(to)
  }

  function unsound(replica: Replica, why: string, cause?: unknown): Error {
    isSound = false
    return new Error(`the log does not replay after ${replica.size()} entries: ${why}`, { cause })
  }

  async function attestNews({ attested, news, replica }: Following): Promise<void> {
    if (news <= attested) return
    const statement = attestations.encode(await replica.attestationAt(replica.size()))
    await accept({ kind: 'state', parts: [], data: decode(statement) }).catch(unlessLate)
  }

  async function followSound(isDue: (now: Following) => boolean, untilMs = Infinity): Promise<void> {
    if (!isSound || (!following && (await isAttested(context)))) return
    const now = await catchUp(untilMs)
    if (!isDue(now)) return
    await attestNews(now)
    await save(now)
  }

  const isDue = ({ attested, replica }: Following): boolean =>
    replica.size() - attested >= ENTRIES_BETWEEN || clock.now() - newsMs >= IDLE_MS

  return {
    follow: () => inTurn(() => followSound(isDue)),
    attest: (untilMs) => inTurn(() => followSound(() => true, untilMs)),
  }
}

/** The log as far as it was replayed. */
interface Following {
  readonly replica: Replica
  /** Where the state is kept; in memory when undefined. */
  readonly kept: KeptState | undefined
  readonly feed: ReplayFeed
  /** The entries up to the last that is no attestation, and those that the log attests. */
  news: number
  attested: number
  /** The size that was kept last. */
  saved: number
}

/** @throws Problem `conflict` when what was kept is the state of another log */
async function begin(context: LedgerContext): Promise<Following> {
  const { policy, replicaStore, store } = context
  const kept = replicaStore && (await openKeptState(replicaStore))
  const { progress } = kept ?? {}
  if (!kept || !progress) {
    const replica = kept ? createReplicaOn(kept) : createReplica()
    const feed = await createReplayFeed(context, EMPTY_FRONTIER, 0)
    return { replica, kept, feed, news: 0, attested: 0, saved: 0 }
  }
  const { frontier, position } = progress
  const { size } = frontier
  if (size > (await readHead(store)).size || !equal(await readRoot(store, size), frontierRoot(frontier)))
    throw new Problem('conflict', 'The replica that was kept is of another log: delete it, and it is made anew.')
  const last = await kept.items.get(keys.attested)
  const attested = last ? attestations.decode(last.body).size : 0
  const replica = createReplicaOn({ ...kept, from: position })
  const feed = await createReplayFeed(context, frontier, position.size)
  const news = policy.shards === undefined ? await newsIn(store, size) : position.size
  return { replica, kept, feed, news, attested, saved: position.size }
}

/** Whether the last entry attests all before it but attestations. Of shards this is not asked: their ends say less. */
async function isAttested({ policy, store }: LedgerContext): Promise<boolean> {
  const { size } = await readHead(store)
  if (policy.shards !== undefined || size === 0) return false
  const { data, kind } = decodeEntry(await readEntry(store, size - 1))
  return kind === 'state' && readAttestation(data ?? {}).size >= (await newsIn(store, size))
}

/** Entries of one log up to the last that is no attestation. */
async function newsIn(store: Store, size: number): Promise<number> {
  let news = size
  while (news > 0 && decodeEntry(await readEntry(store, news - 1)).kind === 'state') news--
  return news
}

async function save(following: Following): Promise<void> {
  const { feed, kept, replica } = following
  if (!kept || following.saved === replica.size()) return
  await kept.save({ position: replica.position(), frontier: feed.frontier(), edge: [] })
  following.saved = replica.size()
}

/** Another notary was faster, or there is enough to append as it is. */
function unlessLate(error: unknown): void {
  if (!LATER.has(problemOf(error).code)) throw error
}
