/** Which shard of a log an entry belongs in (shards.ts). */
import { movementsOf } from '../arbiter.ts'
import type { Bytes } from '../bytes.ts'
import type { Entry } from '../entry.ts'
import { readRedemption } from '../settlement.ts'

/**
 * The shard that an entry belongs in: a redemption by its lane, what moves credits by the first account that it names,
 * the rest in the first. @throws Problem `bad-encoding` for an entry that is none of a ledger
 */
export function shardOf(entry: Entry, shards: number): number {
  const name = shardName(entry)
  return name ? new DataView(name.buffer, name.byteOffset).getUint32(0) % shards : 0
}

function shardName(entry: Entry): Bytes | undefined {
  const [part] = entry.parts
  return entry.kind === 'redeem' && part ? readRedemption(part).lane : movementsOf(entry)[0]?.account
}
