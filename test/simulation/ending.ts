/** After the storm: every download comes to its end, every tick to its credits, and all that was frozen to its owner. */
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Holding } from './books.ts'
import { faultsOfCopy, isOn, type Content } from './contents.ts'
import { CALM } from './network.ts'
import { insist, type SeenDownload } from './story.ts'
import type { Resident, Town } from './town.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DOWNLOADS_WITHIN_MS = 25 * MINUTE
/** After that a seller redeems an idle lane by itself, after that a declaration of an agent has expired and may be taken back. */
const IDLE_MS = 5.5 * MINUTE
const EXPIRED_MS = 26 * HOUR
const ATTEMPTS = 6

export async function bringToEnd(town: Town): Promise<void> {
  await downloadsEnd(town)
  await ticksRedeemed(town)
  await frozenReturned(town)
  await checkDownloads(town)
  await checkAccounts(town)
  await town.log.finish()
}

const buyersOf = ({ agents }: Town): Resident[] =>
  agents.filter(({ plan, isHonest }) => isHonest && plan.purchases.length > 0)

const downloadsOf = async (town: Town, resident: Resident): Promise<readonly SeenDownload[]> =>
  (await insist<SeenDownload[]>(town, resident, 'GET', '/v1/downloads')) ?? []

async function downloadsEnd(town: Town): Promise<void> {
  const { scheduler } = town.world
  const untilMs = scheduler.now() + DOWNLOADS_WITHIN_MS
  for (const resident of buyersOf(town)) {
    for (;;) {
      const open = (await downloadsOf(town, resident)).filter(({ state }) => state !== 'done' && state !== 'cancelled')
      if (open.length === 0) break
      if (scheduler.now() > untilMs) {
        town.world.fail(`a download of ${resident.host.name} does not end: ${JSON.stringify(open[0])}`)
        break
      }
      for (const { id, state, reason, detail } of open) {
        if (state === 'failed' && reason !== 'storage-full')
          town.world.fail(`a download of ${resident.host.name} fails: ${reason}: ${detail}`)
        if (state === 'paused' || state === 'failed') await insist(town, resident, 'POST', `/v1/downloads/${id}/resume`)
      }
      await scheduler.sleep(5 * SECOND)
    }
  }
}

/** Time goes on in leaps until what is asked for holds. */
async function eventually(town: Town, leapMs: number, unmet: () => readonly string[]): Promise<void> {
  const { scheduler } = town.world
  for (let attempt = 0; attempt < ATTEMPTS && unmet().length > 0; attempt++) {
    scheduler.leap(leapMs)
    for (let waited = 0; waited < 3 * MINUTE && unmet().length > 0; waited += SECOND) await scheduler.sleep(SECOND)
  }
  for (const what of unmet()) town.world.fail(what)
}

/** Whatever an honest seller took as payment, the ledger has redeemed. */
function ticksRedeemed(town: Town): Promise<void> {
  const honest = new Set(town.agents.filter(({ isHonest }) => isHonest).map(({ host }) => toHex(host.person.id)))
  return eventually(town, IDLE_MS, () =>
    [...town.books.lanes].flatMap(([id, { payee, redeemed }]) => {
      const accepted = town.trades.lanes.get(id)?.accepted ?? 0
      return honest.has(payee) && redeemed < accepted
        ? [`lane ${id} is redeemed up to ${redeemed} of ${accepted} units`]
        : []
    }),
  )
}

function frozenReturned(town: Town): Promise<void> {
  const payers = buyersOf(town).map(({ host }) => host.person)
  return eventually(town, EXPIRED_MS, () =>
    payers.flatMap(({ name, id }) => {
      const { frozen } = town.books.holding(toHex(id))
      return frozen > 0n ? [`${frozen} credits of ${name} stay frozen: ${stillOpen(town, toHex(id)).join(', ')}`] : []
    }),
  )
}

