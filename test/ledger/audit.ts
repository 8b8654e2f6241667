/** Replays the log in a store from its first entry. */
import { createContext } from '../../ledger/context.ts'
import { createReplayFeed } from '../../ledger/replay-feed.ts'
import { load } from '../../ledger/state.ts'
import { keys, policies } from '../../protocol/arbiter/items.ts'
import { createReplica, type MemoryReplica } from '../../protocol/arbiter/replica.ts'
import { entryHash } from '../../protocol/entry.ts'
import { toHex } from '../../protocol/bytes.ts'
import { EMPTY_FRONTIER } from '../../protocol/merkle.ts'
import type { Store } from '../../protocol/store.ts'
import { ORIGIN, SECRET, testClock, testEnvironment } from './kit.ts'

/** @param onEntry told of each entry's leaf hash, in order */
export async function auditStore(store: Store, onEntry: (hash: string) => void = () => {}): Promise<MemoryReplica> {
  const item = await load(store, keys.policy)
  const policy = item ? policies.decode(item.body) : { faucet: 0n, unitPrice: 1n }
  const context = createContext({
    environment: testEnvironment(testClock()),
    store,
    secret: SECRET,
    origin: ORIGIN,
    policy,
  })
  const feed = await createReplayFeed(context, EMPTY_FRONTIER, 0)
  const replica = createReplica()
  for (let entries = await feed.next(); entries.length > 0; entries = await feed.next()) {
    for (const entry of entries) {
      await replica.apply(entry)
      feed.took(entry)
      onEntry(toHex(entryHash(entry)))
    }
  }
  return replica
}
