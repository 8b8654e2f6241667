/** The way to DynamoDB, and the table that a store has there. */
import {
  CreateTableCommand,
  DynamoDBClient,
  ResourceInUseException,
  ResourceNotFoundException,
  type CreateTableCommandInput,
  type DynamoDBClientConfig,
} from '@aws-sdk/client-dynamodb'
import type { Clock } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'

export interface TableOptions {
  readonly table: string
  readonly clock: Clock
  /** Make the table when it is not there. At an endpoint on this machine it is made in any case. */
  readonly createTable?: boolean
}

const TRY_TIMEOUT_MS = 3_000
/** While a table is made, which takes some seconds. */
const TABLE_TRIES = 60
const TABLE_PAUSE_MS = 1_000

/** A client that leaves asking again to the store. */
export const createClient = (config: DynamoDBClientConfig = {}): DynamoDBClient =>
  new DynamoDBClient({
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: TRY_TIMEOUT_MS,
      requestTimeout: TRY_TIMEOUT_MS,
      socketTimeout: TRY_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
    ...config,
  })

/**
 * @param probe reads the table
 * @throws Problem `store-unavailable` when there is none and none is to be made
 */
export async function requireTable(
  { table, clock, createTable = false }: TableOptions,
  client: DynamoDBClient,
  probe: () => Promise<unknown>,
): Promise<void> {
  const isLocal = watchHost(client)
  const isThere = () => probe().then(() => true, otherwise(ResourceNotFoundException, false))
  if (await isThere()) return
  if (!createTable && !isLocal()) {
    throw new Problem('store-unavailable', `There is no table ${table}. Make it, or set RAINCHECK_CREATE_TABLE=1.`)
  }
  // Another process may be making it at the same moment.
  await client.send(new CreateTableCommand(shapeOf(table))).catch(otherwise(ResourceInUseException, undefined))
  for (let tries = 0; tries < TABLE_TRIES; tries++) {
    if (await isThere()) return
    await clock.sleep(TABLE_PAUSE_MS)
  }
  throw new Problem('store-unavailable', `The table ${table} is not ready yet.`)
}

/** For `catch`: takes errors of one kind for a value. */
const otherwise =
  <T>(kind: new (...args: never[]) => Error, value: T) =>
  (error: unknown): T => {
    if (error instanceof kind) return value
    throw error
  }

const shapeOf = (table: string): CreateTableCommandInput => ({
  TableName: table,
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' },
    { AttributeName: 'sk', AttributeType: 'S' },
  ],
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
})

/** Whether the client's latest request went to this machine. Where its variables lead it says in no other way. */
function watchHost({ middlewareStack }: DynamoDBClient): () => boolean {
  let hostname = ''
  middlewareStack.add(
    (next) => (call) => {
      ;({ hostname } = call.request as { hostname: string })
      return next(call)
    },
    { step: 'finalizeRequest' },
  )
  return () => ['127.0.0.1', 'localhost', '[::1]', '::1'].includes(hostname)
}
