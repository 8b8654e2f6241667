/** A ledger and its witnesses: what it publishes, and that none of them can stop it. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { LedgerOptions } from '../../ledger/context.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import type { WitnessPlace } from '../../protocol/witness-client.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { noteKey, openNote, parseCheckpoint } from '../../protocol/checkpoint.ts'
import { readCosignatures } from '../../protocol/cosignature.ts'
import type { Transport } from '../../protocol/environment.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { handClock, START_MS, type HandClock } from '../agent/hand-clock.ts'
import { FAUCET, ORIGIN, SECRET, testRandom } from './kit.ts'
import { openWitness, type TestWitness } from './witness/kit.ts'

const key = noteKey(ORIGIN, signerFrom(SECRET).key)
type Manner = 'well' | 'never' | 'unreachable' | 'nonsense' | 'forged'

/** Two witnesses at w0.example and w1.example, each with its manners, and ledgers of one store. */
function openTown(store: Store = openSqlite(':memory:')) {
  const clock = handClock(START_MS)
  const witnesses: TestWitness[] = [0, 1].map((i) =>
    openWitness({ logs: [key], name: `w${i}.example`, clock: { ...clock, set: () => {}, advance: () => {} } }),
  )
  const manners: Manner[] = ['well', 'well']
  let asked = 0

  const transport: Transport = async (request) => {
    const i = Number(/w(\d)\.example/.exec(request.url)?.[1])
    asked++
    if (manners[i] === 'never') return new Promise(() => {})
    if (manners[i] === 'unreachable') throw new TypeError('fetch failed')
    if (manners[i] === 'nonsense') return new Response('<html>', { status: 200 })
    const response = await (witnesses[i] as TestWitness).app.fetch(request)
    if (manners[i] !== 'forged' || response.status !== 200) return response
    const line = await response.text()
    return new Response(line.replace(/.{8}\n$/, 'AAAAAA==\n'))
  }

  const places: WitnessPlace[] = witnesses.map((witness, i) => ({ key: witness.key, url: `https://w${i}.example` }))
  const faults: unknown[] = []
  const openLedger = (own: Partial<LedgerOptions> = {}): Ledger =>
    createLedger({
      environment: { clock, random: testRandom(), transport },
      store,
      secret: SECRET,
      origin: ORIGIN,
      policy: { faucet: FAUCET, unitPrice: 1n },
      witnesses: places,
      onFault: (error) => faults.push(error),
      ...own,
    })
  return { clock, witnesses, manners, faults, openLedger, asked: () => asked, store }
}

async function register(ledger: Ledger, name: string): Promise<void> {
  const identity = envelopeToJson(genesis([signerFrom(sha256(utf8(name)))], START_MS))
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ identity }) }
  expect((await ledger.app.request('/v1/accounts', init)).status).toBe(201)
}

/** The size of the published checkpoint, and who cosigned it at what age. */
async function published(ledger: Ledger, witnesses: readonly TestWitness[], clock: HandClock) {
  const { text, unknown } = openNote(await (await ledger.app.request('/checkpoint')).text(), [key])
  const found = readCosignatures(
    text,
    unknown,
    witnesses.map((witness) => witness.key),
  )
  const by = found.map(({ witness, timeSeconds }) => [witness.name, clock.now() / 1000 - timeSeconds] as const)
  return { size: parseCheckpoint(text).size, by: Object.fromEntries(by) }
}

test('publishes each checkpoint with the cosignatures of its witnesses, and names them', async () => {
  const { clock, witnesses, openLedger, faults } = openTown()
  const ledger = openLedger()
  await ledger.sequence()
  for (const size of [2, 3, 4]) {
    await register(ledger, `person ${size}`)
    await ledger.sequence()
    expect(await published(ledger, witnesses, clock)).toEqual({ size, by: { 'w0.example': 0, 'w1.example': 0 } })
  }
  const info = (await (await ledger.app.request('/v1/ledger')).json()) as { witnesses: string[] }
  expect(info.witnesses).toEqual(witnesses.map(({ verifierKey }) => verifierKey))
  expect(faults).toEqual([])
})

test('asks again about a log that rests, so that its witnesses’ words stay fresh', async () => {
  const { clock, witnesses, openLedger, asked } = openTown()
  const ledger = openLedger()
  await ledger.sequence()
  const before = asked()
  await ledger.sequence()
  expect(asked()).toBe(before)
  clock.advance(limits.cosignedAgainMs)
  await ledger.sequence()
  expect(await published(ledger, witnesses, clock)).toEqual({ size: 1, by: { 'w0.example': 0, 'w1.example': 0 } })
})

