/**
 * A whole network in a test's hands: the real ledger, the real repository and real agents, each a host that is reached
 * over HTTP alone. Whoever attacks has the means that anyone has, and `unmoved` tells whether it changed a thing.
 */
import { expect } from 'vitest'
import { sha256 } from '#primitives'
import { adopt } from '../../agent/adopt.ts'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { createRepositoryClient, type RepositoryClient } from '../../agent/clients/repository-client.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Clock, Environment } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { createRepository, type Repository } from '../../repository/repository.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { impatient } from '../agent/local-ledger.ts'
import { FAUCET, ORIGIN, SECRET, testRandom } from '../ledger/kit.ts'
import { watchedStore, type WatchedStore } from '../ledger/store-watch.ts'
import { answerOf, type Answer } from './answer.ts'
import { inProcess, type Ground, type Handler } from './ground.ts'

export { FAUCET } from '../ledger/kit.ts'

/** Someone with an account and an agent's key that may spend for them; whether that agent runs is another matter. */
export interface Person {
  readonly name: string
  readonly id: Bytes
  readonly hex: string
  /** The owner's own key. */
  readonly signer: Signer
  /** The agent's key. */
  readonly agent: Signer
  readonly identity: Envelope
  readonly delegation: Envelope
}

export interface Money {
  readonly available: bigint
  readonly frozen: bigint
  readonly earned: bigint
}

/** Of every host, what its store holds (version and hash) and what it has sent of pieces. */
export interface State {
  readonly items: Readonly<Record<string, string>>
  readonly served: Readonly<Record<string, number>>
}

export interface World<C extends Clock = Clock> {
  readonly ground: Ground<C>
  readonly clock: C
  readonly ledger: Ledger & { readonly url: string }
  readonly repository: Repository & { readonly url: string }
  /** Clients of both, for what is not under attack. */
  readonly bank: LedgerClient
  readonly library: RepositoryClient
  /** What services reported as faults of their own. */
  readonly faults: readonly unknown[]
  readonly onFault: (error: unknown) => void
  environmentOf(name: string): Environment
  /** Opens an account. @param caps what the agent may freeze a day, and in all */
  person(name: string, caps?: { readonly day: bigint; readonly total: bigint }): Promise<Person>
  /** Another host. @param store counted among the state */
  host(name: string, handler: Handler, store?: WatchedStore): Promise<string>
  countServed(name: string, bytes: number): void
  ask(url: string, init?: RequestInit): Promise<Answer>
  post(url: string, json: unknown): Promise<Answer>
  money(who: Pick<Person, 'hex'>): Promise<Money>
  state(): Promise<State>
}

export const CAPS = { day: 2n * FAUCET, total: 10n * FAUCET }

export const openWorld = (): Promise<World<HandClock>> => openWorldOn(inProcess())

export async function openWorldOn<C extends Clock>(ground: Ground<C>): Promise<World<C>> {
  const { clock } = ground
  const stores = new Map<string, WatchedStore>()
  const served: Record<string, number> = {}
  const faults: unknown[] = []
  const onFault = (error: unknown): void => void faults.push(error)
  const environmentOf = (name: string): Environment => ({
    clock,
    random: testRandom(name),
    transport: ground.transportOf(name),
  })
  const transport = ground.transportOf('stranger')

  function newStore(name: string): WatchedStore {
    const store = watchedStore()
    stores.set(name, store)
    return store
  }

  async function host(name: string, handler: Handler, store?: WatchedStore): Promise<string> {
    if (store) stores.set(name, store)
    return ground.attach(name, handler)
  }

  const ledger = createLedger({
    environment: { ...environmentOf('ledger'), clock: impatient(clock) },
    store: newStore('ledger'),
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: FAUCET, unitPrice: 1n },
    onFault,
  })
  const repository = createRepository({
    environment: environmentOf('repository'),
    store: newStore('repository'),
    options: { allowLoopback: !('advance' in clock) },
    onFault,
  })
  const ledgerUrl = await host('ledger', (request) => ledger.app.fetch(request))
  const repositoryUrl = await host('repository', (request) => repository.app.fetch(request))
  const bank = createLedgerClient({ environment: environmentOf('bank'), url: ledgerUrl })
  const library = createRepositoryClient({ environment: environmentOf('library'), url: repositoryUrl })

  async function person(name: string, caps = CAPS): Promise<Person> {
    const signer = signerFrom(sha256(utf8(`owner of ${name}`)))
    const agent = signerFrom(sha256(utf8(`agent of ${name}`)))
    const identity = genesis([signer], clock.now())
    const id = objectId('identity', identity.body)
    const owner = { id, operations: [identity] }
    const parties = { ledger: bank, repository: library }
    const delegation = await adopt({ owner, signer, agent: agent.key, caps, ...parties, nowMs: clock.now() })
    return { name, id, hex: toHex(id), signer, agent, identity, delegation }
  }

  const ask = async (url: string, init?: RequestInit): Promise<Answer> =>
    answerOf(await transport(new Request(url, init)))

  return {
    ground,
    clock,
    bank,
    library,
    faults,
    onFault,
    environmentOf,
    person,
    host,
    ask,
    ledger: { ...ledger, url: ledgerUrl },
    repository: { ...repository, url: repositoryUrl },
    countServed: (name, bytes) => void (served[name] = (served[name] ?? 0) + bytes),
    post: (url, json) =>
      ask(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) }),
    async money({ hex }) {
      const { available, frozen, earned } = await bank.account(hex)
      return { available, frozen, earned }
    },
    state: async () => ({ items: await itemsOf(stores), served: { ...served } }),
  }
}

/** An owner's request leaves its nonce behind, whatever comes of it. */
const NONCES = 'owner-nonce'

async function itemsOf(stores: ReadonlyMap<string, WatchedStore>): Promise<Record<string, string>> {
  const items: Record<string, string> = {}
  for (const [name, store] of stores) {
    for (const { pk, sk, version, body } of await store.dump()) {
      if (pk !== NONCES) items[`${name}: ${pk} ${sk}`] = `${version} ${toHex(sha256(body)).slice(0, 16)}`
    }
  }
  return items
}

/** Expects that no store changes and no piece leaves. */
export async function unmoved<T>(world: Pick<World, 'state'>, attack: () => Promise<T>): Promise<T> {
  const before = await world.state()
  const outcome = await attack()
  expect(await world.state()).toEqual(before)
  return outcome
}

/** Expects the problem of this code, and that nothing moved. */
export async function refused(
  world: Pick<World, 'state'>,
  attack: () => Promise<Answer>,
  code: string,
  what?: string,
): Promise<Answer> {
  const answer = await unmoved(world, attack)
  const type = answer.headers.get('content-type')
  expect({ what, code: answer.code, type }).toEqual({ what, code, type: 'application/problem+json' })
  return answer
}
