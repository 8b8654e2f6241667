/** How long what is accepted waits for the log, told without reading all of it. */
import { decodeEntry } from '../protocol/entry.ts'
import type { Store } from '../protocol/store.ts'
import { readFirst } from './pending.ts'
import { readRedeemed } from './state.ts'

/**
 * @returns when the ledger took the oldest command that waits, or a redemption that does where that is earlier, in
 *   milliseconds; undefined while nothing waits
 */
export async function waitingSince(store: Store): Promise<number | undefined> {
  const { command, pointers } = await readFirst(store)
  const redemptions = await Promise.all(pointers.map((pointer) => readRedeemed(store, pointer)))
  const entries = [command?.entry, ...redemptions.map((found) => found?.entry)].filter((entry) => entry !== undefined)
  const times = entries.map((entry) => decodeEntry(entry).time)
  return times.length > 0 ? Math.min(...times) : undefined
}
