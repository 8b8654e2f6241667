/** Each account's entries, written with the log itself: rows under the account, in runs as they were sequenced. */
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { movementShape } from '../protocol/arbiter/items.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decode, encode, field, fields, type Fields } from '../protocol/encoding.ts'
import type { Store } from '../protocol/store.ts'
import { sortable } from './log.ts'

const rowShape = {
  ...movementShape,
  /** Leaf hash. */
  entry: field.bytes(32),
  index: field.integer(),
  kind: field.text(),
  time: field.integer(),
}
/** What the entry at `index` moved on the account. */
export type StatementRow = Fields<typeof rowShape>

const runShape = { rows: field.list(field.dict(rowShape)) }

/** Where a run of rows lies that begins with the entry at `first`. */
export const statementKey = (account: Bytes, first: number): Key => ({
  pk: `statement/${toHex(account)}`,
  sk: sortable(first),
})

export const encodeRows = (rows: readonly StatementRow[]): Bytes => encode({ rows })

/** Rows from the entry at `from` on, the oldest first. */
export async function readStatement(
  store: Store,
  account: Bytes,
  from: number,
  limit: number,
): Promise<StatementRow[]> {
  const { pk, sk } = statementKey(account, from)
  const [running] = await store.list(pk, { after: sk, reverse: true, limit: 1 })
  const later = await store.list(pk, { ...(running && { after: running.sk }), limit })
  const rows = [...(running ? [running] : []), ...later].flatMap(({ body }) => fields(decode(body), runShape).rows)
  return rows.filter(({ index }) => index >= from).slice(0, limit)
}
