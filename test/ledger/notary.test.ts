/** Attestations: what the log leads to, stated in the log. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { createAccept } from '../../ledger/accept.ts'
import { createContext, type LedgerContext } from '../../ledger/context.ts'
import { readEntries, readHead } from '../../ledger/log.ts'
import { createNotary } from '../../ledger/notary.ts'
import { createSequencer } from '../../ledger/sequencer.ts'
import { attestations, readAttestation, type Attestation } from '../../protocol/arbiter/items.ts'
import { createReplica } from '../../protocol/arbiter/replica.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/encoding.ts'
import { decodeEntry, encodeEntry, type Entry } from '../../protocol/entry.ts'
import { genesis } from '../../protocol/identity.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'
import {
  expectAccepted,
  FAUCET,
  openLedger,
  ORIGIN,
  SECRET,
  START_MS,
  testEnvironment,
  type TestLedger,
} from './kit.ts'
import { gift, person } from './people.ts'

const alice = person('alice')
const bob = person('bob')

async function open(): Promise<TestLedger> {
  const ledger = openLedger()
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  return ledger
}

async function entriesOf({ store }: TestLedger): Promise<Bytes[]> {
  const { size } = await readHead(store)
  const entries: Bytes[] = []
  while (entries.length < size) entries.push(...(await readEntries(store, entries.length, size)))
  return entries
}

async function attestationsIn(ledger: TestLedger): Promise<readonly Attestation[]> {
  const entries = (await entriesOf(ledger)).map((bytes) => decodeEntry(bytes))
  return entries.filter(({ kind }) => kind === 'state').map(({ data }) => readAttestation(data ?? {}))
}

const unhindered = async (): Promise<void> => {}

/** A notary of its own beside the ledger, as another process would run it. */
function notaryOf({ clock, store }: TestLedger, replicaStore?: Store) {
  const policy = { faucet: FAUCET, unitPrice: 1n }
  const context: LedgerContext = createContext({
    environment: testEnvironment(clock),
    store,
    secret: SECRET,
    origin: ORIGIN,
    policy,
    ...(replicaStore && { replicaStore }),
  })
  return {
    ...createNotary(
      context,
      createAccept(context, () => {}, unhindered),
    ),
    sequence: createSequencer(context).sequence,
  }
}

test('an attestation states the root and the sums of the entries before it', async () => {
  const ledger = await open()
  await ledger.attest()
  const [attested] = await attestationsIn(ledger)
  const replica = createReplica()
  for (const entry of (await entriesOf(ledger)).slice(0, attested?.size)) await replica.apply(entry)
  expect(attested).toEqual(await replica.attestationAt(3))
  expect(attested).toMatchObject({ size: 3, available: 2n * FAUCET, frozen: 0n, earned: 0n, issued: 2n * FAUCET })
})

test('nothing new is attested twice, and an attestation alone is nothing new', async () => {
  const ledger = await open()
  await ledger.attest()
  await ledger.attest()
  ledger.clock.advance(60_000)
  await ledger.attest()
  expect(await attestationsIn(ledger)).toHaveLength(1)
  await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }))
  await ledger.attest()
  expect((await attestationsIn(ledger)).map(({ size }) => size)).toEqual([3, 5])
  await auditStore(ledger.store)
})

test('follows when idle, not at every entry', async () => {
  const ledger = await open()
  await ledger.sequence()
  const notary = notaryOf(ledger)
  await notary.follow()
  await notary.sequence()
  expect(await attestationsIn(ledger)).toEqual([])
  ledger.clock.advance(3000)
  await notary.follow()
  await notary.sequence()
  expect(await attestationsIn(ledger)).toHaveLength(1)
})

test('attests at the latest after 1000 entries', async () => {
  const ledger = await open()
  const notary = notaryOf(ledger)
  for (let i = 0; i < 1000; i++) {
    await ledger.post('/v1/accounts', { identity: genesis([signerFrom(sha256(utf8(`person ${i}`)))], START_MS) })
  }
  await ledger.sequence()
  await notary.follow()
  expect(await notary.sequence()).toBe(1)
})

