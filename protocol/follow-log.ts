/**
 * Follows a log that somebody serves (C2SP tlog-tiles): the entries after those that are known, each proven by the next
 * signed checkpoint, which thereby goes on from the last. Whoever reads every entry needs no other proof of consistency.
 */
import { openNote, parseCheckpoint, parseVerifierKey, type Checkpoint, type NoteKey } from './checkpoint.ts'
import { equal, type Bytes } from './bytes.ts'
import { readCosignatures } from './cosignature.ts'
import { limits } from './limits.ts'
import {
  append,
  consistencyRest,
  consistencyRoots,
  consistencyStart,
  frontierRoot,
  leafHash,
  readSpans,
  subtrees,
  type Frontier,
} from './merkle.ts'
import { Problem } from './problem.ts'
import { decodeBundle, tileNodeReader, tilePath, tileWidth, type Tile } from './tile.ts'

/** How a log is read; each throws a Problem when it is not answered. */
export interface LogReader {
  checkpoint(): Promise<string>
  /** @param path as of `tilePath` */
  tile(path: string): Promise<Bytes>
}

export interface LogKeys {
  /** C2SP verifier key of the checkpoints. */
  readonly vkey: string
  /** Whose cosignatures say when a checkpoint was the newest: the log's own, or witnesses'. */
  readonly timeKeys: readonly string[]
}

export interface SeenCheckpoint extends Checkpoint {
  readonly note: string
  /** Milliseconds: when it was the newest, by the latest cosignature. */
  readonly timeMs: number
}

export interface Progress {
  readonly frontier: Frontier
  /** Those after the frontier of before, in order. */
  readonly entries: readonly Bytes[]
}

/** @throws Problem `bad-encoding`, `bad-signature`: of another log, not signed, or not timed */
export function readSeen(note: string, { vkey, timeKeys }: LogKeys): SeenCheckpoint {
  const key = parseVerifierKey(vkey)
  const { text } = openNote(note, [key])
  const checkpoint = parseCheckpoint(text)
  if (checkpoint.origin !== key.name) throw new Problem('bad-signature', 'The checkpoint is of another log.')
  const times = readCosignatures(text, openNote(note, [key]).unknown, timeKeys.map(asTimeKey))
  if (times.length === 0)
    throw new Problem('bad-signature', 'The checkpoint carries no timestamped cosignature by a known key.')
  return { ...checkpoint, note, timeMs: Math.max(...times.map(({ timeSeconds }) => timeSeconds * 1000)) }
}

const asTimeKey = (text: string): NoteKey => parseVerifierKey(text, 'cosignature')

/**
 * Two checkpoints of one log that cannot both be true: the signer shows two histories. Whoever has the key can check it,
 * offline and for ever.
 */
export function isSplitView(a: string, b: string, keys: LogKeys): boolean {
  const [one, other] = [readSeen(a, keys), readSeen(b, keys)]
  if (one.size === other.size) return !equal(one.rootHash, other.rootHash)
  const [small, large] = one.size < other.size ? [one, other] : [other, one]
  // A log does not shrink: the smaller was not the newest after the larger had been, whatever the signer's clocks did.
  return small.timeMs > large.timeMs + limits.clockSkewMs
}

/**
 * How the larger tree goes on from the smaller, with the first subtree always in it; none where that takes nothing.
 * @throws Problem `peer-failed` when the tiles do not make up the larger checkpoint
 */
export async function consistencyOf(
  log: Pick<LogReader, 'tile'>,
  older: Checkpoint,
  newer: Checkpoint,
): Promise<readonly Bytes[]> {
  if (older.size === newer.size || older.size === 0) return []
  const spans = [consistencyStart(older.size, newer.size), ...consistencyRest(older.size, newer.size)]
  const read = tileNodeReader(newer.size, (tile) => log.tile(tilePath(tile)))
  const [start, ...rest] = (await readSpans(spans, read)) as [Bytes, ...Bytes[]]
  if (!equal(consistencyRoots(older.size, newer.size, start, rest).now, newer.rootHash))
    throw broken('The tiles do not make up the checkpoint.')
  return [start, ...rest]
}

/** The tree of the log's first entries as its signer shows it, for who begins to follow there. */
export async function frontierAt(log: LogReader, { size, rootHash }: Checkpoint): Promise<Frontier> {
  const read = tileNodeReader(size, (tile) => log.tile(tilePath(tile)))
  const frontier = { size, peaks: await read(subtrees([0, size])) }
  if (!equal(frontierRoot(frontier), rootHash)) throw broken('The tiles are not those of the checkpoint.')
  return frontier
}

/**
 * The entries from the frontier up to the checkpoint, and the tree with them.
 * @throws Problem `peer-failed` when they do not lead to the checkpoint
 */
export async function followLog(log: LogReader, from: Frontier, to: Checkpoint): Promise<Progress> {
  const entries: Bytes[] = []
  for (let at = from.size; at < to.size;) {
    const index = Math.floor(at / limits.entriesPerTile)
    const width = tileWidth('entries', index, to.size)
    const tile: Tile = { level: 'entries', index, width }
    const bundle = decodeBundle(await log.tile(tilePath(tile)), width)
    entries.push(...bundle.slice(at % limits.entriesPerTile))
    at = index * limits.entriesPerTile + width
  }
  const frontier = append(from, entries.map(leafHash))
  if (frontier.size !== to.size || !equal(frontierRoot(frontier), to.rootHash))
    throw broken('The entries are not those of the checkpoint.')
  return { frontier, entries }
}

const broken = (detail: string): Problem => new Problem('peer-failed', detail)
