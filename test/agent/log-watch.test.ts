/** An agent that watches its ledger's log: what it refuses, and what it keeps as proof. */
import { OpenAPIHono } from '@hono/zod-openapi'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { createLogWatch } from '../../agent/ledger-watch/log-watch.ts'
import { watchLedger } from '../../agent/ledger-watch/watched-ledger.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { parseBreach, verifyBrokenReceipt, verifyFork, type BrokenReceipt, type Fork } from '../../protocol/breach.ts'
import { fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { addSignature, formatVerifierKey, noteKey, noteText, signNote } from '../../protocol/checkpoint.ts'
import { cosign } from '../../protocol/cosignature.ts'
import type { TileSource } from '../../protocol/entry-logs.ts'
import type { Transport } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { Problem } from '../../protocol/problem.ts'
import { issueReceipt, parseReceipt } from '../../protocol/receipt.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope } from '../../protocol/signed.ts'
import { LEDGER_ID, openLedger, ORIGIN, SECRET, START_MS, testRandom, type TestLedger } from '../ledger/kit.ts'
import { gift, person } from '../ledger/people.ts'
import { coded } from '../problems.ts'
import { handClock } from './hand-clock.ts'

const identityOf = (name: string): Envelope => genesis([signerFrom(sha256(utf8(name)))], START_MS)
const OWNER = objectId('identity', identityOf('owner').body)
const witness = { name: 'witness.example/w1', signer: signerFrom(sha256(utf8('witness'))) }
const WITNESS = formatVerifierKey(noteKey(witness.name, witness.signer.key, 'cosignature'))
const POLICY = parseLogPolicy(`witness W ${WITNESS}\nquorum W\n`)

async function grownLedger(names: readonly string[], policy = {}): Promise<TestLedger> {
  const ledger = openLedger({ policy })
  await ledger.sequence()
  for (const name of names) {
    await ledger.post('/v1/accounts', { identity: identityOf(name) })
    ledger.clock.advance(1)
  }
  await ledger.sequence()
  return ledger
}

/** @param shown the ledger that answers at this moment; `isWitnessed` whether its checkpoint is cosigned now */
function watching(shown: { ledger: TestLedger; isWitnessed?: boolean }, policy?: typeof POLICY) {
  const clock = handClock(START_MS)
  const transport: Transport = async (request) => {
    const response = await shown.ledger.app.fetch(request)
    if (!shown.isWitnessed || !request.url.endsWith('/checkpoint')) return response
    const note = await response.text()
    const line = cosign(noteText(note), Math.floor(clock.now() / 1000), witness)
    return new Response(addSignature(note, line))
  }
  const environment = { clock, random: testRandom(), transport }
  const store = openSqlite(':memory:')
  const open = () => {
    const ledger = createLedgerClient({ environment, url: 'http://ledger.test' })
    const watch = createLogWatch({ environment, store, ledger, owner: OWNER, ...(policy && { policy }) })
    return { watch, ledger: watchLedger(ledger, watch), bare: ledger }
  }
  const later = (ms = limits.logWatchMs) => clock.advance(ms)
  return { ...open(), open, clock, later, store }
}

/** A ledger of which some answers are another's. */
function answering(ledger: TestLedger, by: (request: Request) => TestLedger): TestLedger {
  const app = new OpenAPIHono()
  app.all('*', (c) => by(c.req.raw).app.fetch(c.req.raw))
  return { ...ledger, app }
}

/** A ledger whose statements are of the test's own making. */
function stating(ledger: TestLedger, rows: readonly { entry: string; index: number }[]): TestLedger {
  const moved = { available: '0', frozen: '0', earned: '0', bonds: '0' }
  const entries = rows.map((row) => ({ ...row, ...moved, kind: 'transfer', time: START_MS }))
  const app = new OpenAPIHono()
  app.all('*', async (c) => {
    if (!c.req.path.endsWith('/entries')) return ledger.app.fetch(c.req.raw)
    return c.json({ entries: c.req.query('after') === undefined ? entries : [] })
  })
  return { ...ledger, app }
}

/** Shows no hash of an entry as it is, but the first time, when who checks a log looks at its last entry. */
function hiding(source: TileSource): TileSource {
  const read = new Set<string>()
  return {
    async tile(path) {
      const isHonest = !path.includes('tile/0/') || (!path.startsWith('shard/') && !read.has(path))
      read.add(path)
      return (await source.tile(path)).map((byte) => (isHonest ? byte : byte ^ 1))
    },
  }
}

describe('an agent', () => {
  test('follows a log that grows', async () => {
    const shown = { ledger: await grownLedger(['a', 'b', 'c']) }
    const { watch, later } = watching(shown)
    for (const name of ['d', 'e', 'owner', 'f']) {
      await watch.maintain()
      await shown.ledger.post('/v1/accounts', { identity: identityOf(name) })
      await shown.ledger.sequence()
      later()
    }
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
  })

  test('looks on though its clock was set back', async () => {
    const shown = { ledger: await grownLedger(['a', 'b', 'c']) }
    const { watch, later } = watching(shown)
    await watch.maintain()
    later(-24 * 3_600_000)
    shown.ledger = await grownLedger(['a', 'x', 'c'])
    await expect(watch.maintain()).rejects.toEqual(coded('log-forked'))
  })

  test('that wants witnesses sends nothing while too few vouch for the checkpoint', async () => {
    const shown = { ledger: await grownLedger(['a']), isWitnessed: false }
    const { ledger, later } = watching(shown, POLICY)
    await expect(ledger.register(identityOf('owner'))).rejects.toEqual(coded('unwitnessed'))
    expect((await shown.ledger.get(`/v1/accounts/${Buffer.from(OWNER).toString('hex')}`)).status).toBe(404)
    shown.isWitnessed = true
    await ledger.register(identityOf('owner'))
    shown.isWitnessed = false
    later()
    await expect(ledger.register(identityOf('owner'))).rejects.toEqual(coded('unwitnessed'))
  })

  test('takes an older checkpoint of the same history for a ledger that is behind', async () => {
    const shown = { ledger: await grownLedger(['a', 'b', 'c']) }
    const old = await grownLedger(['a', 'b'])
    const { watch, later } = watching(shown)
    await watch.maintain()
    const grown = shown.ledger
    // The tiles are those of the longer log, as a cache in front would have them.
    shown.ledger = answering(grown, (request) => (request.url.endsWith('/checkpoint') ? old : grown))
    later()
    await expect(watch.maintain()).rejects.toEqual(coded('log-behind'))
    shown.ledger = grown
    later()
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
  })

  test('takes a ledger that was put back as it had been for one that is behind, too', async () => {
    const shown = { ledger: await grownLedger(['a', 'b', 'c']), isWitnessed: true }
    const { watch, ledger, later } = watching(shown, POLICY)
    await watch.maintain()
    shown.ledger = await grownLedger(['a', 'b'])
    later()
    await expect(watch.maintain()).rejects.toEqual(coded('log-behind'))
    // What a ledger refuses as not found, it refuses for good: this it has not refused.
    await expect(ledger.redeem(identityOf('owner'))).rejects.toEqual(coded('log-behind'))
    expect(await watch.breaches()).toEqual([])
  })
})

describe('a ledger that shows two histories', () => {
  test.each<[string, string[], string[]]>([
    ['of one size', ['a', 'b', 'c'], ['a', 'b', 'x']],
    ['of which the second is longer', ['a', 'b', 'c'], ['a', 'x', 'c', 'd', 'e', 'f']],
    ['of which the second is longer, from a whole subtree on', ['a', 'b', 'c'], ['x', 'b', 'c', 'd', 'e']],
    ['of which the second is shorter', ['a', 'b', 'c', 'd', 'e'], ['a', 'x']],
    [
      'over more than a tile',
      Array.from({ length: 300 }, (_, i) => `p${i}`),
      ['x', ...Array.from({ length: 320 }, (_, i) => `p${i}`)],
    ],
  ])('%s is caught, and both notes are proof for anybody', async (_, first, second) => {
    const shown = { ledger: await grownLedger(first) }
    const { watch, ledger, later, open } = watching(shown)
    await watch.maintain()
    const honest = shown.ledger
    const liar = await grownLedger(second)
    // Of two sizes, the tiles asked for are those of the larger.
    const larger = first.length > second.length ? honest : liar
    shown.ledger = answering(liar, (request) => (request.url.includes('/tile/') ? larger : liar))
    later()
    await expect(watch.maintain()).rejects.toEqual(coded('log-forked'))
    const [proof] = await watch.breaches()
    expect(proof?.kind).toBe('fork')
    const exported = parseBreach(JSON.parse(JSON.stringify(proof))) as Fork
    expect(verifyFork(exported)).toMatchObject({ kind: 'fork', ledger: Buffer.from(LEDGER_ID).toString('hex') })
    await expect(ledger.register(identityOf('owner'))).rejects.toEqual(coded('log-forked'))
    shown.ledger = honest
    later()
    await expect(open().watch.require()).rejects.toEqual(coded('log-forked'))
  })

  test('is held to all that it has shown, not to what it showed first', async () => {
    const shown = { ledger: await grownLedger(['a']) }
    const { watch, later } = watching(shown)
    await watch.maintain()
    shown.ledger = await grownLedger(['a', 'b', 'c'])
    later()
    await watch.maintain()
    shown.ledger = await grownLedger(['a', 'b', 'x', 'd'])
    later()
    await expect(watch.maintain()).rejects.toEqual(coded('log-forked'))
  })

  test('is not proven by two checkpoints of one history, or by what was changed', async () => {
    const shown = { ledger: await grownLedger(['a', 'b', 'c']) }
    const { watch, later } = watching(shown)
    await watch.maintain()
    shown.ledger = await grownLedger(['a', 'x', 'c', 'd', 'e', 'f'])
    later()
    await watch.maintain().catch(() => undefined)
    const fork = (await watch.breaches())[0] as Fork
    const [one, other] = fork.notes
    const refuse = (change: Partial<Fork>) => expect(() => verifyFork({ ...fork, ...change })).toThrow(Problem)
    refuse({ notes: [one, one] })
    refuse({ notes: [other, one] })
    refuse({ proof: [] })
    refuse({ proof: fork.proof.toReversed() })
    refuse({ proof: fork.proof.with(0, '0'.repeat(64)) })
    refuse({ notes: [one.replace('4\n', '3\n'), other] })
    refuse({ vkey: formatVerifierKey(noteKey('other.example', signerFrom(SECRET).key)) })
    expect(() => parseBreach({ ...fork, kind: 'x' })).toThrow(expect.objectContaining({ code: 'bad-encoding' }))
  })
})

describe.each([
  ['a receipt', {}],
  ['a receipt of a log in shards', { shards: 2 }],
])('%s', (_, policy) => {
  test('whose entry is in the log after the merge delay is done with', async () => {
    const shown = { ledger: await grownLedger(['a'], policy) }
    const { watch, ledger, later, store } = watching(shown)
    await ledger.register(identityOf('owner'))
    later()
    await shown.ledger.sequence()
    await watch.maintain()
    later(10 * limits.logWatchMs)
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
    expect(await store.list('log-owed', { limit: 10 })).toEqual([])
  })

  test('whose entry comes late is waited for a while', async () => {
    const shown = { ledger: await grownLedger(['a'], policy) }
    const { watch, ledger, later, store } = watching(shown)
    await ledger.register(identityOf('owner'))
    later(limits.mergeDelayMs + limits.receiptPatienceMs - 1)
    await watch.maintain()
    expect(await store.list('log-owed', { limit: 10 })).toHaveLength(1)
    await shown.ledger.sequence()
    later()
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
    expect(await store.list('log-owed', { limit: 10 })).toEqual([])
  })

  test('is held against the log itself, whatever the statement says', async () => {
    const honest = await grownLedger(['a'], policy)
    const shown = { ledger: honest }
    const { watch, ledger, later } = watching(shown)
    const { receipt } = await ledger.register(identityOf('owner'))
    await honest.sequence()
    shown.ledger = stating(honest, [])
    later(limits.mergeDelayMs + limits.receiptPatienceMs)
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
    const { entry: there } = parseReceipt(receipt)
    const entry = sha256(there)
    const terms = { entry, ledger: LEDGER_ID, mergeDelay: limits.mergeDelayMs, time: START_MS }
    await watch.owe(issueReceipt(terms, signerFrom(SECRET)))
    shown.ledger = stating(honest, [{ entry: toHex(entry), index: 0 }])
    later()
    await watch.maintain()
    expect(await watch.breaches()).toMatchObject([{ kind: 'receipt' }])
  })

  test('is looked for together with others of its time, each tile once', async () => {
    const shown = { ledger: await grownLedger(['a', 'owner'], policy) }
    const asked: string[] = []
    const { watch, ledger, later } = watching({
      ledger: answering(shown.ledger, ({ url }) => {
        if (url.includes('/tile/0/')) asked.push(url)
        return shown.ledger
      }),
    })
    const [owner, a] = [person('owner'), person('a')]
    for (let n = 0; n < 10; n++) await ledger.transfer(gift(owner, a, 1n, owner.signer, String(n)))
    await shown.ledger.sequence()
    later(limits.mergeDelayMs + limits.logWatchMs)
    asked.length = 0
    await watch.maintain()
    expect(asked.length).toBeGreaterThan(0)
    expect(asked).toHaveLength(new Set(asked).size)
    later(10 * limits.logWatchMs)
    await watch.maintain()
    expect(await watch.breaches()).toEqual([])
  })

  test('whose entry is not is kept as a proof that anybody can check against the log', async () => {
    const shown = { ledger: await grownLedger(['a', 'owner'], policy), isWitnessed: true }
    const { watch, bare, later } = watching(shown, POLICY)
    const entry = sha256(utf8('never logged'))
    const terms = { entry, ledger: LEDGER_ID, mergeDelay: limits.mergeDelayMs, time: START_MS }
    const receipt = issueReceipt(terms, signerFrom(SECRET))
    await watch.owe(receipt)
    await watch.maintain()
    later(limits.mergeDelayMs + limits.logWatchMs)
    await watch.maintain()
    later()
    await watch.maintain()
    const [breach] = (await watch.breaches()) as [BrokenReceipt]
    expect(breach).toMatchObject({ kind: 'receipt', receipt: envelopeToJson(receipt), witnesses: [WITNESS] })
    expect(await verifyBrokenReceipt(breach, bare)).toMatchObject({
      kind: 'receipt',
      witnesses: [WITNESS],
      detail: expect.stringContaining(WITNESS),
    })
    const isNone = (change: Partial<BrokenReceipt>, source: TileSource = bare) =>
      expect(verifyBrokenReceipt({ ...breach, ...change }, source)).rejects.toEqual(coded('proof-invalid'))
    const noteOf = (text: string, seenMs: number) =>
      addSignature(signNote(text, { name: ORIGIN, signer: signerFrom(SECRET) }), cosign(text, seenMs / 1000, witness))
    const text = noteText(breach.note)
    const dueMs = terms.time + terms.mergeDelay
    // Not without a witness who saw it late enough, not with another log.
    await isNone({ witnesses: [] })
    await isNone({ note: noteOf(text, dueMs) })
    await isNone({ note: noteOf(text.replace(ORIGIN, 'other.example'), dueMs + 1000) })
    await isNone({}, watching({ ledger: await grownLedger(['x', 'y'], policy) }).bare)
    // Not for an entry that is there, whatever hashes are shown; not by a receipt that another signed, or that is another's.
    const there = await shown.ledger.get(`/v1/entries/0${'shards' in policy ? '?shard=0' : ''}`)
    const kept = issueReceipt({ ...terms, entry: fromHex(String(there.body['hash'])) }, signerFrom(SECRET))
    const strangers = issueReceipt(terms, witness.signer)
    const elsewhere = issueReceipt({ ...terms, ledger: OWNER }, signerFrom(SECRET))
    for (const each of [kept, strangers, elsewhere]) await isNone({ receipt: envelopeToJson(each) })
    await isNone({ receipt: envelopeToJson(kept) }, hiding(bare))
    // The ledger is still dealt with: what it owes is for the owner to claim.
    await watch.require()
  })
})
