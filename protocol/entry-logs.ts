/** The logs that hold a ledger's entries: its own log, or the shards that the last entry of its root log joins. */
import type { Bytes } from './bytes.ts'
import type { Checkpoint, NoteKey } from './checkpoint.ts'
import { decodeEntry, entryHash } from './entry.ts'
import { limits } from './limits.ts'
import { inclusionSpans, readSpans, verifyInclusion, type NodeReader } from './merkle.ts'
import { Problem } from './problem.ts'
import { JOIN, openJoin, shardPath, type JoinProof } from './shards.ts'
import { decodeBundle, tileHashes, tileNodeReader, tilePath, tileWidth } from './tile.ts'

export interface TileSource {
  /** @param path as C2SP tlog-tiles names it, of a shard after its own. @throws Problem when it is not answered */
  tile(path: string): Promise<Bytes>
}

export interface EntryLog extends TileSource {
  readonly checkpoint: Checkpoint
  /** Of its tree. */
  readonly nodes: NodeReader
  /** Of a shard: that the log holds its checkpoint. */
  readonly joined?: JoinProof
}

/**
 * Those under a checkpoint that is opened and believed, in order.
 * @param key of the log. @throws Problem `peer-failed`, `bad-encoding`, `bad-signature`, `proof-invalid`
 */
export async function entryLogs(source: TileSource, log: Checkpoint, key: NoteKey): Promise<readonly EntryLog[]> {
  const whole = entryLog(log, (path) => source.tile(path))
  if (log.size === 0) return [whole]
  const index = log.size - 1
  const [entry, proof] = [await readLast(whole), await inclusionIn(whole, index)]
  if (!verifyInclusion(index, log.size, entryHash(entry), proof, log.rootHash))
    throw new Problem('proof-invalid', 'The entries are not those of the checkpoint.')
  if (decodeEntry(entry).kind !== JOIN) return [whole]
  return openJoin(entry, key).heads.map((checkpoint, shard) => ({
    ...entryLog(checkpoint, (path) => source.tile(shardPath(shard) + path)),
    joined: { shard, entry, index, proof },
  }))
}

const entryLog = (checkpoint: Checkpoint, tile: TileSource['tile']): EntryLog => ({
  checkpoint,
  tile,
  nodes: tileNodeReader(checkpoint.size, (one) => tile(tilePath(one))),
})

const readLast = async (log: EntryLog): Promise<Bytes> =>
  (await readBundle(log, Math.ceil(log.checkpoint.size / limits.entriesPerTile) - 1)).at(-1) as Bytes

/** The entries of one bundle. */
export async function readBundle(log: EntryLog, index: number): Promise<Bytes[]> {
  const width = tileWidth('entries', index, log.checkpoint.size)
  return decodeBundle(await log.tile(tilePath({ level: 'entries', index, width })), width)
}

/** RFC 6962 §2.1.1, from the log's tiles. */
export const inclusionIn = ({ checkpoint, nodes }: EntryLog, index: number): Promise<Bytes[]> =>
  readSpans(inclusionSpans(index, checkpoint.size), nodes)

/** @param leaf its hash. @param index where it is said to be */
export async function isIncluded(log: EntryLog, leaf: Bytes, index: number | undefined): Promise<boolean> {
  const { rootHash, size } = log.checkpoint
  if (index === undefined || index >= size) return false
  return verifyInclusion(index, size, leaf, await inclusionIn(log, index), rootHash)
}

/** Of all entries that the checkpoint covers, tile by tile. */
export async function* leafHashes(log: EntryLog): AsyncGenerator<readonly Bytes[]> {
  const { size } = log.checkpoint
  for (let index = 0; index * limits.entriesPerTile < size; index++) {
    const width = tileWidth(0, index, size)
    yield tileHashes(await log.tile(tilePath({ level: 0, index, width })), width)
  }
}
