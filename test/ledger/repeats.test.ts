/** Every command may arrive twice: the answer is the same, the effect is one. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, seal, signerFrom, type Envelope } from '../../protocol/signed.ts'
import { WRITE_FAULTS, createFaultyStore } from '../faults/faulty-store.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { auditStore } from './audit.ts'
import { expectAccepted, expectProblem, LEDGER_ID, openLedger, START_MS, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase } from './people.ts'

const alice = person('alice')
const bob = person('bob')
const fresh = signerFrom(sha256(utf8('fresh')))
const download = purchase(alice, {}, alice.agent)
const lane = download.lane(bob, {}, alice.agent)

interface Post {
  readonly path: string
  readonly objects: Readonly<Record<string, Envelope>>
}

const post = (path: string, objects: Readonly<Record<string, Envelope>>): Post => ({ path: `/v1/${path}`, objects })

/** A life of an account: every kind of command, each resting on those before. */
const script: readonly Post[] = [
  post('accounts', { identity: alice.identity }),
  post('accounts', { identity: bob.identity }),
  post('delegations', { delegation: delegation(alice) }),
  post('declarations', { declaration: download.declaration }),
  post('claims', { commitment: lane.commitment, claim: lane.claim }),
  post('redemptions', { redemption: lane.redeem(3) }),
  post('redemptions', { redemption: lane.redeem(12) }),
  post('releases', { release: lane.release(bob) }),
  post('releases', { release: download.release(alice, alice.agent) }),
  post('transfers', { transfer: gift(alice, bob, 7n) }),
  post('rotations', {
    identity: seal('identity', { created: START_MS, id: bob.id, keys: [fresh.key], prev: bob.id, seq: 1 }, bob.signer),
  }),
]

const send = (ledger: TestLedger, { path, objects }: Post) => ledger.post(path, objects)
const accounts = async (ledger: TestLedger) =>
  Promise.all([alice, bob].map(async ({ hex }) => (await ledger.get(`/v1/accounts/${hex}`)).body))

async function replayed(ledger: TestLedger) {
  await ledger.sequence()
  return auditStore(ledger.store)
}

test('a repeat is answered 200 with the very same receipt, at any later time', async () => {
  const ledger = openLedger()
  for (const command of script) {
    const first = await expectAccepted(send(ledger, command))
    const before = await accounts(ledger).catch(() => [])
    ledger.clock.advance(1234)
    await ledger.sequence()
    const again = await send(ledger, command)
    expect(again).toMatchObject({ status: 200, body: first })
    expect(await accounts(ledger).catch(() => [])).toEqual(before)
  }
  expect((await replayed(ledger)).size()).toBe(script.length + 1)
})

test('a receipt names an entry of the log, the ledger, its time and its merge delay', async () => {
  const ledger = openLedger()
  const { receipt } = await expectAccepted(send(ledger, script[0] as Post))
  const { entry, key, ledger: id, mergeDelay, time } = parseReceipt(envelopeFromJson(receipt))
  expect({ key, id, mergeDelay, time }).toEqual({
    key: expect.anything(),
    id: LEDGER_ID,
    mergeDelay: 10_000,
    time: START_MS + 1,
  })
  expect(sha256(key)).toEqual(LEDGER_ID)
  await ledger.sequence()
  expect((await ledger.get('/v1/entries/1')).body['hash']).toBe(Buffer.from(entry).toString('hex'))
})

test('the same command sent many times at once is accepted once', async () => {
  const ledger = openLedger()
  for (const command of script) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(ledger, command)))
    expect(answers.map(({ status }) => status).toSorted((a, b) => b - a)).toEqual([201, ...Array<number>(7).fill(200)])
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
  }
})

test('an object whose body was accepted is still refused under a wrong signature', async () => {
  const ledger = openLedger()
  await expectAccepted(send(ledger, script[0] as Post))
  const forged = { ...alice.identity, signature: bob.identity.signature }
  await expectProblem(ledger.post('/v1/accounts', { identity: forged }), 'bad-signature')
})

describe('an earlier redemption that comes again after a later one', () => {
  test('is replayed: the lane remembers its latest', async () => {
    const ledger = openLedger()
    for (const command of script.slice(0, 7)) await expectAccepted(send(ledger, command))
    const { body } = await expectProblem(send(ledger, script[5] as Post), 'tick-replayed')
    expect(body['redeemed']).toBe(12)
  })
})

/** Every write of every command: a redemption is pointed to first. */
const moments = script.flatMap(({ path }, i) =>
  path === '/v1/redemptions' ? [[i, 0] as const, [i, 1] as const] : [[i, 0] as const],
)

describe.each(WRITE_FAULTS)('a write that fails, %s,', (fault) => {
  test.each(moments)(
    'at command %i, write %i, ends in the same state once the command is repeated',
    async (at, write) => {
      const expected = openLedger()
      for (const command of script) await expectAccepted(send(expected, command))

      const store = createFaultyStore(openSqlite(':memory:'))
      const ledger = openLedger({ store })
      await ledger.sequence()
      for (const [i, command] of script.entries()) {
        if (i === at) {
          const doomed = store.writes() + write
          store.setFaults((one) => (one === doomed ? fault : undefined))
          expect(await send(ledger, command)).toMatchObject({ status: 503, body: { code: 'store-unavailable' } })
        }
        const { status } = await send(ledger, command)
        const isPointer = moments.some(([command, last]) => command === at && last > write)
        expect(status).toBe(i === at && fault === 'unanswered' && !isPointer ? 200 : 201)
      }
      expect(await accounts(ledger)).toEqual(await accounts(expected))
      const replica = await replayed(ledger)
      expect(replica.size()).toBe(script.length + 1)
    },
  )
})
