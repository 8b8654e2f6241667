/**
 * Someone with two accounts who pays from one to the other to get more out of the ledger than went in: every rule on
 * redeeming, claiming and releasing is tried from both sides. What must not be is refused, or an invariant is broken.
 */
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { segmentOf } from '../../protocol/payword.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { claim, redeem, release, transfer } from '../../protocol/settlement.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { Chance } from './chance.ts'
import type { Content } from './contents.ts'
import { createPayer, type Declared, type HandLane, type Payer } from './payer.ts'
import type { Person, Services } from './people.ts'
import type { Trades } from './trades.ts'
import type { World } from './world.ts'

export interface Fencing {
  readonly world: World
  readonly chance: Chance
  readonly services: Services
  readonly content: Content
  readonly trades: Trades
  /** Pays. */
  readonly giver: Person
  /** Is paid. */
  readonly taker: Person
  /** Has no part in it. */
  readonly stranger: Person
}

const UNITS = 12
const SEGMENT = 4
const PRICE = 7n
const DISPUTE_MS = 120_000

export async function fence(at: Fencing): Promise<void> {
  const { scheduler } = at.world
  const payer = createPayer(at.giver, at.services)
  const ledger = createLedgerClient({ environment: at.taker.environment, url: at.services.ledgerUrl })
  const expiresInMs = at.chance.integer(60, 180) * 1000
  const terms = {
    content: at.content.infoHash,
    price: PRICE,
    units: UNITS,
    segment: SEGMENT,
    expiresInMs,
    disputeWindow: DISPUTE_MS,
  }
  const declared = await insist(at, () => payer.declare(terms))
  const lane = payer.lane(declared, { first: 0, segments: 2, payee: at.taker.id, mode: 'prepaid', cap: 6 })
  const { order, refused } = attempts(at, ledger)

  await refused('a claim by another than the payee', () => ledger.claim(lane.commitment, claimBy(lane, at.stranger)))
  await insist(at, () => ledger.claim(lane.commitment, claimBy(lane, at.taker)))
  await claimTwice(at, payer, declared, ledger)
  for (const attempt of at.chance.shuffle(redemptions(at, lane, order, refused))) {
    await scheduler.sleep(at.chance.integer(0, 5_000))
    await attempt()
  }
  await refused('an early release', () => ledger.release(releaseBy(at.giver, lane)))
  await refused('a release by a stranger', () => ledger.release(releaseBy(at.stranger, lane)))
  await overspend(at, ledger)
  if (at.chance.hits(0.4)) await signOff(at, lane, order, refused)
  else await outlive(at, lane, order, refused)
}

type Refused = (what: string, attempt: () => Promise<unknown>) => Promise<void>
interface Order {
  redeem(lane: HandLane, unit: number, by?: Person, payee?: Person): Promise<unknown>
  release(order: Envelope): Promise<unknown>
}

const claimBy = ({ id, payee }: HandLane, { signer }: Person): Envelope => claim({ commitment: id, payee }, signer)
const releaseBy = ({ id, signer }: Person, lane: HandLane): Envelope =>
  release({ by: id, declaration: lane.declared.id, lane: lane.id }, signer)

function attempts(at: Fencing, ledger: LedgerClient): { order: Order; refused: Refused } {
  const order: Order = {
    redeem: (lane, unit, by = at.taker, payee = at.taker) => {
      const { chain } = lane.declared
      const body = {
        lane: lane.id,
        link: chain.link(lane.first, unit),
        payee: payee.id,
        unit,
        proof: chain.proof(segmentOf(lane.declared, lane.first, unit)),
      }
      // The taker has the tick: between these two nothing passes on the wire.
      at.trades.reveal(lane.name, unit)
      return ledger.redeem(redeem(body, by.signer))
    },
    release: (object) => ledger.release(object),
  }
  const refused: Refused = async (what, attempt) => {
    const code = await codeOf(attempt)
    if (code === undefined) at.world.fail(`the ledger takes ${what}`)
  }
  return { order, refused }
}