describe('a notary that keeps its state', () => {
  const counted = (store: Store) => {
    const read: string[] = []
    const list: Store['list'] = (pk, range) => {
      read.push(pk)
      return store.list(pk, range)
    }
    return { store: { ...store, list }, bundles: () => read.filter((pk) => pk.startsWith('entries/')).length }
  }

  test('goes on where it was after a start, and attests what came since', async () => {
    const ledger = await open()
    const kept = openSqlite(':memory:')
    await ledger.sequence()
    for (let i = 0; i < 300; i++) {
      await ledger.post('/v1/accounts', { identity: genesis([signerFrom(sha256(utf8(`person ${i}`)))], START_MS) })
    }
    await ledger.sequence()
    const first = notaryOf(ledger, kept)
    await first.attest()
    await ledger.sequence()
    await first.attest()
    const { bundles, store } = counted(ledger.store)
    const second = notaryOf({ ...ledger, store }, kept)
    await second.attest()
    expect(bundles()).toBeLessThan(4)
    await ledger.sequence()
    expect(await attestationsIn(ledger)).toHaveLength(1)
    await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }))
    await ledger.sequence()
    await notaryOf(ledger, kept).attest()
    await ledger.sequence()
    expect(await attestationsIn(ledger)).toHaveLength(2)
    await auditStore(ledger.store)
  })

  test('says that it is of another log, and attests nothing', async () => {
    const [ledger, other] = [await open(), openLedger()]
    const kept = openSqlite(':memory:')
    await ledger.sequence()
    await notaryOf(ledger, kept).attest()
    for (const name of ['carol', 'dave']) {
      await expectAccepted(other.post('/v1/accounts', { identity: person(name).identity }))
    }
    await other.sequence()
    await expect(notaryOf(other, kept).attest()).rejects.toMatchObject({ code: 'conflict' })
  })
})

test('a notary that starts where all is attested replays nothing until something comes', async () => {
  const ledger = await open()
  for (let i = 0; i < 300; i++) await ledger.post('/v1/accounts', { identity: person(`person ${i}`).identity })
  await ledger.attest()
  const read: string[] = []
  const store: Store = {
    ...ledger.store,
    list: (pk, range) => (read.push(pk), ledger.store.list(pk, range)),
  }
  const notary = notaryOf({ ...ledger, store })
  await notary.follow()
  expect(new Set(read)).toEqual(new Set(['entries/0000000000000001']))
  await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }))
  await ledger.sequence()
  await notary.follow()
  expect(read).toContain('entries/0000000000000000')
  ledger.clock.advance(3000)
  await notary.follow()
  await notary.sequence()
  expect((await attestationsIn(ledger)).map(({ size }) => size)).toEqual([303, 305])
})

test('of two notaries, and of one that starts anew, each goes on where the log is', async () => {
  const ledger = await open()
  const [first, second] = [notaryOf(ledger), notaryOf(ledger)]
  await ledger.sequence()
  await Promise.all([first.attest(), second.attest()])
  await ledger.sequence()
  await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }))
  await ledger.sequence()
  await notaryOf(ledger).attest()
  await ledger.sequence()
  expect((await attestationsIn(ledger)).map(({ size }) => size)).toEqual([3, 5])
  await auditStore(ledger.store)
})

