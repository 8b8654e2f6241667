/**
 * The audit of a log from its public parts alone: the checkpoint's signature and its witnesses', every entry decided
 * anew under the rules (and with it every signature, sum and state root), every hash of the tiles, and the root they add
 * up to. It can go on where an earlier one was, and names the first entry at fault.
 */
import { encodeBase64 } from '#primitives'
import { createReplica, createReplicaOn, type Replica } from '../../protocol/arbiter/replica.ts'
import { readPolicy } from '../../protocol/arbiter/items.ts'
import { equal } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, type Checkpoint, type Note, type NoteKey } from '../../protocol/checkpoint.ts'
import { requireWitnessed, type LogPolicy } from '../../protocol/log-policy.ts'
import { EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'
import { keyOfLedger } from '../ledger-watch/ledger-key.ts'
import { createLogReader, Fault, type LogReader, type PlacedEntry } from './audit-reader.ts'
import type { KeptState, Progress } from '../../protocol/arbiter/kept-state.ts'
import { sourceAtLedger, type LogSource } from './log-source.ts'
import { countShards, createShardReader, shownShard } from './shard-reader.ts'

export interface AuditReport {
  readonly ok: boolean
  readonly origin: string
  /** Entries that the checkpoint covers. */
  readonly size: number
  /** base64 */
  readonly rootHash: string
  /** What is at fault, the first entry named; empty when all holds. */
  readonly problems: readonly string[]
  /** The first entry at fault, where an entry is; of a log in shards, with the origin of the log that it is in. */
  readonly entry?: number
  readonly log?: string
  /** How many the log is in, where it is not one. */
  readonly shards?: number
  /** Entries that an earlier audit had checked. */
  readonly resumedAt: number
  /** Names of the known witnesses that have cosigned the checkpoint lately. */
  readonly witnesses: readonly string[]
}

export interface AuditOptions {
  /** Whose cosignatures the checkpoint needs; nobody's unless given. */
  readonly policy?: LogPolicy
  /** To tell fresh cosignatures by. */
  readonly nowMs?: number
  /** Where the audit keeps its state; in memory unless given. */
  readonly state?: KeptState
  /** Told after each run of entries. */
  readonly onProgress?: (checked: number, size: number) => void
}

/** @throws Problem when the ledger cannot be asked; what it answers wrongly is in the report */
export const auditLedger = async (ledger: LedgerClient, options: AuditOptions = {}): Promise<AuditReport> =>
  auditLog(sourceAtLedger(ledger), keyOfLedger(await ledger.info()), options)

const unread = (origin: string, problem: string): AuditReport => ({
  ok: false,
  origin,
  size: 0,
  rootHash: '',
  problems: [problem],
  resumedAt: 0,
  witnesses: [],
})

/**
 * @param key of the log; its name is the origin
 * @throws Problem `log-behind` when a copy does not hold what its checkpoint covers, or less than was audited before
 */
export async function auditLog(source: LogSource, key: NoteKey, options: AuditOptions = {}): Promise<AuditReport> {
  const opened = await openLog(source, key, options.state?.progress)
  if (typeof opened === 'string') return unread(key.name, opened)
  const { checkpoint, note } = opened
  const { policy, nowMs = 0, state } = options
  const witnessed = policy ? witnessesOf(note, policy, nowMs) : []
  const replayed = await replayLog(source, key, opened, options).catch(asFault)
  const fault = replayed instanceof Fault ? replayed : undefined
  if (fault) await state?.requireAlone()
  const problems = [...(typeof witnessed === 'string' ? [witnessed] : []), ...(fault ? [fault.message] : [])]
  return {
    ok: problems.length === 0,
    origin: checkpoint.origin,
    size: replayed instanceof Fault ? checkpoint.size : replayed,
    rootHash: encodeBase64(checkpoint.rootHash),
    problems,
    ...(fault?.place && { entry: fault.place.index, ...(fault.place.log && { log: fault.place.log.origin }) }),
    ...(opened.shown && { shards: opened.shown.length }),
    resumedAt: state?.progress?.position.size ?? 0,
    witnesses: typeof witnessed === 'string' ? [] : witnessed,
  }
}

interface OpenedLog {
  readonly checkpoint: Checkpoint
  readonly note: Note
  /** Of a log in shards: the checkpoints that it shows of them, asked for before its own. */
  readonly shown?: readonly string[]
}

/** @returns what is wrong with the checkpoint, when something is */
async function openLog(source: LogSource, key: NoteKey, saved: Progress | undefined): Promise<OpenedLog | string> {
  const opened = openCheckpoint(await source.checkpoint(), key)
  if (typeof opened === 'string') return opened
  const isBegun = saved && saved.frontier.size > 0
  const shards = isBegun ? (saved.shards?.length ?? 0) : await countShards(source, opened.checkpoint.size)
  if (shards === 0) return opened
  const shown = await Promise.all(Array.from({ length: shards }, (_, shard) => shownShard(source, shard)))
  const again = openCheckpoint(await source.checkpoint(), key)
  return typeof again === 'string' ? again : { ...again, shown }
}

/** The checkpoint, or what is wrong with it. */
function openCheckpoint(text: string, key: NoteKey): { readonly checkpoint: Checkpoint; readonly note: Note } | string {
  try {
    const note = openNote(text, [key])
    const checkpoint = parseCheckpoint(note.text)
    return checkpoint.origin === key.name ? { checkpoint, note } : `the checkpoint is of ${checkpoint.origin}`
  } catch (error) {
    return `the checkpoint is not signed by the ledger: ${reason(error)}`
  }
}

/** The names of those who have cosigned lately, or what is wrong. */
function witnessesOf(note: Note, policy: LogPolicy, nowMs: number): string[] | string {
  try {
    return requireWitnessed(note, policy, nowMs).cosignatures.map(({ witness }) => witness.name)
  } catch (error) {
    return `the checkpoint is not witnessed: ${reason(error)}`
  }
}

function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  throw error
}

