/** Many who want something of the ledger in the same moment, of all its processes. */
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { unlessBug } from '../../protocol/problem.ts'
import { transfer } from '../../protocol/settlement.ts'
import type { Chance } from './chance.ts'
import type { Person, Services } from './people.ts'
import type { World } from './world.ts'

const PAUSE_MS = [300, 4_000] as const
const MOST_AT_ONCE = 6

/** Bursts of transfers, until the storm is over. */
export async function crowd(
  world: World,
  { ledgerUrl }: Services,
  chance: Chance,
  [from, to]: readonly [Person, Person],
  forMs: number,
): Promise<void> {
  const ledger = createLedgerClient({ environment: from.environment, url: ledgerUrl })
  const give = async (): Promise<void> => {
    const { id } = await ledger.info()
    const order = { amount: 1n, from: from.id, ledger: fromHex(id), nonce: chance.bytes(16), to: to.id }
    await ledger.transfer(transfer(order, from.signer))
  }
  for (const untilMs = world.scheduler.now() + forMs; world.scheduler.now() < untilMs;) {
    await world.scheduler.sleep(chance.integer(...PAUSE_MS))
    const burst = Array.from({ length: chance.integer(2, MOST_AT_ONCE) }, () => give().catch(unlessBug))
    await Promise.all(burst)
  }
}
