/**
 * Proof that a ledger broke its word, which whoever holds its key can check without anybody's help:
 *
 * - `fork`: two checkpoints, both signed, of which one does not go on from the other.
 * - `receipt`: a receipt, and a checkpoint that witnesses saw after the merge delay was over. Whoever reads the hashes
 *   of the log up to that checkpoint finds that the entry is not among them.
 */
import { z } from '@hono/zod-openapi'
import { sha256 } from '#primitives'
import { equal, fromHex, toHex, type Bytes } from './bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey, type Checkpoint, type Note, type NoteKey } from './checkpoint.ts'
import { readCosignatures } from './cosignature.ts'
import { entryLogs, leafHashes, type EntryLog, type TileSource } from './entry-logs.ts'
import { append, consistencyRest, consistencyRoots, EMPTY_FRONTIER, frontierRoot } from './merkle.ts'
import { Problem } from './problem.ts'
import { parseReceipt } from './receipt.ts'
import { wire } from './service.ts'
import { envelopeFromJson } from './signed.ts'

const hashes = z.array(wire.id).max(64)

export const breachSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('fork'),
      vkey: z.string(),
      /** The smaller first. */
      notes: z.tuple([z.string(), z.string()]),
      /** Hashes of the larger tree, where the sizes differ: the consistency proof, with its first subtree always in it. */
      proof: hashes,
    }),
    z.strictObject({
      kind: z.literal('receipt'),
      vkey: z.string(),
      receipt: wire.envelope,
      note: z.string(),
      /** Verifier keys of the witnesses whose cosignatures tell when the note was the newest. */
      witnesses: z.array(z.string()).max(32),
    }),
  ])
  .openapi('Breach', { description: 'Proof that a ledger broke its word' })

export type Breach = z.output<typeof breachSchema>
export type Fork = Extract<Breach, { kind: 'fork' }>
export type BrokenReceipt = Extract<Breach, { kind: 'receipt' }>

/** What a proof shows. */
export interface Finding {
  readonly kind: Breach['kind']
  readonly origin: string
  /** Hex: SHA-256 of the key. */
  readonly ledger: string
  readonly detail: string
  /** Of a promise not kept: verifier keys of those by whose clocks it is. It shows something to whoever trusts one of them. */
  readonly witnesses?: readonly string[]
}

const MALFORMED = 'This is no proof of a breach.'

/** @throws Problem `bad-encoding` for another form */
export function parseBreach(json: unknown): Breach {
  const parsed = breachSchema.safeParse(json)
  if (!parsed.success) throw new Problem('bad-encoding', MALFORMED)
  return parsed.data
}

/** @throws Problem `proof-invalid`, `bad-signature`, `bad-encoding`: then nothing is shown */
export function verifyFork({ notes, proof, vkey }: Fork): Finding {
  const key = parseVerifierKey(vkey)
  const [one, other] = notes.map((note) => openCheckpoint(note, key).checkpoint) as [Checkpoint, Checkpoint]
  const path = proof.map((hash) => fromHex(hash))
  if (!isFork(one, other, path))
    throw new Problem('proof-invalid', 'The two checkpoints do not contradict each other: they may be of one history.')
  const sizes = one.size === other.size ? `of size ${one.size}` : `of sizes ${one.size} and ${other.size}`
  return finding('fork', key, `signed two checkpoints ${sizes} that are not of one history`)
}

/** @param proof start and rest of a consistency proof, of the larger tree; none where the sizes are the same */
export function isFork(one: Checkpoint, other: Checkpoint, proof: readonly Bytes[]): boolean {
  if (one.origin !== other.origin || one.size > other.size) return false
  if (one.size === other.size) return !equal(one.rootHash, other.rootHash)
  if (one.size === 0) return false
  const [start, ...rest] = proof
  if (!start || rest.length !== consistencyRest(one.size, other.size).length) return false
  const roots = consistencyRoots(one.size, other.size, start, rest)
  return equal(roots.now, other.rootHash) && !equal(roots.old, one.rootHash)
}

/**
 * @param source of the log's tiles: the ledger itself, or any copy
 * @throws Problem `proof-invalid` when the entry is there, or the checkpoint is not shown to be later than the delay
 */
export async function verifyBrokenReceipt(
  { note, receipt, vkey, witnesses }: BrokenReceipt,
  source: TileSource,
): Promise<Finding> {
  const key = parseVerifierKey(vkey)
  const { entry, ledger, mergeDelay, time, key: signer } = parseReceipt(envelopeFromJson(receipt))
  if (!equal(signer, key.key) || !equal(ledger, sha256(key.key)))
    throw new Problem('proof-invalid', 'The receipt is not of this ledger.')
  const { checkpoint, opened } = openCheckpoint(note, key)
  const dueMs = time + mergeDelay
  const sawLate = (witness: string): boolean =>
    readCosignatures(opened.text, opened.unknown, [parseVerifierKey(witness, 'cosignature')]).some(
      ({ timeSeconds }) => timeSeconds * 1000 > dueMs,
    )
  const late = witnesses.filter(sawLate)
  if (late.length === 0) throw new Problem('proof-invalid', 'No witness saw the checkpoint after the merge delay.')
  for (const log of await entryLogs(source, checkpoint, key)) await requireMissing(log, entry)
  const detail = `promised entry ${toHex(entry)} by ${dueMs}, and has not got it, by the clock of ${late.join(', ')}`
  return { ...finding('receipt', key, detail), witnesses: late }
}

/** @throws Problem `proof-invalid` */
async function requireMissing(log: EntryLog, entry: Bytes): Promise<void> {
  const { rootHash, size } = log.checkpoint
  let tree = EMPTY_FRONTIER
  for await (const leaves of leafHashes(log)) {
    if (leaves.some((leaf) => equal(leaf, entry))) throw new Problem('proof-invalid', 'The entry is in the log.')
    tree = append(tree, leaves)
  }
  if (tree.size !== size || !equal(frontierRoot(tree), rootHash))
    throw new Problem('proof-invalid', 'The hashes are not those of the checkpoint.')
}

function openCheckpoint(text: string, key: NoteKey): { readonly checkpoint: Checkpoint; readonly opened: Note } {
  const opened = openNote(text, [key])
  const checkpoint = parseCheckpoint(opened.text)
  if (checkpoint.origin !== key.name) throw new Problem('proof-invalid', 'The checkpoint is of another log.')
  return { checkpoint, opened }
}

const finding = (kind: Breach['kind'], { key, name }: NoteKey, detail: string): Finding => ({
  kind,
  origin: name,
  ledger: toHex(sha256(key)),
  detail: `${name} ${detail}`,
})
