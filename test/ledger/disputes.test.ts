/** Sealed lanes at the ledger: bonds, keys that redemptions publish, false labels, and who may leave when. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { rootsOf } from '../../protocol/sealed.ts'
import { claim as claimOf, redeem as redeemOf } from '../../protocol/settlement.ts'
import { auditStore } from './audit.ts'
import { DAY_MS, expectAccepted, expectProblem, FAUCET, openLedger, START_MS, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase, type Lane, type Person } from './people.ts'
import { oneBit, sealGoods, SHAPE } from './sealed-goods.ts'

const [alice, bob, eve] = [person('alice'), person('bob'), person('eve')]
const WINDOW_MS = 60_000
const PRICE = 2n
const BOND = 4n * PRICE

let ledger: TestLedger
let download: ReturnType<typeof purchase>
let lane: Lane

beforeEach(async () => {
  ledger = openLedger()
  download = purchase(alice)
  lane = download.lane(bob, { mode: 'sealed' })
  for (const { identity } of [alice, bob, eve]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
})

const claim = (of = lane) => ledger.post('/v1/claims', { commitment: of.commitment, claim: of.claim })
const redeem = (unit: number, forged = {}) => ledger.post('/v1/redemptions', { redemption: lane.redeem(unit, forged) })

async function money({ hex }: Person): Promise<Record<string, bigint>> {
  const { body } = await ledger.get(`/v1/accounts/${hex}`)
  const kinds = ['available', 'bonds', 'earned', 'frozen'].filter((kind) => body[kind] !== '0')
  return Object.fromEntries(kinds.map((kind) => [kind, BigInt(String(body[kind]))]))
}

/** Nothing moves, whatever is answered. */
async function unmoved<T>(attack: () => Promise<T>): Promise<T> {
  const before = [await money(alice), await money(bob), await money(eve)]
  const answer = await attack()
  expect([await money(alice), await money(bob), await money(eve)]).toEqual(before)
  return answer
}

const refused = (attack: () => ReturnType<typeof claim>, code: string) => unmoved(() => expectProblem(attack(), code))

describe('a claim of a sealed lane', () => {
  test('freezes the bond, which the account shows', async () => {
    await expectAccepted(claim())
    expect(await money(bob)).toEqual({ available: FAUCET - BOND, bonds: BOND })
    const { body } = await ledger.get(`/v1/lanes/${lane.hex}`)
    const anchor = toHex(lane.unitKey(0))
    expect(body).toMatchObject({ mode: 'sealed', sealed: { anchor, bond: String(BOND), key: anchor } })
    expect(body).toMatchObject({ claimer: toHex(bob.signer.key) })
  })

  test.each([
    ['too small a bond', { bond: BOND - 1n }],
    ['a bond that is more than the lane is worth', { bond: 16n * PRICE + 1n }],
  ])('is refused with %s', async (_, forged) => {
    const order = lane.claimBy(bob, bob.signer, forged)
    await refused(() => ledger.post('/v1/claims', { commitment: lane.commitment, claim: order }), 'bad-request')
  })

  test('is refused without an anchor, and a lane that is not sealed with one', async () => {
    const bare = claimOf({ commitment: lane.id, payee: bob.id }, bob.signer)
    await refused(() => ledger.post('/v1/claims', { commitment: lane.commitment, claim: bare }), 'bad-request')
    const plain = download.lane(bob, { mode: 'prepaid', first: 4 })
    const sealed = { anchor: lane.unitKey(0), bond: BOND, cipher: 'aes-256-ctr' } as const
    const more = claimOf({ commitment: plain.id, payee: bob.id, sealed }, bob.signer)
    await refused(() => ledger.post('/v1/claims', { commitment: plain.commitment, claim: more }), 'bad-request')
  })

  test('is refused when the payee has not the bond: funds-insufficient', async () => {
    await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(bob, eve, FAUCET - BOND + 1n) }))
    await refused(() => claim(), 'funds-insufficient')
  })

  test('is refused once the lane was claimed with another anchor: its keys open nothing', async () => {
    await expectAccepted(claim())
    const other = lane.claimBy(bob, bob.signer, { anchor: sha256(utf8('another')) })
    await refused(() => ledger.post('/v1/claims', { commitment: lane.commitment, claim: other }), 'lane-taken')
    expect((await claim()).status).toBe(200)
  })

  test('counts against the caps of the agent that claims, and is given back with the lane', async () => {
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob, { day: BOND, total: BOND }) }))
    const by = (of: Lane) => ({ commitment: of.commitment, claim: of.claimBy(bob, bob.agent) })
    const other = download.lane(bob, { mode: 'sealed', first: 4 })
    await expectAccepted(ledger.post('/v1/claims', by(lane)))
    await refused(() => ledger.post('/v1/claims', by(other)), 'delegation-exceeded')
    const consent = { release: lane.release(bob), signoff: lane.consent(alice, 0) }
    await expectAccepted(ledger.post('/v1/releases', consent))
    await expectAccepted(ledger.post('/v1/claims', by(other)))
  })

  test('is refused beyond what one chain of keys has', async () => {
    const long = purchase(alice, { units: 5000, segment: 64, nonce: sha256(utf8('long')).slice(0, 16) })
    await expectAccepted(ledger.post('/v1/declarations', { declaration: long.declaration }))
    const [most, more] = [64, 65].map((segments) => long.lane(bob, { mode: 'sealed', segments })) as [Lane, Lane]
    await refused(() => claim(more), 'bad-request')
    await expectAccepted(claim(most))
  })
})

