/** The ledger itself, in process, behind the agent's client and a line that can break. */
import { sha256 } from '#primitives'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { fromHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Clock, Environment } from '../../protocol/environment.ts'

export const FAUCET = 1_000_000n

export interface Money {
  readonly available: bigint
  readonly frozen: bigint
  readonly earned: bigint
}

export interface LocalLedger {
  readonly client: LedgerClient
  readonly id: Bytes
  /** @param account hex */
  balance(account: string): Promise<Money>
  /** Requests sent, by the last part of their path. */
  readonly calls: ReadonlyMap<string, number>
  /** `away`: requests from now on do not arrive; `mute`: they do, and their answers are lost. */
  fail(how: 'away' | 'mute' | undefined): void
}

const url = 'http://ledger.test'

export async function openLocalLedger(clock: Clock): Promise<LocalLedger> {
  const random = { bytes: (length: number) => new Uint8Array(length) }
  const calls = new Map<string, number>()
  let failure: 'away' | 'mute' | undefined

  const environment: Environment = {
    random,
    clock: impatient(clock),
    async transport(request) {
      const path = new URL(request.url).pathname.split('/').at(-1) ?? ''
      calls.set(path, (calls.get(path) ?? 0) + 1)
      if (failure === 'away') throw new TypeError('The line is broken.')
      const response = await ledger.app.fetch(request)
      if (failure === 'mute') throw new TypeError('The line is broken.')
      return response
    },
  }
  const ledger = createLedger({
    environment,
    store: openSqlite(':memory:'),
    secret: sha256(utf8('ledger')),
    origin: 'ledger.test',
    policy: { faucet: FAUCET, unitPrice: 1n },
  })
  const client = createLedgerClient({ environment, url })
  const { id } = await client.info()
  return {
    client,
    id: fromHex(id),
    async balance(account) {
      const { available, frozen, earned } = await client.account(account)
      return { available, frozen, earned }
    },
    calls,
    fail: (how) => (failure = how),
  }
}

/** Pauses between tries take no time; what is waited for with a signal is a time limit, and is left alone. */
export const impatient = (clock: Clock): Clock => ({
  now: () => clock.now(),
  sleep: (ms, signal) => (signal ? clock.sleep(ms, signal) : Promise.resolve()),
})
