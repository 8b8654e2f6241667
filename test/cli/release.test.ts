/** What a lost agent left at the ledger, taken back with the owner's key alone: a ledger in process, and no agent anywhere. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openHome } from '../../agent/home.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { DAY_MS, expectAccepted, FAUCET, openLedger, START_MS, type TestLedger } from '../ledger/kit.ts'
import { delegation, person, purchase, type Lane, type Person, type Purchase } from '../ledger/people.ts'
import { scratch } from '../local/scratch.ts'
import { raincheck } from './town.ts'

const LEDGER_URL = 'http://ledger.test'
const EXPIRES = START_MS + DAY_MS
const WINDOW_MS = 60_000
const folder = scratch()
const real = realEnvironment()
const bob = person('bob')
let ledger: TestLedger
let home: string
let you: Person
/** Requests that get through; those after are lost on their way or, when `answersLost`, on the way back. */
let line: { left: number; answersLost: boolean }

const environment: Environment = {
  random: real.random,
  clock: {
    now: () => ledger.clock.now(),
    sleep: (ms, signal) => (signal ? real.clock.sleep(ms, signal) : Promise.resolve()),
  },
  async transport(request) {
    const isLost = line.left-- <= 0
    if (isLost && !line.answersLost) throw new TypeError('The line is broken.')
    const response = await ledger.app.fetch(request)
    if (isLost) throw new TypeError('The line is broken.')
    return response
  },
}

const holdShape = z.strictObject({
  kind: z.enum(['unclaimed', 'spent', 'earned']),
  declaration: z.string(),
  lane: z.string().optional(),
  credits: z.string(),
  bond: z.string(),
  dueMs: z.int(),
})
const answerShape = z.strictObject({
  released: z.array(holdShape),
  held: z.array(holdShape),
  returned: z.string(),
  available: z.string(),
  frozen: z.string(),
  earned: z.string(),
  bonds: z.string(),
})

const say = (dir: string, ...words: string[]) => raincheck(dir, ['release', ...words], { environment })
async function released(dir: string, ...words: string[]) {
  const said = await say(dir, '--json', ...words)
  expect(said).toMatchObject({ code: 0, err: '' })
  return answerShape.parse(said.json())
}
const brief = (holds: readonly z.infer<typeof holdShape>[]) =>
  holds.map(({ credits, dueMs, kind }) => [kind, credits, dueMs]).toSorted((a, b) => (String(a) < String(b) ? -1 : 1))

async function openHomeOf(name: string): Promise<readonly [dir: string, Person]> {
  const dir = join(folder(), name)
  await mkdir(dir)
  const made = await openHome(dir).init(environment)
  await writeFile(join(dir, 'settings.json'), JSON.stringify({ ledger: LEDGER_URL }))
  const [identity] = made.operations
  if (!identity) throw new Error('an identity begins with its genesis')
  const signer = await openHome(dir).signer()
  return [dir, { id: made.id, hex: toHex(made.id), signer, agent: person(name).agent, identity }]
}

/** A ledger with accounts for you and others, and your agent's delegation. */
async function open(policy = {}): Promise<void> {
  ledger = openLedger({ policy })
  line = { left: Infinity, answersLost: false }
  ;[home, you] = await openHomeOf('you')
  for (const { identity } of [you, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(you) }))
}

async function declared(payer: Person, terms: Parameters<typeof purchase>[1] = {}): Promise<Purchase> {
  const bought = purchase(payer, terms, payer.agent)
  await expectAccepted(ledger.post('/v1/declarations', { declaration: bought.declaration }))
  return bought
}

async function claimed(lane: Lane, units = 0): Promise<Lane> {
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  if (units > 0) await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(units) }))
  return lane
}

/** Your agent declared 100 units at 2 credits; Bob claimed a lane of 16, redeemed 5, and a sealed one of 8, redeemed 3. */
async function leaveBehind(): Promise<Purchase> {
  const bought = await declared(you)
  await claimed(bought.lane(bob), 5)
  await claimed(bought.lane(bob, { first: 2, segments: 1, mode: 'sealed' }), 3)
  await ledger.sequence()
  return bought
}

