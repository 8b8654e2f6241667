/**
 * A log in shards, for more entries than one sequencer appends. Each shard is a log of its own, `<origin>/shard/<number>`,
 * its checkpoint and tiles under `shard/<number>/`. The root log joins them: its entries are *joins*, the checkpoints of
 * all shards at the end of one round. Whatever an entry rests on is in a round before, or in its own with an earlier time.
 */
import { equal, utf8, type Bytes } from './bytes.ts'
import { noteKey, noteText, openNote, parseCheckpoint, type Checkpoint, type NoteKey } from './checkpoint.ts'
import { field, fields } from './encoding.ts'
import { decodeEntry, encodeEntry, entryHash, type Entry } from './entry.ts'
import { limits } from './limits.ts'
import { verifyInclusion } from './merkle.ts'
import { Problem } from './problem.ts'

/** The name of a shard's log. */
export const shardOrigin = (origin: string, shard: number): string => `${origin}/shard/${shard}`

/** What a shard's checkpoint and tiles lie under. */
export const shardPath = (shard: number): string => `shard/${shard}/`

/** The key of a shard's checkpoints: that of the root log, under the shard's name. */
export const shardKey = ({ key, name }: NoteKey, shard: number): NoteKey => noteKey(shardOrigin(name, shard), key)

/** An entry of the root log. */
export interface Join {
  /** Counted from 1. */
  readonly round: number
  /** Signed notes, one for each shard in order. */
  readonly checkpoints: readonly string[]
}

export const JOIN = 'join'

/** @param timeMs the ledger's clock, for whoever reads it: nothing rests on it */
export const encodeJoin = ({ checkpoints, round }: Join, timeMs: number): Bytes =>
  encodeEntry({
    kind: JOIN,
    parts: [],
    time: timeMs,
    data: { checkpoints: checkpoints.map(utf8), round: BigInt(round) },
  })

/** @throws Problem `bad-encoding` for anything but a join */
export function readJoin({ data, kind, parts }: Entry): Join {
  if (kind !== JOIN || data === undefined || parts.length > 0)
    throw new Problem('bad-encoding', 'The entry joins no shards.')
  return fields(data, joinShape)
}

/** What a join says of each shard, for who need not ask whether it is signed: the log is their own. @throws Problem `bad-encoding` */
export const headsIn = ({ checkpoints }: Join): Checkpoint[] =>
  checkpoints.map((note) => parseCheckpoint(noteText(note)))

const joinShape = {
  checkpoints: field.list(field.text(), { min: 2, max: limits.logShards }),
  round: field.integer({ min: 1 }),
}

/** A join whose checkpoints are signed. */
export interface OpenJoin extends Join {
  readonly heads: readonly Checkpoint[]
}

/** @param key of the root log. @throws Problem `bad-encoding`, `bad-signature` */
export function openJoin(entry: Bytes, key: NoteKey): OpenJoin {
  const join = readJoin(decodeEntry(entry))
  const heads = join.checkpoints.map((note, shard) => openShard(note, shardKey(key, shard)))
  return { ...join, heads }
}

/** @param key of the shard. @throws Problem `bad-encoding`, `bad-signature` */
export function openShard(note: string, key: NoteKey): Checkpoint {
  const checkpoint = parseCheckpoint(openNote(note, [key]).text)
  if (checkpoint.origin !== key.name) throw new Problem('bad-signature', `The checkpoint is not of ${key.name}.`)
  return checkpoint
}

/** What is wrong with a join after the one before, by the joins alone; undefined when nothing is. */
export function joinFault(before: OpenJoin | undefined, next: OpenJoin): string | undefined {
  const round = (before?.round ?? 0) + 1
  if (next.round !== round) return `it joins round ${next.round}, not ${round}`
  if (!before) return undefined
  if (next.heads.length !== before.heads.length) return `it joins ${next.heads.length} shards of ${before.heads.length}`
  const shard = next.heads.findIndex((head, i) => !goesOn(before.heads[i] as Checkpoint, head))
  if (shard < 0) return undefined
  return `it joins shard ${shard} at ${next.heads[shard]?.size} entries, after ${before.heads[shard]?.size}`
}

const goesOn = (before: Checkpoint, next: Checkpoint): boolean =>
  next.size > before.size || (next.size === before.size && equal(next.rootHash, before.rootHash))

/** An entry of a shard. */
export interface ShardEntry {
  readonly shard: number
  /** In the shard. */
  readonly index: number
  readonly bytes: Bytes
  readonly timeMs: number
}

/** The entries of one round in the order in which they replay: by time, and what has nothing in common by place. */
export const inReplayOrder = <T extends ShardEntry>(entries: readonly T[]): T[] =>
  entries.toSorted((a, b) => a.timeMs - b.timeMs || a.shard - b.shard || a.index - b.index)

/** That a shard's checkpoint is in the root log, by an entry that joins it. */
export interface JoinProof {
  readonly shard: number
  /** The join, as encoded. */
  readonly entry: Bytes
  readonly index: number
  /** RFC 6962 §2.1.1. */
  readonly proof: readonly Bytes[]
}

/**
 * The checkpoint of the shard.
 * @param root a checkpoint of the root log, opened and believed. @throws Problem `proof-invalid`, `bad-encoding`, `bad-signature`
 */
export function openJoined({ entry, index, proof, shard }: JoinProof, root: Checkpoint, key: NoteKey): Checkpoint {
  if (!verifyInclusion(index, root.size, entryHash(entry), proof, root.rootHash))
    throw new Problem('proof-invalid', 'The join is not proven to be in the root log.')
  const head = openJoin(entry, key).heads[shard]
  if (!head) throw new Problem('proof-invalid', `The log has no shard ${shard}.`)
  return head
}