test('where nothing runs in the background, a question about the log finds in it what was promised, witnessed', async () => {
  const { clock, witnesses, openLedger } = openTown()
  const ledger = openLedger({ sequencesWhenAsked: true })
  for (const size of [2, 3]) {
    await register(ledger, `person ${size}`)
    expect(await published(ledger, witnesses, clock)).toEqual({ size, by: { 'w0.example': 0, 'w1.example': 0 } })
  }
  const id = toHex(objectId('identity', genesis([signerFrom(sha256(utf8('last')))], START_MS).body))
  await register(ledger, 'last')
  const statement = await ledger.app.request(`/v1/accounts/${id}/entries`)
  expect(await statement.json()).toMatchObject({ entries: [{ index: 3, kind: 'register' }] })
})

describe('a witness', () => {
  test.each<Manner>(['unreachable', 'nonsense', 'forged'])('that is %s does not stop the ledger', async (manner) => {
    const { clock, witnesses, manners, openLedger, faults } = openTown()
    const ledger = openLedger()
    manners[0] = manner
    for (const size of [2, 3]) {
      await register(ledger, `person ${size}`)
      await ledger.sequence()
      expect(await published(ledger, witnesses, clock)).toEqual({ size, by: { 'w1.example': 0 } })
    }
    expect(faults).toHaveLength(1)
    manners[0] = 'well'
    clock.advance(60_000)
    await ledger.sequence()
    expect(await published(ledger, witnesses, clock)).toEqual({ size: 3, by: { 'w0.example': 0, 'w1.example': 60 } })
  })

  test('that never answers is waited for once, and then left alone for a while', async () => {
    const { clock, witnesses, manners, openLedger } = openTown()
    const ledger = openLedger()
    manners[0] = 'never'
    await register(ledger, 'person')
    await clock.until(ledger.sequence())
    expect(clock.now() - START_MS).toBe(limits.witnessTimeoutMs)
    expect(await published(ledger, witnesses, clock)).toMatchObject({
      size: 2,
      by: { 'w1.example': expect.anything() },
    })
    await register(ledger, 'another person')
    await ledger.sequence()
    expect(await published(ledger, witnesses, clock)).toEqual({ size: 3, by: { 'w1.example': 0 } })
  })

  test('that is behind, or ahead of what a process knows, is asked from where it is', async () => {
    const { clock, witnesses, manners, openLedger } = openTown()
    const first = openLedger()
    await first.sequence()
    manners[1] = 'unreachable'
    for (let i = 0; i < 5; i++) await register(first, `person ${i}`)
    await first.sequence()
    manners[1] = 'well'
    const second = openLedger()
    await register(second, 'last')
    await second.sequence()
    expect(await published(first, witnesses, clock)).toEqual({ size: 7, by: { 'w0.example': 0, 'w1.example': 0 } })
  })
})

test('of many processes at once, none takes a published checkpoint or a word of a witness back', async () => {
  const { clock, witnesses, openLedger } = openTown()
  const ledgers = Array.from({ length: 4 }, () => openLedger())
  let size = 0
  for (let i = 0; i < 6; i++) {
    for (const [j, ledger] of ledgers.entries()) await register(ledger, `person ${i} ${j}`)
    await Promise.all(ledgers.map((ledger) => ledger.sequence()))
    const now = await published(ledgers[0] as Ledger, witnesses, clock)
    expect(now.size).toBeGreaterThanOrEqual(size)
    size = now.size
  }
  await (ledgers[0] as Ledger).sequence()
  expect(await published(ledgers[3] as Ledger, witnesses, clock)).toEqual({
    size: 25,
    by: { 'w0.example': 0, 'w1.example': 0 },
  })
})

test('a ledger that lost its newest entries gets no cosignature for what it signs instead', async () => {
  const { clock, witnesses, openLedger } = openTown()
  const ledger = openLedger()
  await register(ledger, 'person')
  await ledger.sequence()
  const restored = openTown()
  const forked = createLedger({
    environment: {
      clock,
      random: testRandom(),
      transport: async (request) =>
        (witnesses[Number(/w(\d)/.exec(request.url)?.[1])] as TestWitness).app.fetch(request),
    },
    store: restored.store,
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: FAUCET, unitPrice: 1n },
    witnesses: witnesses.map((witness, i) => ({ key: witness.key, url: `https://w${i}.example` })),
  })
  await register(forked, 'somebody else')
  await forked.sequence()
  expect(await published(forked, witnesses, clock)).toEqual({ size: 2, by: {} })
})
