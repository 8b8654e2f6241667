/** The payment rows of the attack table, over HTTP: each attack is answered with its outcome and moves nothing. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import { encode } from '../../protocol/encoding.ts'
import { makeChain } from '../../protocol/payword.ts'
import { release } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, seal, signerFrom, type Envelope } from '../../protocol/signed.ts'
import {
  DAY_MS,
  expectAccepted,
  expectProblem,
  FAUCET,
  openLedger,
  START_MS,
  type Answer,
  type TestLedger,
} from './kit.ts'
import { delegation, gift, person, purchase, type Person, type Purchase } from './people.ts'

const alice = person('alice')
const bob = person('bob')
const carol = person('carol')
const mallory = person('mallory')
const everyone = [alice, bob, carol, mallory]

interface Scene {
  readonly ledger: TestLedger
  readonly download: Purchase
}

/** Everyone has an account, and Alice has declared 100 units at 2 credits. */
async function open(): Promise<Scene> {
  const ledger = openLedger()
  for (const { identity } of everyone) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  const download = purchase(alice)
  await expectAccepted(declare(ledger, download))
  return { ledger, download }
}

const declare = (ledger: TestLedger, { declaration }: Purchase): Promise<Answer> =>
  ledger.post('/v1/declarations', { declaration })
const claimLane = (
  ledger: TestLedger,
  lane: { commitment: Envelope; claim: Envelope },
  claim = lane.claim,
): Promise<Answer> => ledger.post('/v1/claims', { commitment: lane.commitment, claim })
const redeemWith = (ledger: TestLedger, redemption: Envelope): Promise<Answer> =>
  ledger.post('/v1/redemptions', { redemption })
const releaseWith = (ledger: TestLedger, order: Envelope): Promise<Answer> =>
  ledger.post('/v1/releases', { release: order })

async function openLane(people: { payee?: Person } = {}): Promise<Scene & { lane: ReturnType<Purchase['lane']> }> {
  const scene = await open()
  const lane = scene.download.lane(people.payee ?? bob)
  await expectAccepted(claimLane(scene.ledger, lane))
  return { ...scene, lane }
}

/** Everything that the accounts hold. */
const holdings = async (ledger: TestLedger): Promise<unknown> =>
  Promise.all(everyone.map(async ({ hex }) => (await ledger.get(`/v1/accounts/${hex}`)).body))

/** Expects the problem, and that no account has changed. */
async function refused(ledger: TestLedger, attack: () => Promise<Answer>, code: string): Promise<Answer> {
  const before = await holdings(ledger)
  const answer = await expectProblem(attack(), code)
  expect(await holdings(ledger)).toEqual(before)
  return answer
}

describe('the same lane to two sellers', () => {
  test('is refused with the first commitment as proof of double issue', async () => {
    const { ledger, download, lane } = await openLane()
    const again = download.lane(carol)
    const { body } = await refused(ledger, () => claimLane(ledger, again), 'lane-taken')
    expect(body['commitment']).toEqual(envelopeToJson(lane.commitment))
    const proof = [envelopeFromJson(body['commitment']), again.commitment].map(parseCommitment)
    expect(new Set(proof.map(({ payee }) => payee.join())).size).toBe(2)
  })

  test('is found also where the lanes only overlap', async () => {
    const { ledger, download } = await open()
    const wide = download.lane(bob, { first: 2, segments: 6 })
    await expectAccepted(claimLane(ledger, wide))
    for (const terms of [
      { first: 0, segments: 3 },
      { first: 4, segments: 1 },
      { first: 7, segments: 3 },
    ]) {
      const { body } = await refused(ledger, () => claimLane(ledger, download.lane(carol, terms)), 'lane-taken')
      expect(body['commitment']).toEqual(envelopeToJson(wide.commitment))
    }
    await expectAccepted(claimLane(ledger, download.lane(carol, { first: 0, segments: 2 })))
    await expectAccepted(claimLane(ledger, download.lane(carol, { first: 8, segments: 2 })))
  })

  test('is found also after the first lane was signed off', async () => {
    const { ledger, download, lane } = await openLane()
    await expectAccepted(releaseWith(ledger, lane.release(bob)))
    await refused(ledger, () => claimLane(ledger, download.lane(carol)), 'lane-taken')
  })
})

