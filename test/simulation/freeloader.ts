/**
 * A buyer who would rather not pay: one lane for two sellers, one tick for two pieces, ticks that are none, more on
 * credit than it is trusted for. What it gets is watched on the wire; what must be refused by name is checked here.
 */
import { fromHex, toBase64url } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { TickJson } from '../../protocol/payword.ts'
import { pieceShape } from '../../protocol/sealed.ts'
import type { LaneMode } from '../../protocol/commitment.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Chance } from './chance.ts'
import type { Content } from './contents.ts'
import type { Declared, HandLane, Payer, Reply } from './payer.ts'
import type { Trades } from './trades.ts'
import type { World } from './world.ts'

/** Where an honest seller sells a content of two pieces or more. */
export interface Stall {
  readonly url: string
  /** The owner's id, hex. */
  readonly id: string
  readonly content: Content
  readonly price: bigint
  /** The price stays. */
  readonly isFixed: boolean
}

export interface Freeloading {
  readonly world: World
  readonly chance: Chance
  readonly payer: Payer
  readonly trades: Trades
  readonly stalls: readonly Stall[]
}

type Trick = (at: Freeloading, stall: Stall) => Promise<void>

const UNITS = 12
const HOUR_MS = 3_600_000
const NO_REPLY: Reply = { status: 0, code: undefined, problem: {} }
/** Refusals that say nothing of the trick: the seller or its ledger is away, or busy. */
const AWAY = new Set([0, 502, 503, 429])

/** Some tricks at some stalls, until it had enough. Debts that are made first stand in the way of all who buy later. */
export async function freeload(at: Freeloading, tricks: number): Promise<void> {
  const [debts, ...others] = Object.entries(TRICKS)
  const order = at.chance.shuffle(others).slice(0, tricks)
  if (debts) order.splice(at.chance.hits(0.5) ? 0 : at.chance.integer(0, tricks), 0, debts)
  for (const [name, trick] of order) {
    await at.world.scheduler.sleep(at.chance.integer(100, 20_000))
    at.world.trace.note(`the freeloader tries ${name}`)
    await trick(at, at.chance.pick(at.stalls)).catch((error: unknown) => {
      if (!(error instanceof Problem)) throw error
    })
  }
}

const TRICKS: Readonly<Record<string, Trick>> = {
  'more on credit than it is trusted for': async (at) => {
    const sellers = new Map(at.stalls.map((stall) => [stall.id, stall]))
    await Promise.all(Array.from(sellers.values(), (stall) => takeTwiceOnCredit(at, stall)))
  },

  'one lane for two sellers': async (at, stall) => {
    const other =
      at.stalls.find(({ id, content }) => id !== stall.id && content.infoHash === stall.content.infoHash) ?? stall
    const declared = await declare(at, stall, UNITS)
    const lanes = [stall, other].map(({ id }) => laneTo(at, declared, id, 'prepaid', at.chance.integer(0, 1)))
    const replies = await Promise.all(
      [stall, other].map(({ url }, i) => ask(at, url, lanes[i] as HandLane, 0, at.payer.tick(lanes[i] as HandLane, 1))),
    )
    const isTwice = lanes[0]?.name !== lanes[1]?.name && lanes[0]?.first === lanes[1]?.first
    if (isTwice && replies.every(({ status }) => status === 200)) at.world.fail('two sellers serve one lane')
  },

  'one tick for two pieces': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'prepaid')
    const tick = at.payer.tick(lane, 1)
    const together = at.chance.hits(0.5)
    const first = ask(at, stall.url, lane, 0, tick)
    if (!together) await first
    const replies = await Promise.all([first, ask(at, stall.url, lane, 1, tick), ask(at, stall.url, lane, 1, tick)])
    if (replies[0]?.status === 200 && replies[1]?.status === 200) at.world.fail('a seller serves two pieces for a tick')
  },

  'one piece again and again': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'prepaid')
    for (let i = 0; i < limits.repeatsPerTick + 4; i++) await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1))
  },

  'ticks that are none': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'prepaid')
    await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1))
    const forged = { ...at.payer.tick(lane, 2), link: toBase64url(at.chance.bytes(32)) }
    at.trades.forge(forged.lane, forged.unit, forged.link)
    refused(at, 'a forged tick', await ask(at, stall.url, lane, 1, forged))
    refused(at, 'a tick above its link', await ask(at, stall.url, lane, 1, aboveItsLink(at, lane, 3)))
    refused(at, 'no tick', await ask(at, stall.url, lane, 1))
  },

  'sealed pieces without paying': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'sealed')
    const { status } = await ask(at, stall.url, lane, 0)
    if (status === 200) refused(at, 'a sealed piece with one unpaid', await ask(at, stall.url, lane, 1))
  },

  'a sealed piece that is disputed': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'sealed')
    const isWon = await at.payer.accuse(stall.url, lane, pieceShape(stall.content.meta, 0)).catch(unlessTorn)
    if (isWon) at.world.fail('a dispute about an honest piece is won')
  },

  'a tick above its link': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'credit')
    await ask(at, stall.url, lane, 0)
    refused(at, 'a tick above its link', await post(at, stall.url, '/v1/ticks', { tick: aboveItsLink(at, lane, 5) }))
  },

  'beyond the end of a lane': async (at, stall) => {
    const declared = await declare(at, stall, 4, 2)
    const lane = at.payer.lane(declared, { first: 0, segments: 1, payee: fromHex(stall.id), mode: 'prepaid', cap: 1 })
    await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1))
    refused(at, 'a tick beyond the lane', await ask(at, stall.url, lane, 1, at.payer.tick(lane, 2)))
  },

  'a cheap lane': async (at, stall) => {
    if (stall.price === 0n || !stall.isFixed) return
    const lane = laneTo(at, await declare(at, { ...stall, price: stall.price - 1n }, UNITS), stall.id, 'prepaid')
    refused(at, 'too low a price', await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1)))
  },

  'a lane for other content': async (at, stall) => {
    const other = at.stalls.find(({ content }) => content.infoHash !== stall.content.infoHash)
    if (!other) return
    const declared = await declare(at, { ...stall, content: other.content }, UNITS)
    const lane = laneTo(at, declared, stall.id, 'prepaid')
    refused(at, 'other content', await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1), stall.content.infoHash))
  },

  'a lane that is signed off': async (at, stall) => {
    const lane = laneTo(at, await declare(at, stall, UNITS), stall.id, 'prepaid')
    await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1))
    const { status } = await post(at, stall.url, '/v1/signoffs', at.payer.signoff(lane, at.chance.integer(0, 1)))
    if (status === 200) refused(at, 'a closed lane', await ask(at, stall.url, lane, 1, at.payer.tick(lane, 2)))
  },

  'a lane that is about to expire': async (at, stall) => {
    const declared = await declare(at, stall, UNITS, 4, limits.expiryMarginMs / 2)
    const lane = laneTo(at, declared, stall.id, 'prepaid')
    refused(at, 'a lane that expires', await ask(at, stall.url, lane, 0, at.payer.tick(lane, 1)))
  },
}

