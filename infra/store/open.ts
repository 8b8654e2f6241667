/** The store a setting names: `LEDGER_STORE`, `REPOSITORY_STORE` and `AGENT_STORE` are such specs. Its kind alone is loaded. */
import type { Store } from '../../protocol/store.ts'
import { realEnvironment } from '../environment.ts'
import type { SqliteOptions } from './sqlite.ts'

export interface StoreOptions extends SqliteOptions {
  /** Make a DynamoDB table that is not there. */
  readonly createTable?: boolean | undefined
  /** Begin no try of a write to DynamoDB after so long. */
  readonly writeMs?: number
}

/**
 * @param spec `sqlite:PATH` or `dynamodb:TABLE`
 * @throws RangeError for another kind of store
 * @throws Problem `store-unavailable` when it cannot be opened
 */
export async function openStore(spec: string, options: StoreOptions = {}): Promise<Store> {
  const [kind, place] = split(spec)
  if (kind === 'sqlite' && place !== '') return (await import('./sqlite.ts')).openSqlite(place, options)
  if (kind === 'dynamodb' && place !== '') {
    const { openDynamodb } = await import('./dynamodb.ts')
    const { createTable = false, writeMs } = options
    return openDynamodb({ ...realEnvironment(), table: place, createTable, writeMs })
  }
  throw new RangeError(`A store is named sqlite:PATH or dynamodb:TABLE, not "${spec}".`)
}

function split(spec: string): readonly [kind: string, place: string] {
  const colon = spec.indexOf(':')
  return [spec.slice(0, Math.max(colon, 0)), spec.slice(colon + 1)]
}