describe('a lane that is claimed again, by another key of its payee', () => {
  test('is taken: only the host that claimed knows which ticks it was paid with', async () => {
    const { ledger, lane } = await openLane()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob) }))
    const other = lane.claimBy(bob, bob.agent)
    const { body } = await refused(ledger, () => claimLane(ledger, lane, other), 'lane-taken')
    expect(body['detail']).toBe('This lane was claimed before, by another key or with another anchor.')
    expect(body['commitment']).toEqual(envelopeToJson(lane.commitment))
    expect((await claimLane(ledger, lane)).status).toBe(200)
  })
})

describe('a lane that is claimed by somebody else', () => {
  test('in their own name or in the payee’s, or with a claim of another lane, stays free: not-payee, bad-request', async () => {
    const { ledger, download } = await open()
    const lane = download.lane(bob)
    await refused(ledger, () => claimLane(ledger, lane, lane.claimBy(mallory)), 'not-payee')
    await refused(ledger, () => claimLane(ledger, lane, lane.claimBy(bob, mallory.signer)), 'not-payee')
    await refused(ledger, () => claimLane(ledger, lane, download.lane(bob, { first: 2 }).claim), 'bad-request')
    await expectAccepted(claimLane(ledger, lane))
  })
})

describe('freezing more than there is', () => {
  test('beyond the balance: funds-insufficient', async () => {
    const { ledger } = await open()
    const much = purchase(mallory, { unitPrice: FAUCET, units: 2 })
    await refused(ledger, () => declare(ledger, much), 'funds-insufficient')
  })

  test('beyond the delegation, in a day and in all: delegation-exceeded', async () => {
    const { ledger } = await open()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob, { day: 100n, total: 150n }) }))
    const spend = (units: number, nonce: string) =>
      declare(
        ledger,
        purchase(
          bob,
          { units, unitPrice: 1n, nonce: sha256(utf8(nonce)).slice(0, 16), expires: START_MS + 3 * DAY_MS },
          bob.agent,
        ),
      )
    await refused(ledger, () => spend(101, 'a'), 'delegation-exceeded')
    await expectAccepted(spend(100, 'b'))
    await refused(ledger, () => spend(1, 'c'), 'delegation-exceeded')
    ledger.clock.advance(DAY_MS)
    await refused(ledger, () => spend(51, 'd'), 'delegation-exceeded')
    await expectAccepted(spend(50, 'e'))
    ledger.clock.advance(DAY_MS)
    await refused(ledger, () => spend(1, 'f'), 'delegation-exceeded')
  })

  test('to a payee that the delegation does not list: delegation-exceeded', async () => {
    const { ledger } = await open()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob, { payees: [carol.id] }) }))
    const download = purchase(bob, {}, bob.agent)
    await expectAccepted(declare(ledger, download))
    await refused(ledger, () => claimLane(ledger, download.lane(mallory)), 'delegation-exceeded')
    await expectAccepted(claimLane(ledger, download.lane(carol)))
  })

  test('in lanes whose caps add up to more than is declared: funds-insufficient', async () => {
    const { ledger } = await open()
    const download = purchase(bob, { units: 10, segment: 8 })
    await expectAccepted(declare(ledger, download))
    await expectAccepted(claimLane(ledger, download.lane(carol, { first: 0, segments: 1 })))
    await refused(
      ledger,
      () => claimLane(ledger, download.lane(carol, { first: 1, segments: 1, cap: 3 })),
      'funds-insufficient',
    )
    await expectAccepted(claimLane(ledger, download.lane(carol, { first: 1, segments: 1, cap: 2 })))
  })

  test('in a lane beyond the chain, or with a cap outside its last segment: bad-request', async () => {
    const { ledger, download } = await open()
    for (const terms of [
      { first: 12, segments: 2 },
      { cap: 8, segments: 2 },
      { cap: 17, segments: 2 },
    ]) {
      await refused(ledger, () => claimLane(ledger, download.lane(bob, terms)), 'bad-request')
    }
  })
})

