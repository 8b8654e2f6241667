/**
 * The end of a download's lanes. What is to be done is durable before anything is sent, and each step may be repeated:
 * a seller that vanished delays only the release of what its lane holds.
 */
import { z } from '@hono/zod-openapi'
import { fromHex } from '../../protocol/bytes.ts'
import type { Clock } from '../../protocol/environment.ts'
import { putAll, readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug, type ProblemCode } from '../../protocol/problem.ts'
import { release, signOff } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import { createJournal, type Entry, type Journal } from '../download/journal.ts'
import { createHttpClient } from '../clients/http-client.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { chainOf, declarationEntry, type DeclarationRecord } from './declaration.ts'
import { createDisputes, type Grievance } from './disputes.ts'
import { laneEntry, tickOf, walletKey, type LaneRecord } from './lane.ts'
import { openGoods, publishedKey } from './opening.ts'
import { createParking, type Parking } from './parked.ts'

export interface Settler {
  finish(download: string, patienceMs: number): Promise<void>
  /** Ends what `mark` makes `settling` while the download goes on, without being waited for long. */
  endSome(download: string, mark: () => Promise<unknown>): Promise<void>
  /** Kept, and then taken to the ledger without being waited for long. */
  accuse(download: string, grievance: Grievance): Promise<void>
  maintain(): Promise<void>
}

/** What is still to be done for a download. */
interface Chore {
  readonly dueMs: number
  readonly attempts: number
}

interface Books {
  readonly declarations: readonly DeclarationRecord[]
  readonly lanes: readonly LaneRecord[]
  readonly chore: Chore | undefined
}

const CHORES = 'wallet'
const CHORE = 'settle/'
const MAINTENANCE_MS = 2_000
const SIGNOFF_ATTEMPTS = 2
const FIRST_PAUSE_MS = 30_000
/** Half of a declaration's dispute window: a key that is shown as late as may be is still judged in time. */
const LONGEST_PAUSE_MS = 1_800_000

type IsDistrusted = (payee: string) => Promise<boolean>

