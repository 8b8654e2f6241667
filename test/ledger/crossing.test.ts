/** Credits between two ledgers: minted once or refunded once, and never made. */
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { proveEntry } from '../../agent/clients/carry.ts'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { listen } from '../../infra/serve.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import {
  addSignature,
  formatVerifierKey,
  noteKey,
  noteText,
  parseSignatureLines,
  parseVerifierKey,
  type NoteSignature,
} from '../../protocol/checkpoint.ts'
import { cosign } from '../../protocol/cosignature.ts'
import { lock, mint, refund, type CarriedTerms, type LockTerms } from '../../protocol/crossing.ts'
import { encodeEntry } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'
import { carryBack, carryLock } from './carriers.ts'
import { DAY_MS, FAUCET, START_MS, testClock, type TestClock } from './kit.ts'
import {
  alice,
  available,
  bob,
  carrier,
  codeOf,
  endless,
  HOUR_MS,
  LIMIT,
  lockAt,
  lockTermsOf,
  meet,
  side,
  total,
  trust,
  type Locked,
  type Side,
} from './two-ledgers.ts'

const witness = { name: 'witness.example', signer: signerFrom(sha256(utf8('witness'))) }

let clock: TestClock
let here: Side
let there: Side

beforeEach(async () => {
  ;({ clock, here, there } = await meet('there'))
})

const lockTerms = (terms: Partial<LockTerms> = {}): LockTerms => lockTermsOf({ clock, here, there }, terms)
const locked = (terms: Partial<LockTerms> = {}): Promise<Locked> => lockAt({ clock, here, there }, terms)

describe('credits that are locked', () => {
  test('leave one ledger and are minted at the other, once', async () => {
    const { id, receipt } = await locked()
    expect(await available(here)).toBe(FAUCET - 100n)
    expect(await available(there, bob)).toBe(FAUCET)
    await carryLock(here.client, receipt, there.client, carrier)
    expect(await available(there, bob)).toBe(FAUCET + 100n)
    await here.ledger.sequence()
    const again = await carryLock(here.client, receipt, there.client, bob.signer)
    expect(again.lock).toBe(id)
    expect(await available(there, bob)).toBe(FAUCET + 100n)
    expect(await here.client.lockState(id)).toMatchObject({ sent: { amount: 100n, refunded: false } })
    expect(await there.client.lockState(id)).toEqual({ arrived: 'mint' })
    expect((await total(here)) + (await total(there))).toBe(4n * FAUCET)
  })

  test('are minted once when many bring them at the same moment', async () => {
    const { receipt } = await locked()
    const carried = await proveEntry(here.client, receipt)
    const signers = Array.from({ length: 8 }, (_, i) => signerFrom(sha256(utf8(`carrier ${i}`))))
    await Promise.all(signers.map((signer) => there.client.mint(mint(carried, signer))))
    expect(await available(there, bob)).toBe(FAUCET + 100n)
  })

  test('come back when the other ledger says that it did not mint them, once', async () => {
    const { id, order, receipt } = await locked()
    const carried = await proveEntry(here.client, receipt)
    expect(await codeOf(there.client.decline(order))).toBe('not-expired')
    clock.advance(HOUR_MS)
    expect(await codeOf(there.client.mint(mint(carried, carrier)))).toBe('expired')
    expect(await codeOf(here.client.decline(order))).toBe('wrong-ledger')
    const declined = await there.client.decline(order)
    expect(await codeOf(there.client.mint(mint(carried, carrier)))).toBe('closed')
    await there.ledger.sequence()
    await carryBack(there.client, declined.receipt, here.client, carrier)
    await carryBack(there.client, declined.receipt, here.client, bob.signer)
    expect(await available(here)).toBe(FAUCET)
    expect(await here.client.lockState(id)).toMatchObject({ sent: { refunded: true } })
    expect(await there.client.lockState(id)).toEqual({ arrived: 'decline' })
    expect((await total(here)) + (await total(there))).toBe(4n * FAUCET)
  })

  test('do not come back once they were minted, however late it is asked', async () => {
    const { order, receipt } = await locked()
    await carryLock(here.client, receipt, there.client, carrier)
    clock.advance(30 * DAY_MS)
    expect(await codeOf(there.client.decline(order))).toBe('closed')
    // The mint itself, or the lock, is no word of a decline.
    await here.ledger.sequence()
    expect(await codeOf(carryBack(here.client, receipt, here.client, carrier))).toBe('bad-request')
    expect(await available(here)).toBe(FAUCET - 100n)
  })

  test('are the sender’s own, at this ledger, for a peer, in time, and there are as many', async () => {
    const send = (terms: Partial<LockTerms>, signer = alice.signer) =>
      codeOf(here.client.lock(lock(lockTerms(terms), signer)))
    expect(await send({}, bob.signer)).toBe('unknown-key')
    expect(await send({ ledger: there.id, target: here.id })).toBe('wrong-ledger')
    expect(await send({ target: sha256(utf8('nowhere')) })).toBe('not-found')
    expect(await send({ target: here.id })).toBe('not-found')
    expect(await send({ expires: START_MS })).toBe('expired')
    expect(await send({ expires: START_MS + limits.lockMs + DAY_MS })).toBe('bad-request')
    expect(await send({ amount: FAUCET + 1n })).toBe('funds-insufficient')
    expect(await send({ amount: 0n })).toBe('bad-encoding')
    expect(await available(here)).toBe(FAUCET)
  })
})