/** The same segments for another payee, and more units than were declared. */
async function claimTwice(at: Fencing, payer: Payer, declared: Declared, ledger: LedgerClient): Promise<void> {
  for (const first of [0, 1]) {
    const again = payer.lane(declared, { first, segments: 1, payee: at.stranger.id, mode: 'prepaid' })
    const code = await codeOf(() => ledger.claim(again.commitment, claimBy(again, at.stranger)))
    if (code === undefined) at.world.fail(`segment ${first} is claimed twice`)
  }
}

function redemptions(at: Fencing, lane: HandLane, order: Order, refused: Refused): (() => Promise<void>)[] {
  return [
    async () => void (await codeOf(() => order.redeem(lane, 2))),
    async () => void (await codeOf(() => order.redeem(lane, 5))),
    async () => void (await codeOf(() => order.redeem(lane, 3))),
    () => refused('units beyond the lane', () => order.redeem(lane, 7)),
    () => refused('a redemption by a stranger', () => order.redeem(lane, 6, at.stranger, at.stranger)),
    () => refused('a redemption with a stranger’s key', () => order.redeem(lane, 6, at.stranger)),
    () => refused('a redemption by the payer', () => order.redeem(lane, 6, at.giver, at.giver)),
  ]
}

/** More than there is, frozen or given. */
async function overspend({ giver, taker, world, chance }: Fencing, ledger: LedgerClient): Promise<void> {
  const { available } = await ledger.account(toHex(giver.id)).catch(() => ({ available: 0n }))
  if (available === 0n) return
  const here = fromHex((await ledger.info()).id)
  const give = (amount: bigint, by: Person, from: Bytes): Promise<unknown> =>
    ledger.transfer(transfer({ amount, from, ledger: here, nonce: chance.bytes(16), to: taker.id }, by.signer))
  if ((await codeOf(() => give(available + 1n, giver, giver.id))) === undefined)
    world.fail('more is given than there is')
  if ((await codeOf(() => give(1n, taker, giver.id))) === undefined) world.fail('credits are given by another')
  await codeOf(() => give(1n + BigInt(chance.integer(0, 20)), giver, giver.id))
}

/** The payee closes the lane: nothing more comes of it. */
async function signOff(at: Fencing, lane: HandLane, order: Order, refused: Refused): Promise<void> {
  await insist(at, () => order.release(releaseBy(at.taker, lane)))
  await refused('a redemption on a closed lane', () => order.redeem(lane, 6))
  await refused('a second release', () => order.release(releaseBy(at.giver, lane)))
}

/** The lane expires: no more is redeemed, and what is left returns when the dispute window is over, not before. */
async function outlive(at: Fencing, lane: HandLane, order: Order, refused: Refused): Promise<void> {
  const { scheduler } = at.world
  await scheduler.sleep(Math.max(0, lane.declared.expires - scheduler.now()) + LEDGER_SKEW_MS)
  await refused('a late redemption', () => order.redeem(lane, 6))
  await refused('a release within the dispute window', () => order.release(releaseBy(at.giver, lane)))
  await scheduler.sleep(DISPUTE_MS)
  await insist(at, () => order.release(releaseBy(at.giver, lane)))
  await refused('a second release', () => order.release(releaseBy(at.taker, lane)))
}

/** More than the ledger's clock may be behind. */
const LEDGER_SKEW_MS = 60_000

const GIVE_UP_MS = 600_000

/** Again until the ledger answers. */
async function insist<T>({ world: { scheduler } }: Fencing, ask: () => Promise<T>): Promise<T> {
  for (const untilMs = scheduler.now() + GIVE_UP_MS; ;) {
    try {
      return await ask()
    } catch (error) {
      const isAway = error instanceof Problem && (error.code === 'peer-failed' || error.code === 'conflict')
      if (!isAway || scheduler.now() > untilMs) throw error
      await scheduler.sleep(1_000)
    }
  }
}

/** Undefined when it was taken. */
async function codeOf(attempt: () => Promise<unknown>): Promise<ProblemCode | undefined> {
  try {
    await attempt()
    return undefined
  } catch (error) {
    if (error instanceof Problem) return error.code
    throw error
  }
}
