/** Everyone and everything that a scenario needs, put in place, and watched. */
import { decodeRecord } from '../../agent/records.ts'
import type { LaneRecord } from '../../agent/wallet/lane.ts'
import { toHex } from '../../protocol/bytes.ts'
import { createRepository } from '../../repository/repository.ts'
import { createCredit, type KnownVouch } from './credit.ts'
import { createBooks, type Books } from './books.ts'
import { createContents, plantContent, type Content, type Contents } from './contents.ts'
import { createHost, type Host } from './host.ts'
import { watchWitnesses } from './forger.ts'
import { createLedgerTown, LEDGER, type LedgerTown } from './ledgers.ts'
import { watchLog, type LogWatch } from './log-watch.ts'
import { tamperWith } from './mischief.ts'
import { codeIn, type Exchange } from './network.ts'
import { createAgentHost, createPerson, enrol, type AgentHost, type Person, type Services } from './people.ts'
import { createScenario, FREELOADER, type AgentPlan, type Scenario } from './scenario.ts'
import { watchBoth, type Place, type Smuggling } from './smuggler.ts'
import { watchTrades, type Party, type Trades } from './trades.ts'
import type { World } from './world.ts'

export interface Town {
  readonly world: World
  readonly scenario: Scenario
  readonly contents: Contents
  readonly services: Services
  readonly ledger: LedgerTown
  readonly repository: Host
  readonly agents: readonly Resident[]
  /** Who comes without an agent. */
  readonly strangers: Readonly<Record<'freeloader' | 'giver' | 'taker' | 'bystander', Person>>
  readonly books: Books
  /** Where there are two ledgers. */
  readonly smuggling: Smuggling | undefined
  readonly trades: Trades
  readonly log: LogWatch
  /** From then on nothing goes wrong any more. */
  calmFromMs: number
}

export interface Resident {
  readonly plan: AgentPlan
  readonly host: AgentHost
  readonly isHonest: boolean
}

/** Worlds with a second ledger. */
const SMUGGLERS = 0.4
/** After the storm, hosts come up again and calls under way end. */
const AFTERMATH_MS = 120_000

/** Nobody has done anything yet, but the ledger and the repository are up, and all owners are known to them. */
export async function foundTown(world: World): Promise<Town> {
  const scenario = createScenario(world.chance.fork('scenario'))
  const contents = createContents(world.chance.fork('contents'), scenario.contents)
  const ledger = createLedgerTown(world, LEDGER, scenario.ledger)
  const repository = createRepositoryHost(world)
  const services = { ledgerUrl: ledger.url, repositoryUrl: repository.url }
  const books = createBooks(world)
  for (const host of ledger.hosts) host.onWrite((changes) => books.take(changes))
  for (const host of [...ledger.witnesses, ...ledger.hosts]) await host.start()
  await repository.start()
  const agents: Resident[] = []
  for (const plan of scenario.agents) agents.push(await settle(world, plan, services))
  const strangers = await createStrangers(world, services)
  const smuggling = await addFarLedger(world, { ledger, books })
  const town = { world, scenario, contents, services, ledger, repository, agents, strangers, books, smuggling }
  const watches = {
    trades: watchTown(town),
    log: watchLog(world, ledger, watchWitnesses(world, ledger)),
    calmFromMs: Infinity,
  }
  return watchFaults(Object.assign(town, watches))
}

/** A second ledger, with its own faucet, and someone who sends credits there: in some worlds. */
async function addFarLedger(world: World, near: Place): Promise<Smuggling | undefined> {
  const chance = world.chance.fork('smuggler')
  if (!chance.hits(SMUGGLERS)) return undefined
  const ledger = createLedgerTown(world, 'far-ledger', { processes: 1, witnesses: 0, shards: 1 })
  const books = createBooks(world)
  for (const host of ledger.hosts) host.onWrite((changes) => books.take(changes))
  for (const host of ledger.hosts) await host.start()
  const smuggling = { world, chance, near, far: { ledger, books }, smuggler: createPerson(world, 'smuggler') }
  watchBoth(smuggling)
  return smuggling
}

const createRepositoryHost = (world: World): Host =>
  createHost({
    world,
    name: 'repository',
    build({ environment, store, onFault }) {
      const repository = createRepository({ environment, store, onFault })
      return {
        fetch: (request) => repository.app.fetch(request),
        start: () => repository.start(),
        stop: () => repository.stop(),
      }
    },
  })

