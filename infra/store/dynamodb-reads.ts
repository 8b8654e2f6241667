/**
 * Reads of single items of a table, as they are now. Those that are asked for together go in one request: what a request
 * takes of its client is many times what an item does.
 */
import { BatchGetItemCommand, GetItemCommand, type AttributeValue, type DynamoDBClient } from '@aws-sdk/client-dynamodb'
import type { Try } from './attempts.ts'

export type Row = Record<string, AttributeValue>
export type Ask = <T>(ask: Try<T>) => Promise<T>

/** What DynamoDB takes in one request. */
const KEYS_AT_ONCE = 100

interface Wanted {
  readonly key: Row
  readonly found: Promise<Row | undefined>
  readonly resolve: (row: Row | undefined) => void
  readonly reject: (error: unknown) => void
}

/** @returns reads a row by its key, strings each */
export function createReads(client: DynamoDBClient, ask: Ask, table: string): (key: Row) => Promise<Row | undefined> {
  /** By key: DynamoDB refuses one that is named twice. */
  let waiting = new Map<string, Wanted>()

  const readOne = (key: Row): Promise<Row | undefined> =>
    ask(async () => (await client.send(new GetItemCommand({ TableName: table, Key: key, ConsistentRead: true }))).Item)

  async function readMany(wanted: ReadonlyMap<string, Wanted>): Promise<void> {
    const Keys = Array.from(wanted.values(), ({ key }) => key)
    const command = new BatchGetItemCommand({ RequestItems: { [table]: { Keys, ConsistentRead: true } } })
    const { Responses, UnprocessedKeys } = await ask(() => client.send(command))
    // Throttled, or beyond the 16 MB of an answer.
    const left = new Set(UnprocessedKeys?.[table]?.Keys?.map(textOf))
    const rows = new Map(Responses?.[table]?.map((row) => [textOf(row), row]))
    for (const [text, { key, resolve, reject }] of wanted) {
      if (left.has(text)) readOne(key).then(resolve, reject)
      else resolve(rows.get(text))
    }
  }

  function send(): void {
    const all = [...waiting]
    waiting = new Map()
    for (let at = 0; at < all.length; at += KEYS_AT_ONCE) {
      const wanted = new Map(all.slice(at, at + KEYS_AT_ONCE))
      const [only, ...others] = wanted.values()
      if (only && others.length === 0) readOne(only.key).then(only.resolve, only.reject)
      else readMany(wanted).catch((error: unknown) => wanted.forEach(({ reject }) => reject(error)))
    }
  }

  return (key) => {
    const text = textOf(key)
    const known = waiting.get(text)
    if (known) return known.found
    const { promise: found, resolve, reject } = Promise.withResolvers<Row | undefined>()
    // Whoever asks for several does so before this is done.
    if (waiting.size === 0) Promise.resolve().then(send, reject)
    waiting.set(text, { key, found, resolve, reject })
    return found
  }
}

/** No key holds NUL, but for the one that stands for the empty key. */
const textOf = ({ pk, sk }: Row): string => JSON.stringify([pk?.S, sk?.S])
