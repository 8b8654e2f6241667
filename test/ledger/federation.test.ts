/** Who decides at a ledger: the majority of a federation's keys, its authority, the ledger's issuer. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import {
  certify,
  setPrice,
  trustPeer,
  type MembershipTerms,
  type PeerTerms,
  type PriceTerms,
} from '../../protocol/federation.ts'
import { buy, sell, type BuyTerms, type SellTerms } from '../../protocol/issuance.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'
import { DAY_MS, expectAccepted, expectProblem, LEDGER_ID, openLedger, START_MS, type TestLedger } from './kit.ts'
import { gift, person, purchase } from './people.ts'

const signerOf = (name: string): Signer => signerFrom(sha256(utf8(name)))
const council = ['one', 'two', 'three', 'four', 'five'].map(signerOf)
const authority = signerOf('authority')
const issuer = signerOf('issuer')
const alice = person('alice')
const bob = person('bob')

function openFederated(more: { readonly authority?: Bytes } = {}): TestLedger {
  const federation = { keys: council.map(({ key }) => key), ...more }
  return openLedger({ policy: { federation, issuer: issuer.key } })
}

const priceTerms = (terms: Partial<PriceTerms> = {}): PriceTerms => ({
  effective: START_MS + DAY_MS,
  ledger: LEDGER_ID,
  seq: 1,
  unitPrice: 7n,
  ...terms,
})

const order = (ledger: TestLedger, signed: readonly Envelope[]) =>
  ledger.postJson('/v1/prices', { price: signed.map(envelopeToJson) })

const orderBy = (ledger: TestLedger, signers: readonly Signer[], terms: Partial<PriceTerms> = {}) =>
  order(
    ledger,
    signers.map((signer) => setPrice(priceTerms(terms), signer)),
  )

const infoOf = async (ledger: TestLedger) => (await ledger.get('/v1/ledger')).body

describe('the unit price', () => {
  test('changes by a majority of the federation, at the time that it names', async () => {
    const ledger = openFederated()
    await expectAccepted(orderBy(ledger, council.slice(0, 3)))
    expect(await infoOf(ledger)).toMatchObject({
      unitPrice: '1',
      price: { seq: 1, unitPrice: '7', effective: START_MS + DAY_MS },
    })
    ledger.clock.advance(DAY_MS - 1)
    expect(await infoOf(ledger)).toMatchObject({ unitPrice: '1' })
    ledger.clock.advance(1)
    expect(await infoOf(ledger)).toMatchObject({ unitPrice: '7' })
  })

  test('does not change by fewer, by one who signs twice, by others, or by what they did not all sign', async () => {
    const ledger = openFederated()
    const [one, two, three] = council as [Signer, Signer, Signer]
    await expectProblem(orderBy(ledger, [one, two]), 'forbidden')
    await expectProblem(orderBy(ledger, [one, two, two]), 'bad-request')
    await expectProblem(orderBy(ledger, [one, two, signerOf('stranger')]), 'unknown-key')
    await expectProblem(orderBy(ledger, [one, two, three, authority]), 'unknown-key')
    const mixed = [
      setPrice(priceTerms(), one),
      setPrice(priceTerms(), two),
      setPrice(priceTerms({ unitPrice: 8n }), three),
    ]
    await expectProblem(order(ledger, mixed), 'bad-request')
    await expectProblem(order(ledger, []), 'bad-request')
    expect(await infoOf(ledger)).not.toHaveProperty('price')
  })

  test('does not go back to an earlier order, and takes a repeat for what it is', async () => {
    const ledger = openFederated()
    const [one, two, three, four] = council as [Signer, Signer, Signer, Signer]
    await expectAccepted(orderBy(ledger, [one, two, three]))
    expect((await orderBy(ledger, [two, three, four])).status).toBe(200)
    await expectAccepted(orderBy(ledger, [one, two, four], { seq: 3, unitPrice: 9n }))
    expect((await orderBy(ledger, [one, two, three])).status).toBe(200)
    expect(await infoOf(ledger)).toMatchObject({ price: { seq: 3, unitPrice: '9' } })
    await expectProblem(orderBy(ledger, council, { seq: 2, unitPrice: 2n }), 'conflict')
    await expectProblem(orderBy(ledger, council, { seq: 3, unitPrice: 2n }), 'conflict')
    expect(await infoOf(ledger)).toMatchObject({ price: { seq: 3, unitPrice: '9' } })
  })

  test('takes effect in no past, and at no other ledger', async () => {
    const ledger = openFederated()
    await expectProblem(orderBy(ledger, council, { effective: START_MS - 1 }), 'expired')
    await expectProblem(orderBy(ledger, council, { ledger: sha256(utf8('elsewhere')) }), 'wrong-ledger')
  })

  test('is the ledger’s own to say where there is no federation', async () => {
    const ledger = openLedger()
    await expectProblem(orderBy(ledger, [signerOf('stranger')]), 'unknown-key')
    await expectAccepted(orderBy(ledger, [signerOf('ledger')]))
    ledger.clock.advance(DAY_MS)
    expect(await infoOf(ledger)).toMatchObject({ unitPrice: '7' })
  })

  test('binds no declaration: what a piece costs is between its two sides', async () => {
    const ledger = openFederated()
    await expectAccepted(orderBy(ledger, council))
    await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
    for (const unitPrice of [0n, 7n, 70n]) {
      const nonce = sha256(utf8(String(unitPrice))).slice(0, 16)
      await expectAccepted(
        ledger.post('/v1/declarations', { declaration: purchase(alice, { unitPrice, nonce }).declaration }),
      )
    }
  })

  test('is what the last order in effect says, whatever orders come', async () => {
    const step = fc.record({
      seq: fc.integer({ min: 1, max: 9 }),
      unitPrice: fc.bigInt({ min: 0n, max: 99n }),
      inMs: fc.integer({ min: -5, max: 30 }),
      passMs: fc.nat({ max: 20 }),
      signers: fc.subarray(council),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const ledger = openFederated()
        let [now, later, from, last] = [1n, 1n, 0, 0]
        for (const { inMs, passMs, seq, signers, unitPrice } of steps) {
          const nowMs = ledger.clock.now()
          const effective = nowMs + inMs
          const { status } = await orderBy(ledger, signers, { effective, seq, unitPrice })
          const isTaken = signers.length >= 3 && seq > last && inMs >= 0
          if (status === 201) {
            expect(isTaken).toBe(true)
            ;[now, later, from, last] = [nowMs >= from ? later : now, unitPrice, effective, seq]
          }
          ledger.clock.advance(passMs)
          const expected = ledger.clock.now() >= from ? later : now
          expect((await infoOf(ledger))['unitPrice']).toBe(String(expected))
        }
        await ledger.attest()
        await auditStore(ledger.store)
        expect(ledger.faults).toEqual([])
      }),
      { numRuns: 25 },
    )
  })
})

describe('an account at a ledger that asks for a membership', () => {
  const membership = (terms: Partial<MembershipTerms> = {}, signer = authority): Envelope =>
    certify({ expires: START_MS + DAY_MS, issued: START_MS, member: alice.id, ...terms }, signer)
  const join = (ledger: TestLedger, certificate?: Envelope, { identity } = alice) =>
    ledger.post('/v1/accounts', { identity, ...(certificate && { membership: certificate }) })

  test('is opened with one that the authority signed', async () => {
    const ledger = openFederated({ authority: authority.key })
    await expectAccepted(join(ledger, membership()))
    expect((await join(ledger, membership())).status).toBe(200)
    expect((await infoOf(ledger))['federation']).toMatchObject({ authority: expect.any(String), majority: 3 })
    await ledger.attest()
    await auditStore(ledger.store)
  })

  test('is not opened without, for another, by another key, after its time or before it', async () => {
    const ledger = openFederated({ authority: authority.key })
    await expectProblem(join(ledger), 'forbidden')
    await expectProblem(join(ledger, membership(), bob), 'forbidden')
    await expectProblem(join(ledger, membership({}, council[0])), 'forbidden')
    await expectProblem(join(ledger, membership({}, alice.signer)), 'forbidden')
    await expectProblem(join(ledger, membership({ issued: START_MS - DAY_MS, expires: START_MS })), 'expired')
    const ahead = START_MS + limits.clockSkewMs + 2
    await expectProblem(join(ledger, membership({ issued: ahead, expires: ahead + 1 })), 'bad-request')
    const forLong = membership({ expires: START_MS + limits.membershipMs + 1 })
    await expectProblem(join(ledger, forLong), 'bad-encoding')
    await expectProblem(ledger.get(`/v1/accounts/${alice.hex}`), 'not-found')
  })

  test('is opened without one elsewhere, where a membership is out of place', async () => {
    const ledger = openFederated()
    await expectProblem(join(ledger, membership()), 'bad-request')
    await expectAccepted(join(ledger))
  })
})

describe('credits for outside money', () => {
  const buyTerms = (terms: Partial<BuyTerms> = {}): BuyTerms => ({
    account: alice.id,
    amount: 100n,
    ledger: LEDGER_ID,
    reference: 'payment 1',
    ...terms,
  })
  const sellTerms = (terms: Partial<SellTerms> = {}): SellTerms => ({
    ...buyTerms({ reference: 'payout 1' }),
    expires: START_MS + DAY_MS,
    ...terms,
  })
  const bought = (ledger: TestLedger, terms: Partial<BuyTerms> = {}, signer = issuer) =>
    ledger.post('/v1/purchases', { buy: buy(buyTerms(terms), signer) })
  const sold = (ledger: TestLedger, terms: Partial<SellTerms> = {}, by = alice.signer, signer = issuer) =>
    ledger.post('/v1/sales', { sell: sell(sellTerms(terms), by), issuer: sell(sellTerms(terms), signer) })

  async function open(): Promise<TestLedger> {
    const ledger = openFederated()
    for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
    return ledger
  }
  const available = async (ledger: TestLedger, { hex } = alice) =>
    (await ledger.get(`/v1/accounts/${hex}`)).body['available']

  /** What the statement adds up to. */
  async function stated(ledger: TestLedger, { hex } = alice): Promise<string> {
    const { entries } = (await ledger.get(`/v1/accounts/${hex}/entries?limit=1000`)).body
    return String((entries as { available: string }[]).reduce((sum, row) => sum + BigInt(row.available), 0n))
  }

  test('come by the issuer’s word, once for a reference', async () => {
    const ledger = await open()
    await expectAccepted(bought(ledger))
    expect((await bought(ledger)).status).toBe(200)
    const { body } = await expectProblem(bought(ledger, { amount: 101n }), 'conflict')
    expect(body['detail']).toContain('reference')
    await expectProblem(bought(ledger, { account: bob.id }), 'conflict')
    await expectAccepted(bought(ledger, { reference: 'payment 2' }))
    expect(await available(ledger)).toBe('1000200')
  })

  test('come by nobody else’s', async () => {
    const ledger = await open()
    for (const signer of [alice.signer, authority, council[0] as Signer, signerOf('ledger')])
      await expectProblem(bought(ledger, {}, signer), 'forbidden')
    await expectProblem(bought(ledger, { ledger: sha256(utf8('elsewhere')) }), 'wrong-ledger')
    await expectProblem(bought(ledger, { account: sha256(utf8('nobody')) }), 'not-found')
    await expectProblem(bought(ledger, { amount: 0n }), 'bad-encoding')
    await expectProblem(bought(ledger, { reference: '' }), 'bad-encoding')
    await expectProblem(bought(ledger, { reference: 'x'.repeat(limits.referenceBytes + 1) }), 'bad-encoding')
    expect(await available(ledger)).toBe('1000000')
  })

  test('are nobody’s to sell where no issuer is named', async () => {
    const ledger = openLedger()
    await expectAccepted(ledger.post('/v1/accounts', { identity: alice.identity }))
    await expectProblem(bought(ledger), 'forbidden')
    await expectProblem(sold(ledger), 'forbidden')
  })

  test('go when the owner and the issuer sign the same, and there are as many', async () => {
    const ledger = await open()
    await expectAccepted(sold(ledger))
    expect((await sold(ledger)).status).toBe(200)
    expect(await available(ledger)).toBe('999900')
    await expectProblem(sold(ledger, { reference: 'payout 2', amount: 999_901n }), 'funds-insufficient')
    await expectProblem(sold(ledger, { amount: 5n }), 'conflict')
    await expectProblem(sold(ledger, { reference: 'payout 3' }, bob.signer), 'unknown-key')
    await expectProblem(sold(ledger, { reference: 'payout 3' }, alice.signer, alice.signer), 'forbidden')
    await expectProblem(sold(ledger, { reference: 'payout 3', expires: START_MS }), 'expired')
    const [mine, theirs] = [sell(sellTerms(), alice.signer), sell(sellTerms({ amount: 99n }), issuer)]
    await expectProblem(ledger.post('/v1/sales', { sell: mine, issuer: theirs }), 'bad-request')
    expect(await available(ledger)).toBe('999900')
  })

  test('add up with what the faucet gave, whatever is bought, sold and given', async () => {
    const who = fc.constantFrom(alice, bob)
    const amount = fc.oneof(fc.bigInt({ min: 0n, max: 3_000_000n }), fc.constant(2n ** 63n - 1n))
    const reference = fc.constantFrom('a', 'b', 'c', 'd')
    const step = fc.record({ how: fc.constantFrom('buy', 'sell', 'give'), who, amount, reference, by: who })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        const ledger = await open()
        let circulating = 2_000_000n
        for (const { amount: credits, by, how, reference: name, who: account } of steps) {
          const terms = { account: account.id, amount: credits, reference: name }
          if (how === 'give') {
            await ledger.post('/v1/transfers', { transfer: gift(by, account, credits, by.signer, name) })
            continue
          }
          const { status } = await (how === 'buy' ? bought(ledger, terms) : sold(ledger, terms, by.signer))
          if (status === 201) circulating += how === 'buy' ? credits : -credits
        }
        const sum = BigInt(String(await available(ledger))) + BigInt(String(await available(ledger, bob)))
        expect(sum).toBe(circulating)
        await ledger.attest()
        for (const each of [alice, bob]) expect(await stated(ledger, each)).toBe(await available(ledger, each))
        const replica = await auditStore(ledger.store)
        expect(await replica.attestationAt(replica.size())).toMatchObject({ available: sum, issued: sum })
        expect(ledger.faults).toEqual([])
      }),
      { numRuns: 30 },
    )
  })
})

