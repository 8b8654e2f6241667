/** A ledger whose log is in shards: what it answers, and what it attests. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { auditLedger } from '../../agent/cli/audit.ts'
import { createLedgerClient, statementOf } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { ledgerPolicy } from '../../infra/ledger-settings.ts'
import { settings } from '../../infra/service-process.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { readHead } from '../../ledger/log.ts'
import { sortable } from '../../ledger/places.ts'
import { fromBase64url, fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey, openNote, parseCheckpoint } from '../../protocol/checkpoint.ts'
import { genesis } from '../../protocol/identity.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { verifyInclusion } from '../../protocol/merkle.ts'
import { openJoined, shardKey, shardPath } from '../../protocol/shards.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import {
  expectAccepted,
  expectProblem,
  FAUCET,
  LEDGER_ID,
  openLedger,
  ORIGIN,
  SECRET,
  START_MS,
  testClock,
  testEnvironment,
  type TestLedger,
} from './kit.ts'
import { gift, person, type Person } from './people.ts'
import { openSettlers, type SettlingLane } from './settlers.ts'
import { openWitness } from './witness/kit.ts'

const SHARDS = 3
const policy = { shards: SHARDS }
const key = noteKey(ORIGIN, signerFrom(SECRET).key)
let ledger: TestLedger
let lanes: readonly SettlingLane[]

beforeEach(async () => {
  ledger = openLedger({ policy })
  const send = async (path: string, objects: Parameters<TestLedger['post']>[1]) => {
    await expectAccepted(ledger.post(path, objects))
  }
  lanes = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 2, lanesEach: 4, units: 8, send })
})

const settle = (unit: number) =>
  Promise.all(lanes.map((lane) => expectAccepted(ledger.post('/v1/redemptions', { redemption: lane.redeem(unit) }))))

const text = async (path: string): Promise<string> => (await ledger.app.request(path)).text()

const clientOf = ({ app }: Pick<TestLedger, 'app'>) => {
  const transport = async (request: Request) => app.fetch(request)
  return createLedgerClient({ environment: realEnvironment({ transport }), url: 'http://ledger.test' })
}

test('an account’s statement is over all shards, the oldest first', async () => {
  await settle(3)
  await ledger.sequence()
  await settle(8)
  await ledger.sequence()
  const [{ payer }] = lanes as [SettlingLane]
  const rows = await statementOf(clientOf(ledger), payer.hex)
  // It opened an account, declared, and four lanes were claimed and redeemed twice.
  expect(rows.filter(({ kind }) => kind === 'redeem')).toHaveLength(8)
  expect(new Set(rows.map(({ shard }) => shard)).size).toBeGreaterThan(1)
  expect(rows.map(({ time }) => time)).toEqual(rows.map(({ time }) => time).toSorted((a, b) => a - b))
  const frozen = rows.reduce((sum, row) => sum + BigInt(row.frozen), 0n)
  expect(String(frozen)).toBe((await ledger.get(`/v1/accounts/${payer.hex}`)).body['frozen'])
})

test('every entry of a shard is proven under the checkpoint of the root log, by its last join', async () => {
  await ledger.sequence()
  await settle(2)
  await ledger.sequence()
  const root = parseCheckpoint(openNote(await text('/checkpoint'), [key]).text)
  for (let shard = 0; shard < SHARDS; shard++) {
    const note = await text(`/${shardPath(shard)}checkpoint`)
    const shown = parseCheckpoint(openNote(note, [shardKey(key, shard)]).text)
    for (let index = 0; index < shown.size; index++) {
      const { body } = await ledger.get(`/v1/entries/${index}?shard=${shard}`)
      const join = body['join'] as { entry: string; index: number; proof: string[] }
      const proven = {
        shard,
        index: join.index,
        entry: fromBase64url(join.entry),
        proof: join.proof.map((hash) => fromHex(hash)),
      }
      const head = openJoined(proven, root, key)
      expect(head).toEqual(shown)
      const proof = (body['proof'] as string[]).map((hash) => fromHex(hash))
      expect(verifyInclusion(index, head.size, fromHex(String(body['hash'])), proof, head.rootHash)).toBe(true)
    }
  }
})

test('what is not joined yet is not shown of a shard', async () => {
  await expectProblem(openLedger({ policy }).get('/v1/entries/0?shard=0'), 'not-found')
  await ledger.sequence()
  const before = await text('/shard/1/checkpoint')
  await settle(4)
  expect(await text('/shard/1/checkpoint')).toBe(before)
  const size = Number(before.split('\n')[1])
  await expectProblem(ledger.get(`/v1/entries/${size}?shard=1`), 'not-found')
  await ledger.sequence()
  expect((await ledger.get(`/v1/entries/${size}?shard=1`)).status).toBe(200)
})

test('there is no shard but its own, and none where the log is one', async () => {
  await ledger.sequence()
  for (const path of ['/shard/3/checkpoint', '/shard/3/tile/0/000', '/v1/entries/0?shard=3'])
    await expectProblem(ledger.get(path), 'not-found')
  for (const path of ['/shard/01/checkpoint', '/shard/x/tile/0/000', '/shard/0/tile/0/0', '/v1/entries/0?shard=-1'])
    await expectProblem(ledger.get(path), 'bad-request')
  const one = openLedger()
  await one.sequence()
  await expectProblem(one.get('/shard/0/checkpoint'), 'not-found')
  expect((await one.get('/v1/ledger')).body).not.toHaveProperty('shards')
  expect((await ledger.get('/v1/ledger')).body['shards']).toBe(SHARDS)
})

test('a log stays in as many shards as it was born in', async () => {
  await ledger.sequence()
  const others = [{}, { shards: 2 }].map((other) => openLedger({ store: ledger.store, policy: other }))
  for (const other of others) await expect(other.sequence()).rejects.toMatchObject({ code: 'conflict' })
  await openLedger({ store: ledger.store, policy }).sequence()
})

test('a log that rests does not grow', async () => {
  await ledger.sequence()
  const { size } = await readHead(ledger.store)
  expect(await ledger.sequence()).toBe(0)
  expect((await readHead(ledger.store)).size).toBe(size)
})

/** People whose accounts are in this shard of two. */
const peopleIn = (shard: number, count: number): Person[] =>
  Array.from({ length: 32 }, (_, i) => person(`person ${i}`))
    .filter(({ id }) => new DataView(id.buffer, id.byteOffset).getUint32(0) % 2 === shard)
    .slice(0, count)