describe('credits of a ledger whose log is in shards', () => {
  beforeEach(async () => {
    here = side('sharded', clock, { shards: 3 })
    for (const { identity } of [alice, bob]) await here.client.register(identity)
    await trust(here, there)
    await trust(there, here)
  })

  test('are minted on proof through the root log, once, and on no other', async () => {
    const { receipt } = await locked()
    const carried = await proveEntry(here.client, receipt)
    const join = carried.shard as NonNullable<CarriedTerms['shard']>
    const minted = (terms: CarriedTerms) => codeOf(there.client.mint(mint(terms, carrier)))
    const { shard: _, ...bare } = carried
    expect(await minted(bare)).toBe('proof-invalid')
    expect(await minted({ ...carried, shard: { ...join, shard: (join.shard + 1) % 3 } })).toBe('proof-invalid')
    expect(await minted({ ...carried, shard: { ...join, shard: 3 } })).toBe('proof-invalid')
    expect(await minted({ ...carried, shard: { ...join, index: join.index + 1 } })).toBe('proof-invalid')
    expect(await minted({ ...carried, shard: { ...join, entry: carried.entry } })).toBe('proof-invalid')
    expect(await minted(carried)).toBe('accepted')
    expect(await available(there, bob)).toBe(FAUCET + 100n)
    expect((await total(here)) + (await total(there))).toBe(4n * FAUCET)
  })

  test('are not minted on the checkpoint of a shard, passed off as that of the log', async () => {
    const { receipt } = await locked()
    const { shard, ...bare } = await proveEntry(here.client, receipt)
    const note = await (await here.ledger.app.request(`/shard/${shard?.shard}/checkpoint`)).text()
    const { name, id } = parseVerifierKey(here.vkey)
    const [signed] = parseSignatureLines(note.slice(noteText(note).length + 1)) as [NoteSignature]
    const checkpoint = addSignature(`${noteText(note)}\n`, { ...signed, name, id })
    const minted = there.client.mint(mint({ ...bare, checkpoint }, carrier))
    expect(await codeOf(minted)).toBe('proof-invalid')
  })

  test('come back when the other ledger says that it did not mint them, and go back to a ledger in shards', async () => {
    const { order, receipt } = await locked()
    clock.advance(HOUR_MS)
    const declined = await there.client.decline(order)
    await there.ledger.sequence()
    await carryBack(there.client, declined.receipt, here.client, carrier)
    expect(await available(here)).toBe(FAUCET)
    expect(await codeOf(carryLock(here.client, receipt, there.client, carrier))).toBe('closed')
    await auditStore(here.ledger.store)
  })
})