describe('a tick', () => {
  test('that was redeemed, or a lower one: tick-replayed', async () => {
    const { ledger, lane } = await openLane()
    await expectAccepted(redeemWith(ledger, lane.redeem(5)))
    await expectAccepted(redeemWith(ledger, lane.redeem(9)))
    for (const unit of [1, 5, 8]) await refused(ledger, () => redeemWith(ledger, lane.redeem(unit)), 'tick-replayed')
    await refused(ledger, () => redeemWith(ledger, lane.redeem(9, { link: sha256(utf8('another')) })), 'tick-replayed')
  })

  test('of a fraction, below 1 or no number: bad-encoding', async () => {
    const { ledger, lane } = await openLane()
    const { proof, link } = { proof: [], link: sha256(utf8('link')) }
    const bodies = ['i1.5e', 'i-1e', 'i0e', 'i-0e', 'i01e', 'i1e3e', 'i9223372036854775808e', '1:5', 'le'].map(
      (unit) => {
        const text = encode({ lane: lane.id, link, payee: bob.id, proof, unit: 77 })
        const [head, tail] = [text.slice(0, -5), text.slice(-1)]
        expect(text.slice(-5)).toEqual(utf8('i77ee'))
        return new Uint8Array([...head, ...utf8(unit), ...tail])
      },
    )
    for (const body of bodies) {
      const message = new Uint8Array([...utf8('raincheck/redemption/v1\0'), ...body])
      const redemption = { body, key: bob.signer.key, signature: bob.signer.sign(message) }
      await refused(ledger, () => redeemWith(ledger, redemption), 'bad-encoding')
    }
  })

  test('above its link, beyond the lane’s cap, on a forged chain, or with another segment’s proof: tick-invalid', async () => {
    const { ledger, download, lane } = await openLane()
    const { chain } = download
    const forged = makeChain(sha256(utf8('forged')), download.terms)
    const attacks = [
      lane.redeem(6, { link: chain.link(0, 5) }),
      lane.redeem(17),
      lane.redeem(17, { link: chain.link(0, 17), proof: chain.proof(2) }),
      lane.redeem(6, { link: forged.link(0, 6), proof: forged.proof(0) }),
      lane.redeem(6, { link: forged.link(0, 6) }),
      lane.redeem(6, { proof: chain.proof(1) }),
      lane.redeem(6, { proof: [] }),
      lane.redeem(6, { link: sha256(chain.link(0, 6)) }),
    ]
    for (const attack of attacks) await refused(ledger, () => redeemWith(ledger, attack), 'tick-invalid')
  })

  test('of the payer’s other lane: tick-invalid', async () => {
    const { ledger, download } = await openLane()
    const other = download.lane(carol, { first: 2, segments: 2 })
    await expectAccepted(claimLane(ledger, other))
    await refused(
      ledger,
      () =>
        redeemWith(
          ledger,
          other.redeem(3, { link: download.chain.link(0, 3), proof: download.chain.proof(0) }, carol.signer),
        ),
      'tick-invalid',
    )
  })

  test('that was stolen and is redeemed by another: not-payee', async () => {
    const { ledger, lane } = await openLane()
    await refused(ledger, () => redeemWith(ledger, lane.redeem(5, { payee: mallory.id }, mallory.signer)), 'not-payee')
    await refused(ledger, () => redeemWith(ledger, lane.redeem(5, {}, mallory.signer)), 'not-payee')
    await refused(ledger, () => redeemWith(ledger, lane.redeem(5, { payee: mallory.id })), 'not-payee')
    await refused(ledger, () => redeemWith(ledger, lane.redeem(5, {}, alice.signer)), 'not-payee')
  })

  test('redeemed late: expired, by the ledger’s clock', async () => {
    const { ledger, download, lane } = await openLane()
    ledger.clock.set(download.terms.expires - 1)
    await expectAccepted(redeemWith(ledger, lane.redeem(4)))
    ledger.clock.set(download.terms.expires)
    await refused(ledger, () => redeemWith(ledger, lane.redeem(5)), 'expired')
  })
})

test('a lane is not claimed any more once the declaration expires, by the ledger’s clock', async () => {
  const { ledger, download } = await open()
  ledger.clock.set(download.terms.expires)
  await refused(ledger, () => claimLane(ledger, download.lane(bob)), 'expired')
})

