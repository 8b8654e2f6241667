/**
 * Each account's entries. Which entries are on an account is noted by eight bytes of its id, with the entries, and for
 * each full bundle once more in a directory: a statement is looked up there, at about 5 kB for 256 entries.
 */
import { concat, toHex, type Bytes } from '../protocol/bytes.ts'
import { movementsOf } from '../protocol/arbiter.ts'
import type { Movement } from '../protocol/arbiter/items.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decodeEntry, entryHash } from '../protocol/entry.ts'
import { itemsOf } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import type { Store } from '../protocol/store.ts'
import { readHead } from './log.ts'
import { sortable } from './places.ts'
import { bundleOf, readPlace, readRuns, type Place, type PlacedRun } from './runs.ts'

/** What the entry at `index` moved on the account. */
export interface StatementRow extends Movement {
  /** Leaf hash. */
  readonly entry: Bytes
  readonly index: number
  readonly kind: string
  readonly time: number
}

const ACCOUNT_MARK_BYTES = 8

/** Who an entry is on: the first bytes of their ids. */
export const accountMarks = (movements: readonly Movement[]): Bytes =>
  concat(...movements.map(({ account }) => account.slice(0, ACCOUNT_MARK_BYTES)))

const DIRECTORY = 'directory'
const directoryShape = { accounts: field.list(field.bytes()) }

/** Of a full bundle. It follows from the bundle, so whoever writes it writes the same. */
export async function writeDirectory(store: Store, bundle: number, size: number): Promise<void> {
  const runs = await readRuns(store, bundle, size)
  const body = encode({ accounts: runs.flatMap(({ accounts }) => accounts) })
  await store.write([{ pk: DIRECTORY, sk: sortable(bundle), expect: 0, body }])
}

/** Rows from the entry at `from` on, the oldest first; each bundle is read once. */
export async function readStatement(
  store: Store,
  account: Bytes,
  from: number,
  limit: number,
): Promise<StatementRow[]> {
  const { size } = await readHead(store)
  const mark = toHex(account.slice(0, ACCOUNT_MARK_BYTES))
  const rows: StatementRow[] = []
  for await (const { bundle, accounts, runs } of accountsFrom(store, bundleOf(from), size)) {
    const start = bundle * limits.entriesPerTile
    const marked = [...accounts.keys()].filter((i) => hasMark(accounts[i] as Bytes, mark))
    const indexes = marked.map((i) => start + i).filter((index) => index >= from && index < size)
    if (indexes.length === 0) continue
    const places = (runs ?? (await readRuns(store, bundle, size))).flatMap(({ entries }) => entries)
    for (const index of indexes) {
      const row = rowOf(account, index, await readPlace(store, places[index - start] as Place))
      if (row) rows.push(row)
      if (rows.length === limit) return rows
    }
  }
  return rows
}

function hasMark(marks: Bytes, mark: string): boolean {
  for (let at = 0; at < marks.length; at += ACCOUNT_MARK_BYTES) {
    if (toHex(marks.subarray(at, at + ACCOUNT_MARK_BYTES)) === mark) return true
  }
  return false
}

interface BundleAccounts {
  readonly bundle: number
  readonly accounts: readonly Bytes[]
  /** Where they were read for that. */
  readonly runs?: readonly PlacedRun[]
}

/** From directories, and at the end of the log from the runs. */
async function* accountsFrom(store: Store, first: number, size: number): AsyncGenerator<BundleAccounts> {
  let bundle = first
  for await (const { sk, body } of itemsOf(store, DIRECTORY, first > 0 ? { after: sortable(first - 1) } : {})) {
    if (Number(sk) !== bundle) break
    yield { bundle: bundle++, ...fields(decode(body), directoryShape) }
  }
  for (; bundle * limits.entriesPerTile < size; bundle++) {
    const runs = await readRuns(store, bundle, size)
    yield { bundle, accounts: runs.flatMap(({ accounts }) => accounts), runs }
  }
}

/** Undefined for another account that has the same mark. */
function rowOf(account: Bytes, index: number, bytes: Bytes): StatementRow | undefined {
  const { kind, time, ...entry } = decodeEntry(bytes)
  const movement = movementsOf({ kind, time, ...entry }).find(({ account: id }) => toHex(id) === toHex(account))
  return movement && { ...movement, entry: entryHash(bytes), index, kind, time }
}