function stillOpen({ books }: Town, payer: string): string[] {
  const declarations = [...books.declarations].filter(([, one]) => one.payer === payer && one.unclaimed > 0)
  const lanes = [...books.lanes].filter(([, one]) => one.payer === payer && one.closed === undefined)
  return [
    ...declarations.map(([id, { unclaimed }]) => `declaration ${id} with ${unclaimed} units`),
    ...lanes.map(([id, { cap, redeemed }]) => `lane ${id} with ${cap - redeemed} units`),
  ]
}

async function checkDownloads(town: Town): Promise<void> {
  for (const resident of buyersOf(town)) {
    const { host } = resident
    const downloads = await downloadsOf(town, resident)
    for (const content of town.contents.all) {
      const same = downloads.filter(({ infoHash }) => infoHash === content.infoHash)
      if (same.length > 0) checkContent(town, resident, content, same)
    }
    // What was begun in the very moment of a crash, or of a failure, nobody knows of.
    if (host.disk.unfinished.size > host.lostWrites) {
      town.world.fail(`${host.name} leaves ${host.disk.unfinished.size} unfinished files behind`)
    }
  }
}

/** @param downloads of this content: an owner who had no answer asks again, perhaps when the first is over */
function checkContent(town: Town, resident: Resident, content: Content, downloads: readonly SeenDownload[]): void {
  const { world } = town
  const { host } = resident
  const done = downloads.filter(({ state }) => state === 'done')
  world.count('done', done.length)
  world.count('cancelled', downloads.length - done.length)
  for (const { file } of done) {
    for (const fault of faultsOfCopy(host.disk, content, file ?? '')) world.fail(`the copy of ${host.name}: ${fault}`)
  }
  if (done.length === 0 && isOn(host.disk, content.name)) world.fail(`${host.name} keeps the cancelled ${content.name}`)
  checkPaid(town, resident, content, downloads)
}

function checkPaid(
  { world, books, scenario }: Town,
  { host }: Resident,
  content: Content,
  downloads: readonly SeenDownload[],
): void {
  const lanes = [...books.lanes.values()].filter(
    ({ payer, declaration }) =>
      payer === toHex(host.person.id) && books.declarations.get(declaration)?.content === content.infoHash,
  )
  const redeemed = lanes.reduce((sum, lane) => sum + lane.redeemed, 0)
  const spent = lanes.reduce((sum, lane) => sum + BigInt(lane.redeemed) * lane.unitPrice, 0n)
  const ticks = downloads.reduce((sum, download) => sum + download.ticks, 0)
  const paid = downloads.reduce((sum, download) => sum + BigInt(download.paid), 0n)
  if (redeemed > ticks || spent > paid) {
    world.fail(
      `${host.name} says it paid ${paid} credits for ${ticks} ticks, the ledger moved ${spent} for ${redeemed}`,
    )
  }
  if (scenario.isQuiet && redeemed > content.pieces)
    world.fail(`${host.name} pays ${redeemed} units for ${content.pieces} pieces`)
}

/** What the ledger says of an account is what its items add up to. */
async function checkAccounts(town: Town): Promise<void> {
  const { world, agents, strangers, books, services } = town
  const transport = world.network.transportOf('accountant', CALM)
  const environment = { clock: world.scheduler, random: world.chance.fork('accountant'), transport }
  const ledger = createLedgerClient({ environment, url: services.ledgerUrl })
  for (const { name, id } of [...agents.map(({ host }) => host.person), ...Object.values(strangers)]) {
    const said = textOf(await ledger.account(toHex(id)))
    // A settlement may come between the answer and the look at the books.
    const isSaid =
      textOf(books.holding(toHex(id))) === said ||
      textOf(await ledger.account(toHex(id))) === textOf(books.holding(toHex(id)))
    if (!isSaid) world.fail(`the ledger says that ${name} has ${said}, it is ${textOf(books.holding(toHex(id)))}`)
  }
}

const textOf = ({ available, frozen, earned }: Holding): string =>
  `${available} available, ${frozen} frozen, ${earned} earned`
