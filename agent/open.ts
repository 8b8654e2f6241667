/** An agent at its owner's home: its own key, the owner's delegation, and the services it settles and meets at. */
import { join } from 'node:path'
import { equal, fromUtf8, toHex, type Bytes } from '../protocol/bytes.ts'
import { parseDelegation, type Delegation } from '../protocol/delegation.ts'
import type { LaneMode } from '../protocol/commitment.ts'
import type { Environment } from '../protocol/environment.ts'
import { replay, speaksFor, type IdentityState } from '../protocol/identity.ts'
import type { LogPolicy } from '../protocol/log-policy.ts'
import { Problem } from '../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, signerFrom, type Envelope } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import { adopt, USUAL_CAPS } from './adopt.ts'
import { createAgent, type Agent, type AgentOptions } from './agent.ts'
import type { AgentContext } from './context.ts'
import type { Home } from './home.ts'
import { saveFile } from './save-file.ts'
import { readOptional } from './secret-file.ts'
import { createLedgerClient, type LedgerClient } from './clients/ledger-client.ts'
import type { ProviderHosts } from './storage/providers.ts'
import { createSecrets } from './storage/secrets.ts'
import { createLogWatch } from './ledger-watch/log-watch.ts'
import { watchLedger } from './ledger-watch/watched-ledger.ts'
import { joinRepositories } from './clients/joined-repositories.ts'
import { createRepositoryClient, type RepositoryClient } from './clients/repository-client.ts'

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
  /** Further repositories, where the owner is registered as well. */
  readonly moreRepositoryUrls?: readonly string[]
  readonly publicUrl: string
  readonly allowLoopback: boolean
  readonly passphrase?: string
  /** How it sells, and what may be at stake where it buys prepaid: as in its context. */
  readonly modes?: readonly LaneMode[]
  readonly stakeMost?: bigint
  /** As in its context. */
  readonly bittorrent?: AgentContext['bittorrent']
  /** Whose cosignatures the ledger's checkpoints need, and how many; nobody's unless given. */
  readonly witnesses?: LogPolicy
  /** The same of the repository's. */
  readonly repositoryWitnesses?: LogPolicy
  /** Default: the providers' own. */
  readonly hosts?: ProviderHosts
}

export interface OpenedAgent extends Agent {
  readonly context: AgentContext
}

/** @throws Problem `not-found` when the home has no owner yet, `forbidden` when the owner's key has to sign and is encrypted */
export async function openAgent(options: OpenAgentOptions): Promise<OpenedAgent> {
  const { environment, store, home, dir, ledgerUrl, repositoryUrl, publicUrl, allowLoopback } = options
  const owner = await home.owner()
  const signer = signerFrom(options.secret)
  const unwatched = createLedgerClient({ environment, url: ledgerUrl })
  const policy = options.witnesses
  const watched = { environment, store, ledger: unwatched, owner: owner.id, ...(policy && { policy }) }
  const watch = createLogWatch(watched)
  const ledger = watchLedger(unwatched, watch)
  const more = (options.moreRepositoryUrls ?? []).map((url) => createRepositoryClient({ environment, url }))
  const repository = joinRepositories(createRepositoryClient({ environment, url: repositoryUrl }), ...more)

  async function delegate(): Promise<Envelope> {
    const nowMs = environment.clock.now()
    const identity = replay(owner.operations, nowMs)
    const saved = await savedDelegation(dir, { agent: signer.key, identity, nowMs })
    if (saved && (await isKnown(toHex(owner.id), ledger, repository)) && (await isFor(saved, ledger))) return saved
    const ownerSigner = await home.signer(options.passphrase).catch((error: unknown) => {
      throw explain(error, toHex(signer.key), dir)
    })
    const adoption = { owner, signer: ownerSigner, agent: signer.key, caps: USUAL_CAPS, ledger, repository, nowMs }
    const delegation = await adopt(adoption)
    await saveDelegation(dir, delegation)
    return delegation
  }

  const context: AgentContext = {
    environment,
    store,
    owner: owner.id,
    operations: owner.operations,
    delegation: await delegate(),
    signer,
    ledger,
    watch,
    repository,
    ...(options.repositoryWitnesses && { repositoryWitnesses: options.repositoryWitnesses }),
    publicUrl,
    allowLoopback,
    ...(options.modes && { modes: options.modes }),
    ...(options.stakeMost !== undefined && { stakeMost: options.stakeMost }),
    ...(options.bittorrent && { bittorrent: options.bittorrent }),
  }
  const secrets = createSecrets(options.secret, environment.random)
  const linkAccess = { secrets, keyFolders: [home.dir, dir], ...(options.hosts && { hosts: options.hosts }) }
  return { ...createAgent(context, { ...options, linkAccess }), context }
}

interface Wanted {
  readonly agent: Bytes
  readonly identity: IdentityState
  readonly nowMs: number
}

async function savedDelegation(dir: string, { agent, identity, nowMs }: Wanted): Promise<Envelope | undefined> {
  const path = join(dir, 'delegation.json')
  const saved = await readOptional(path)
  if (!saved) return undefined
  const { envelope, delegation } = delegationIn(saved, path)
  // A key that was rotated out takes its delegations with it.
  const isOurs =
    equal(delegation.agent, agent) && equal(delegation.owner, identity.id) && speaksFor(identity, delegation.key)
  return isOurs && delegation.expires - nowMs > RENEWAL_MS ? envelope : undefined
}

function delegationIn(saved: Uint8Array, path: string): { envelope: Envelope; delegation: Delegation } {
  try {
    const envelope = envelopeFromJson(JSON.parse(fromUtf8(saved)))
    return { envelope, delegation: parseDelegation(envelope) }
  } catch {
    throw new Problem('bad-encoding', `${path} holds no delegation: mend it, or take it away.`)
  }
}

/** Without the owner's key, the owner signs elsewhere. */
function explain(error: unknown, agent: string, dir: string): unknown {
  if (!(error instanceof Problem) || error.code !== 'not-found') return error
  const command = `raincheck delegate ${agent} --out delegation.json`
  return new Problem('not-found', `${error.message} Or run \`${command}\` where it is, and put that file into ${dir}.`)
}

/** Whether a delegation counts at this ledger, as far as it can be asked. */
const isFor = (delegation: Envelope, ledger: LedgerClient): Promise<boolean> =>
  ledger.info().then(({ id }) => {
    const named = parseDelegation(delegation).ledger
    return named !== undefined && toHex(named) === id
  }, unlessAway)

/** Whether both services know the owner: they may be others than last time, or have lost their stores. */
async function isKnown(id: string, ledger: LedgerClient, repository: RepositoryClient): Promise<boolean> {
  const answers = [ledger.account(id), repository.identity(id)].map((answer: Promise<unknown>) =>
    answer.then(() => true, unlessAway),
  )
  return (await Promise.all(answers)).every((isThere) => isThere)
}

/** A service that is away is taken for the one that was told. */
function unlessAway(error: unknown): boolean {
  if (error instanceof Problem) return error.code !== 'not-found'
  throw error
}

const saveDelegation = (dir: string, delegation: Envelope): Promise<void> =>
  saveFile(join(dir, 'delegation.json'), JSON.stringify(envelopeToJson(delegation)), 0o600)
