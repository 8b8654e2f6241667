/** Takes an entry of one ledger's log to another ledger: the checkpoint as it is published, and the proof under it. */
import { equal, type Bytes } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey } from '../../protocol/checkpoint.ts'
import type { CarriedTerms } from '../../protocol/crossing.ts'
import { entryHash } from '../../protocol/entry.ts'
import { entryLogs, inclusionIn, readBundle, type EntryLog } from '../../protocol/entry-logs.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { LedgerClient } from './ledger-client.ts'

/** Bundles that are searched for an entry, the latest first. */
const BUNDLES = 64

/**
 * @param receipt for the entry
 * @throws Problem `not-found` while no published checkpoint covers it
 */
export async function proveEntry(ledger: LedgerClient, receipt: Envelope): Promise<CarriedTerms> {
  const { entry: hash } = parseReceipt(receipt)
  const key = parseVerifierKey((await ledger.info()).vkey)
  const checkpoint = await ledger.checkpoint()
  if (checkpoint === '') throw notYet()
  const logs = await entryLogs(ledger, parseCheckpoint(openNote(checkpoint, [key]).text), key)
  for (const log of logs) {
    const found = await findEntry(log, hash)
    const shard = log.joined && { shard: { ...log.joined } }
    if (found) return { checkpoint, ...found, proof: await inclusionIn(log, found.index), ...shard }
  }
  throw notYet()
}

async function findEntry(log: EntryLog, hash: Bytes): Promise<Pick<CarriedTerms, 'entry' | 'index'> | undefined> {
  const last = Math.ceil(log.checkpoint.size / limits.entriesPerTile) - 1
  for (let bundle = last; bundle >= 0 && bundle > last - BUNDLES; bundle--) {
    const entries = await readBundle(log, bundle)
    const at = entries.findIndex((entry) => equal(entryHash(entry), hash))
    if (at >= 0) return { entry: entries[at] as Bytes, index: bundle * limits.entriesPerTile + at }
  }
  return undefined
}

const notYet = (): Problem => new Problem('not-found', 'The entry is in no checkpoint yet: try again.')