async function settle(world: World, plan: AgentPlan, services: Services): Promise<Resident> {
  const person = createPerson(world, plan.name)
  const delegation = await enrol(person, services, plan.allowance?.credits)
  const tamper = tamperWith(plan.mischief, {
    chance: world.chance.fork(`mischief/${plan.name}`),
    scheduler: world.scheduler,
    signer: person.agentSigner,
  })
  const host = createAgentHost(world, person, services, { delegation, tamper, modes: plan.modes })
  await host.start()
  return { plan, host, isHonest: plan.mischief === undefined }
}

async function createStrangers(world: World, services: Services): Promise<Town['strangers']> {
  const [freeloader, giver, taker, bystander] = ([FREELOADER, 'giver', 'taker', 'bystander'] as const).map((name) =>
    createPerson(world, name),
  ) as [Person, Person, Person, Person]
  const strangers = { freeloader, giver, taker, bystander }
  for (const person of Object.values(strangers)) await enrol(person, services)
  return strangers
}

export const contentOf = ({ contents }: Pick<Town, 'contents'>, index: number): Content =>
  contents.all[index] as Content

export function plantSales({ contents }: Pick<Town, 'contents'>, { plan, host }: Resident): void {
  for (const { content } of plan.sales) plantContent(host.disk, contentOf({ contents }, content))
}

type Founded = Pick<Town, 'world' | 'agents' | 'strangers' | 'contents' | 'books'>

function watchTown(town: Founded): Trades {
  const { world, agents, strangers, contents, books } = town
  const ids = new Map(
    [...agents.map(({ host }) => host.person), ...Object.values(strangers)].map(({ name, id }) => [name, toHex(id)]),
  )
  const sales = new Map(
    agents.map(({ plan, host }) => {
      const free = plan.sales
        .filter(({ isPublic }) => isPublic)
        .map(({ content }) => contentOf({ contents }, content).infoHash)
      return [toHex(host.person.id), new Set(free)]
    }),
  )
  const vouches = agents.flatMap(({ plan, host }) =>
    plan.vouches.flatMap(({ subject, ...vouch }): KnownVouch[] => {
      const id = ids.get(subject)
      return id === undefined ? [] : [{ ...vouch, issuer: toHex(host.person.id), subject: id }]
    }),
  )
  return watchTrades({
    world,
    contents,
    books,
    parties: agents.map(({ host, isHonest }) => ({
      host: host.name,
      id: toHex(host.person.id),
      isHonest,
      crashes: () => host.crashes,
      saved: savedLanes(host),
    })),
    credit: createCredit(vouches, [...ids.values()]),
    isPublic: (seller, infoHash) => sales.get(seller)?.has(infoHash) ?? false,
  })
}

/** The lanes that an agent pays on, as its store has them. */
function savedLanes(host: Host): Party['saved'] {
  const lanes = new Map<string, LaneRecord>()
  host.onWrite((changes) => {
    for (const { pk, sk, body } of changes) {
      if (!body || !pk.startsWith('wallet/') || !sk.startsWith('lane/')) continue
      const record = decodeRecord<LaneRecord>({ pk, sk, version: 0, body })
      lanes.set(record.id, record)
    }
  })
  return (lane) => lanes.get(lane)
}

/** No answer blames an honest host, unless something was made to fail. */
function watchFaults(town: Town): Town {
  const { world, scenario, ledger, repository, agents, smuggling } = town
  const far = smuggling?.far.ledger.hosts ?? []
  const honest = new Set(
    [
      ...ledger.hosts,
      ...ledger.witnesses,
      ...far,
      repository,
      ...agents.filter(({ isHonest }) => isHonest).map(({ host }) => host),
    ].map(({ name }) => name),
  )
  world.network.onExchange((exchange) => {
    world.trace.note(lineOf(exchange))
    if (exchange.answer.status < 500 || !honest.has(exchange.to)) return
    const isCalm = scenario.isQuiet || exchange.atMs > town.calmFromMs + AFTERMATH_MS
    if (isCalm || codeIn(exchange.answer) === 'internal' || codeIn(exchange.answer) === undefined) {
      world.fail(
        `${exchange.to} answers ${exchange.method} ${exchange.url.pathname} with ${exchange.answer.status} ${codeIn(exchange.answer)}`,
      )
    }
  })
  return town
}

const lineOf = ({ from, to, method, url, answer }: Exchange): string =>
  `${from} ${method} ${to}${url.pathname}${url.search}: ${answer.status} ${codeIn(answer) ?? `${answer.body.length} bytes`}`
