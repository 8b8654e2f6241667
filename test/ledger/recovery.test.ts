/** A recovery key above the everyday key: for 72 hours it undoes what a thief of the lower one did to the identity. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { applyOperation, rotate, type IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { createRepository } from '../../repository/repository.ts'
import { auditStore } from './audit.ts'
import {
  DAY_MS,
  expectAccepted,
  expectProblem,
  openLedger,
  START_MS,
  testClock,
  testEnvironment,
  type TestLedger,
} from './kit.ts'
import { delegation, gift, person, purchase, recoverable, type Person } from './people.ts'

const bob = person('bob')
const thief = signerFrom(sha256(utf8('thief')))
const fresh = signerFrom(sha256(utf8('fresh')))
const { recovery, ...owned } = recoverable()
/** Whose everyday key stands below the recovery key. */
const alice: Person = { ...person('alice'), ...owned }

interface Robbed {
  readonly ledger: TestLedger
  readonly before: IdentityState
  /** Accepts an operation. */
  readonly rotate: (operation: Envelope) => ReturnType<TestLedger['post']>
}

/** The thief has the everyday key, and puts its own in place of all keys. */
async function robbed(): Promise<Robbed> {
  const ledger = openLedger()
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  const before = applyOperation(undefined, alice.identity, START_MS)
  const post = (operation: Envelope) => ledger.post('/v1/rotations', { identity: operation })
  await expectAccepted(post(rotate(before, [thief.key], ledger.clock.now(), alice.signer)))
  return { ledger, before, rotate: post }
}

const keysOf = async (ledger: TestLedger) => (await ledger.get(`/v1/accounts/${alice.hex}`)).body['keys']

describe('a thief who rotated with the everyday key', () => {
  test('is put out by the recovery key within 72 hours, and all that it delegated with it', async () => {
    const { before, ledger, rotate: post } = await robbed()
    const stolen = { ...alice, signer: thief }
    await expectAccepted(ledger.post('/v1/delegations', { delegation: delegation(stolen) }))
    const expires = START_MS + 20 * DAY_MS
    const loot = purchase(alice, { expires }, alice.agent)
    await expectAccepted(ledger.post('/v1/declarations', { declaration: loot.declaration }))
    ledger.clock.advance(limits.recoveryWindowMs - 1000)
    await expectAccepted(post(rotate(before, [recovery.key, fresh.key], ledger.clock.now(), recovery)))
    expect(await keysOf(ledger)).toEqual([toHex(recovery.key), toHex(fresh.key)])
    const refused: [string, Record<string, Envelope>, string][] = [
      ['/v1/transfers', { transfer: gift(alice, bob, 1n, thief) }, 'unknown-key'],
      ['/v1/transfers', { transfer: gift(alice, bob, 1n, alice.signer) }, 'unknown-key'],
      ['/v1/delegations', { delegation: delegation(stolen, { issued: START_MS + 5 }) }, 'unknown-key'],
      [
        '/v1/declarations',
        { declaration: purchase(alice, { expires, nonce: nonce(1) }, thief).declaration },
        'unknown-key',
      ],
      [
        '/v1/declarations',
        { declaration: purchase(alice, { expires, nonce: nonce(2) }, alice.agent).declaration },
        'unknown-key',
      ],
      ['/v1/releases', { release: loot.release(alice, alice.agent) }, 'not-payer'],
      ['/v1/claims', claimOf(loot.lane(bob)), 'not-payer'],
    ]
    for (const [path, objects, code] of refused) await expectProblem(ledger.post(path, objects), code)
    await expectAccepted(ledger.post('/v1/releases', { release: loot.release(alice, fresh) }))
    await expectAccepted(
      ledger.post('/v1/delegations', { delegation: delegation({ ...alice, signer: fresh }, { issued: START_MS + 9 }) }),
    )
    await ledger.attest()
    await auditStore(ledger.store)
  })

  test('stays when the owner comes later', async () => {
    const { before, ledger, rotate: post } = await robbed()
    ledger.clock.advance(limits.recoveryWindowMs + 1000)
    await expectProblem(post(rotate(before, [recovery.key], ledger.clock.now(), recovery)), 'conflict')
    expect(await keysOf(ledger)).toEqual([toHex(thief.key)])
  })

  test('does not come back by its own operation, shown again, or by another', async () => {
    const { before, ledger, rotate: post } = await robbed()
    const mine = rotate(before, [thief.key], START_MS, alice.signer)
    await expectAccepted(post(rotate(before, [recovery.key, fresh.key], ledger.clock.now(), recovery)))
    // What was accepted is answered as then, and is out all the same.
    expect((await post(mine)).status).toBe(200)
    await expectProblem(post(rotate(before, [thief.key, alice.signer.key], START_MS, alice.signer)), 'conflict')
    expect(await keysOf(ledger)).toEqual([toHex(recovery.key), toHex(fresh.key)])
  })

  test('tells whoever asks who spoke for the account, and since when', async () => {
    const { ledger } = await robbed()
    const { body } = await ledger.get(`/v1/accounts/${alice.hex}/operations`)
    const operations = body['operations'] as { operation: unknown; at: number }[]
    expect(operations.map(({ operation }) => operation)).toContainEqual(envelopeToJson(alice.identity))
    expect(operations).toHaveLength(2)
  })
})

const HOUR_MS = 3_600_000
const nonce = (number: number): Bytes => sha256(utf8(`nonce ${number}`)).slice(0, 16)
const claimOf = ({ claim, commitment }: { claim: Envelope; commitment: Envelope }) => ({ claim, commitment })

test('ledger and repository come to the same keys, whoever rotates when', async () => {
  const signers = { recovery, everyday: alice.signer, thief, fresh } as const
  const names = Object.keys(signers) as (keyof typeof signers)[]
  const step = fc.record({
    by: fc.constantFrom(...names),
    keys: fc.shuffledSubarray(names, { minLength: 1 }),
    after: fc.nat({ max: 3 }),
    // No sum of them is the recovery window: an entry's time may be a little later than the clock's.
    waitMs: fc.constantFrom(0, 1000, DAY_MS + HOUR_MS, 2 * (DAY_MS + HOUR_MS)),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), async (steps) => {
      const clock = testClock()
      const ledger = openLedger({ clock })
      const repository = createRepository({ environment: testEnvironment(clock), store: openSqlite(':memory:') })
      const publish = (operations: readonly Envelope[]) =>
        repository.app.request('/v1/identities', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ operations: operations.map(envelopeToJson) }),
        })
      await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
      await publish([alice.identity])
      let state = applyOperation(undefined, alice.identity, clock.now())
      for (const { after, by, keys, waitMs } of steps) {
        clock.advance(waitMs)
        const signer: Signer = signers[by]
        const operation = rotate(
          state,
          keys.map((name) => signers[name].key),
          clock.now(),
          signer,
          Math.min(after, state.seq),
        )
        const [taken, published] = [
          await ledger.post('/v1/rotations', { identity: operation }),
          await publish([operation]),
        ]
        // What was overridden is still answered as it was when it was accepted.
        if (taken.status !== 200) expect(published.ok).toBe(taken.status === 201)
        if (taken.status === 201) state = applyOperation(state, operation, clock.now())
      }
      const expected = state.keys.map(toHex)
      expect(await keysOf(ledger)).toEqual(expected)
      const told = (await (await repository.app.request(`/v1/identities/${alice.hex}`)).json()) as { keys: string[] }
      expect(told.keys).toEqual(expected)
    }),
    { numRuns: 40 },
  )
})
