/**
 * What the parameters of a deployment set, told to its workers through the store: a worker is of a version of its function, which
 * keeps the variables that it was made with until the code changes.
 */
import { equal, fromUtf8 } from '../protocol/bytes.ts'
import type { Store } from '../protocol/store.ts'
import { encodeRecord } from './records.ts'

const NAMES = [
  'LEDGER_URL',
  'REPOSITORY_URL',
  'AGENT_WITNESSES',
  'AGENT_REPOSITORY_WITNESSES',
  'SELL_MODES',
  'STAKE_MOST',
  'SPEND_MOST',
  'SERVE_MOST',
] as const

const PK = 'setting'
const SK = 'parameters'

type Variables = Readonly<Record<string, string | undefined>>

/** For the function whose variables are always those of the latest deployment. */
export async function tellSettings(store: Store, variables: Variables): Promise<void> {
  const body = encodeRecord(Object.fromEntries(NAMES.map((name) => [name, variables[name] ?? ''])))
  const item = await store.get(PK, SK)
  if (!item || !equal(item.body, body)) await store.write([{ pk: PK, sk: SK, expect: 'any', body }])
}

/** @returns a text that is the same while they are: the variables, as JSON; none until they were told */
export async function toldSettings(store: Pick<Store, 'get'>): Promise<string> {
  const item = await store.get(PK, SK)
  return item ? fromUtf8(item.body) : '{}'
}
