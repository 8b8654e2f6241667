/** What everyone does, through the storm and after it. */
import { toHex } from '../../protocol/bytes.ts'
import { formatMagnet } from '../../protocol/magnet.ts'
import { Problem } from '../../protocol/problem.ts'
import { bookToJson, writeBook } from '../../protocol/vouch.ts'
import { faultsOfCopy } from './contents.ts'
import { crowd } from './crowd.ts'
import { fence } from './fence.ts'
import { forge } from './forger.ts'
import { freeload, type Stall } from './freeloader.ts'
import { NO_FAULTS, type Host } from './host.ts'
import { CALM } from './network.ts'
import { createPayer } from './payer.ts'
import { enrol } from './people.ts'
import type { Incident, Purchase, Sale } from './scenario.ts'
import { smuggle } from './smuggler.ts'
import { contentOf, plantSales, type Resident, type Town } from './town.ts'

/** A download as its owner sees it. */
export interface SeenDownload {
  readonly id: string
  readonly state: string
  readonly reason?: string
  readonly detail?: string
  readonly infoHash: string
  readonly file?: string
  readonly paid: string
  readonly ticks: number
  readonly piecesDone: number
}

const RETRY_MS = 2_000
/** How long an owner tries before it is a fault that it does not work. */
const PATIENCE_MS = 1_500_000
const BOOK_MS = 6 * 24 * 3_600_000
/** Refusals that may pass: someone is away, busy, or has not told the repository yet. */
const MAY_PASS = new Set([
  'peer-failed',
  'store-unavailable',
  'storage-unavailable',
  'storage-full',
  'conflict',
  'not-found',
  'limit-reached',
])

/** Through the storm: everyone does what they came for. Resolves when all is asked for and the weather is calm. */
export async function liveThroughStorm(town: Town): Promise<void> {
  const { world, scenario } = town
  const doings = [
    ...town.agents.map((resident) => live(town, resident)),
    ...scenario.incidents.map((incident) => befall(town, incident)),
    ...villainsOf(town),
  ]
  raiseStorm(town)
  await world.scheduler.sleep(scenario.stormMs)
  calm(town)
  await Promise.all(doings)
  while (hostsOf(town).some(({ upSinceMs, isGone }) => upSinceMs === undefined && !isGone))
    await world.scheduler.sleep(RETRY_MS)
}

function raiseStorm({ world, scenario, ledger, repository, agents, smuggling }: Town): void {
  world.network.setWeather(scenario.weather)
  for (const host of [...ledger.hosts, ...ledger.witnesses]) host.faults = scenario.faults.ledger
  for (const host of smuggling?.far.ledger.hosts ?? []) host.faults = scenario.faults.ledger
  repository.faults = scenario.faults.repository
  for (const { host } of agents) host.faults = scenario.faults.agent
}

function calm(town: Town): void {
  town.world.trace.note('calm')
  town.world.network.setWeather(CALM)
  for (const host of hostsOf(town)) {
    host.faults = NO_FAULTS
    host.fullUntilMs = 0
  }
  town.calmFromMs = town.world.scheduler.now()
}

const hostsOf = ({ ledger, repository, agents, smuggling }: Town): Host[] => [
  ...ledger.hosts,
  ...ledger.witnesses,
  ...(smuggling?.far.ledger.hosts ?? []),
  repository,
  ...agents.map(({ host }) => host),
]

async function befall(town: Town, { host: name, atMs, event }: Incident): Promise<void> {
  await town.world.scheduler.sleep(atMs)
  const host = hostsOf(town).find((one) => one.name === name) as Host
  switch (event.kind) {
    case 'crash':
      return host.crash('by chance', event.downMs)
    case 'restart':
      return host.restart()
    case 'vanish':
      return host.vanish()
    case 'clock':
      town.world.trace.note(`the clock of ${name} steps to ${event.byMs} ms`)
      host.skewMs = event.byMs
      return
    case 'reprice':
    case 'overwrite':
      return changeSale(town, host, event)
    case 'full':
      host.fullUntilMs = town.world.scheduler.now() + event.forMs
      return
    case 'redeem': {
      const resident = town.agents.find((one) => one.host === host)
      await resident?.host.owner.ask('POST', '/v1/redemptions', { all: true }).catch(() => undefined)
    }
  }
}

