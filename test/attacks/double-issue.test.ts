/** The same lane to two sellers: one is paid, the other has a proof in hand that anyone can check without asking anybody. */
import { beforeEach, describe, expect, test } from 'vitest'
import { equal, type Bytes } from '../../protocol/bytes.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import { parseDelegation, requirePower } from '../../protocol/delegation.ts'
import { applyOperation, speaksFor } from '../../protocol/identity.ts'
import { envelopeFromJson, type Envelope } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { declared, type Bargain } from './hand.ts'
import { filmOf, moveIn, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, unmoved, type Person, type World } from './world.ts'

let world: World<HandClock>
let anna: Resident
let bert: Resident
let share: ShareJson
let payer: Person
let bought: Bargain

beforeEach(async () => {
  world = await openWorld()
  ;[anna, bert] = [await moveIn(world, 'anna'), await moveIn(world, 'bert')]
  share = await anna.share('film.bin', filmOf(24))
  await bert.share('film.bin', filmOf(24))
  payer = await world.person('payer')
  bought = await declared(world, payer, share)
})

/** What a judge needs: two promises and who the payer is. Nobody is asked. */
function isDoubleIssue(one: Envelope, other: Envelope, { identity, delegation }: Person, nowMs: number): boolean {
  const [a, b] = [parseCommitment(one), parseCommitment(other)]
  const owner = applyOperation(undefined, identity, nowMs)
  const agent = parseDelegation(delegation)
  requirePower(agent, 'spend', nowMs)
  const isPayers = (key: Bytes): boolean =>
    speaksFor(owner, key) || (speaksFor(owner, agent.key) && equal(agent.agent, key) && equal(agent.owner, owner.id))
  const overlaps = a.first < b.first + b.segments && b.first < a.first + a.segments
  return (
    [a, b].every(({ key }) => isPayers(key)) && equal(a.declaration, b.declaration) && overlaps && !equal(a.id, b.id)
  )
}

describe('the same lane to two sellers', () => {
  test('is served by the first alone; the second is told lane-taken, with a proof that holds offline', async () => {
    const [first, second] = [bought.laneTo(anna.person), bought.laneTo(bert.person)]
    expect((await anna.piece(share, 0, first.pay(1))).code).toBe('ok')
    const { json } = await refused(world, () => bert.piece(share, 0, second.pay(1)), 'lane-taken')
    const asked = world.ground.sent.length
    const shown = envelopeFromJson(json['commitment'])
    expect(parseCommitment(shown)).toMatchObject({ payee: anna.person.id, id: first.id })
    expect(isDoubleIssue(shown, second.commitment, payer, world.clock.now())).toBe(true)
    expect(world.ground.sent.length).toBe(asked)
  })

  test('proves nothing against a payer who promised each lane once', async () => {
    const [one, other] = [bought.laneTo(anna.person), bought.laneTo(bert.person, { first: 1 })]
    expect(isDoubleIssue(one.commitment, other.commitment, payer, world.clock.now())).toBe(false)
    expect(isDoubleIssue(one.commitment, one.commitment, payer, world.clock.now())).toBe(false)
    const forged = bought.laneTo(bert.person, {}, bert.person.agent)
    expect(isDoubleIssue(one.commitment, forged.commitment, payer, world.clock.now())).toBe(false)
    expect((await anna.piece(share, 0, one.pay(1))).code).toBe('ok')
    expect((await bert.piece(share, 0, other.pay(1))).code).toBe('ok')
  })

  test('at the same moment is served by one of them', async () => {
    for (let first = 0; first < 6; first++) {
      const lanes = [bought.laneTo(anna.person, { first }), bought.laneTo(bert.person, { first })]
      const answers = await Promise.all([anna, bert].map((seller, i) => seller.piece(share, 0, lanes[i]?.pay(1))))
      expect(answers.map(({ code }) => code).toSorted()).toEqual(['lane-taken', 'ok'])
    }
    expect((await world.money(payer)).frozen).toBe(24n * PRICE)
  })

  test('is found where lanes only overlap, and after the first was signed off', async () => {
    const wide = bought.laneTo(anna.person, { first: 1, segments: 3 })
    expect((await anna.piece(share, 0, wide.pay(1))).code).toBe('ok')
    const tries = [
      { first: 0, segments: 2 },
      { first: 2, segments: 1 },
      { first: 3, segments: 2 },
    ]
    for (const terms of tries) {
      await refused(world, () => bert.piece(share, 0, bought.laneTo(bert.person, terms).pay(1)), 'lane-taken')
    }
    expect((await world.post(`${anna.url}/v1/signoffs`, wide.signoff(1))).code).toBe('ok')
    for (const terms of tries) {
      await refused(world, () => bert.piece(share, 0, bought.laneTo(bert.person, terms).pay(1)), 'lane-taken')
    }
  })

  test('of one seller in two modes is one lane too', async () => {
    await anna.vouch([payer], 8)
    expect((await anna.piece(share, 0, bought.laneTo(anna.person).pay(1))).code).toBe('ok')
    const again = bought.laneTo(anna.person, { mode: 'credit' })
    await refused(world, () => anna.piece(share, 1, again.pay(0)), 'lane-taken')
  })

  test('pays who was first in full, and the cheat has what is left', async () => {
    const first = bought.laneTo(anna.person)
    for (let unit = 1; unit <= 4; unit++) expect((await anna.piece(share, unit, first.pay(unit))).code).toBe('ok')
    await unmoved(world, () => bert.piece(share, 0, bought.laneTo(bert.person).pay(1)))
    expect((await world.post(`${anna.url}/v1/signoffs`, first.signoff(4))).code).toBe('ok')
    expect((await world.money(anna.person)).available).toBe(FAUCET + 4n * PRICE)
    expect((await world.money(bert.person)).available).toBe(FAUCET)
    expect(await world.money(payer)).toEqual({ available: FAUCET - 24n * PRICE, frozen: 20n * PRICE, earned: 0n })
  })
})
