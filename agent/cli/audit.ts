/**
 * The audit of a ledger from its public log alone: the checkpoint's signature, every entry decided anew under the rules
 * (and with it every signature, sum and state root), every hash of the tiles, and the root they add up to. Memory holds
 * the accounts, not the log.
 */
import { createReplica, type Replica } from '../../protocol/arbiter/replica.ts'
import { equal, fromHex, type Bytes } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey, type Checkpoint } from '../../protocol/checkpoint.ts'
import { entryHash } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { append, EMPTY_FRONTIER, frontierRoot, type Frontier } from '../../protocol/merkle.ts'
import { encodeBase64 } from '#primitives'
import { Problem } from '../../protocol/problem.ts'
import { decodeBundle, growTiles, tilePath, tileWidth, type Edge, type TileUpdate } from '../../protocol/tile.ts'
import type { LedgerClient, LedgerInfo } from '../clients/ledger-client.ts'

export interface AuditReport {
  readonly ok: boolean
  readonly origin: string
  /** Entries that the checkpoint covers. */
  readonly size: number
  /** base64 */
  readonly rootHash: string
  /** What is at fault, the first entry named; empty when all holds. */
  readonly problems: readonly string[]
}

/**
 * @param onProgress told after each run of entries
 * @throws Problem when the ledger cannot be asked; what it answers wrongly is in the report
 */
export async function auditLedger(
  ledger: LedgerClient,
  onProgress: (checked: number, size: number) => void = () => undefined,
): Promise<AuditReport> {
  const info = await ledger.info()
  const checkpoint = openCheckpoint(await ledger.checkpoint(), info)
  if (typeof checkpoint === 'string') {
    return { ok: false, origin: info.origin, size: 0, rootHash: '', problems: [checkpoint] }
  }
  const problem = await replayLog(ledger, checkpoint, onProgress)
  return {
    ok: problem === undefined,
    origin: checkpoint.origin,
    size: checkpoint.size,
    rootHash: encodeBase64(checkpoint.rootHash),
    problems: problem === undefined ? [] : [problem],
  }
}

/** The checkpoint, or what is wrong with it. */
function openCheckpoint(note: string, info: LedgerInfo): Checkpoint | string {
  try {
    const key = parseVerifierKey(info.vkey)
    if (!equal(key.key, fromHex(info.key))) return 'the verifier key is not the ledger’s key'
    const checkpoint = parseCheckpoint(openNote(note, [key]).text)
    return checkpoint.origin === info.origin ? checkpoint : `the checkpoint is of ${checkpoint.origin}`
  } catch (error) {
    return `the checkpoint is not signed by the ledger: ${reason(error)}`
  }
}

/** @returns what is at fault first */
async function replayLog(
  ledger: LedgerClient,
  { size, rootHash }: Checkpoint,
  onProgress: (checked: number, size: number) => void,
): Promise<string | undefined> {
  const replica = createReplica()
  let [frontier, edge]: [Frontier, Edge] = [EMPTY_FRONTIER, []]
  while (frontier.size < size) {
    const entries = await readEntries(ledger, frontier.size, size)
    if (typeof entries === 'string') return entries
    const hashes = entries.map(entryHash)
    const grown = growTiles(edge, frontier.size, hashes)
    const fault = (await tilesFault(ledger, grown.tiles, size)) ?? (await applyEntries(replica, entries))
    if (fault) return fault
    edge = grown.edge
    frontier = append(frontier, hashes)
    onProgress(frontier.size, size)
  }
  if (!equal(frontierRoot(frontier), rootHash)) return 'the entries do not add up to the root of the checkpoint'
  return sumsFault(replica)
}

/** One bundle of entries, or what is wrong with it. */
async function readEntries(ledger: LedgerClient, first: number, size: number): Promise<readonly Bytes[] | string> {
  const index = first / limits.entriesPerTile
  const width = tileWidth('entries', index, size)
  try {
    return decodeBundle(await ledger.tile(tilePath({ level: 'entries', index, width })), width)
  } catch (error) {
    return `the entries from ${first} on cannot be read: ${reason(error)}`
  }
}

/** Holds the ledger's tiles against those that the entries make, each once it is as wide as it gets. */
async function tilesFault(
  ledger: LedgerClient,
  tiles: readonly TileUpdate[],
  size: number,
): Promise<string | undefined> {
  for (const { tile, bytes } of tiles) {
    if (tile.width < tileWidth(tile.level, tile.index, size)) continue
    const path = tilePath(tile)
    const kept = await ledger.tile(path).catch(reason)
    if (typeof kept === 'string') return `${path} cannot be read: ${kept}`
    if (!equal(kept, bytes)) return `${path} does not hold the hashes of the entries below it`
  }
  return undefined
}

async function applyEntries(replica: Replica, entries: readonly Bytes[]): Promise<string | undefined> {
  for (const entry of entries) {
    const fault = await applyEntry(replica, entry)
    if (fault) return fault
  }
  return undefined
}

async function applyEntry(replica: Replica, entry: Bytes): Promise<string | undefined> {
  try {
    await replica.apply(entry)
    return undefined
  } catch (error) {
    return `entry ${replica.size()}: ${reason(error)}`
  }
}

function sumsFault(replica: Replica): string | undefined {
  const { available, bonds, frozen, earned, issued } = replica.position().sums
  const held = available + bonds + frozen + earned
  return held === issued ? undefined : `the accounts hold ${held} credits, ${issued} were issued`
}

function reason(error: unknown): string {
  if (error instanceof Problem) return error.message
  throw error
}