describe('a mint', () => {
  const minted = (carried: CarriedTerms) => codeOf(there.client.mint(mint(carried, carrier)))

  test('takes a proof that holds, of that ledger’s log', async () => {
    const { receipt } = await locked()
    await locked()
    const carried = await proveEntry(here.client, receipt)
    const [first] = carried.proof as [Bytes]
    const other = await proveEntry(here.client, (await locked()).receipt)
    expect(await minted({ ...carried, index: carried.index + 1 })).toBe('proof-invalid')
    expect(await minted({ ...carried, proof: carried.proof.slice(1) })).toBe('proof-invalid')
    expect(await minted({ ...carried, proof: [...carried.proof, first] })).toBe('proof-invalid')
    expect(await minted({ ...carried, entry: other.entry })).toBe('proof-invalid')
    expect(await minted({ ...carried, checkpoint: carried.checkpoint.replace('\n', '\n1') })).toBe('bad-signature')
    expect(await minted({ ...carried, checkpoint: await there.client.checkpoint() })).toBe('bad-signature')
    expect(await minted({ ...carried, checkpoint: '' })).toBe('bad-encoding')
    expect(await available(there, bob)).toBe(FAUCET)
    expect(await minted(carried)).toBe('accepted')
  })

  test('is of a lock that its sender signed, for this ledger, from a peer', async () => {
    const third = side('third', clock)
    await third.client.register(alice.identity)
    await trust(third, there)
    await trust(third, here)
    const order = lock(lockTerms({ ledger: third.id }), alice.signer)
    const { receipt } = await third.client.lock(order)
    await third.ledger.sequence()
    expect(await minted(await proveEntry(third.client, receipt))).toBe('not-found')
    const elsewhere = await third.client.lock(lock(lockTerms({ ledger: third.id, target: here.id }), alice.signer))
    await third.ledger.sequence()
    expect(await minted(await proveEntry(third.client, elsewhere.receipt))).toBe('wrong-ledger')
  })

  test('is of an entry of one lock', async () => {
    const { order, receipt } = await locked()
    const carried = await proveEntry(here.client, receipt)
    for (const parts of [[], [order, order]]) {
      const entry = encodeEntry({ kind: 'lock', parts, time: START_MS, data: { moves: [] } })
      expect(await minted({ ...carried, entry })).toBe('bad-request')
    }
  })

  test('is to an account that there is', async () => {
    const { receipt } = await locked({ recipient: sha256(utf8('nobody')) })
    expect(await codeOf(carryLock(here.client, receipt, there.client, carrier))).toBe('not-found')
  })

  test('asks for the witnesses of the peer’s policy', async () => {
    const key = noteKey(witness.name, witness.signer.key, 'cosignature')
    await trust(there, here, { quorum: `witness w ${formatVerifierKey(key)}\nquorum w`, seq: 2 })
    const { receipt } = await locked()
    const carried = await proveEntry(here.client, receipt)
    expect(await minted(carried)).toBe('proof-invalid')
    const text = carried.checkpoint.slice(0, carried.checkpoint.indexOf('\n\n') + 1)
    const at = (timeMs: number): CarriedTerms => ({
      ...carried,
      checkpoint: addSignature(carried.checkpoint, cosign(text, Math.floor(timeMs / 1000), witness)),
    })
    expect(await minted(at(clock.now() - limits.cosignatureMs))).toBe('proof-invalid')
    expect(await minted(at(clock.now()))).toBe('accepted')
  })

  test('brings no more than the peer is trusted with, beyond what went there', async () => {
    const all = await locked({ amount: LIMIT })
    await carryLock(here.client, all.receipt, there.client, carrier)
    const more = await locked({ amount: 1n })
    expect(await codeOf(carryLock(here.client, more.receipt, there.client, carrier))).toBe('limit-reached')
    const back = lock(lockTerms({ amount: 1n, from: bob.id, ledger: there.id, target: here.id }), bob.signer)
    await there.client.lock(back)
    await here.ledger.sequence()
    expect(await codeOf(carryLock(here.client, more.receipt, there.client, carrier))).toBe('accepted')
  })
})

test('a refund takes a proof of the decline, of that very lock, by the ledger it was for', async () => {
  const [one, two] = [await locked(), await locked()]
  clock.advance(2 * HOUR_MS)
  const declined = await there.client.decline(one.order)
  await there.ledger.sequence()
  const carried = await proveEntry(there.client, declined.receipt)
  const refunded = (terms: CarriedTerms) => codeOf(here.client.refund(refund(terms, carrier)))
  expect(await refunded({ ...carried, index: 0 })).toBe('proof-invalid')
  expect(await refunded({ ...carried, checkpoint: await here.client.checkpoint() })).toBe('bad-signature')
  expect(await refunded(await proveEntry(here.client, one.receipt))).toBe('bad-request')
  expect(await refunded(carried)).toBe('accepted')
  expect(await here.client.lockState(two.id)).toMatchObject({ sent: { refunded: false } })
  expect(await available(here)).toBe(FAUCET - 100n)
})

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('lock' as const), amount: fc.bigInt({ min: 1n, max: 300n }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('mint' as const, 'decline' as const, 'refund' as const),
      which: fc.nat({ max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), hours: fc.nat({ max: 2 }) }) },
)

