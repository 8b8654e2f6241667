/** Whatever is asked in whatever order: no credit appears or is lost, indexes only rise, the log replays to the same state. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lanes } from '../../protocol/arbiter/items.ts'
import { sums } from '../../protocol/arbiter/replica.ts'
import { stateRoot, type StateItem } from '../../protocol/arbiter/state-root.ts'
import { declare } from '../../protocol/declaration.ts'
import type { Envelope } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'
import { DAY_MS, openLedger, START_MS, type Answer, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase, type Lane, type Person, type Purchase } from './people.ts'
import { oneBit, sealGoods } from './sealed-goods.ts'
import { watchedStore } from './store-watch.ts'

const FAUCET = 500n
const KINDS = ['available', 'bonds', 'frozen', 'earned'] as const
const people = ['ann', 'ben', 'cem'].map(person) as [Person, Person, Person]
const who = fc.constantFrom(...people)
const stranger = person('stranger')

/** One download for each person, the last one's paid by its agent: so few that a random walk meets the same one again. */
const downloads = people.map((payer, i) => {
  const terms = { units: 30, segment: 4, unitPrice: 7n, expires: START_MS + DAY_MS }
  return purchase(payer, terms, i === 2 ? payer.agent : payer.signer)
}) as [Purchase, Purchase, Purchase]
const bought = fc.constantFrom(...downloads)

/** Lanes to everyone, oneself too; the first two of a download overlap, and so do the sealed ones. */
const plain = downloads.flatMap((download) =>
  people.map((payee, i) => ({ of: download.lane(payee, { first: [0, 1, 3][i] as number }), payee })),
)
const sealed = downloads.flatMap((download, payer) =>
  people.map((payee) => ({
    of: download.lane(payee, { first: 5, mode: 'sealed' }),
    payee,
    payer: people[payer] as Person,
  })),
)
const lane = fc.constantFrom(...plain, ...sealed)
/** True labels and false ones of the first and the last unit. */
const goods = sealed.flatMap(({ of, payee, payer }) =>
  [1, 8].flatMap((unit) =>
    [undefined, oneBit].map((spoil) => ({ payer, ...sealGoods(of, unit, payee.signer, spoil) })),
  ),
)

type Command = readonly [path: string, objects: Readonly<Record<string, Envelope>>]
type Step = Command | number | 'sequence'

/** Mostly who should, now and then somebody else. */
const somebody = fc.option(who, { freq: 1 })

const commands = {
  delegations: fc
    .record({ owner: who, total: fc.bigInt({ min: 100n, max: 900n }), issued: fc.nat({ max: 3 }) })
    .map(({ owner, total, issued }) => ({
      delegation: delegation(owner, { total, day: total / 2n, issued: START_MS + issued }),
    })),
  declarations: fc.record({ download: bought, isForged: fc.nat({ max: 5 }) }).map(({ download, isForged }) => ({
    declaration: isForged === 5 ? declare(download.terms, stranger.signer) : download.declaration,
  })),
  claims: fc.record({ lane, by: somebody }).map(({ lane: { of, payee }, by }) => ({
    commitment: of.commitment,
    claim: of.claimBy(by ?? payee),
  })),
  redemptions: fc
    .record({ lane, unit: fc.integer({ min: 1, max: 14 }), by: somebody })
    .map(({ lane: { of, payee }, unit, by }) => ({ redemption: redemptionOf(of, unit, by ?? payee) })),
  releases: fc.oneof(
    fc.record({ lane, by: somebody }).map(({ lane: { of, payee }, by }) => ({ release: of.release(by ?? payee) })),
    bought.map((download) => ({ release: download.release() })),
    fc
      .record({ lane: fc.constantFrom(...sealed), unit: fc.nat({ max: 8 }) })
      .map(({ lane: { of, payee, payer }, unit }) => ({
        release: of.release(payee),
        signoff: of.consent(payer, unit),
      })),
  ),
  disputes: fc
    .record({ about: fc.constantFrom(...goods), by: somebody })
    .map(({ about, by }) => ({ label: about.label, dispute: about.accuse(by ?? about.payer) })),
  transfers: fc
    .record({ from: who, to: who, amount: fc.bigInt({ min: 1n, max: 600n }), nonce: fc.constantFrom('p', 'q', 'r') })
    .map(({ from, to, amount, nonce }) => ({ transfer: gift(from, to, amount, from.signer, nonce) })),
}

