/** An agent's loops: none waits for what another waits for. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAgent, type Agent } from '../../agent/agent.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import type { LogWatch } from '../../agent/ledger-watch/log-watch.ts'
import { limits } from '../../protocol/limits.ts'
import { openCircleTown, type CircleTown, type Resident } from './circle-town.ts'

const ROUND_MS = 5_000
const ROUNDS = 8

let town: CircleTown
let ann: Resident
let agent: Agent
let looked = 0

beforeEach(async () => {
  town = openCircleTown()
  ann = await town.open('ann')
  const watch = { maintain: async () => void looked++ } as Partial<LogWatch> as LogWatch
  agent = createAgent(
    { ...ann.context, watch },
    { pieceClient: pieceClientOver(town.environment.transport), onFault: () => undefined },
  )
})
afterEach(() => town.close())

async function pass(ms: number): Promise<void> {
  town.clock.advance(ms)
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
}

test('goes on looking after its credits while a repository does not answer', async () => {
  await ann.ask('PUT', `/v1/follows/${'00'.repeat(32)}`, {})
  agent.start()
  await pass(0)
  town.answer('repository.example', () => new Promise(() => undefined))
  await pass(limits.followMs)
  const before = looked
  for (let round = 0; round < ROUNDS; round++) await pass(ROUND_MS)
  expect(looked - before).toBeGreaterThanOrEqual(ROUNDS - 1)
})
