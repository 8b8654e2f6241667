/** The whole network on this machine: a ledger with a faucet, a repository, your agent and a neighbour's, each on its own port. */
import { access, constants } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { sha256 } from '#primitives'
import { readDashboard } from '../../agent/dashboard/dashboard-node.ts'
import { openHome, type Home } from '../../agent/home.ts'
import { makeFolder } from '../../agent/make-folder.ts'
import { openAgent, type OpenedAgent } from '../../agent/open.ts'
import { PROVIDER_HOSTS, type ProviderHosts } from '../../agent/storage/providers.ts'
import { pieceClientNode } from '../../agent/download/piece-client-node.ts'
import { sendFileNode } from '../../agent/sell/file-server-node.ts'
import { sendPieceNode } from '../../agent/sell/piece-server-node.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { createRepository } from '../../repository/repository.ts'
import { agentWorld, KEPT_THROUGH_KILLS } from '../agent-world.ts'
import { listen, type Listening, type ListenOptions } from '../serve.ts'
import { openServiceKey } from '../service-key.ts'
import { openStore, type StoreOptions } from '../store/open.ts'
import { lockFolder } from './folder-lock.ts'

/** What the local ledger gives every new account, in credits. */
const FAUCET = 1_000_000n
const HOST = '127.0.0.1'

export interface NetworkOptions {
  readonly environment: Environment
  /** State lives here. */
  readonly dir: string
  /** Your agent's port; the ledger's, the repository's and the neighbour's are the three after it. */
  readonly port: number
  /** Specs of stores, where not SQLite files under `dir`. */
  readonly stores?: Stores
  /** Of your key, where it is encrypted. */
  readonly passphrase?: string
  readonly onFault: (error: unknown) => void
  /** Where the providers of storage answer; default: at home. */
  readonly hosts?: ProviderHosts | undefined
}

export interface Stores {
  readonly ledger?: string
  readonly repository?: string
  /** Your agent's; the neighbour's is always its own. */
  readonly agent?: string
  /** Make the tables that they name and that are not there. */
  readonly createTables?: boolean
}

export interface Resident {
  readonly home: Home
  readonly agent: OpenedAgent
  readonly url: string
  /** The folder that is linked as `folder`. */
  readonly files: string
}

export interface Network {
  readonly ledgerUrl: string
  readonly repositoryUrl: string
  readonly you: Resident
  readonly neighbour: Resident
  stop(): Promise<void>
}

/**
 * @throws Problem `conflict` for a taken port or a directory in use, `storage-read-only` for one that cannot be written,
 *   `forbidden` when your key is encrypted and has to sign
 */
