/**
 * The store on DynamoDB: a table with the keys `pk` and `sk` (strings), where `v` is the version, `b` the body and `w` a
 * mark of the write.
 *
 * A write that was done and whose answer was lost is asked for again, and must not be told then that its condition
 * fails because of itself. One put or delete under a condition is a single request, a write unit for each KiB: a put
 * finds its own mark; a delete that finds nothing any more does not know, and says so. All else is a transaction, twice
 * as dear, which DynamoDB itself knows again by its token.
 */
import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  PutItemCommand,
  QueryCommand,
  TransactWriteItemsCommand,
  type Delete,
  type DynamoDBClient,
  type Put,
  type QueryCommandInput,
  type TransactWriteItem,
} from '@aws-sdk/client-dynamodb'
import { compare, equal, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Item, Range, Store } from '../../protocol/store.ts'
import { attempt } from './attempts.ts'
import { checkChanges, checkKey, checkRange } from './check.ts'
import { answered, failureOf, isRefused, problemOfOpening } from './dynamodb-failures.ts'
import { createReads, type Ask, type Row } from './dynamodb-reads.ts'
import { createClient, requireTable, type TableOptions } from './dynamodb-table.ts'

export interface DynamodbOptions extends TableOptions {
  readonly random: Random
  /** Default: one that takes region, credentials and endpoint from the SDK's own variables. Closed with the store. */
  readonly client?: DynamoDBClient
  /** No try of a write begins after so long; 8 s unless told. A try takes 3 s at the most. */
  readonly writeMs?: number | undefined
}

const MARK_BYTES = 8
const TOKEN_BYTES = 16
/** Stands for the empty key, which DynamoDB refuses, at its place in the order: no key holds NUL. */
const EMPTY = '\0'

/** @throws Problem `store-unavailable` when the table is not there, or cannot be asked for */
export async function openDynamodb(options: DynamodbOptions): Promise<Store> {
  const { table, client = createClient() } = options
  const ask: Ask = (once) => attempt(options, failureOf, once)
  const read = createReads(client, ask, table)
  try {
    await requireTable(options, client, () => read(keyOf(EMPTY, EMPTY)))
  } catch (error) {
    client.destroy()
    throw problemOfOpening(table, error)
  }
  const write = prepareWrites(options, client, (once) =>
    attempt({ ...options, budgetMs: options.writeMs }, failureOf, once),
  )
  return {
    get: async (pk, sk) => {
      checkKey(pk)
      checkKey(sk)
      const row = await answered(() => read(keyOf(pk, sk)))
      return row && itemOf(pk, row)
    },
    list: async (pk, range) => {
      checkKey(pk)
      checkRange(range)
      return isPassed(range) ? [] : answered(() => list(client, ask, table, pk, range))
    },
    write: async (changes) => {
      checkChanges(changes)
      return answered(() => write(changes))
    },
    close: () => client.destroy(),
  }
}

const keyOf = (pk: string, sk: string): Row => ({ pk: { S: pk || EMPTY }, sk: { S: sk || EMPTY } })

const itemOf = (pk: string, row: Row): Item => ({
  pk,
  sk: row['sk']?.S === EMPTY ? '' : (row['sk']?.S ?? ''),
  version: Number(row['v']?.N),
  body: row['b']?.B as Bytes,
})

/**
 * A page is 1 MB at most, however many items were asked for. What it holds is looked at again: a server on SQLite may
 * match a prefix with LIKE, to which `A` is `a`.
 */
async function list(client: DynamoDBClient, ask: Ask, table: string, pk: string, range: Range): Promise<Item[]> {
  const { prefix = '', after, limit } = range
  const items: Item[] = []
  let start = after?.startsWith(prefix) ? keyOf(pk, after) : undefined
  do {
    const query = queryOf(table, pk, range)
    const left = { Limit: limit - items.length, ...(start && { ExclusiveStartKey: start }) }
    const page = await ask(() => client.send(new QueryCommand({ ...query, ...left })))
    const found = (page.Items ?? []).map((row) => itemOf(pk, row))
    items.push(...found.filter(({ sk }) => sk.startsWith(prefix)))
    start = page.LastEvaluatedKey
  } while (start && items.length < limit)
  return items
}

const queryOf = (table: string, pk: string, { prefix, reverse = false }: Range): QueryCommandInput => ({
  TableName: table,
  ConsistentRead: true,
  ScanIndexForward: !reverse,
  KeyConditionExpression: prefix ? 'pk = :pk AND begins_with(sk, :prefix)' : 'pk = :pk',
  ExpressionAttributeValues: { ':pk': { S: pk || EMPTY }, ...(prefix && { ':prefix': { S: prefix } }) },
})