export function createSettler(context: AgentContext, isDistrusted: IsDistrusted): Settler {
  const { store, environment } = context
  const { clock } = environment
  const running = new Map<string, Promise<void>>()
  const disputes = createDisputes(context)

  async function accuse(download: string, grievance: Grievance): Promise<void> {
    await disputes.add(download, grievance)
    // Whatever is there: a settling that is under way does not end the chore then.
    await putAll(store, [choreEntry(download, { attempts: 0, dueMs: clock.now() })])
    await patiently(clock, MAINTENANCE_MS, settleAnew(download))
  }

  async function endSome(download: string, mark: () => Promise<unknown>): Promise<void> {
    // Not due at once: who looked before anything is marked would end the chore.
    await putAll(store, [choreEntry(download, { attempts: 0, dueMs: clock.now() + FIRST_PAUSE_MS })])
    await mark()
    await patiently(clock, MAINTENANCE_MS, settleAnew(download))
  }

  /** What is under way may have looked before there was what it is called for. */
  async function settleAnew(download: string): Promise<void> {
    await running.get(download)?.catch(unlessBug)
    return settle(download)
  }

  async function finish(download: string, patienceMs: number): Promise<void> {
    if (await begin(download)) await patiently(clock, patienceMs, settleAnew(download))
  }

  /** Nothing is asked of these lanes any more. @returns false when there is nothing to settle */
  async function begin(download: string): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await markAll(download)
      } catch (error) {
        // A settling that is under way has written first.
        const isConflict = error instanceof Problem && error.code === 'conflict'
        if (!isConflict || attempt === limits.writeAttempts) throw error
      }
    }
  }

  /** With its chore in one write: a chore that finds nothing marked is at its end. */
  async function markAll(download: string): Promise<boolean> {
    const journal = createJournal(store)
    const { lanes, declarations, chore } = await load(journal, download)
    if (![...lanes, ...declarations].some(isUnended)) return chore !== undefined
    const entries = [
      choreEntry(download, { dueMs: clock.now(), attempts: 0 }),
      ...lanes.filter(isUsed).map((lane) => laneEntry(walletKey(download), { ...lane, state: 'settling' })),
      ...declarations.filter(isUsed).map((one) => declarationEntry(walletKey(download), { ...one, state: 'settling' })),
    ]
    await Promise.all(entries.map((entry) => journal.write([entry])))
    return true
  }

  function settle(download: string): Promise<void> {
    const known = running.get(download)
    if (known) return known
    const settled = settleAll(download).finally(() => running.delete(download))
    running.set(download, settled)
    return settled
  }

  async function settleAll(download: string): Promise<void> {
    const journal = createJournal(store)
    const { lanes, declarations, chore } = await load(journal, download)
    const pk = walletKey(download)
    const released = new Set(declarations.filter(({ state }) => state === 'closed').map(({ number }) => number))
    const closeDeclaration = async (one: DeclarationRecord): Promise<void> => {
      if (!(await releaseDeclaration(context, one))) return
      released.add(one.number)
      await journal.write([declarationEntry(pk, { ...one, state: 'closed' })])
    }
    const closeLane = async (lane: LaneRecord): Promise<void> => {
      const declaration = declarations[lane.declaration] as DeclarationRecord
      const ending = { ...lane, isParked: parked.has(lane.id), isPaid: !(await isDistrusted(lane.payee)) }
      const ticks = await endLane(context, ending, declaration, released.has(lane.declaration))
      if (ticks !== undefined) await journal.write([laneEntry(pk, { ...lane, ticks, state: 'closed' })])
    }
    const parking = createParking(store, download)
    const parked = await judgeParked(download, parking, lanes.filter(isSettling))
    const disputed = await disputes.post(download)
    const isFree = ({ id }: LaneRecord): boolean => !disputed.has(id)
    const open = { declarations: declarations.filter(isSettling), lanes: lanes.filter(isSettling).filter(isFree) }
    await Promise.all(open.declarations.map(closeDeclaration))
    await Promise.all(open.lanes.map(closeLane))
    const left = await load(journal, download)
    const isOver = !left.lanes.some(isSettling) && !left.declarations.some(isSettling) && disputed.size === 0
    const inUse = new Set(left.lanes.filter(isUsed).map(({ id }) => id))
    if (isOver) for (const { lane } of await parking.list()) if (!inUse.has(lane)) await parking.forget(lane)
    await journal.write([choreEntry(download, isOver ? undefined : later(chore, clock.now()))])
  }

  /**
   * A key that a seller showed the ledger alone opens what it sent, or proves that it lied.
   * @returns the lanes whose last piece still has no key
   */
  async function judgeParked(
    download: string,
    parking: Parking,
    lanes: readonly LaneRecord[],
  ): Promise<ReadonlySet<string>> {
    const left = new Set<string>()
    for (const { lane, unit, shape, label: json } of await parking.list()) {
      if (!lanes.some(({ id, asked, pending }) => id === lane && asked === unit && pending !== undefined)) continue
      const key = await publishedKey(context, lane, unit)
      if (!key) left.add(lane)
      if (!key) continue
      const label = envelopeFromJson(json)
      const opened = openGoods(context, { shape, label, body: await parking.body(lane) }, key)
      if (opened.kind === 'false') await disputes.add(download, { lane, label, dispute: opened.dispute })
      await parking.forget(lane)
    }
    return left
  }

  /** All that is due at once; a seller that takes its time does not hold up the agent's other chores. */
  async function maintain(): Promise<void> {
    const chores = await readAll(store, CHORES, (item) => ({ ...decodeRecord<Chore>(item), sk: item.sk }), {
      prefix: CHORE,
    })
    const due = chores.filter(({ dueMs }) => isDue(dueMs, clock.now()))
    const settled = Promise.all(due.map(({ sk }) => settle(sk.slice(CHORE.length))))
    await patiently(clock, MAINTENANCE_MS, settled)
  }
  return { finish, endSome, accuse, maintain }
}

async function load(journal: Journal, download: string): Promise<Books> {
  const items = await journal.load(walletKey(download))
  const [chore] = await journal.load(CHORES, CHORE + download)
  const under = <T>(prefix: string): T[] =>
    items.filter(({ sk }) => sk.startsWith(prefix)).map((item) => decodeRecord<T>(item))
  return { declarations: under('declaration/'), lanes: under('lane/'), chore: chore && decodeRecord<Chore>(chore) }
}

const choreEntry = (download: string, chore: Chore | undefined): Entry => ({
  pk: CHORES,
  sk: CHORE + download,
  ...(chore && { body: encodeRecord(chore) }),
})

function later(chore: Chore | undefined, nowMs: number): Chore {
  const attempts = chore?.attempts ?? 0
  return { attempts: attempts + 1, dueMs: nowMs + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempts) }
}

/** One that waits for longer than any is of before the clock was set back. */
const isDue = (dueMs: number, nowMs: number): boolean => dueMs <= nowMs || dueMs > nowMs + LONGEST_PAUSE_MS