const weights = { delegations: 1, declarations: 3, claims: 6, redemptions: 8, releases: 2, disputes: 2, transfers: 1 }
const command: fc.Arbitrary<Command> = fc.oneof(
  ...Object.entries(commands).map(([path, objects]) => ({
    weight: weights[path as keyof typeof weights],
    arbitrary: (objects as fc.Arbitrary<Command[1]>).map((signed): Command => [path, signed]),
  })),
)

/** Within the lane or past its end, signed by anyone. */
function redemptionOf(of: Lane, unit: number, by: Person): Envelope {
  const within = Math.min(unit, of.terms.cap)
  return of.redeem(within, unit > within ? { unit } : {}, by.signer)
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: command },
  { weight: 1, arbitrary: fc.constantFrom(60_000, -60_000, DAY_MS / 3) },
  { weight: 1, arbitrary: fc.constant('sequence' as const) },
)

async function take(ledger: TestLedger, next: Step): Promise<Answer | undefined> {
  if (next === 'sequence') await ledger.sequence()
  else if (typeof next === 'number') ledger.clock.advance(next)
  else return ledger.post(`/v1/${next[0]}`, next[1])
  return undefined
}

async function checkBooks(ledger: TestLedger, state: readonly StateItem[]): Promise<void> {
  const total = sums(state)
  expect(total.available + total.bonds + total.frozen + total.earned).toBe(total.issued)
  const told = await Promise.all(people.map(async ({ hex }) => (await ledger.get(`/v1/accounts/${hex}`)).body))
  const sumOf = (name: string) => told.reduce((sum, account) => sum + BigInt(String(account[name])), 0n)
  expect({
    available: sumOf('available'),
    bonds: sumOf('bonds'),
    frozen: sumOf('frozen'),
    earned: sumOf('earned'),
    issued: total.issued,
  }).toEqual(total)
  for (const account of told) for (const name of KINDS) expect(String(account[name])).not.toContain('-')
}

const redeemedOf = (state: readonly StateItem[]): ReadonlyMap<string, number> =>
  new Map(state.filter(({ pk }) => pk.startsWith('lane/')).map(({ pk, body }) => [pk, lanes.decode(body).redeemed]))

/** What an account holds is what its statement adds up to. */
async function checkStatements(ledger: TestLedger, { shards: count = 1 }: { shards?: number }): Promise<void> {
  for (const { hex } of people) {
    const entries: unknown[] = []
    for (let shard = 0; shard < count; shard++) {
      const { body } = await ledger.get(`/v1/accounts/${hex}/entries?limit=1000&shard=${shard}`)
      entries.push(...(body['entries'] as unknown[]))
    }
    const account = (await ledger.get(`/v1/accounts/${hex}`)).body
    for (const name of KINDS) {
      const sum = (entries as Record<string, string>[]).reduce((total, row) => total + BigInt(String(row[name])), 0n)
      expect(String(sum)).toBe(account[name])
    }
  }
}

/** One log, or three that are joined. */
const shards = fc.constantFrom({}, { shards: 3 })

test('random commands, valid and not, keep every invariant', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), shards, async (steps, policy) => {
      const store = watchedStore()
      const ledger = openLedger({ store, faucet: FAUCET, policy })
      for (const { identity } of people) await ledger.post('/v1/accounts', { identity })
      await ledger.post('/v1/delegations', { delegation: delegation(people[2]) })
      for (const { declaration } of downloads) await ledger.post('/v1/declarations', { declaration })
      let before: ReadonlyMap<string, number> = new Map()
      for (const next of steps) {
        const answer = await take(ledger, next)
        expect(answer?.status ?? 200).toBeLessThan(500)
        const state = await store.state()
        const after = redeemedOf(state)
        for (const [id, redeemed] of after) expect(redeemed).toBeGreaterThanOrEqual(before.get(id) ?? 0)
        before = after
        await checkBooks(ledger, state)
      }
      await ledger.sequence()
      await checkStatements(ledger, policy)
      await ledger.attest()
      const replica = await auditStore(store)
      expect(stateRoot(replica.items())).toEqual(stateRoot(await store.state()))
    }),
    { numRuns: 25 },
  )
})
