/** An agent at its owner's home: its own key, the owner's delegation, and the services it settles and meets at. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromUtf8, type Bytes } from '../protocol/bytes.ts'
import { parseDelegation } from '../protocol/delegation.ts'
import type { Environment } from '../protocol/environment.ts'
import { envelopeFromJson, envelopeToJson, signerFrom, type Envelope } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import { adopt } from './adopt.ts'
import { createAgent, type Agent, type AgentOptions } from './agent.ts'
import type { AgentContext } from './context.ts'
import type { Home } from './home.ts'
import { createLedgerClient } from './ledger-client.ts'
import { createRepositoryClient } from './repository-client.ts'

/** What an agent may freeze unless its owner says otherwise. */
const CAPS = { day: 1_000_000n, total: 1_000_000_000n }
/** A delegation is renewed when less than this is left of it. */
const RENEWAL_MS = 30 * 24 * 60 * 60 * 1000

export interface OpenAgentOptions extends AgentOptions {
  readonly environment: Environment
  readonly store: Store
  readonly home: Home
  /** The agent's own 32-byte key. */
  readonly secret: Bytes
  /** Where the agent keeps its delegation. */
  readonly dir: string
  readonly ledgerUrl: string
  readonly repositoryUrl: string
  readonly publicUrl: string
  readonly allowLoopback: boolean
  readonly passphrase?: string
}

export interface OpenedAgent extends Agent {
  readonly context: AgentContext
}

/** @throws Problem `not-found` when the home has no owner yet */
export async function openAgent(options: OpenAgentOptions): Promise<OpenedAgent> {
  const { environment, store, home, dir, ledgerUrl, repositoryUrl, publicUrl, allowLoopback } = options
  const owner = await home.owner()
  const signer = signerFrom(options.secret)
  const ledger = createLedgerClient({ environment, url: ledgerUrl })
  const repository = createRepositoryClient({ environment, url: repositoryUrl })
  const delegation =
    (await savedDelegation(dir, environment.clock.now())) ??
    (await adopt({
      owner,
      signer: await home.signer(options.passphrase),
      agent: signer.key,
      caps: CAPS,
      ledger,
      repository,
      nowMs: environment.clock.now(),
    }))
  await saveDelegation(dir, delegation)
  const context: AgentContext = {
    environment,
    store,
    owner: owner.id,
    operations: owner.operations,
    delegation,
    signer,
    ledger,
    repository,
    publicUrl,
    allowLoopback,
  }
  return { ...createAgent(context, options), context }
}

async function savedDelegation(dir: string, nowMs: number): Promise<Envelope | undefined> {
  const saved = await readFile(join(dir, 'delegation.json')).catch(() => undefined)
  if (!saved) return undefined
  const envelope = envelopeFromJson(JSON.parse(fromUtf8(saved)))
  return parseDelegation(envelope).expires - nowMs > RENEWAL_MS ? envelope : undefined
}

async function saveDelegation(dir: string, delegation: Envelope): Promise<void> {
  const path = join(dir, 'delegation.json')
  await writeFile(`${path}.tmp`, JSON.stringify(envelopeToJson(delegation)), { mode: 0o600, flush: true })
  await rename(`${path}.tmp`, path)
}
