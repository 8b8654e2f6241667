/** Owners of the simulation: their keys, what they delegate to their agents, and the agents themselves. */
import { adopt } from '../../agent/adopt.ts'
import { createAgent } from '../../agent/agent.ts'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import type { Links } from '../../agent/storage/links.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import type { Environment } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { PIECE_BYTES } from './contents.ts'
import { createHost, type Ground, type Host, type Service } from './host.ts'
import { CALM, type Handler } from './network.ts'
import type { World } from './world.ts'

export interface Person {
  readonly name: string
  readonly id: Bytes
  /** The owner's own key. */
  readonly signer: Signer
  /** The agent's key. */
  readonly agentSigner: Signer
  readonly operations: readonly Envelope[]
  /** Reaches others whatever the weather: it is what they do that is put to the test. */
  readonly environment: Environment
}

export interface Services {
  readonly ledgerUrl: string
  readonly repositoryUrl: string
}

/** More than an agent ever freezes. */
const CAP = 1_000_000n

export function createPerson(world: World, name: string): Person {
  const random = world.chance.fork(`person/${name}`)
  const signer = signerFrom(random.bytes(32))
  const operation = genesis([signer], world.scheduler.now())
  const environment = { clock: world.scheduler, random, transport: world.network.transportOf(`owner.${name}`, CALM) }
  return {
    name,
    signer,
    environment,
    operations: [operation],
    agentSigner: signerFrom(random.bytes(32)),
    id: objectId('identity', operation.body),
  }
}

/** Opens the account and delegates to the agent, which may freeze so much. Repeated, the new word counts. */
export function enrol(person: Person, { ledgerUrl, repositoryUrl }: Services, allowance = CAP): Promise<Envelope> {
  const { environment, signer, id, operations, agentSigner } = person
  return adopt({
    owner: { id, operations },
    signer,
    agent: agentSigner.key,
    caps: { day: allowance, total: allowance },
    ledger: createLedgerClient({ environment, url: ledgerUrl }),
    repository: createRepositoryClient({ environment, url: repositoryUrl }),
    nowMs: environment.clock.now(),
  })
}

export interface AgentHost extends Host {
  readonly person: Person
  readonly owner: OwnerClient
}

export interface AgentSetup {
  readonly delegation: Envelope
  /** Stands in front of the agent: how a seller comes to misbehave. */
  readonly tamper: (answer: Handler) => Handler
  /** In which it sells. */
  readonly modes: readonly LaneMode[]
}

export function createAgentHost(
  world: World,
  person: Person,
  services: Services,
  { delegation, tamper, modes }: AgentSetup,
): AgentHost {
  const name = `${person.name}.example.org`
  const build = (ground: Ground): Service => {
    const { environment, store, storage, onFault } = ground
    const context: AgentContext = {
      environment,
      store,
      owner: person.id,
      operations: person.operations,
      delegation,
      signer: person.agentSigner,
      ledger: createLedgerClient({ environment, url: services.ledgerUrl }),
      repository: createRepositoryClient({ environment, url: services.repositoryUrl }),
      publicUrl: `https://${name}`,
      allowLoopback: false,
      modes,
    }
    const agent = createAgent(context, {
      pieceClient: pieceClientOver(environment.transport),
      links: linksTo(storage),
      pieceLength: PIECE_BYTES,
      onFault,
    })
    return {
      fetch: tamper((request) => agent.app.fetch(request)),
      start: () => agent.start(),
      stop: () => agent.stop(),
    }
  }
  const host = createHost({ world, name, build })
  const owner = createOwnerClient({
    environment: person.environment,
    url: host.url,
    owner: person.id,
    signer: person.signer,
  })
  return Object.assign(host, { person, owner })
}

/** The host's disk is the one storage. */
const linksTo = (storage: Storage): Links => ({
  add: () => Promise.reject(new Problem('bad-request', 'There is one disk.')),
  list: async () => [{ name: 'disk', kind: 'folder' }],
  remove: () => Promise.reject(new Problem('bad-request', 'There is one disk.')),
  open: async () => ({ name: 'disk', storage }),
  close: async () => undefined,
})