async function changeSale(
  town: Town,
  host: Host,
  { kind, ...event }: Extract<Incident['event'], { sale: number }>,
): Promise<void> {
  const resident = town.agents.find((one) => one.host === host) as Resident
  const { name } = contentOf(town, (resident.plan.sales[event.sale] as Sale).content)
  town.world.trace.note(`${host.name} has another idea of ${name}: ${kind}`)
  if ('price' in event) {
    await insist(town, resident, 'POST', '/v1/shares', { path: name, price: String(event.price) })
    return
  }
  for (const [file, { bytes }] of host.disk.files) {
    if (file === name || file.startsWith(`${name}/`))
      host.disk.plant(
        file,
        bytes.map((byte) => ~byte),
      )
  }
}

/** An owner's request, again until it works. */
export async function insist<T>(
  town: Town,
  { host }: Resident,
  method: 'GET' | 'POST' | 'PUT',
  path: string,
  body?: unknown,
): Promise<T | undefined> {
  const { scheduler } = town.world
  for (const untilMs = scheduler.now() + PATIENCE_MS; ;) {
    try {
      return await host.owner.ask<T>(method, path, body)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (error.code === 'closed') return undefined
      if (!MAY_PASS.has(error.code) || scheduler.now() > untilMs) {
        town.world.fail(`${host.name} refuses ${method} ${path}: ${error.code}: ${error.message}`)
        return undefined
      }
      await scheduler.sleep(RETRY_MS)
    }
  }
}

async function live(town: Town, resident: Resident): Promise<void> {
  const { plan, host, isHonest } = resident
  await town.world.scheduler.sleep(plan.lateMs)
  plantSales(town, resident)
  const ask = isHonest ? insist : insistUnlessGone
  if (plan.vouches.length > 0) await ask(town, resident, 'PUT', '/v1/trust', { book: bookOf(town, resident) })
  const sales = plan.sales.map((sale) => sell(town, resident, sale, ask))
  const purchases = plan.purchases.map((purchase) => buy(town, resident, purchase))
  const raised = plan.allowance ? [raiseAllowance(town, resident, plan.allowance.untilMs)] : []
  await Promise.all([...sales, ...purchases, ...raised])
  town.world.trace.note(`${host.name} has nothing left to ask for`)
}

async function raiseAllowance(town: Town, { host }: Resident, atMs: number): Promise<void> {
  const { world, services } = town
  await world.scheduler.sleep(atMs)
  for (const untilMs = world.scheduler.now() + PATIENCE_MS; world.scheduler.now() < untilMs;) {
    const isAllowed = await enrol(host.person, services).then(() => true, isUnlessAway)
    if (isAllowed) return
    await world.scheduler.sleep(RETRY_MS)
  }
  world.fail(`${host.name} is not allowed more`)
}

function isUnlessAway(error: unknown): false {
  if (error instanceof Problem && MAY_PASS.has(error.code)) return false
  throw error
}

/** A crook may be gone for good. */
const insistUnlessGone: typeof insist = async (_, { host }, method, path, body) =>
  host.owner.ask<never>(method, path, body).catch(() => undefined)

async function sell(
  town: Town,
  resident: Resident,
  { content, price, isPublic }: Sale,
  ask: typeof insist,
): Promise<void> {
  const { name, infoHash } = contentOf(town, content)
  const isWhole = () => faultsOfCopy(resident.host.disk, contentOf(town, content), name).length === 0
  const terms = isPublic ? { public: true } : { price: String(price) }
  const share = await ask<{ infoHash: string }>(town, resident, 'POST', '/v1/shares', { path: name, ...terms })
  if (share && share.infoHash !== infoHash && isWhole())
    town.world.fail(`${resident.host.name} shares ${name} as ${share.infoHash}`)
}