const UNCLAIMED = ['unclaimed', '152', EXPIRES + limits.clockSkewMs]
const SPENT = [
  ['spent', '10', EXPIRES + WINDOW_MS],
  ['spent', '22', EXPIRES + WINDOW_MS],
]

describe('as a buyer', () => {
  beforeEach(() => open())

  test('nothing that an agent may still use is released before it expires; it is said until when', async () => {
    await leaveBehind()
    const before = await released(home)
    expect(before).toMatchObject({ released: [], returned: '0', frozen: '184' })
    expect(brief(before.held)).toEqual([...SPENT, UNCLAIMED])
    ledger.clock.set(EXPIRES + WINDOW_MS - 1)
    expect(await released(home)).toMatchObject({ released: [], returned: '0', frozen: '184' })
    const { out } = await say(home)
    expect(out).toMatch(/^CREDITS +OF +ID +STATE\n/)
    expect(out).toContain('your agent may use it until 2030-01-02T00:05:00.000Z\n')
    expect(out).toContain('its seller may redeem it, or you dispute until 2030-01-02T00:01:00.000Z\n')
    expect(out).toContain('give the command again then')
  })

  test('all comes back once it is due, and then nothing is left to come back', async () => {
    await leaveBehind()
    ledger.clock.set(EXPIRES + WINDOW_MS)
    const lanes = await released(home)
    expect(brief(lanes.released)).toEqual(SPENT)
    expect(brief(lanes.held)).toEqual([UNCLAIMED])
    expect(lanes).toMatchObject({ returned: '32', frozen: '152' })
    ledger.clock.set(EXPIRES + limits.clockSkewMs)
    const rest = await released(home)
    expect(brief(rest.released)).toEqual([UNCLAIMED])
    expect(rest).toMatchObject({ held: [], returned: '152', available: `${FAUCET - 16n}`, frozen: '0' })
    expect(await released(home)).toEqual({ ...rest, released: [], returned: '0' })
    expect((await say(home)).out).toBe(
      `0 credits are available again, ${FAUCET - 16n} in all; 0 are frozen, 0 earned, 0 in bonds.\n`,
    )
  })

  test('what no seller has claimed comes back at once on demand, and lanes live on', async () => {
    const bought = await leaveBehind()
    const now = await released(home, '--now')
    expect(brief(now.released)).toEqual([UNCLAIMED])
    expect(brief(now.held)).toEqual(SPENT)
    const late = bought.lane(bob, { first: 4 })
    const refused = await ledger.post('/v1/claims', { commitment: late.commitment, claim: late.claim })
    expect(refused.body['code']).toBe('closed')
    await expectAccepted(ledger.post('/v1/redemptions', { redemption: bought.lane(bob).redeem(16) }))
  })

  test('the ledger has the last word on when', async () => {
    await leaveBehind()
    const ahead = { ...environment, clock: { ...environment.clock, now: () => EXPIRES + WINDOW_MS } }
    const said = await raincheck(home, ['release', '--json'], { environment: ahead })
    const { held, released: back } = answerShape.parse(said.json())
    expect(back).toEqual([])
    expect(brief(held)).toEqual([...SPENT, UNCLAIMED])
  })

  test('what an agent releases as well is released once', async () => {
    const bought = await leaveBehind()
    ledger.clock.set(EXPIRES + DAY_MS)
    await expectAccepted(ledger.post('/v1/releases', { release: bought.release(you, you.agent) }))
    expect(await released(home)).toMatchObject({ returned: '32', available: `${FAUCET - 16n}`, frozen: '0' })
    for (const release of [bought.release(you, you.agent), bought.lane(bob).release(you, you.agent)])
      expect(await ledger.post('/v1/releases', { release })).toMatchObject({ status: 200 })
  })

  test.each([true, false])('interrupted anywhere, it is given again (answers lost: %s)', async (answersLost) => {
    await leaveBehind()
    ledger.clock.set(EXPIRES + DAY_MS)
    let interrupted = 0
    for (let left = 0; interrupted === left; left++) {
      line = { left, answersLost }
      interrupted += (await say(home)).code
    }
    expect(interrupted).toBeGreaterThan(5)
    line = { left: Infinity, answersLost }
    expect(await released(home)).toMatchObject({ held: [], available: `${FAUCET - 16n}`, frozen: '0' })
  })

  test('lanes are found among claims of others and of lanes that have ended', async () => {
    const sold = purchase(bob, { units: 200, segment: 4, nonce: new Uint8Array(16) })
    await expectAccepted(ledger.post('/v1/declarations', { declaration: sold.declaration }))
    const bought = await declared(you, { units: 200, segment: 4 })
    for (let i = 0; i < 20; i++) {
      await claimed(sold.lane(you, { first: i, segments: 1 }))
      const lane = await claimed(bought.lane(bob, { first: i, segments: 1 }))
      if (i % 5 !== 0) await expectAccepted(ledger.post('/v1/releases', { release: lane.release(bob) }))
    }
    await ledger.sequence()
    ledger.clock.set(EXPIRES + DAY_MS)
    const all = await released(home)
    expect(all.released.filter(({ kind }) => kind === 'spent')).toHaveLength(4)
    expect(all).toMatchObject({ held: [], available: `${FAUCET}`, frozen: '0', earned: '0' })
  })
})

