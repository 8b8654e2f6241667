/** Replays the log in a store from its first entry. */
import { readEntries, readHead } from '../../ledger/log.ts'
import { createReplica, type MemoryReplica } from '../../protocol/arbiter/replica.ts'
import { entryHash } from '../../protocol/entry.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Store } from '../../protocol/store.ts'

/** @param onEntry told of each entry's leaf hash, in order */
export async function auditStore(store: Store, onEntry: (hash: string) => void = () => {}): Promise<MemoryReplica> {
  const { size } = await readHead(store)
  const replica = createReplica()
  while (replica.size() < size) {
    for (const entry of await readEntries(store, replica.size(), size)) {
      await replica.apply(entry)
      onEntry(toHex(entryHash(entry)))
    }
  }
  return replica
}