export async function startNetwork(options: NetworkOptions): Promise<Network> {
  const closers: (() => Promise<void> | void)[] = []
  const stop = async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  }
  try {
    return { ...(await startAll({ ...options, dir: resolve(options.dir) }, (close) => closers.push(close))), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

type OnStop = (close: () => Promise<void> | void) => void

async function startAll(options: NetworkOptions, onStop: OnStop): Promise<Omit<Network, 'stop'>> {
  const { port, dir } = options
  await requireWritable(dir)
  onStop(lockFolder(dir))
  const url = (offset: number) => `http://${HOST}:${port + offset}`
  await startLedger(options, onStop)
  await startRepository(options, onStop)
  const { stores, passphrase, ...rest } = options
  const shared = { ...rest, ledgerUrl: url(1), repositoryUrl: url(2), onStop }
  const neighbour = await openResident({ ...shared, dir: join(dir, 'neighbour'), port: port + 3 })
  const yours = { store: stores?.agent, createTable: stores?.createTables, passphrase }
  const you = await openResident({ ...shared, ...yours, dir: join(dir, 'you'), port })
  // An agent leaves a seller alone for a while that does not answer: both listen before either goes on with its downloads.
  for (const { agent } of [neighbour, you]) agent.start()
  return { ledgerUrl: url(1), repositoryUrl: url(2), you, neighbour }
}

/** A ledger somewhere else is another ledger: under the same key, its log would be a second history of this one's. */
const keyFile = (spec: string | undefined): string =>
  spec === undefined ? 'key' : `key-${toHex(sha256(utf8(spec))).slice(0, 16)}`

async function startLedger({ environment, dir, port, stores, onFault }: NetworkOptions, onStop: OnStop): Promise<void> {
  const store = await storeAt(join(dir, 'ledger'), stores?.ledger, onStop, {
    createTable: stores?.createTables,
    writeMs: limits.ledgerWriteMs,
  })
  const ledger = createLedger({
    environment,
    store,
    secret: await openServiceKey(join(dir, 'ledger', keyFile(stores?.ledger)), environment.random),
    origin: 'raincheck.local/ledger',
    policy: { unitPrice: 1n, faucet: FAUCET },
    onFault,
  })
  const server = await listenOn(port + 1, ledger.app)
  await ledger.start()
  onStop(async () => {
    await server.close()
    await ledger.stop()
  })
}

async function startRepository(
  { environment, dir, port, stores, onFault }: NetworkOptions,
  onStop: OnStop,
): Promise<void> {
  const store = await storeAt(join(dir, 'repository'), stores?.repository, onStop, {
    createTable: stores?.createTables,
  })
  const repository = createRepository({ environment, store, options: { allowLoopback: true }, onFault })
  const server = await listenOn(port + 2, repository.app)
  await repository.start()
  onStop(async () => {
    await server.close()
    await repository.stop()
  })
}

interface ResidentOptions extends Omit<NetworkOptions, 'stores' | 'passphrase'> {
  readonly store?: string | undefined
  readonly createTable?: boolean | undefined
  readonly passphrase?: string | undefined
  readonly ledgerUrl: string
  readonly repositoryUrl: string
  readonly onStop: OnStop
}

async function openResident(options: ResidentOptions): Promise<Resident> {
  const { dir, port, ledgerUrl, repositoryUrl, passphrase, onFault, onStop } = options
  const hosts = options.hosts ?? PROVIDER_HOSTS
  const [real, services] = [options.environment, [ledgerUrl, repositoryUrl]]
  const { environment, pin } = agentWorld({ real, services, hosts, allowLoopback: true })
  const url = `http://${HOST}:${port}`
  const files = join(dir, 'files')
  makeFolder(files)
  const home = openHome(dir)
  await home.init(environment)
  await home.saveSettings({ agent: url, ledger: ledgerUrl, repository: repositoryUrl })
  const agent = await openAgent({
    environment,
    store: await storeAt(join(dir, 'agent'), options.store, onStop, {
      ...KEPT_THROUGH_KILLS,
      createTable: options.createTable,
    }),
    home,
    secret: await openServiceKey(join(dir, 'agent', 'key'), environment.random),
    dir: join(dir, 'agent'),
    ledgerUrl,
    repositoryUrl,
    publicUrl: url,
    allowLoopback: true,
    hosts,
    ...(passphrase === undefined ? {} : { passphrase }),
    pieceClient: pieceClientNode(pin),
    sendPiece: sendPieceNode,
    sendFile: sendFileNode,
    dashboard: await readDashboard(),
    onFault,
  })
  if ((await agent.links.list()).length === 0) await agent.links.add('folder', { path: files, name: 'folder' })
  const server = await listenOn(port, agent.app)
  onStop(async () => {
    await server.close()
    await agent.stop()
  })
  return { home, agent, url, files }
}

/** Who finds one of them taken has to know of the others. */
async function listenOn(port: number, app: Pick<ListenOptions, 'fetch'>): Promise<Listening> {
  return listen({ fetch: app.fetch, port, hostname: HOST }).catch((error: unknown) => {
    if (!(error instanceof Problem) || error.code !== 'conflict') throw error
    throw new Problem(error.code, `${error.message} \`npm start\` takes four in a row: --port names the first.`)
  })
}

async function storeAt(dir: string, spec: string | undefined, onStop: OnStop, options: StoreOptions): Promise<Store> {
  makeFolder(dir, 0o700)
  const store = await openStore(spec ?? `sqlite:${join(dir, 'store.sqlite')}`, options)
  onStop(() => store.close())
  return store
}

async function requireWritable(dir: string): Promise<void> {
  try {
    makeFolder(dir)
    await access(dir, constants.W_OK)
  } catch {
    throw new Problem('storage-read-only', `${dir} cannot be written: choose another folder with --data.`)
  }
}
