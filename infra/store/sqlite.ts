/** The store on SQLite (`node:sqlite`). Several processes may have the same file open; a write costs one fsync. */
import { dirname } from 'node:path'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { makeFolder } from '../../agent/make-folder.ts'
import { compare, concat, utf8, type Bytes } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Item, Range, Store } from '../../protocol/store.ts'
import { checkChanges, checkKey, checkRange } from './check.ts'

/**
 * `synchronous` says what an acknowledged write outlives. `full`: a loss of power. `normal`: a kill of the process, but
 * a loss of power may take the latest writes away (whole ones, the newest first).
 */
export interface SqliteOptions {
  readonly synchronous?: 'full' | 'normal'
  /** How long a write waits for another process to finish its own. It blocks this thread. */
  readonly busyTimeoutMs?: number
}

const BUSY_TIMEOUT_MS = 5000
/** Greater than every UTF-8 text that goes on at its place: no UTF-8 text has this byte. */
const BEYOND = Uint8Array.of(0xff)

/** Text is compared by the bytes of its UTF-8 (SQLite's BINARY collation in a UTF-8 database). */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS items (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (pk, sk)
  ) WITHOUT ROWID, STRICT`

/**
 * @param path a file, made with its folder when it is not there, or `:memory:`
 * @throws Problem `store-unavailable` when it cannot be opened
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Store {
  const database = openDatabase(path, options)
  const read = prepareReads(database)
  const write = prepareWrites(database)
  return {
    get: async (pk, sk) => {
      checkKey(pk)
      checkKey(sk)
      return answered(() => read.get(pk, sk))
    },
    list: async (pk, range) => {
      checkKey(pk)
      checkRange(range)
      return answered(() => read.list(pk, range))
    },
    write: async (changes) => {
      checkChanges(changes)
      return answered(() => write(changes))
    },
    close: () => {
      if (database.isOpen) database.close()
    },
  }
}

function openDatabase(path: string, { synchronous = 'full', busyTimeoutMs = BUSY_TIMEOUT_MS }: SqliteOptions) {
  try {
    if (path !== ':memory:') makeFolder(dirname(path))
    const database = new DatabaseSync(path, { timeout: busyTimeoutMs })
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; ${SCHEMA}`)
    return database
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Problem('store-unavailable', `The store ${path} cannot be opened: ${reason}.`)
  }
}

function prepareReads(database: DatabaseSync) {
  const one = database.prepare('SELECT version, body FROM items WHERE pk = ? AND sk = ?')
  const listing = (order: 'ASC' | 'DESC') =>
    database.prepare(
      `SELECT sk, version, body FROM items
       WHERE pk = ? AND sk >= CAST(ifnull(?, '') AS TEXT) AND sk < CAST(? AS TEXT) ORDER BY sk ${order} LIMIT ?`,
    )
  const forward = listing('ASC')
  const backward = listing('DESC')
  return {
    get(pk: string, sk: string): Item | undefined {
      const row = one.get(pk, sk)
      return row && itemOf(pk, sk, row)
    },
    list(pk: string, range: Range): Item[] {
      const [from, to] = bounds(range)
      const rows = (range.reverse ? backward : forward).all(pk, from, to, range.limit)
      return rows.map((row) => itemOf(pk, row['sk'] as string, row))
    },
  }
}

const itemOf = (pk: string, sk: string, row: Record<string, SQLOutputValue>): Item => ({
  pk,
  sk,
  version: row['version'] as number,
  body: row['body'] as Bytes,
})

/** The first key that may be listed and the first after it that may not, as bytes. */
function bounds({ prefix = '', after, reverse = false }: Range): readonly [from: Bytes, to: Bytes] {
  const from = utf8(prefix)
  const to = concat(from, BEYOND)
  if (after === undefined) return [from, to]
  if (reverse) return [from, lesser(utf8(after), to)]
  return [greater(utf8(`${after}\0`), from), to]
}

const lesser = (a: Bytes, b: Bytes): Bytes => (compare(a, b) < 0 ? a : b)
const greater = (a: Bytes, b: Bytes): Bytes => (compare(a, b) > 0 ? a : b)

function prepareWrites(database: DatabaseSync): (changes: readonly Change[]) => boolean {
  const begin = database.prepare('BEGIN IMMEDIATE')
  const commit = database.prepare('COMMIT')
  const rollback = database.prepare('ROLLBACK')
  const change = prepareChange(database)
  return (changes) => {
    const [only] = changes
    // A statement is a transaction by itself.
    if (only && changes.length === 1) return change(only)
    begin.run()
    try {
      const holds = changes.every(change)
      ;(holds ? commit : rollback).run()
      return holds
    } finally {
      if (database.isTransaction) rollback.run()
    }
  }
}

/** An empty array without a buffer behind it is bound as NULL. */
const BODY = "ifnull(?, x'')"

/** Each change is one statement that carries its own condition. */
function prepareChange(database: DatabaseSync): (change: Change) => boolean {
  const insert = database.prepare(`INSERT INTO items VALUES (?, ?, 1, ${BODY}) ON CONFLICT DO NOTHING`)
  const update = database.prepare(
    `UPDATE items SET version = version + 1, body = ${BODY} WHERE pk = ? AND sk = ? AND version = ?`,
  )
  const put = database.prepare(
    `INSERT INTO items VALUES (?, ?, 1, ${BODY})
     ON CONFLICT DO UPDATE SET version = version + 1, body = excluded.body`,
  )
  const absent = database.prepare('SELECT 1 FROM items WHERE pk = ? AND sk = ?')
  const removeVersion = database.prepare('DELETE FROM items WHERE pk = ? AND sk = ? AND version = ?')
  const remove = database.prepare('DELETE FROM items WHERE pk = ? AND sk = ?')

  return ({ pk, sk, expect, body }) => {
    if (body) {
      if (expect === 'any') return put.run(pk, sk, body).changes === 1
      if (expect === 0) return insert.run(pk, sk, body).changes === 1
      return update.run(body, pk, sk, expect).changes === 1
    }
    if (expect === 'any') return remove.run(pk, sk).changes >= 0
    if (expect === 0) return absent.get(pk, sk) === undefined
    return removeVersion.run(pk, sk, expect).changes === 1
  }
}

function answered<T>(ask: () => T): T {
  try {
    return ask()
  } catch (error) {
    throw isSqliteError(error) ? storeProblem(error) : error
  }
}

/** SQLite's own words stay here: they may hold a path. */
export const storeProblem = (error: unknown): Problem =>
  new Problem(
    'store-unavailable',
    (error as { errcode?: number }).errcode === SQLITE_FULL
      ? 'The disk of the store is full.'
      : 'The store did not answer.',
  )

/** https://sqlite.org/rescode.html#full */
const SQLITE_FULL = 13

/** The second is of a store that was closed under a request. */
const ERRORS: ReadonlySet<unknown> = new Set(['ERR_SQLITE_ERROR', 'ERR_INVALID_STATE'])
const isSqliteError = (error: unknown): boolean => error instanceof Error && 'code' in error && ERRORS.has(error.code)