async function buy(town: Town, resident: Resident, { content, atMs, maxPrice, next }: Purchase): Promise<void> {
  const { world } = town
  const chance = world.chance.fork(`buy/${resident.plan.name}/${content}`)
  await world.scheduler.sleep(atMs)
  const { meta, infoHash } = contentOf(town, content)
  const source = chance.pick([infoHash, toHex(meta.infoHashV1), formatMagnet(meta)])
  const terms = maxPrice === undefined ? {} : { maxPrice: String(maxPrice) }
  const download = await insist<SeenDownload>(town, resident, 'POST', '/v1/downloads', { source, ...terms })
  world.count('downloads')
  for (const { action, afterMs } of next) {
    await world.scheduler.sleep(afterMs)
    if (download) await insist(town, resident, 'POST', `/v1/downloads/${download.id}/${action}`)
  }
}

function bookOf({ world, agents, strangers }: Town, { plan, host }: Resident): unknown {
  const { person } = host
  const chance = world.chance.fork(`book/${plan.name}`)
  const ids = new Map(
    [...agents.map((other) => other.host.person), strangers.freeloader].map(({ name, id }) => [name, id]),
  )
  const nowMs = world.scheduler.now()
  const vouches = plan.vouches.flatMap(({ subject, credit, depth }) => {
    const id = ids.get(subject)
    return id
      ? [{ subject: id, credit, depth, scope: '', notBefore: nowMs, expires: nowMs + BOOK_MS, salt: chance.bytes(16) }]
      : []
  })
  return bookToJson(
    writeBook({ issuer: person.id, seq: 0, issued: nowMs, expires: nowMs + BOOK_MS }, vouches, person.signer),
  )
}

function villainsOf(town: Town): Promise<void>[] {
  const { world, scenario, services, strangers, trades } = town
  const stalls = stallsOf(town)
  const payer = createPayer(strangers.freeloader, services)
  const [content] = town.contents.all
  const isCrowded = town.ledger.hosts.length > 1 && !scenario.isQuiet
  const forging = town.ledger.witnesses.length > 0 && !scenario.isQuiet
  const { giver, taker, bystander } = strangers
  return [
    ...(town.smuggling ? [smuggle(town.smuggling)] : []),
    ...(isCrowded ? [crowd(world, services, world.chance.fork('crowd'), [bystander, taker], scenario.stormMs)] : []),
    ...(forging ? [forge(world, town.ledger, world.chance.fork('forger'))] : []),
    ...(stalls.length > 0 && scenario.tricks > 0
      ? [freeload({ world, chance: world.chance.fork('freeloader'), payer, trades, stalls }, scenario.tricks)]
      : []),
    ...(scenario.hasFence && content
      ? [
          fence({
            world,
            chance: world.chance.fork('fence'),
            services,
            content,
            trades,
            giver,
            taker,
            stranger: bystander,
          }),
        ]
      : []),
  ]
}

/** Where honest sellers sell something of two pieces or more. */
function stallsOf(town: Town): Stall[] {
  const honest = town.agents.filter(({ isHonest }) => isHonest)
  return honest.flatMap(({ plan, host }) =>
    plan.sales.flatMap(({ content: index, price, isPublic }, sale): Stall[] => {
      const content = contentOf(town, index)
      if (isPublic || content.pieces < 2) return []
      const isFixed = !town.scenario.incidents.some(
        (incident) => incident.host === host.name && incident.event.kind === 'reprice' && incident.event.sale === sale,
      )
      return [{ url: host.url, id: toHex(host.person.id), content, price, isFixed }]
    }),
  )
}