describe('a redemption of a sealed lane', () => {
  beforeEach(() => expectAccepted(claim()))

  test('shows the key, which the ledger publishes', async () => {
    await expectAccepted(redeem(3))
    await expectAccepted(redeem(9))
    const { body } = await ledger.get(`/v1/lanes/${lane.hex}`)
    expect(body).toMatchObject({ redeemed: 9, sealed: { key: toHex(lane.unitKey(9)) } })
    expect(await money(bob)).toEqual({ available: FAUCET - BOND, bonds: BOND, earned: 9n * PRICE })
  })

  test('earns nothing without the key: bad-request', async () => {
    const [link, proof] = [download.chain.link(0, 3), download.chain.proof(0)]
    const redemption = redeemOf({ lane: lane.id, link, payee: bob.id, proof, unit: 3 }, bob.signer)
    await refused(() => ledger.post('/v1/redemptions', { redemption }), 'bad-request')
  })

  test.each([
    ['of the unit before', () => lane.unitKey(2)],
    ['of the unit after', () => lane.unitKey(4)],
    ['of another lane', () => download.lane(bob, { mode: 'sealed', first: 5 }).unitKey(3)],
    ['that is the anchor', () => lane.unitKey(0)],
  ])('earns nothing with the key %s: key-invalid', async (_, key) => {
    await refused(() => redeem(3, { unitKey: key() }), 'key-invalid')
    await expectAccepted(redeem(2))
    await refused(() => redeem(3, { unitKey: key() }), 'key-invalid')
  })

  test('of a lane that is not sealed shows none', async () => {
    const plain = download.lane(bob, { mode: 'prepaid', first: 4 })
    await expectAccepted(claim(plain))
    const redemption = plain.redeem(1, { unitKey: lane.unitKey(1) })
    await refused(() => ledger.post('/v1/redemptions', { redemption }), 'bad-request')
  })
})

