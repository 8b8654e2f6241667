/** Fresh tables for the tests of one file, on a server that ends with them. */
import { randomBytes } from 'node:crypto'
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb'
import { afterAll } from 'vitest'
import { createClient } from '../../infra/store/dynamodb-table.ts'
import { startDynamodb, type DynamodbServer } from './dynamodb-server.ts'

const tables: string[] = []
let started: Promise<DynamodbServer> | undefined
const before = { ...process.env }

afterAll(async () => {
  if (!started) return
  const server = await started
  const client = createClient()
  for (const TableName of tables) await client.send(new DeleteTableCommand({ TableName })).catch(() => {})
  client.destroy()
  await server.stop()
  process.env = before
})

/** The server, to which the SDK's variables point from now on. */
export async function dynamodb(): Promise<DynamodbServer> {
  started ??= startDynamodb()
  const server = await started
  Object.assign(process.env, server.variables)
  return server
}

export function tableName(): string {
  const name = `raincheck-test-${randomBytes(8).toString('hex')}`
  tables.push(name)
  return name
}

/** The spec of a store that was never used. */
export async function freshTable(): Promise<string> {
  await dynamodb()
  return `dynamodb:${tableName()}`
}
