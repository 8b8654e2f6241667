/**
 * An auditor who follows the ledger's public log as it grows: each checkpoint is signed and goes on from the one before,
 * and what the ledger gave a receipt for is in the log within the merge delay.
 */
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { auditLedger } from '../../agent/cli/audit.ts'
import { equal, fromUtf8, toHex, type Bytes } from '../../protocol/bytes.ts'
import {
  openNote,
  parseCheckpoint,
  parseVerifierKey,
  type Checkpoint,
  type NoteKey,
} from '../../protocol/checkpoint.ts'
import { decodeEntry, entryHash } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { append, EMPTY_FRONTIER, frontierRoot, type Frontier } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import { JOIN, openJoin, shardPath, type OpenJoin } from '../../protocol/shards.ts'
import { decodeBundle, tilePath, tileWidth } from '../../protocol/tile.ts'
import type { LedgerTown } from './ledgers.ts'
import { CALM, type Exchange } from './network.ts'
import type { World } from './world.ts'

export interface LogWatch {
  /** Follows the log from now on. */
  start(): void
  /** Every receipt is in the log, and the log replays from its first entry. Call when the ledger is up and calm. */
  finish(): Promise<void>
}

const POLL_MS = 2_000
/** Until the next look, and for a store that takes its time. */
const SLACK_MS = 2 * POLL_MS

/** @param cosigned roots by size, hex: what witnesses have vouched for */
export function watchLog(
  world: World,
  { url, hosts }: Pick<LedgerTown, 'url' | 'hosts'>,
  cosigned: ReadonlyMap<number, string>,
): LogWatch {
  const { scheduler, network } = world
  const environment = {
    clock: scheduler,
    random: world.chance.fork('auditor'),
    transport: network.transportOf('auditor', CALM),
  }
  const ledger = createLedgerClient({ environment, url })
  /** Entry hash -> when its receipt was answered, leaps not counted. */
  const owed = new Map<string, number>()
  const logged = new Set<string>()
  const roots = new Map<number, string>()
  /** Of a log in shards, the root log's; and the trees of these. */
  let frontier = EMPTY_FRONTIER
  const shards = new Map<number, Frontier>()
  let shown = ''

  network.onExchange((exchange) => {
    const entry = exchange.to === new URL(url).host ? receiptIn(exchange) : undefined
    if (entry === undefined) return
    world.count('receipts')
    if (!logged.has(entry) && !owed.has(entry)) owed.set(entry, scheduler.awakeMs())
  })

  async function look(): Promise<void> {
    const found = await ledger.checkpoint()
    if (found === shown) return
    const checkpoint = await opened(ledger, found)
    if (checkpoint.size < frontier.size)
      return world.fail(`the log shrinks from ${frontier.size} to ${checkpoint.size} entries`)
    while (frontier.size < checkpoint.size) await readOn(checkpoint.size)
    if (!equal(frontierRoot(frontier), checkpoint.rootHash))
      world.fail(`the checkpoint of ${checkpoint.size} entries does not go on from the one before`)
    shown = found
  }

  async function readOn(size: number): Promise<void> {
    const entries = await readBundle('', frontier.size, size)
    for (const entry of entries) {
      if (decodeEntry(entry).kind === JOIN) await readShards(openJoin(entry, await keyOf(ledger)))
      else note(entry)
      frontier = append(frontier, [entryHash(entry)])
      roots.set(frontier.size, toHex(frontierRoot(frontier)))
    }
  }

  /** The entries from one on, up to the end of its bundle or of the log. */
  async function readBundle(under: string, from: number, size: number): Promise<Bytes[]> {
    const index = Math.floor(from / limits.entriesPerTile)
    const width = tileWidth('entries', index, size)
    const path = under + tilePath({ level: 'entries', index, width })
    return decodeBundle(await ledger.tile(path), width).slice(from % limits.entriesPerTile)
  }

  async function readShards({ heads }: OpenJoin): Promise<void> {
    for (const [shard, { rootHash, size }] of heads.entries()) {
      const known = shards.get(shard) ?? EMPTY_FRONTIER
      const entries: Bytes[] = []
      while (known.size + entries.length < size)
        entries.push(...(await readBundle(shardPath(shard), known.size + entries.length, size)))
      const tree = append(known, entries.map(entryHash))
      if (!equal(frontierRoot(tree), rootHash)) world.fail(`shard ${shard} of ${size} entries is not what was joined`)
      shards.set(shard, tree)
      for (const entry of entries) note(entry)
    }
  }

  function note(entry: Bytes): void {
    const hash = toHex(entryHash(entry))
    if (logged.has(hash)) world.fail(`entry ${hash} is in the log twice`)
    logged.add(hash)
    owed.delete(hash)
    world.count('entries')
  }

  /** What happens to a ledger that is down, or whose store failed, counts from when it is well again. */
  function checkDelay(): void {
    const upSinceMs = wellSince()
    if (upSinceMs === undefined) return
    for (const [entry, atMs] of owed) {
      const lateMs = scheduler.awakeMs() - Math.max(atMs, upSinceMs) - limits.mergeDelayMs - SLACK_MS
      if (lateMs > 0) world.fail(`entry ${entry} is not in the log ${limits.mergeDelayMs} ms after its receipt`)
    }
  }

  /** Since when any of its processes has been up, the longest. */
  function wellSince(): number | undefined {
    const since = hosts.flatMap(({ upSinceMs }) => (upSinceMs === undefined ? [] : [upSinceMs]))
    return since.length > 0 ? Math.min(...since) : undefined
  }

  async function follow(): Promise<void> {
    for (;;) {
      await scheduler.sleep(POLL_MS)
      if (wellSince() === undefined) continue
      const heard = await look().then(() => true, unlessAway)
      if (heard) checkDelay()
    }
  }

  function unlessAway(error: unknown): false {
    if (!(error instanceof Problem && error.code === 'peer-failed'))
      world.fail(`the log cannot be followed: ${String(error)}`)
    return false
  }

  return {
    start: () => void follow(),
    async finish() {
      await scheduler.sleep(limits.mergeDelayMs + SLACK_MS)
      await look()
      if (owed.size > 0) world.fail(`${owed.size} receipts are not in the log`)
      for (const [size, root] of cosigned) {
        if (roots.get(size) !== root) world.fail(`witnesses cosign another log of ${size} entries`)
      }
      // It computes beside the event loop, and so for a time that no clock of ours knows.
      world.trace.end()
      const { size } = logged
      const report = await auditLedger(ledger)
      if (!report.ok) world.fail(`the audit finds: ${report.problems.join('; ')}`)
      if (report.size < size) world.fail(`the audit finds ${report.size} entries of ${size}`)
    },
  }
}

const keyOf = async (ledger: LedgerClient): Promise<NoteKey> => parseVerifierKey((await ledger.info()).vkey)

const opened = async (ledger: LedgerClient, note: string): Promise<Checkpoint> =>
  parseCheckpoint(openNote(note, [await keyOf(ledger)]).text)

/** The leaf hash, hex, of the entry that the answer has a receipt for. */
function receiptIn({ method, answer }: Exchange): string | undefined {
  if (method !== 'POST' || answer.status >= 300) return undefined
  const { receipt } = JSON.parse(fromUtf8(answer.body)) as { receipt?: unknown }
  return receipt === undefined ? undefined : toHex(parseReceipt(envelopeFromJson(receipt)).entry)
}