describe('a false label', () => {
  beforeEach(() => expectAccepted(claim()))
  const accuse = (of: ReturnType<typeof sealGoods>, ...by: Parameters<typeof of.accuse>) =>
    ledger.post('/v1/disputes', { label: of.label, dispute: of.accuse(...by) })

  test('costs the bond and the unit, redeemed or not', async () => {
    await expectAccepted(redeem(3))
    const body = await expectAccepted(accuse(sealGoods(lane, 3, bob.signer, oneBit), alice))
    expect(body).toMatchObject({ lane: lane.hex, bond: String(BOND) })
    expect(await money(bob)).toEqual({ available: FAUCET - BOND + 2n * PRICE })
    const unclaimed = (100n - 16n) * PRICE
    expect(await money(alice)).toEqual({ available: FAUCET - unclaimed - 2n * PRICE + BOND, frozen: unclaimed })
  })

  test('shown before anything is redeemed ends the lane, and nothing is earned', async () => {
    await expectAccepted(accuse(sealGoods(lane, 1, bob.signer, oneBit), alice))
    await refused(() => redeem(1), 'closed')
    expect(await money(bob)).toEqual({ available: FAUCET - BOND })
    expect((await ledger.get(`/v1/lanes/${lane.hex}`)).body).toMatchObject({ closed: true })
  })

  test('is judged again to the same receipt, and not twice', async () => {
    const goods = sealGoods(lane, 2, bob.signer, oneBit)
    const first = await expectAccepted(accuse(goods, alice))
    const again = await unmoved(() => accuse(goods, alice))
    expect(again).toMatchObject({ status: 200, body: first })
    await refused(() => accuse(sealGoods(lane, 3, bob.signer, oneBit), alice), 'closed')
  })

  test('can be shown by the payer’s agent, within the time for disputes', async () => {
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(alice) }))
    ledger.clock.set(START_MS + DAY_MS + WINDOW_MS - 1)
    await expectAccepted(accuse(sealGoods(lane, 1, bob.signer, oneBit), alice, {}, alice.agent))
  })

  test('after the window: expired', async () => {
    ledger.clock.set(START_MS + DAY_MS + WINDOW_MS)
    await refused(() => accuse(sealGoods(lane, 1, bob.signer, oneBit), alice), 'expired')
  })

  test('shown by anybody but the payer: not-payer', async () => {
    const goods = sealGoods(lane, 1, bob.signer, oneBit)
    await refused(() => accuse(goods, eve), 'not-payer')
    await refused(() => accuse(goods, alice, {}, eve.signer), 'not-payer')
    await refused(() => accuse(goods, eve, {}, alice.signer), 'not-payer')
  })

  test('of a lane that is not sealed, or not known', async () => {
    const plain = download.lane(bob, { mode: 'prepaid', first: 4 })
    await expectAccepted(claim(plain))
    await refused(() => accuse(sealGoods(plain, 1, bob.signer, oneBit), alice), 'bad-request')
    const unknown = download.lane(bob, { mode: 'sealed', first: 6 })
    await refused(() => accuse(sealGoods(unknown, 1, bob.signer, oneBit), alice), 'not-found')
  })
})

