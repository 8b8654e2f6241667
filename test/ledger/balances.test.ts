/** What an account holds, asked while it changes. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { Store } from '../../protocol/store.ts'
import { expectAccepted, expectProblem, FAUCET, openLedger, type Answer, type TestLedger } from './kit.ts'
import { person, purchase } from './people.ts'
import { scheduledStore, watchedStore } from './store-watch.ts'

const alice = person('alice')
const bob = person('bob')

/** Who buys from themselves holds the same in all at every moment, whatever moves between its three sums. */
test('a balance read in the midst of changes is one that was there at one moment', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const store = watchedStore()
      const calm = openLedger({ store })
      const download = purchase(alice)
      const lanes = [
        download.lane(alice),
        download.lane(alice, { first: 2 }),
        download.lane(alice, { first: 4 }),
      ] as const
      await expectAccepted(calm.post('/v1/accounts', { identity: alice.identity }))
      await expectAccepted(calm.post('/v1/declarations', { declaration: download.declaration }))
      for (const { commitment, claim } of lanes) await expectAccepted(calm.post('/v1/claims', { commitment, claim }))
      const ledger = openLedger({ store: scheduledStore(store, scheduler) })
      const changes = [
        ...lanes.map((lane) => ledger.post('/v1/redemptions', { redemption: lane.redeem(9) })),
        ...lanes.slice(1).map((lane) => ledger.post('/v1/releases', { release: lane.release(alice) })),
        ledger.post('/v1/releases', { release: download.release() }),
      ]
      const readings = Array.from({ length: 2 }, () => ledger.get(`/v1/accounts/${alice.hex}`))
      await scheduler.waitFor(Promise.all([...changes, ...readings]))
      for (const { body, status } of await Promise.all(readings)) if (status === 200) expect(total(body)).toBe(FAUCET)
      expect(total((await calm.get(`/v1/accounts/${alice.hex}`)).body)).toBe(FAUCET)
    }),
    { numRuns: 12 },
  )
})

const total = (body: Answer['body']): bigint =>
  ['available', 'frozen', 'earned'].reduce((sum, name) => sum + BigInt(String(body[name])), 0n)

test('lists what is not settled, and no longer what is', async () => {
  const ledger = openLedger()
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  const download = purchase(alice)
  const lane = download.lane(bob)
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  const listed = async () => {
    const [payer, payee] = [await ledger.get(`/v1/accounts/${alice.hex}`), await ledger.get(`/v1/accounts/${bob.hex}`)]
    return [(payer.body['declarations'] as string[]).length, (payee.body['lanes'] as string[]).length]
  }
  expect(await listed()).toEqual([1, 1])
  await expectAccepted(ledger.post('/v1/releases', { release: download.release() }))
  expect(await listed()).toEqual([1, 1])
  await expectAccepted(ledger.post('/v1/releases', { release: lane.release(bob) }))
  expect(await listed()).toEqual([0, 0])
  expect((await ledger.get(`/v1/lanes/${lane.hex}`)).body).toMatchObject({ closed: true, cap: 16, redeemed: 0 })
})

const nonceOf = (n: number) => ({ nonce: sha256(utf8(`nonce ${n}`)).slice(0, 16) })

/** Declares, and has as many lanes claimed, redeemed to their end and released. */
async function spend(ledger: TestLedger, n: number, unitPrice: bigint): Promise<void> {
  const download = purchase(alice, { ...nonceOf(n), unitPrice, units: 8, segment: 8 })
  const lane = download.lane(alice, { segments: 1, cap: 8 })
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
  await expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(8) }))
  await expectAccepted(ledger.post('/v1/releases', { release: lane.release(alice) }))
}

test('what is worth nothing, or spent, takes no reading however much there is of it', async () => {
  const inner = openSqlite(':memory:')
  let reads = 0
  const store: Store = {
    ...inner,
    get: (pk, sk) => (reads++, inner.get(pk, sk)),
    list: (pk, range) => (reads++, inner.list(pk, range)),
  }
  const ledger = openLedger({ store })
  await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
  const cost = async () => {
    reads = 0
    await ledger.get(`/v1/accounts/${alice.hex}`)
    return reads
  }
  const before = await cost()
  for (let n = 0; n < 8; n++) {
    const free = purchase(alice, { ...nonceOf(n), unitPrice: 0n })
    const lane = free.lane(alice)
    await expectAccepted(ledger.post('/v1/declarations', { declaration: free.declaration }))
    await expectAccepted(ledger.post('/v1/claims', { commitment: lane.commitment, claim: lane.claim }))
    await spend(ledger, 100 + n, 2n)
  }
  expect(await cost()).toBe(before)
})

test('an account has no more declarations open than are added up at once, and is told so', async () => {
  const ledger = openLedger()
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  const [first, last, beyond] = [purchase(alice), purchase(alice, nonceOf(1)), purchase(alice, nonceOf(2))]
  const declare = ({ declaration }: typeof first) => ledger.post('/v1/declarations', { declaration })
  await expectAccepted(declare(first))
  const body = new Uint8Array(16)
  for (let n = 2; n < limits.openDeclarations; n++)
    await ledger.store.write([{ pk: `declarations/${alice.hex}`, sk: `${n}`, expect: 0, body }])
  await expectAccepted(declare(last))
  await expectProblem(declare(beyond), 'limit-reached')
  expect((await declare(last)).status).toBe(200)
  await expectAccepted(ledger.post('/v1/declarations', { declaration: purchase(bob).declaration }))
  await expectAccepted(ledger.post('/v1/releases', { release: first.release() }))
  await expectAccepted(declare(beyond))
})