describe('a log that was tampered with', () => {
  const logWith = async (change: (entries: Bytes[]) => Bytes[]) => {
    const ledger = await open()
    await expectAccepted(ledger.post('/v1/transfers', { transfer: gift(alice, bob, 3n) }))
    await ledger.attest()
    const replica = createReplica()
    for (const entry of change(await entriesOf(ledger))) await replica.apply(entry)
    return replica
  }
  const restated = (bytes: Bytes | undefined, change: Partial<Attestation>): Bytes => {
    const entry = decodeEntry(bytes as Bytes)
    const data = decode(attestations.encode({ ...readAttestation(entry.data ?? {}), ...change }))
    return encodeEntry({ ...entry, data })
  }
  const edited = (entries: Bytes[], index: number, change: (entry: Entry) => object): Bytes[] =>
    entries.with(
      index,
      encodeEntry({ ...decodeEntry(entries[index] as Bytes), ...change(decodeEntry(entries[index] as Bytes)) }),
    )

  test('replays while it is whole', async () => {
    expect((await logWith((entries) => entries)).size()).toBe(5)
  })

  const ATTESTATION = 4
  const TRANSFER = 3
  const misstate = (change: Partial<Attestation>) => (entries: Bytes[]) =>
    entries.with(ATTESTATION, restated(entries[ATTESTATION], change))
  const unsigned = ({ parts }: Entry) => ({ parts: parts.map((part) => ({ ...part, signature: new Uint8Array(64) })) })

  test.each<[string, string, (entries: Bytes[]) => Bytes[]]>([
    ['another state root', 'state root is not', misstate({ root: sha256(utf8('root')) })],
    ['other sums', 'sums are not what the log', misstate({ available: 1n, frozen: 2n * FAUCET - 1n })],
    ['credits from nowhere', 'sums are not what was issued', misstate({ available: 3n * FAUCET })],
    ['an attestation of what is to come', 'not at hand', misstate({ size: 9 })],
    ['an entry left out', 'account is not known', (entries) => entries.toSpliced(1, 1)],
    ['an entry twice', 'repeats', (entries) => entries.toSpliced(TRANSFER, 0, entries[TRANSFER] as Bytes)],
    ['entries out of order', 'not known', (entries) => [0, TRANSFER, 1, 2].map((index) => entries[index] as Bytes)],
    [
      'an entry before what it rests on',
      'not later',
      (entries) => edited(entries, TRANSFER, ({ time }) => ({ time: time - 10 })),
    ],
    [
      'other movements',
      'not what the rules make',
      (entries) => edited(entries, TRANSFER, () => ({ data: { moves: [] } })),
    ],
    ['a signature that does not verify', 'does not verify', (entries) => edited(entries, TRANSFER, unsigned)],
    [
      'a kind that there is not',
      'no entry of the kind',
      (entries) => edited(entries, TRANSFER, () => ({ kind: 'gift' })),
    ],
    ['a second policy', 'set already', (entries) => [...entries, entries[0] as Bytes]],
    ['no policy', 'policy is not known', (entries) => entries.slice(1)],
  ])('with %s does not replay: %s', async (_, why, change) => {
    await expect(logWith(change)).rejects.toThrow(why)
  })
})

test('a notary reports a log that does not replay once, and attests no more', async () => {
  const ledger = await open()
  await ledger.sequence()
  const notary = notaryOf(ledger)
  const [item] = await ledger.store.list('entries/0000000000000000', { limit: 1 })
  if (!item) throw new Error('no entries')
  const body = item.body.slice()
  body[40] = (body[40] as number) ^ 1
  await ledger.store.write([{ pk: 'entries/0000000000000000', sk: item.sk, expect: 'any', body }])
  await expect(notary.attest()).rejects.toThrow('does not replay')
  await notary.attest()
  expect(await notary.sequence()).toBe(0)
})

test('a notary that has no more time attests what it has replayed, and the next goes on from there', async () => {
  const ledger = await open()
  for (let i = 0; i < 300; i++) await ledger.post('/v1/accounts', { identity: person(`person ${i}`).identity })
  await ledger.sequence()
  const replicaStore = openSqlite(':memory:')
  const sizes: number[] = []
  for (let call = 0; call < 3; call++) {
    const notary = notaryOf(ledger, replicaStore)
    await notary.attest(ledger.clock.now())
    await notary.sequence()
    sizes.push((await attestationsIn(ledger)).at(-1)?.size ?? 0)
  }
  const [first = 0, second] = sizes
  expect(first).toBe(256)
  expect(second).toBeGreaterThanOrEqual(303)
  expect(sizes[2]).toBe(second)
  await auditStore(ledger.store)
})