async function takeTwiceOnCredit(at: Freeloading, stall: Stall): Promise<void> {
  const declared = await declare(at, stall, 2 * UNITS)
  const lanes = [0, 1].map((first) => laneTo(at, declared, stall.id, 'credit', first))
  await Promise.all(lanes.map((lane) => takeOnCredit(at, stall, lane)))
}

/** Pays nothing, at first; then perhaps for some, and takes on. */
async function takeOnCredit(at: Freeloading, { url, content }: Stall, lane: HandLane): Promise<void> {
  let served = 0
  for (let i = 0; i < UNITS; i++) {
    const tick = served > 0 && at.chance.hits(0.3) ? at.payer.tick(lane, at.chance.integer(1, served)) : undefined
    const { status } = await ask(at, url, lane, i % content.pieces, tick)
    if (status === 200) served++
  }
}

/** The answer did not come, or not whole. */
function unlessTorn(error: unknown): undefined {
  const isTorn = error instanceof TypeError || error instanceof SyntaxError || error instanceof Problem
  if (!isTorn) throw error
}

function refused({ world }: Freeloading, what: string, { status }: Reply): void {
  if (status < 400 && !AWAY.has(status)) world.fail(`a seller takes ${what}`)
}

const declare = (
  { payer }: Freeloading,
  { content, price }: Stall,
  units: number,
  segment = 4,
  expiresInMs = HOUR_MS,
): Promise<Declared> =>
  payer.declare({ content: content.infoHash, price, units, segment, expiresInMs, disputeWindow: 60_000 })

const laneTo = ({ payer }: Freeloading, declared: Declared, payee: string, mode: LaneMode, first = 0): HandLane =>
  payer.lane(declared, { first, segments: 1, payee: fromHex(payee), mode })

/** The link of the unit before. */
function aboveItsLink({ payer, trades }: Freeloading, lane: HandLane, unit: number): TickJson {
  const tick = { ...payer.tick(lane, unit - 1), unit }
  trades.forge(tick.lane, unit, tick.link)
  return tick
}

const ask = ({ payer }: Freeloading, ...request: Parameters<Payer['ask']>): Promise<Reply> =>
  payer.ask(...request).catch(() => NO_REPLY)
const post = ({ payer }: Freeloading, ...request: Parameters<Payer['post']>): Promise<Reply> =>
  payer.post(...request).catch(() => NO_REPLY)
