/** The store a setting names: `LEDGER_STORE`, `REPOSITORY_STORE` and `AGENT_STORE` are such specs. */
import type { Store } from '../../protocol/store.ts'
import { openSqlite, type SqliteOptions } from './sqlite.ts'

/**
 * @param spec `sqlite:PATH`
 * @throws RangeError for another kind of store
 * @throws Problem `store-unavailable` when it cannot be opened
 */
export function openStore(spec: string, options: SqliteOptions = {}): Store {
  const [kind, path] = split(spec)
  if (kind !== 'sqlite' || path === '') throw new RangeError(`A store is named sqlite:PATH, not "${spec}".`)
  return openSqlite(path, options)
}

function split(spec: string): readonly [kind: string, place: string] {
  const colon = spec.indexOf(':')
  return [spec.slice(0, Math.max(colon, 0)), spec.slice(colon + 1)]
}