describe('a release', () => {
  test('of a lane by the payer before the dispute window is over: not-expired', async () => {
    const { ledger, download, lane } = await openLane()
    await refused(ledger, () => releaseWith(ledger, lane.release(alice)), 'not-expired')
    const dueMs = download.terms.expires + download.terms.disputeWindow
    ledger.clock.set(dueMs - 1)
    const { body } = await refused(ledger, () => releaseWith(ledger, lane.release(alice)), 'not-expired')
    expect(body['dueMs']).toBe(dueMs)
    ledger.clock.set(dueMs)
    await expectAccepted(releaseWith(ledger, lane.release(alice)))
  })

  test('a second time: closed', async () => {
    const { ledger, download, lane } = await openLane()
    await expectAccepted(releaseWith(ledger, lane.release(bob)))
    await expectAccepted(releaseWith(ledger, download.release()))
    ledger.clock.set(download.terms.expires + DAY_MS)
    await refused(ledger, () => releaseWith(ledger, lane.release(alice)), 'closed')
    await refused(ledger, () => redeemWith(ledger, lane.redeem(3)), 'closed')
  })

  test('by somebody else: not-payee, not-payer', async () => {
    const { ledger, download, lane } = await openLane()
    await refused(ledger, () => releaseWith(ledger, lane.release(mallory)), 'not-payee')
    await refused(ledger, () => releaseWith(ledger, lane.release(bob, mallory.signer)), 'not-payee')
    await refused(ledger, () => releaseWith(ledger, lane.release(alice, mallory.signer)), 'not-payer')
    await refused(ledger, () => releaseWith(ledger, download.release(mallory)), 'not-payer')
    await refused(ledger, () => releaseWith(ledger, download.release(bob)), 'not-payer')
    await refused(ledger, () => releaseWith(ledger, download.release(bob, alice.signer)), 'not-payer')
    await refused(ledger, () => releaseWith(ledger, download.release(alice, mallory.signer)), 'not-payer')
  })

  test('of a lane under another declaration: bad-request', async () => {
    const { ledger, lane } = await openLane()
    const elsewhere = release({ by: bob.id, declaration: lane.id, lane: lane.id }, bob.signer)
    await refused(ledger, () => releaseWith(ledger, elsewhere), 'bad-request')
  })

  test('of a declaration leaves open lanes alone, and lets no other be claimed', async () => {
    const { ledger, download, lane } = await openLane()
    await expectAccepted(releaseWith(ledger, download.release()))
    await refused(ledger, () => claimLane(ledger, download.lane(carol, { first: 2 })), 'closed')
    expect(await expectAccepted(redeemWith(ledger, lane.redeem(16)))).toMatchObject({ amount: '32' })
  })
})

describe('a host whose key is stolen', () => {
  test('spends within the caps and withdraws nothing', async () => {
    const { ledger } = await open()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob, { day: 10n, total: 10n }) }))
    await refused(
      ledger,
      () => ledger.post('/v1/transfers', { transfer: gift(bob, mallory, 1n, bob.agent) }),
      'delegation-exceeded',
    )
    await refused(
      ledger,
      () => declare(ledger, purchase(bob, { units: 11, unitPrice: 1n }, bob.agent)),
      'delegation-exceeded',
    )
    await expectAccepted(declare(ledger, purchase(bob, { units: 10, unitPrice: 1n }, bob.agent)))
  })

  test('does not delegate further, nor rotate the owner’s keys', async () => {
    const { ledger } = await open()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob) }))
    const further = delegation({ ...bob, signer: bob.agent }, { agent: mallory.signer.key })
    await refused(ledger, () => ledger.post('/v1/delegations', { delegation: further }), 'delegation-exceeded')
    const rotation = seal(
      'identity',
      { created: START_MS, id: bob.id, keys: [mallory.signer.key], prev: bob.id, seq: 1 },
      bob.agent,
    )
    await refused(ledger, () => ledger.post('/v1/rotations', { identity: rotation }), 'unknown-key')
  })

  test('is out once the owner rotates to the key above it', async () => {
    const { ledger } = await open()
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(bob) }))
    const fresh = signerFrom(sha256(utf8('fresh')))
    const rotation = seal(
      'identity',
      { created: START_MS, id: bob.id, keys: [fresh.key], prev: bob.id, seq: 1 },
      bob.signer,
    )
    await expectAccepted(ledger.post('/v1/rotations', { identity: rotation }))
    await refused(ledger, () => declare(ledger, purchase(bob, {}, bob.agent)), 'unknown-key')
    await refused(ledger, () => declare(ledger, purchase(bob)), 'unknown-key')
    await expectAccepted(declare(ledger, purchase(bob, {}, fresh)))
  })
})