/** Whether all that starts with the prefix lies before what is listed. DynamoDB goes on only after a key within a range. */
function isPassed({ prefix = '', after, reverse = false }: Range): boolean {
  if (after === undefined || after.startsWith(prefix)) return false
  return compare(utf8(after), utf8(prefix)) > 0 !== reverse
}

function prepareWrites({ table, random }: DynamodbOptions, client: DynamoDBClient, ask: Ask) {
  async function putOne(put: Put): Promise<boolean> {
    const mark = random.bytes(MARK_BYTES)
    const Item = { ...put.Item, w: { B: mark } }
    const command = new PutItemCommand({ ...put, Item, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' })
    return ask(async (wasLost) => {
      try {
        await client.send(command)
        return true
      } catch (error) {
        if (!(error instanceof ConditionalCheckFailedException)) throw error
        return isOurs(error, mark, wasLost)
      }
    })
  }

  async function deleteOne(target: Delete): Promise<boolean> {
    const command = new DeleteItemCommand({ ...target, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' })
    return ask(async (wasLost) => {
      try {
        await client.send(command)
        return true
      } catch (error) {
        if (!(error instanceof ConditionalCheckFailedException)) throw error
        return isOurs(error, undefined, wasLost)
      }
    })
  }

  async function transact(changes: readonly Change[]): Promise<boolean> {
    const TransactItems = changes.map((change) => actionOf(table, change))
    let ClientRequestToken = ''
    return ask(async (wasLost) => {
      // A token may stand for what came of it: what was called off for now is asked for under another.
      if (!wasLost) ClientRequestToken = toHex(random.bytes(TOKEN_BYTES))
      try {
        await client.send(new TransactWriteItemsCommand({ TransactItems, ClientRequestToken }))
        return true
      } catch (error) {
        if (isRefused(error)) return false
        throw error
      }
    })
  }

  return async (changes: readonly Change[]): Promise<boolean> => {
    const [change] = changes
    if (!change || changes.length > 1) return transact(changes)
    const put = putOf(table, change)
    if (put) return putOne(put)
    const target = deleteOf(table, change)
    return target ? deleteOne(target) : transact(changes)
  }
}

/**
 * Whether the item that stands against a write is what that very write put there.
 * @param mark undefined for a delete, which leaves none
 * @throws Problem `store-unavailable` when it was another, but may have come after ours
 */
function isOurs(
  { Item: row, $metadata }: ConditionalCheckFailedException,
  mark: Bytes | undefined,
  wasLost: boolean,
): boolean {
  const found = row?.['w']?.B
  if (found && mark && equal(found, mark)) return true
  if (wasLost || ($metadata.attempts ?? 1) > 1) throw new Problem('store-unavailable', 'The store lost an answer.')
  return false
}

function actionOf(table: string, change: Change): TransactWriteItem {
  const put = putOf(table, change)
  if (put) return { Put: put }
  const conditional = deleteOf(table, change)
  if (conditional) return { Delete: conditional }
  const { pk, sk, body } = change
  const target = { TableName: table, Key: keyOf(pk, sk) }
  if (!body) return { Delete: target }
  const values = { ':b': { B: body }, ':one': { N: '1' } }
  return { Update: { ...target, UpdateExpression: 'SET b = :b ADD v :one', ExpressionAttributeValues: values } }
}

/** A put that says its version: undefined for a change that deletes or has no condition. */
function putOf(table: string, { pk, sk, expect, body }: Change) {
  if (!body || expect === 'any') return undefined
  const row = { ...keyOf(pk, sk), v: { N: String(expect + 1) }, b: { B: body } }
  return { TableName: table, Item: row, ...conditionOf(expect) } satisfies Put
}

/** A delete that says its version: undefined for a change that puts or has no condition. */
function deleteOf(table: string, { pk, sk, expect, body }: Change) {
  if (body || expect === 'any') return undefined
  return { TableName: table, Key: keyOf(pk, sk), ...conditionOf(expect) } satisfies Delete
}

const conditionOf = (expect: number) =>
  expect === 0
    ? { ConditionExpression: 'attribute_not_exists(pk)' }
    : { ConditionExpression: 'v = :v', ExpressionAttributeValues: { ':v': { N: String(expect) } } }