test('what comes while a round is appended is in the next, on every shard', async () => {
  const two = { shards: 2 }
  const store = openSqlite(':memory:')
  const other = openLedger({ store, policy: two })
  const [[ann], [ben, cem]] = [peopleIn(0, 1), peopleIn(1, 2)] as [[Person], [Person, Person]]
  for (const { identity } of [ann, ben, cem]) await expectAccepted(other.post('/v1/accounts', { identity }))
  await other.sequence()
  const give = async (from: Person, to: Person, amount: bigint) => {
    const { receipt } = await expectAccepted(other.post('/v1/transfers', { transfer: gift(from, to, amount) }))
    return toHex(parseReceipt(envelopeFromJson(receipt)).entry)
  }
  await give(ann, ben, 1n)
  await give(cem, ben, 1n)
  // Once the first shard has come to the end of the round, and before the second collects: ben passes on what he gets.
  const late: string[] = []
  const comeBetween = async () => void late.push(await give(ann, ben, FAUCET - 1n), await give(ben, cem, 2n * FAUCET))
  await openLedger({ store: holding(store, comeBetween), policy: two }).sequence()
  expect(late).toHaveLength(2)
  const hashes: string[] = []
  await auditStore(store, (hash) => hashes.push(hash))
  await other.sequence()
  await auditStore(store, (hash) => hashes.push(hash))
  for (const entry of late) expect(hashes).toContain(entry)
})

