/** Of several processes over one log, one appends and the others stand by, until it is not at it any more. */
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLead, type Lead } from '../../ledger/lead.ts'
import { logKeys, readHead } from '../../ledger/log.ts'
import { createSequencer } from '../../ledger/sequencer.ts'
import { genesis } from '../../protocol/identity.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { sha256 } from '#primitives'
import type { Item, Store } from '../../protocol/store.ts'
import { auditStore } from './audit.ts'
import { contextOf, expectAccepted, openLedger, START_MS, testClock } from './kit.ts'

const HOUR_MS = 3_600_000

async function openLog(): Promise<Store> {
  const store = openSqlite(':memory:')
  await openLedger({ store }).sequence()
  return store
}

const something = async () => true
const nothing = async () => false

/** What one makes of it: a head to go on from, `idle`, or undefined. */
async function outcome(lead: Lead, hasWork = something): Promise<string> {
  const head = await lead.take(undefined, hasWork)
  return head === undefined ? 'stands by' : head === 'idle' ? head : 'leads'
}

test('a process that has just started stands by, and leads when nothing moves', async () => {
  const store = await openLog()
  const clock = testClock()
  const lead = createLead(contextOf(store, clock))
  expect(await outcome(lead)).toBe('stands by')
  clock.advance(499)
  expect(await outcome(lead)).toBe('stands by')
  clock.advance(1)
  expect(await outcome(lead)).toBe('leads')
  expect(await outcome(lead)).toBe('leads')
})

test('of many that find nobody at it, one leads', async () => {
  const store = await openLog()
  const clock = testClock()
  const leads = Array.from({ length: 7 }, () => createLead(contextOf(store, clock)))
  await Promise.all(leads.map((lead) => outcome(lead)))
  clock.advance(500)
  const outcomes = await Promise.all(leads.map((lead) => outcome(lead)))
  expect(outcomes.filter((one) => one === 'leads')).toHaveLength(1)
  for (let i = 0; i < 3; i++) {
    clock.advance(500)
    // The one that leads moves the head.
    const { body, version } = (await store.get(logKeys.head.pk, logKeys.head.sk)) as Item
    await store.write([{ ...logKeys.head, expect: version, body }])
    expect(await Promise.all(leads.map((lead) => outcome(lead)))).toEqual(outcomes)
  }
})

test('one that was replaced finds out, and stands by', async () => {
  const store = await openLog()
  const clock = testClock()
  const [first, second] = [createLead(contextOf(store, clock)), createLead(contextOf(store, clock))]
  await outcome(first, nothing)
  expect(await outcome(first)).toBe('leads')
  await outcome(second)
  clock.advance(500)
  expect(await outcome(second)).toBe('leads')
  expect(await outcome(first)).toBe('stands by')
})

test('where there is nothing to do, nobody leads, and nothing is written', async () => {
  const store = await openLog()
  const clock = testClock()
  const lead = createLead(contextOf({ ...store, write: () => Promise.reject(new Error('written')) }, clock))
  for (let i = 0; i < 3; i++) {
    expect(await outcome(lead, nothing)).toBe('idle')
    clock.advance(1000)
  }
})

test('a clock that is set back an hour keeps nobody', async () => {
  const store = await openLog()
  const clock = testClock()
  const lead = createLead(contextOf(store, clock))
  await outcome(lead)
  clock.advance(-HOUR_MS)
  expect(await outcome(lead)).toBe('leads')
})

test('one is steady that has not stood by for five seconds', async () => {
  const store = await openLog()
  const clock = testClock()
  const [lead, other] = [createLead(contextOf(store, clock)), createLead(contextOf(store, clock))]
  await outcome(lead, nothing)
  expect(lead.isSteady()).toBe(false)
  clock.advance(5000)
  expect(lead.isSteady()).toBe(true)
  await outcome(other, nothing)
  expect(await outcome(other)).toBe('leads')
  expect(await outcome(lead)).toBe('stands by')
  expect(lead.isSteady()).toBe(false)
})

test('a sequencer that is slow and was replaced brings its part to an end, and then stands by', async () => {
  const store = await openLog()
  const clock = testClock()
  const other = createLead(contextOf(store, clock))
  const takesOver = async () => {
    await outcome(other)
    clock.advance(500)
    expect(await outcome(other)).toBe('leads')
  }
  const overtaken: Store = {
    ...store,
    async write(changes) {
      if (changes[0]?.pk.startsWith('entries/')) await takesOver()
      return store.write(changes)
    },
  }
  const slow = createSequencer(contextOf(overtaken, clock))
  expect(await slow.assist()).toEqual({ appended: 0, isAll: true })
  const identity = genesis([signerFrom(sha256(utf8('somebody')))], START_MS)
  await expectAccepted(openLedger({ store }).post('/v1/accounts', { identity }))
  expect(await slow.assist()).toEqual({ appended: 1, isAll: true })
  expect(await slow.assist()).toBeUndefined()
  expect((await readHead(store)).size).toBe(2)
  await auditStore(store)
})
