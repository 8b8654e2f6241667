/** Writes that go by what was read: again from the start when another write came between. */
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Change, Store } from '../protocol/store.ts'

export interface Decision<T> {
  /** Conditional on what was read; none when there is nothing to do. */
  readonly changes: readonly Change[]
  readonly result: T
}

const TRIES = 64
/** Of one write: a DynamoDB transaction takes 4 MB. */
const WRITE_BYTES = 3 * 1024 * 1024

/** @throws Problem `store-unavailable` when others kept coming between */
export async function decideAndWrite<T>(store: Store, decide: () => Promise<Decision<T>>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const { changes, result } = await decide()
    if (changes.length === 0 || (await store.write(changes))) return result
  }
  throw new Problem('store-unavailable', 'Too many others write the same: try again.')
}

/** Unconditional changes, in as many writes as they need. */
export async function writeAll(store: Store, changes: Iterable<Omit<Change, 'expect'>>): Promise<void> {
  let batch: Change[] = []
  let bytes = 0
  for (const change of changes) {
    if (
      batch.length === limits.changesPerWrite ||
      (batch.length > 0 && bytes + (change.body?.length ?? 0) > WRITE_BYTES)
    ) {
      await store.write(batch)
      ;[batch, bytes] = [[], 0]
    }
    batch.push({ ...change, expect: 'any' })
    bytes += change.body?.length ?? 0
  }
  if (batch.length > 0) await store.write(batch)
}

/** Removes every item of a key whose sort key starts so. */
export async function removeAll(store: Store, pk: string, prefix: string): Promise<void> {
  for (;;) {
    const items = await store.list(pk, { prefix, limit: limits.changesPerWrite })
    await writeAll(
      store,
      items.map(({ sk }) => ({ pk, sk })),
    )
    if (items.length < limits.changesPerWrite) return
  }
}
