/**
 * The agent's eye on its ledger: each checkpoint that it sees goes on from the one before, is vouched for by the
 * witnesses that the owner wants, and holds what the ledger gave receipts for. Where it does not, the proof is kept, and
 * the ledger is not dealt with any more.
 */
import { equal, toHex, type Bytes } from '../../protocol/bytes.ts'
import { isFork, parseBreach, type Breach } from '../../protocol/breach.ts'
import {
  formatVerifierKey,
  openNote,
  parseCheckpoint,
  type Checkpoint,
  type NoteKey,
} from '../../protocol/checkpoint.ts'
import type { Environment } from '../../protocol/environment.ts'
import { entryLogs, isIncluded, leafHashes, type EntryLog } from '../../protocol/entry-logs.ts'
import { consistencyOf } from '../../protocol/follow-log.ts'
import { decideAndWrite, readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { requireWitnessed, type LogPolicy } from '../../protocol/log-policy.ts'
import { Problem } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import type { LedgerClient, StatementRow } from '../clients/ledger-client.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { keyOfLedger } from './ledger-key.ts'

export interface LogWatch {
  /**
   * For wherever credits depend on the ledger.
   * @throws Problem `log-forked` once it was caught, `unwitnessed`, `log-behind`, `peer-failed`
   */
  require(): Promise<void>
  /** Looks for what a receipt promises, from now on. */
  owe(receipt: Envelope): Promise<void>
  /** Looks at the log when it is time to, and for what is owed. @throws Problem as `require` */
  maintain(): Promise<void>
  /** Proofs of what the ledger did, the oldest first. */
  breaches(): Promise<readonly Breach[]>
}

export interface LogWatchOptions {
  readonly environment: Environment
  readonly store: Store
  readonly ledger: LedgerClient
  /** The account whose statement says where entries are. */
  readonly owner: Bytes
  /** Whose cosignatures a checkpoint needs; without, the history alone is watched. */
  readonly policy?: LogPolicy
}

/** As the ledger shows it. */
interface Shown {
  readonly checkpoint: Checkpoint
  readonly note: string
}

interface Seen {
  readonly note: string
}

/** Where an entry is: in the log, or of a log in shards in one of them. */
interface EntryPlace {
  readonly shard: number
  readonly index: number
}

interface Owed {
  readonly receipt: EnvelopeJson
}

const SEEN = 'log-seen'
const OWED = 'log-owed'
const BREACHES = 'log-breaches'
const STATEMENT = 'log-statement'

export function createLogWatch({ environment, store, ledger, owner, policy }: LogWatchOptions): LogWatch {
  const { clock } = environment
  let askedMs = Number.NEGATIVE_INFINITY
  let lookedMs = Number.NEGATIVE_INFINITY

  const ledgerKey = async (): Promise<NoteKey> => keyOfLedger(await ledger.info())

  async function breaches(): Promise<Breach[]> {
    const prefix = `${(await ledger.info()).id}/`
    return readAll(store, BREACHES, (item) => parseBreach(decodeRecord(item)), { prefix })
  }

  async function keep(breach: Breach, name: string): Promise<void> {
    const sk = `${(await ledger.info()).id}/${name}`
    await store.write([{ pk: BREACHES, sk, expect: 0, body: encodeRecord(breach) }])
  }

  /** @throws Problem `log-forked` */
  async function requireOneHistory(): Promise<void> {
    if (isRecent(askedMs)) return
    if ((await breaches()).some(({ kind }) => kind === 'fork')) throw forked()
    askedMs = clock.now()
  }

  /** A time far ahead is one of before the clock was set back. */
  const isRecent = (thenMs: number): boolean => Math.abs(clock.now() - thenMs) < limits.logWatchMs

  /** The newest checkpoint, opened and checked against the last that was seen. */
  async function look(): Promise<Shown> {
    await requireOneHistory()
    const [key, note] = [await ledgerKey(), await ledger.checkpoint()]
    const opened = openNote(note, [key])
    const checkpoint = parseCheckpoint(opened.text)
    if (checkpoint.origin !== key.name) throw new Problem('peer-failed', 'The ledger shows another ledger’s log.')
    if (policy) requireWitnessed(opened, policy, clock.now())
    await decideAndWrite(store, () => goOn(key, { checkpoint, note }))
    lookedMs = clock.now()
    return { checkpoint, note }
  }

  async function goOn(key: NoteKey, now: Shown) {
    const { id } = await ledger.info()
    const item = await store.get(SEEN, id)
    const seen = item && decodeRecord<Seen>(item).note
    if (seen !== undefined && seen !== now.note) await requireConsistent(key, seen, now)
    const isNews = seen === undefined || sizeOf(seen, key) < now.checkpoint.size
    const body = encodeRecord({ note: now.note } satisfies Seen)
    const changes = isNews ? [{ pk: SEEN, sk: id, expect: item?.version ?? 0, body }] : []
    return { changes, result: undefined }
  }

  async function requireConsistent(key: NoteKey, seen: string, now: Shown): Promise<void> {
    const before = parseCheckpoint(openNote(seen, [key]).text)
    const [older, newer] =
      before.size <= now.checkpoint.size
        ? [{ checkpoint: before, note: seen }, now]
        : [now, { checkpoint: before, note: seen }]
    const proof = await consistencyOf(ledger, older.checkpoint, newer.checkpoint).catch((error: unknown) => {
      throw isMissing(error) ? behind(before, now.checkpoint) : error
    })
    if (isFork(older.checkpoint, newer.checkpoint, proof)) {
      const notes: [string, string] = [older.note, newer.note]
      await keep({ kind: 'fork', vkey: formatVerifierKey(key), notes, proof: proof.map(toHex) }, 'fork')
      askedMs = Number.NEGATIVE_INFINITY
      throw forked()
    }
    if (before.size > now.checkpoint.size) throw behind(before, now.checkpoint)
  }

  async function settleOwed(): Promise<void> {
    const { id } = await ledger.info()
    const all = await readAll(store, OWED, (item) => item, { prefix: `${id}/` })
    const due = all.filter((item) => dueOf(decodeRecord<Owed>(item)) <= clock.now())
    if (due.length === 0) return
    const shown = await look()
    const logs = await entryLogs(ledger, shown.checkpoint, await ledgerKey())
    const { places, cursors } = await readPlaces()
    let left = all.length
    for (const item of due) {
      const { receipt } = decodeRecord<Owed>(item)
      const { entry } = parseReceipt(envelopeFromJson(receipt))
      const place = places.get(toHex(entry))
      const log = place && logs[place.shard]
      const isThere = log !== undefined && (await isIncluded(log, entry, place?.index))
      if (!isThere && !isOverdue(receipt)) continue
      if (!isThere) await accuse(receipt, shown.note, logs)
      await store.write([{ pk: item.pk, sk: item.sk, expect: 'any' }])
      left--
    }
    if (left > 0) return
    for (const { after, sk } of cursors)
      await store.write([{ pk: STATEMENT, sk, expect: 'any', body: encodeRecord({ after }) }])
  }

  /** By leaf hash, where the statement says that the entries are that came since all that was owed was there. */
  async function readPlaces() {
    const { id, shards = 1 } = await ledger.info()
    const places = new Map<string, EntryPlace>()
    const cursors: { readonly sk: string; readonly after: number | undefined }[] = []
    for (let shard = 0; shard < shards; shard++) {
      const sk = shards === 1 ? id : `${id}/${shard}`
      const saved = await store.get(STATEMENT, sk)
      let after = saved && decodeRecord<{ after?: number }>(saved).after
      for (let rows: readonly StatementRow[] | undefined; rows === undefined || rows.length > 0;) {
        rows = (await ledger.entries(toHex(owner), after, shards === 1 ? undefined : shard)).entries
        for (const { entry, index } of rows) places.set(entry, { shard, index })
        after = rows.at(-1)?.index ?? after
      }
      cursors.push({ sk, after })
    }
    return { places, cursors }
  }

  const isOverdue = (receipt: EnvelopeJson): boolean => dueOf({ receipt }) + limits.receiptPatienceMs <= clock.now()

  /** The statement may only be wrong: the log itself says. */
  async function accuse(receipt: EnvelopeJson, note: string, logs: readonly EntryLog[]): Promise<void> {
    const { entry } = parseReceipt(envelopeFromJson(receipt))
    for (const log of logs) {
      for await (const leaves of leafHashes(log)) if (leaves.some((leaf) => equal(leaf, entry))) return
    }
    const witnesses = policy?.witnesses.map(({ key }) => formatVerifierKey(key)) ?? []
    const vkey = formatVerifierKey(await ledgerKey())
    await keep({ kind: 'receipt', vkey, receipt, note, witnesses }, `receipt/${toHex(entry)}`)
  }

  return {
    breaches,
    async require() {
      if (!policy) return requireOneHistory()
      if (isRecent(lookedMs)) return requireOneHistory()
      await look()
    },
    async owe(receipt) {
      const { entry, mergeDelay, time } = parseReceipt(receipt)
      const sk = `${(await ledger.info()).id}/${String(time + mergeDelay).padStart(16, '0')}/${toHex(entry)}`
      await store.write([{ pk: OWED, sk, expect: 'any', body: encodeRecord({ receipt: envelopeToJson(receipt) }) }])
    },
    async maintain() {
      if (isRecent(lookedMs)) return
      await look()
      await settleOwed()
    },
  }
}

const forked = (): Problem =>
  new Problem('log-forked', 'The ledger has shown two histories. The proof is kept: see `raincheck proofs`.')

/** Of a ledger that was put back as it had been, the log lacks what the checkpoint of before covers. */
const isMissing = (error: unknown): boolean => error instanceof Problem && error.code === 'not-found'

const behind = (before: Checkpoint, now: Checkpoint): Problem =>
  new Problem('log-behind', `The ledger shows ${now.size} entries, and had ${before.size} before.`)

const sizeOf = (note: string, key: NoteKey): number => parseCheckpoint(openNote(note, [key]).text).size

function dueOf({ receipt }: Owed): number {
  const { mergeDelay, time } = parseReceipt(envelopeFromJson(receipt))
  return time + mergeDelay
}
