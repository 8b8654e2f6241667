/** What the log grows by: the next checkpoint, the runs of its entries, the tiles above them. */
import { formatCheckpoint, signNote } from '../protocol/checkpoint.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { movementsOf } from '../protocol/arbiter.ts'
import { concat, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { append, frontierRoot, HASH_BYTES } from '../protocol/merkle.ts'
import type { Change, Store } from '../protocol/store.ts'
import { growTiles, readEdge, tileWidth } from '../protocol/tile.ts'
import type { LedgerContext } from './context.ts'
import { logKeys, readTile, type Head } from './log.ts'
import { bundleOf, encodeRun, runKey, type Run } from './runs.ts'
import { accountMarks } from './statement.ts'
import type { Waiting } from './waiting.ts'

/** Of one batch, which is appended at once. */
const BATCH_ENTRIES = 1024
const BATCH_BYTES = 2 * 1024 * 1024
/** What an entry takes in its run besides its bytes: hash, accounts, where it waited. */
const ENTRY_BYTES = 512

/** As many, at least one, as are well appended at once. */
export function takeBatch(waiting: readonly Waiting[]): readonly Waiting[] {
  let bytes = 0
  const end = waiting.findIndex((one, i) => i === BATCH_ENTRIES || (bytes += bytesOf(one)) > BATCH_BYTES)
  return end < 0 ? waiting : waiting.slice(0, Math.max(end, 1))
}

/** @param round that the batch is the last of, where it is of one */
export function nextHead(
  { origin, signer }: LedgerContext,
  head: Head,
  batch: readonly Waiting[],
  round = head.round,
): Head {
  const grown = append(
    head,
    batch.map(({ hash }) => hash),
  )
  const text = formatCheckpoint({ origin, size: grown.size, rootHash: frontierRoot(grown) })
  const note = signNote(text, { name: origin, signer })
  return { ...grown, from: head.size, version: head.version, note, ...(round !== undefined && { round }) }
}

export interface Growth {
  /** Each under the condition that it is as it is now. */
  readonly changes: readonly Change[]
  /** Whether all of them are as the head left them. */
  readonly isClear: boolean
}

export async function growthOf(store: Store, { size }: Head, batch: readonly Waiting[]): Promise<Growth> {
  const hashes = batch.map(({ hash }) => hash)
  const edge = await readEdge(size, (tile) => readTile(store, tile))
  const { tiles } = growTiles(edge, size, hashes)
  const above = tiles.filter(({ tile }) => tile.level > 0)
  const found = await Promise.all([
    ...runsOf(batch, size).map(({ first, ...run }) => replace(store, runKey(first), encodeRun(run), 0)),
    ...above.map(({ tile: { level, index }, bytes }) =>
      replace(store, logKeys.tile(level, index), bytes, tileWidth(level, index, size) * HASH_BYTES),
    ),
  ])
  return { changes: found.map(({ change }) => change), isClear: found.every(({ isClear }) => isClear) }
}

/** @param known how many bytes of what is there the head knows of */
async function replace(store: Store, key: Key, body: Bytes, known: number) {
  const item = await store.get(key.pk, key.sk)
  return { change: { ...key, expect: item?.version ?? 0, body }, isClear: (item?.body.length ?? 0) <= known }
}

/** Within one bundle each, and within the size of an item. */
function runsOf(batch: readonly Waiting[], size: number): (Run & { readonly first: number })[] {
  const runs: { first: number; waiting: Waiting[]; bytes: number }[] = []
  for (const [i, waiting] of batch.entries()) {
    const run = runs.at(-1)
    const bytes = bytesOf(waiting)
    if (run && bundleOf(run.first) === bundleOf(size + i) && run.bytes + bytes <= limits.itemBytes) {
      run.waiting.push(waiting)
      run.bytes += bytes
    } else runs.push({ first: size + i, waiting: [waiting], bytes })
  }
  return runs.map(({ first, waiting }) => ({ first, ...runOf(waiting) }))
}

const bytesOf = ({ bytes, pointer }: Waiting): number => ENTRY_BYTES + (pointer ? 0 : bytes.length)

const runOf = (waiting: readonly Waiting[]): Run => ({
  accounts: waiting.map(({ entry }) => accountMarks(movementsOf(entry))),
  entries: waiting.map(({ bytes, pointer }) => (pointer ? { lane: pointer.lane, seq: pointer.seq } : bytes)),
  hashes: concat(...waiting.map(({ hash }) => hash)),
  taken: [...new Map(waiting.flatMap(({ key }) => (key ? [[`${key.pk} ${key.sk}`, key]] : []))).values()].map(
    ({ pk, sk }) => ({ pk, sk }),
  ),
})