type Stateful = Pick<LaneRecord | DeclarationRecord, 'state'>
const isSettling = ({ state }: Stateful): boolean => state === 'settling'
const isUnended = ({ state }: Stateful): boolean => state !== 'closed'
export const isUsed = ({ state }: Stateful): boolean => state !== 'settling' && state !== 'closed'

/**
 * The units that no seller has claimed come back at once. A declaration that the ledger does not know may still be on
 * its way there, until it has expired.
 * @returns whether they have
 */
async function releaseDeclaration(context: AgentContext, { id, expires }: DeclarationRecord): Promise<boolean> {
  const { ledger, owner, signer, environment } = context
  const refusal = await refusalOf(ledger.release(release({ by: owner, declaration: fromHex(id) }, signer)))
  const isOver = environment.clock.now() >= expires + limits.clockSkewMs
  return refusal === undefined || refusal === 'closed' || (refusal === 'not-found' && isOver)
}

type Ending = LaneRecord & {
  /** False for a payee that is distrusted: it is sent no tick, and redeems what it has. */
  readonly isPaid: boolean
  /** Its last piece was paid for, and has no key. */
  readonly isParked: boolean
}

/**
 * By the seller's hand, or by our own once the time for disputes has passed; the ledger says whether it has ended.
 * @param released the declaration is: a lane that is not claimed never will be
 * @returns once it has, how many units were redeemed
 */
async function endLane(
  context: AgentContext,
  lane: Ending,
  declaration: DeclarationRecord,
  released: boolean,
): Promise<number | undefined> {
  if (lane.asked === 0) return 0
  const isOver = context.environment.clock.now() >= declaration.expires + declaration.disputeWindow
  await (isOver ? releaseLane(context, lane, declaration) : askSignoff(context, lane, declaration))
  try {
    const { closed, redeemed } = await context.ledger.lane(lane.id)
    return closed ? redeemed : undefined
  } catch (error) {
    return (released || isOver) && isProblem(error) && error.code === 'not-found' ? 0 : undefined
  }
}

/** A refusal says no more than the lane itself does. */
async function releaseLane(
  { ledger, owner, signer }: AgentContext,
  lane: LaneRecord,
  { id }: DeclarationRecord,
): Promise<void> {
  const terms = { by: owner, declaration: fromHex(id), lane: fromHex(lane.id) }
  await refusalOf(ledger.release(release(terms, signer)))
}

const signoffShape = z.object({ lane: z.string(), redeemed: z.int().min(0) })

/** The last tick of a lane on credit, then the request to redeem and sign off. */
async function askSignoff(
  { environment, signer }: AgentContext,
  lane: Ending,
  declaration: DeclarationRecord,
): Promise<void> {
  const http = createHttpClient(environment, lane.url, limits.peerReplyBytes)
  const signoff = envelopeToJson(
    signOff({ lane: fromHex(lane.id), unit: lane.isPaid || lane.mode === 'sealed' ? unitsArrived(lane) : 0 }, signer),
  )
  try {
    if (lane.isPaid && lane.mode === 'credit' && lane.ticks > 0) {
      const tick = tickOf(lane, chainOf(signer, declaration), true)
      await http.bytes({ method: 'POST', path: '/v1/ticks', json: { tick }, attempts: SIGNOFF_ATTEMPTS })
    }
    await http.json(
      { method: 'POST', path: '/v1/signoffs', json: { signoff }, attempts: SIGNOFF_ATTEMPTS },
      signoffShape,
    )
  } catch (error) {
    if (!isProblem(error)) throw error
  }
}

/**
 * Whether a prepaid tick arrived whose piece did not come is the seller's to say: it redeems what it has. Sealed, a piece
 * that is parked may still turn out false; what was read, or is lost, is nothing to dispute about.
 */
function unitsArrived({ isParked, mode, ticks, pending }: Ending): number {
  const isOpen = mode === 'prepaid' ? pending !== undefined : isParked
  return isOpen ? ticks - 1 : ticks
}

async function refusalOf(asked: Promise<unknown>): Promise<ProblemCode | undefined> {
  try {
    await asked
    return undefined
  } catch (error) {
    if (!isProblem(error)) throw error
    return error.code
  }
}

const isProblem = (error: unknown): error is Problem => error instanceof Problem

/** Waits for the work, but no longer than that; the work goes on. */
async function patiently(clock: Clock, patienceMs: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController()
  const patience = clock.sleep(patienceMs, over.signal).catch(() => undefined)
  await Promise.race([work.catch(unlessBug), patience]).finally(() => over.abort())
}
