/** Who fetches what next: flows are started while there is room, the slow are relieved, pieces kept for lanes are let go. */
import { isFor, owedLane, spareLane } from './lanes.ts'
import { slowAmong } from './pace.ts'
import { flowsMost, flowsOf, flowsWith } from './room.ts'
import type { Job, Run } from './run.ts'
import type { SellerState } from './sellers.ts'

/** The next flow to start; its piece is asked for from now on. */
export function nextJob(run: Run): Job | undefined {
  if (run.halt?.code === 'stopped' || flowsOf(run) >= flowsMost(run)) return undefined
  for (const seller of candidates(run)) {
    const job = jobFor(run, seller)
    if (job) return job
  }
  return undefined
}

/** Those whom a broker named first, then those with the fewest flows, the cheap, the fast; the slow only for what nobody else has. */
function candidates(run: Run): readonly SellerState[] {
  return run.sellers
    .all()
    .filter((seller) => hasRoom(run, seller) && (seller.status === 'good' || !servedByOthers(run, seller)))
    .toSorted(
      (a, b) => rank(a) - rank(b) || a.workers - b.workers || costOrder(a, b) || b.meter.rate() - a.meter.rate(),
    )
}

const rank = ({ peer }: SellerState): number => (peer?.brokered === true ? 0 : 1)

function costOrder(a: SellerState, b: SellerState): number {
  const [one, other] = [a.offer?.price ?? 0n, b.offer?.price ?? 0n]
  return one < other ? -1 : one > other ? 1 : 0
}

const hasRoom = (run: Run, seller: SellerState): boolean =>
  run.sellers.isUsable(seller) && seller.workers < flowsWith(run, seller)

export const servedByOthers = (run: Run, seller: SellerState): boolean =>
  run.sellers
    .all()
    .some(
      (other) =>
        other !== seller && other.status === 'good' && run.sellers.isUsable(other) && run.picker.serves(other.id),
    )

function jobFor(run: Run, seller: SellerState): Job | undefined {
  if (seller.offer?.public) return pick(run, seller)
  const owed = owedLane(run, seller)
  const pending = owed?.pending
  if (pending !== undefined && (run.reserved.delete(pending) || run.picker.take(pending))) {
    return { seller, lane: owed, piece: pending }
  }
  if (run.halt) return undefined
  const lane = spareLane(run, seller)
  const mayOpen = !isBlocked(run) && !isCovered(run, seller)
  return lane || mayOpen ? pick(run, seller, lane) : undefined
}

function pick(run: Run, seller: SellerState, lane?: Job['lane']): Job | undefined {
  const piece = run.picker.pick(seller.id)
  return piece === undefined ? undefined : { seller, lane, piece }
}

/** The seller's flows at work have units for all that is left: another lane would freeze more for nothing. */
function isCovered({ purse, picker }: Run, { id }: SellerState): boolean {
  const units = [...purse.busy].reduce((sum, { payee, left }) => sum + (payee === id ? left : 0), 0)
  return units >= picker.open
}

const isBlocked = ({ blocked, context }: Run): boolean =>
  blocked !== undefined && blocked.untilMs > context.environment.clock.now()

/** Tells the slow from the good, by what they do at the same time. */
export function judge(run: Run): void {
  const known = run.sellers
    .all()
    .filter((seller) => run.sellers.isUsable(seller) && (seller.workers > 0 || seller.pieces > 0))
  const paces = known.map(({ id, meter }) => ({ id, bytesPerSecond: meter.rate(), ageMs: meter.ageMs() }))
  const slow = new Set(slowAmong(paces, run.pace.slow))
  for (const seller of known) {
    const rate = seller.meter.rate()
    if (slow.has(seller.id)) {
      seller.status = 'slow'
      seller.detail = `${Math.round(rate / 1024)} KiB/s, far less than the others.`
    } else if (seller.status === 'slow' && rate >= run.pace.slow.floorBytesPerSecond) {
      seller.status = 'good'
      seller.detail = undefined
    }
  }
}

/** Nothing is left to start, but a good seller is idle: a slow one's piece is asked of it instead. */
export function relieve(run: Run): void {
  if (run.picker.open > 0 || flowsOf(run) >= flowsMost(run)) return
  const idle = run.sellers.all().filter((seller) => hasRoom(run, seller) && seller.status === 'good')
  const slow = [...run.transfers].find(
    ({ seller, piece }) => seller.status === 'slow' && idle.some(({ id }) => run.picker.has(id, piece)),
  )
  slow?.cut('given-up')
}

/** At the start: a piece whose tick had left is kept for its lane, until its seller shows that it will not come. */
export function reservePending(run: Run): void {
  for (const { state, pending } of run.purse.lanes) {
    if (state === 'open' && pending !== undefined && run.picker.take(pending)) run.reserved.add(pending)
  }
}

/** Lets go of the pieces of lanes that cannot be used now: their sellers are away, or ask more. */
export function releasePending(run: Run): void {
  const sellers = new Map(run.sellers.all().map((seller) => [seller.id, seller]))
  for (const lane of run.purse.lanes) {
    const seller = sellers.get(lane.payee)
    const isHoped = seller && (run.asking.has(seller) || (run.sellers.isUsable(seller) && isFor(run, seller, lane)))
    const { pending } = lane
    if (pending !== undefined && !isHoped && run.reserved.delete(pending)) run.picker.giveBack(pending)
  }
}