test.each([{}, { shards: 2 }])(
  'a lane whose claim is not in the log yet is counted, and found later (%j)',
  async (policy) => {
    await open(policy)
    const bought = await declared(you)
    await claimed(bought.lane(bob))
    expect((await say(home)).out).toContain('\n32 credits were frozen just now, or their lane is not in the log yet')
    await ledger.sequence()
    expect((await say(home)).out).not.toContain('just now')
  },
)

test('at a ledger whose log is in shards, too', async () => {
  await open({ shards: 2 })
  await leaveBehind()
  expect(brief((await released(home)).held)).toEqual([...SPENT, UNCLAIMED])
  ledger.clock.set(EXPIRES + DAY_MS)
  expect(await released(home)).toMatchObject({ returned: '184', frozen: '0' })
})

test('as a seller, what lanes earned is available once they have expired, and bonds when nobody may dispute', async () => {
  await open()
  const bought = purchase(bob, { disputeWindow: DAY_MS })
  await expectAccepted(ledger.post('/v1/declarations', { declaration: bought.declaration }))
  await claimed(bought.lane(you), 5)
  await claimed(bought.lane(you, { first: 2, segments: 1, mode: 'sealed' }), 3)
  const plain = ['earned', '10', EXPIRES + limits.clockSkewMs]
  const sealed = ['earned', '14', EXPIRES + DAY_MS]
  const before = await released(home, '--now')
  expect(brief(before.held)).toEqual([plain, sealed])
  expect(before).toMatchObject({ released: [], earned: '16', bonds: '8' })
  ledger.clock.set(EXPIRES + limits.clockSkewMs)
  const after = await released(home)
  expect(brief(after.released)).toEqual([plain])
  expect(brief(after.held)).toEqual([sealed])
  expect((await say(home)).out).toContain('its buyer may pay more, or dispute until 2030-01-03T00:00:00.000Z')
  ledger.clock.set(EXPIRES + DAY_MS)
  expect(await released(home)).toMatchObject({ returned: '14', available: `${FAUCET + 16n}`, earned: '0', bonds: '0' })
})

test('another ledger is named by its URL; who has no account there is told', async () => {
  await open()
  const [dir] = await openHomeOf('stranger')
  expect(await say(dir, '--ledger', LEDGER_URL)).toMatchObject({ code: 3 })
  await writeFile(join(home, 'settings.json'), '{}')
  expect(await say(home)).toMatchObject({ code: 2 })
  expect(await released(home, '--ledger', LEDGER_URL)).toMatchObject({ released: [], held: [] })
})
