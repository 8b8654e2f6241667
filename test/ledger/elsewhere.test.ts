/** What was signed for one ledger, shown to another where the same owner has an account. */
import { expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { delegate, parseDelegation } from '../../protocol/delegation.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'
import { expectAccepted, expectProblem, openLedger, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase } from './people.ts'

const OTHER_SECRET = sha256(utf8('other ledger'))
const OTHER_ID = sha256(signerFrom(OTHER_SECRET).key)
const alice = person('alice')
const bob = person('bob')

async function open(secret?: Bytes): Promise<TestLedger> {
  const ledger = openLedger(secret ? { secret } : {})
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  return ledger
}

const download = purchase(alice)
const lane = download.lane(bob)

/** By the code with which the other ledger refuses it. */
const commands: readonly (readonly [what: string, path: string, objects: Record<string, Envelope>, code: string])[] = [
  ['a transfer', '/v1/transfers', { transfer: gift(alice, bob, 7n) }, 'wrong-ledger'],
  ['a delegation', '/v1/delegations', { delegation: delegation(alice) }, 'wrong-ledger'],
  ['a declaration', '/v1/declarations', { declaration: download.declaration }, 'wrong-ledger'],
  ['a claim', '/v1/claims', { commitment: lane.commitment, claim: lane.claim }, 'not-found'],
  ['a redemption', '/v1/redemptions', { redemption: lane.redeem(3) }, 'not-found'],
  ['a release', '/v1/releases', { release: download.release() }, 'not-found'],
]

test('has no effect there: it names its ledger, or what only its ledger holds', async () => {
  const [here, there] = [await open(), await open(OTHER_SECRET)]
  for (const [, path, objects, code] of commands) {
    await expectAccepted(here.post(path, objects))
    await expectProblem(there.post(path, objects), code)
  }
  for (const { hex } of [alice, bob])
    expect((await there.get(`/v1/accounts/${hex}`)).body).toMatchObject({ available: '1000000', frozen: '0' })
})

test('is told which ledger refused it', async () => {
  const there = await open(OTHER_SECRET)
  const { body } = await there.post('/v1/transfers', { transfer: gift(alice, bob, 7n) })
  expect(body).toMatchObject({ status: 422, ledger: toHex(OTHER_ID) })
  await expectAccepted(there.post('/v1/transfers', { transfer: gift(alice, bob, 7n, alice.signer, 'gift', OTHER_ID) }))
})

test('a delegation that names no ledger lets nobody spend', async () => {
  const here = await open()
  const { day, expires, issued, may, total } = parseDelegation(delegation(alice))
  const terms = { agent: alice.agent.key, day, expires, issued, may, owner: alice.id, total }
  await expectProblem(here.post('/v1/delegations', { delegation: delegate(terms, alice.signer) }), 'wrong-ledger')
})