/** Keeps the second shard from collecting until the first has a new head, and something came between. */
function holding(store: Store, comeBetween: () => Promise<void>): Store {
  const [first, second] = [0, 1].map((shard) => `shard/${sortable(shard)}/`)
  const isDone = Promise.withResolvers<void>()
  let between: Promise<void> | undefined
  return {
    ...store,
    async list(pk, range) {
      if (pk === `${second}pending` && range.reverse === true) {
        await isDone.promise
        await (between ??= comeBetween())
      }
      return store.list(pk, range)
    },
    async write(changes) {
      const isWritten = await store.write(changes)
      if (isWritten && changes[0]?.pk === `${first}log`) isDone.resolve()
      return isWritten
    },
  }
}

describe('attestations', () => {
  const beside = (replicaStore: Store) =>
    createLedger({
      environment: testEnvironment(ledger.clock),
      store: ledger.store,
      secret: SECRET,
      origin: ORIGIN,
      policy: { faucet: FAUCET, unitPrice: 1n, ...policy },
      replicaStore,
    })

  test('are of the entries over all shards, in the order in which they replay', async () => {
    await ledger.attest()
    await settle(1)
    await ledger.attest()
    expect(ledger.faults).toEqual([])
    const replica = await auditStore(ledger.store)
    const { available, earned, frozen, issued } = await replica.attestationAt(replica.size())
    expect(available + earned + frozen).toBe(issued)
  })

  test.each(['is started again', 'tries again'])('go on within a round when a process %s', async (what) => {
    const replicaStore = openSqlite(':memory:')
    await beside(replicaStore).attest()
    for (let i = 0; i < 100; i++) {
      const identity = genesis([signerFrom(sha256(utf8(`stranger ${i}`)))], START_MS)
      await expectAccepted(ledger.post('/v1/accounts', { identity }))
    }
    await settle(5)
    await ledger.sequence()
    // It is kept in the midst of the round, as the round changes more than one write takes.
    let writes = 0
    const doomed = {
      ...replicaStore,
      write: async (changes: Parameters<Store['write']>[0]) => {
        if (++writes === 3) throw new Error('killed')
        return replicaStore.write(changes)
      },
    }
    const flawed = beside(doomed)
    await expect(flawed.attest()).rejects.toThrow('killed')
    await (what === 'tries again' ? flawed : beside(replicaStore)).attest()
    await auditStore(ledger.store)
  })
})

describe('witnesses', () => {
  const witness = openWitness({ logs: [key], name: 'w.example', clock: testClock() })
  const known = `witness W ${formatVerifierKey(witness.key)} https://w.example\nquorum W\n`
  const shown = (store: Store) =>
    createLedger({
      environment: { ...testEnvironment(ledger.clock), transport: async (request) => witness.app.fetch(request) },
      store,
      secret: SECRET,
      origin: ORIGIN,
      policy: { faucet: FAUCET, unitPrice: 1n, ...policy },
      witnesses: [{ key: witness.key, url: 'https://w.example' }],
    })

  test('cosign the root log, and with it every shard; another history of it they do not', async () => {
    const watched = shown(ledger.store)
    await watched.sequence()
    await settle(2)
    await watched.sequence()
    const options = { policy: parseLogPolicy(known), nowMs: START_MS }
    const report = await auditLedger(clientOf(watched), options)
    expect(report).toMatchObject({ ok: true, shards: SHARDS, witnesses: ['w.example'] })
    // Another process goes on, and nobody has cosigned that yet.
    await settle(6)
    await ledger.sequence()
    expect(await auditLedger(clientOf(watched), options)).toMatchObject({ ok: true, size: report.size })
    const other = shown(openSqlite(':memory:'))
    await other.sequence()
    expect((await auditLedger(clientOf(other), options)).problems).toEqual([
      expect.stringMatching(/^the checkpoint is not witnessed/),
    ])
  })
})

test('its variable says how many, within limits', () => {
  const policyOf = (shards: string) => ledgerPolicy(settings({ LEDGER_LOG_SHARDS: shards }))
  expect(policyOf('1')).not.toHaveProperty('shards')
  expect(policyOf('16')).toMatchObject({ shards: 16 })
  for (const wrong of ['0', '17', '-1', '2.5', 'two']) expect(() => policyOf(wrong)).toThrow('LEDGER_LOG_SHARDS')
})