describe('a false accusation moves nothing: no-fault', () => {
  beforeEach(() => expectAccepted(claim()))
  const honest = () => sealGoods(lane, 2, bob.signer)
  const spoiled = () => sealGoods(lane, 2, bob.signer, oneBit)
  const flipped = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 0 ? byte ^ 1 : byte))
  const post = (of: ReturnType<typeof honest>, forged = {}) =>
    ledger.post('/v1/disputes', { label: of.label, dispute: of.accuse(alice, forged) })

  test('about a good piece', () => refused(() => post(honest()), 'no-fault'))
  test('about another label', () =>
    refused(
      () => ledger.post('/v1/disputes', { label: honest().label, dispute: spoiled().accuse(alice) }),
      'bad-request',
    ))
  test('under the key of another unit', async () => {
    for (const unit of [1, 3]) await refused(() => post(honest(), { unitKey: lane.unitKey(unit) }), 'no-fault')
    await expectAccepted(redeem(5))
    for (const unit of [1, 3]) await refused(() => post(honest(), { unitKey: lane.unitKey(unit) }), 'no-fault')
  })
  test('about a unit beyond the lane', () => refused(() => post(sealGoods(lane, 17, bob.signer, oneBit)), 'no-fault'))
  test('with a label that somebody else signed', () =>
    refused(() => post(sealGoods(lane, 2, alice.signer, oneBit)), 'no-fault'))
  test('with a block that was not sealed', () =>
    refused(() => post(honest(), { cipher: new Uint8Array(16_384) }), 'no-fault'))
  test('with a hash that was not promised', () =>
    refused(() => post(honest(), { leaf: flipped(new Uint8Array(32)) }), 'no-fault'))
  test('with the block at another place', () => refused(() => post(spoiled(), { block: 0 }), 'no-fault'))
  test('with a block that the piece has not', () => refused(() => post(honest(), { block: 3 }), 'no-fault'))
  test('with a node of the tree for the hash of a block', async () => {
    const goods = honest()
    await refused(() => post(goods, { leaf: rootsOf(goods.body, SHAPE).plainRoot, leafPath: [] }), 'no-fault')
  })
  test('with a label whose tree is too small for its piece', () =>
    refused(() => post(sealGoods(lane, 2, bob.signer, oneBit, { levels: SHAPE.levels - 1 })), 'bad-encoding'))
})

describe('the payee of a sealed lane leaves', () => {
  beforeEach(() => expectAccepted(claim()))
  const leave = (signoff?: Parameters<typeof ledger.post>[1][string]) =>
    ledger.post('/v1/releases', { release: lane.release(bob), ...(signoff && { signoff }) })

  test('not before the payer has read: not-expired', async () => {
    await expectAccepted(redeem(3))
    const { body } = await refused(() => leave(), 'not-expired')
    expect(body).toMatchObject({ dueMs: START_MS + DAY_MS + WINDOW_MS })
    await refused(() => leave(lane.consent(alice, 2)), 'not-expired')
    await refused(() => leave(lane.consent(bob, 3)), 'not-payer')
    await refused(() => leave(download.lane(bob, { mode: 'sealed', first: 3 }).consent(alice, 3)), 'bad-request')
    const ofTheRest = { release: download.release(), signoff: lane.consent(alice, 3) }
    await refused(() => ledger.post('/v1/releases', ofTheRest), 'bad-request')
    await expectAccepted(leave(lane.consent(alice, 3)))
    expect(await money(bob)).toEqual({ available: FAUCET + 3n * PRICE })
  })

  test.each([
    ['the payee', bob],
    ['the payer', alice],
  ])('when the window is over, by the hand of %s', async (_, by) => {
    await expectAccepted(redeem(3))
    ledger.clock.set(START_MS + DAY_MS + WINDOW_MS)
    await expectAccepted(ledger.post('/v1/releases', { release: lane.release(by) }))
    expect(await money(bob)).toEqual({ available: FAUCET + 3n * PRICE })
  })
})

test('the payer of a sealed lane does not leave by its own sign-off, with units that it owes: not-expired', async () => {
  await expectAccepted(claim())
  const early = { release: lane.release(alice), signoff: lane.consent(alice, 16) }
  await refused(() => ledger.post('/v1/releases', early), 'not-expired')
  await expectAccepted(redeem(3))
})

test('the log of it all replays', async () => {
  await expectAccepted(claim())
  await expectAccepted(redeem(4))
  await ledger.sequence()
  await ledger.attest()
  const goods = sealGoods(lane, 4, bob.signer, oneBit)
  await expectAccepted(ledger.post('/v1/disputes', { label: goods.label, dispute: goods.accuse(alice) }))
  await ledger.sequence()
  await ledger.attest()
  const { available, bonds, earned, frozen, issued } = await (await auditStore(ledger.store)).attestationAt(9)
  expect({ bonds, sum: available + earned + frozen }).toEqual({ bonds: undefined, sum: issued })
})