test('both ledgers together never hold more than was issued, and all of it once nothing is under way', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 24 }), async (steps) => {
      clock = testClock()
      ;[here, there] = [side('here', clock), side('there', clock)]
      for (const { client } of [here, there]) for (const { identity } of [alice, bob]) await client.register(identity)
      await trust(here, there)
      await trust(there, here, { max: 10_000n })
      const sent: { order: Envelope; receipt: Envelope; amount: bigint; declined?: Envelope; end?: string }[] = []
      for (const next of steps) {
        const one = 'which' in next ? sent[next.which] : undefined
        if (next.do === 'lock') sent.push({ ...(await locked({ amount: next.amount })), amount: next.amount })
        else if (next.do === 'wait') clock.advance(next.hours * HOUR_MS)
        else if (one && next.do === 'mint') {
          if ((await codeOf(carryLock(here.client, one.receipt, there.client, carrier))) === 'accepted')
            one.end = 'mint'
        } else if (one && next.do === 'decline') {
          const answer = await there.client.decline(one.order).catch(() => undefined)
          if (answer) one.declined = answer.receipt
          await there.ledger.sequence()
        } else if (one?.declined) {
          await carryBack(there.client, one.declined, here.client, carrier)
          expect(one.end).not.toBe('mint')
          one.end = 'refund'
        }
      }
      const underWay = sent.filter(({ end }) => end === undefined).reduce((sum, { amount }) => sum + amount, 0n)
      expect((await total(here)) + (await total(there)) + underWay).toBe(4n * FAUCET)
    }),
    { numRuns: 20 },
  )
})

test('two ledgers on the network, as their owners meet them', async () => {
  const servers = await Promise.all(
    [here, there].map(({ ledger }) => listen({ fetch: ledger.app.fetch, port: 0, hostname: '127.0.0.1' })),
  )
  const environment = { ...realEnvironment(), clock: { ...clock, sleep: endless } }
  const [a, b] = servers.map(({ port }) => createLedgerClient({ environment, url: `http://127.0.0.1:${port}` })) as [
    LedgerClient,
    LedgerClient,
  ]
  try {
    const { receipt } = await a.lock(lock(lockTerms(), alice.signer))
    await here.ledger.sequence()
    await carryLock(a, receipt, b, carrier)
    const order = lock(lockTerms({ amount: 7n }), alice.signer)
    await a.lock(order)
    clock.advance(HOUR_MS)
    const declined = await b.decline(order)
    await there.ledger.sequence()
    await carryBack(b, declined.receipt, a, carrier)
    expect([(await a.account(alice.hex)).available, (await b.account(bob.hex)).available]).toEqual([
      FAUCET - 100n,
      FAUCET + 100n,
    ])
  } finally {
    await Promise.all(servers.map((server) => server.close()))
  }
})

test('a statement names each of them, and adds up', async () => {
  const late = await locked({ amount: 7n, expires: clock.now() + 1000 })
  clock.advance(2000)
  const declined = await there.client.decline(late.order)
  await there.ledger.sequence()
  await carryBack(there.client, declined.receipt, here.client, carrier)
  const { receipt } = await locked()
  await carryLock(here.client, receipt, there.client, carrier)
  await there.ledger.sequence()
  const rows = async ({ client }: Side, { hex } = alice) =>
    (await client.entries(hex)).entries.map(({ available: moved, kind }) => [kind, moved])
  expect(await rows(here)).toEqual([
    ['register', String(FAUCET)],
    ['lock', '-7'],
    ['refund', '7'],
    ['lock', '-100'],
  ])
  const sum = (await here.client.entries(alice.hex)).entries.reduce((all, row) => all + BigInt(row.available), 0n)
  expect(sum).toBe(await available(here))
  expect(await rows(there, bob)).toEqual([
    ['register', String(FAUCET)],
    ['mint', '100'],
  ])
})