describe('a peer', () => {
  const other = signerOf('other log')
  const log = `log ${formatVerifierKey(noteKey('other.example', other.key))}\n`
  const own = `log ${formatVerifierKey(noteKey('own.example', signerOf('ledger').key))}\n`
  const named = (ledger: TestLedger, signers: readonly Signer[], terms: Partial<PeerTerms> = {}) =>
    ledger.postJson('/v1/peers', {
      peer: signers.map((signer) =>
        envelopeToJson(
          trustPeer({ ledger: LEDGER_ID, limit: 5n, policy: `${log}quorum none\n`, seq: 1, ...terms }, signer),
        ),
      ),
    })

  test('is named by a majority, and its limit changed by a later order', async () => {
    const ledger = openFederated()
    await expectProblem(named(ledger, council.slice(0, 2)), 'forbidden')
    await expectAccepted(named(ledger, council.slice(0, 3)))
    await expectProblem(named(ledger, council, { limit: 6n }), 'conflict')
    await expectAccepted(named(ledger, council.slice(2), { limit: 6n, seq: 2 }))
    const id = toHex(sha256(other.key))
    const policy = `${log}quorum none\n`
    const peer = { id, policy, limit: '6', received: '0', sent: '0', seq: 2 }
    expect((await ledger.get('/v1/peers')).body).toEqual({ peers: [peer] })
  })

  test('has one log, which is another’s', async () => {
    const ledger = openFederated()
    for (const policy of ['', 'quorum none\n', log, `${log}${own}quorum none\n`, `${log}quorum nobody\n`])
      await expectProblem(named(ledger, council, { policy }), 'bad-encoding')
    await expectProblem(named(ledger, council, { policy: `${own}quorum none\n` }), 'bad-request')
    await expectProblem(named(ledger, council, { ledger: sha256(other.key) }), 'wrong-ledger')
  })
})
