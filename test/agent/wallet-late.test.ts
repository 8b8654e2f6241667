import { describe, expect, it } from 'vitest'
import type { LedgerClient, LedgerLane } from '../../agent/clients/ledger-client.ts'
import { createJournal } from '../../agent/download/journal.ts'
import { createWallet, type LaneTerms } from '../../agent/wallet/wallet.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import { createFaultyStore, WRITE_FAULTS, type FaultyStore } from '../faults/faulty-store.ts'
import { openBazaar, type Bazaar } from './bazaar.ts'
import { filmOf, PIECE_BYTES } from './bazaar-content.ts'

const wishFor = ({ content }: Bazaar): LaneTerms => ({
  content: content.infoHash,
  unitBytes: PIECE_BYTES,
  price: 2n,
  payee: 'ab'.repeat(32),
  url: 'https://anna.example',
  mode: 'prepaid',
  segmentMax: 64,
  units: 4,
  unitsLeft: 4,
})
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

describe('a declaration that could not be saved', () => {
  it.each(WRITE_FAULTS)('is never posted, whoever asks for a lane next: %s', async (fault) => {
    const bazaar = await openBazaar(filmOf(1))
    let store: FaultyStore | undefined
    const { wallet, context, frozen } = await bazaar.buyer({ wrapStore: (inner) => (store = createFaultyStore(inner)) })
    const purse = await bazaar.happen(wallet.open('one', createJournal(context.store)))
    store?.setFaults((write) => (write === 0 ? fault : undefined))
    const posted: string[] = []
    bazaar.network.onSend(({ url, method }) => method === 'POST' && posted.push(url.pathname))
    const opening = Promise.allSettled([1, 2].map(() => purse.openLane(wishFor(bazaar))))
    expect((await bazaar.happen(opening)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(posted).toEqual([])
    expect(await frozen()).toBe(0n)
  })
})

describe('a declaration whose answer did not come', () => {
  async function begin() {
    const bazaar = await openBazaar(filmOf(1))
    const { context, frozen } = await bazaar.buyer()
    const posted: Envelope[] = []
    const declare = (declaration: Envelope): Promise<never> => {
      posted.push(declaration)
      return Promise.reject(new Problem('peer-failed', 'The ledger did not answer.'))
    }
    const wallet = createWallet({ ...context, ledger: { ...context.ledger, declare } })
    const purse = await bazaar.happen(wallet.open('one', createJournal(context.store)))
    await expect(bazaar.happen(purse.openLane(wishFor(bazaar)))).rejects.toMatchObject({ code: 'peer-failed' })
    await bazaar.happen(wallet.finish('one', MINUTE_MS))
    const maintainAfter = async (ms: number): Promise<void> => {
      await bazaar.pass(ms)
      await bazaar.happen(wallet.maintain())
    }
    const arrive = () => bazaar.happen(context.ledger.declare(posted[0] as Envelope))
    const chores = async () => (await context.store.list('wallet', { limit: 10 })).length
    return { bazaar, frozen, maintainAfter, arrive, chores }
  }

  it('is released though it reaches the ledger after the download has ended', async () => {
    const { frozen, maintainAfter, arrive, chores } = await begin()
    await arrive()
    expect(await frozen()).toBe(8n)
    await maintainAfter(MINUTE_MS)
    expect(await frozen()).toBe(0n)
    expect(await chores()).toBe(0)
  })

  it('is not given up because the ledger is away when it ends', async () => {
    const { bazaar, frozen, maintainAfter, arrive, chores } = await begin()
    await arrive()
    bazaar.setLedgerUp(false)
    await maintainAfter(26 * HOUR_MS)
    await bazaar.pass(HOUR_MS)
    bazaar.setLedgerUp(true)
    expect(await chores()).toBe(1)
    await maintainAfter(MINUTE_MS)
    expect(await frozen()).toBe(0n)
  })

  it('is given up once the ledger would take it no more', async () => {
    const { maintainAfter, arrive, chores } = await begin()
    await maintainAfter(HOUR_MS)
    expect(await chores()).toBe(1)
    await maintainAfter(24 * HOUR_MS)
    expect(await chores()).toBe(0)
    await expect(arrive()).rejects.toMatchObject({ code: 'expired' })
  })
})

describe('a lane that its seller claims while the ledger does not take its release', () => {
  it('is looked after until it has ended, and costs what the seller took', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const { context } = await bazaar.buyer()
    let known: LedgerLane | Problem = new Problem('not-found', 'It knows no such lane.')
    const ledger: LedgerClient = {
      ...context.ledger,
      release: (release) =>
        known instanceof Problem
          ? Promise.reject(new Problem('peer-failed', 'The ledger did not answer.'))
          : context.ledger.release(release),
      lane: () => (known instanceof Problem ? Promise.reject(known) : Promise.resolve(known)),
    }
    const wallet = createWallet({ ...context, ledger })
    const journal = createJournal(context.store)
    const purse = await bazaar.happen(wallet.open('one', journal))
    const lane = await bazaar.happen(purse.openLane(wishFor(bazaar)))
    await bazaar.happen(journal.write([lane.assign(0)]))
    expect(purse.paid().ticks).toBe(1)
    await bazaar.happen(wallet.finish('one', MINUTE_MS))
    const choresAfter = async (claimed: Pick<LedgerLane, 'redeemed' | 'closed'>) => {
      known = claimed as LedgerLane
      await bazaar.pass(HOUR_MS)
      await bazaar.happen(wallet.maintain())
      return (await context.store.list('wallet', { limit: 10 })).length
    }
    expect(await choresAfter({ redeemed: 0, closed: false })).toBe(1)
    expect(await choresAfter({ redeemed: 0, closed: true })).toBe(0)
    await purse.reload()
    expect(purse.paid().ticks).toBe(0)
  })
})

describe('a dispute', () => {
  it.each([
    ['peer-failed', 'waited for'],
    ['conflict', 'waited for'],
    ['limit-reached', 'waited for'],
    ['delegation-exceeded', 'waited for'],
    ['closed', 'at an end'],
    ['expired', 'at an end'],
  ] as const)('to which the ledger says %s is %s', async (code, end) => {
    const bazaar = await openBazaar(filmOf(1))
    const { context } = await bazaar.buyer()
    let asked = 0
    const ledger: LedgerClient = {
      ...context.ledger,
      dispute: () => (asked++, Promise.reject(new Problem(code, 'Not now, or not at all.'))),
      lane: async () => ({ redeemed: 1, closed: true }) as LedgerLane,
    }
    const wallet = createWallet({ ...context, ledger })
    const journal = createJournal(context.store)
    const purse = await bazaar.happen(wallet.open('one', journal))
    const lane = await bazaar.happen(purse.openLane(wishFor(bazaar)))
    await bazaar.happen(journal.write([lane.assign(0)]))
    // The ledger is not asked, so any envelopes do.
    await bazaar.happen(purse.accuse({ lane: lane.id, label: context.delegation, dispute: context.delegation }))
    await bazaar.happen(wallet.finish('one', MINUTE_MS))
    const before = asked
    await bazaar.pass(HOUR_MS)
    await bazaar.happen(wallet.maintain())
    const isWaitedFor = end === 'waited for'
    expect(asked > before).toBe(isWaitedFor)
    expect(await context.store.list('wallet', { limit: 10 })).toHaveLength(isWaitedFor ? 1 : 0)
  })
})