const START = { frontier: EMPTY_FRONTIER, edge: [] }

/** @returns how many entries the checkpoint covers. @throws Fault */
async function replayLog(source: LogSource, key: NoteKey, log: OpenedLog, options: AuditOptions): Promise<number> {
  const { size, rootHash } = log.checkpoint
  const { state, onProgress = () => undefined } = options
  const saved = state?.progress
  const begun = saved?.frontier.size ?? 0
  if (begun > size) throw shrunk(source, begun, size)
  const replica = state ? createReplicaOn({ ...state, ...(saved && { from: saved.position }) }) : createReplica()
  const reader = log.shown
    ? await createShardReader({ source, key, size, shown: log.shown }, saved)
    : createLogReader(source, size, saved ?? START)
  for await (const entries of reader.bundles()) {
    for (const [i, entry] of entries.entries()) {
      await applyEntry(replica, entry, reader)
      reader.take(entry)
      if (i === entries.length - 1) await reader.checkTiles()
      if (state?.isFull(log.shown?.length)) await save(state, replica, reader)
    }
    onProgress(replica.size(), reader.size)
  }
  if (!equal(frontierRoot(reader.grown().frontier), rootHash))
    throw new Fault(`the entries do not add up to the root of the checkpoint${begun > 0 ? BEGUN : ''}`)
  checkSums(replica)
  if (state) await save(state, replica, reader)
  return replica.size()
}

/** What was read before may have been false, or what is read now. */
const BEGUN = ', or not together with those that were audited before: --fresh starts anew'

function shrunk({ isCopy }: LogSource, audited: number, size: number): Error {
  const what = `the checkpoint covers ${size} entries, and ${audited} were audited before`
  return isCopy ? new Problem('log-behind', `${what}.`) : new Fault(what)
}

async function save(state: KeptState, replica: Replica, reader: LogReader): Promise<void> {
  const progress: Progress = { position: replica.position(), ...reader.grown() }
  await state.save(progress)
}

async function applyEntry(replica: Replica, entry: PlacedEntry, { shards }: LogReader): Promise<void> {
  try {
    const { data = {}, kind } = await replica.apply(entry.bytes, entry.decoded)
    const stated = kind === 'policy' ? (readPolicy(data).shards ?? 1) : shards
    if (stated !== shards)
      throw new Problem(
        'conflict',
        `The policy says that the log has ${stated} shards, but it is shown with ${shards}.`,
      )
  } catch (error) {
    throw new Fault(reason(error), entry)
  }
}

/** @throws Fault when credits are held that nobody was given, or the other way round */
function checkSums(replica: Replica): void {
  const { available, bonds, frozen, earned, issued } = replica.position().sums
  const held = available + bonds + frozen + earned
  if (held !== issued) throw new Fault(`the accounts hold ${held} credits, ${issued} were issued`)
}

function reason(error: unknown): string {
  if (error instanceof Problem) return error.message
  throw error
}
