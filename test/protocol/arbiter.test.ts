/** The rules as functions: what they touch, what they depend on, and that nothing else matters. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { decide, prepare, type Outcome } from '../../protocol/arbiter.ts'
import { accounts, grants, isFixed, keys, policies, readKnown, type Policy } from '../../protocol/arbiter/items.ts'
import { sums } from '../../protocol/arbiter/replica.ts'
import { stateRoot, type StateItem } from '../../protocol/arbiter/state-root.ts'
import type { Command, CommandKind } from '../../protocol/arbiter/step.ts'
import { draft, keyText, type Draft, type Key, type Stored } from '../../protocol/arbiter/view.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/encoding.ts'
import { rotate } from '../../protocol/identity.ts'
import { readIdentity } from '../../protocol/arbiter/authority.ts'
import { limits } from '../../protocol/limits.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'
import { DAY_MS, LEDGER_ID, SECRET, START_MS } from '../ledger/kit.ts'
import { delegation, gift, person, purchase, recoverable } from '../ledger/people.ts'
import { oneBit, sealGoods } from '../ledger/sealed-goods.ts'
import { coded } from '../problems.ts'

interface Kept extends Stored, StateItem {}

/** A ledger's items in memory, and nothing else of a ledger. */
function memory() {
  const items = new Map<string, Kept>()
  const view = (): Draft<Kept> => draft(async (key) => items.get(keyText(key)), isFixed)
  let nowMs = START_MS

  async function run(command: Command): Promise<{ outcome: Outcome; touched: readonly Key[] }> {
    const drafted = view()
    nowMs += 1
    const outcome = await decide(drafted, prepare(command), nowMs)
    const touched = outcome.kind === 'repeat' ? [] : drafted.touched()
    for (const { key, body } of touched) {
      if (body) items.set(keyText(key), { ...key, body, timeMs: nowMs })
      else items.delete(keyText(key))
    }
    return { outcome, touched: touched.map(({ key }) => key) }
  }

  return {
    view,
    run,
    send: (kind: CommandKind, ...parts: Envelope[]) => run({ kind, parts }),
    advance: (ms: number) => void (nowMs += ms),
    sums: () => sums(items.values()),
    root: () => stateRoot(items.values()),
  }
}

const policy: Policy = { faucet: 1000n, key: signerFrom(SECRET).key, mergeDelay: 10_000, unitPrice: 1n }
const alice = person('alice')
const bob = person('bob')

async function opened() {
  const ledger = memory()
  await ledger.run({ kind: 'policy', parts: [], data: decode(policies.encode(policy)) })
  for (const { identity } of [alice, bob]) await ledger.send('register', identity)
  return ledger
}

const families = (touched: readonly Key[]): string[] => touched.map(({ pk }) => pk.split('/')[0] as string).toSorted()

describe('what a command touches', () => {
  test('a redemption: the lane alone', async () => {
    const ledger = await opened()
    const download = purchase(alice)
    const lane = download.lane(bob)
    await ledger.send('declare', download.declaration)
    await ledger.send('claim', lane.commitment, lane.claim)
    for (const unit of [1, 2, 16]) {
      const { touched } = await ledger.send('redeem', lane.redeem(unit))
      expect(touched).toEqual([keys.lane(lane.id)])
    }
  })

  test('a registration: nothing that another registration touches', async () => {
    const ledger = await opened()
    const { touched } = await ledger.send('register', person('carol').identity)
    expect(families(touched)).toEqual(['accepted', 'account', 'identity'])
  })

  test('what an agent does: its delegation, and the identity that it rests on', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice))
    const { touched } = await ledger.send('declare', purchase(alice, {}, alice.agent).declaration)
    expect(families(touched)).toEqual(['accepted', 'account', 'declaration', 'declarations', 'delegation', 'identity'])
  })
})

test('the same items, command and time give the same entry and the same items', async () => {
  const [left, right] = [await opened(), await opened()]
  const download = purchase(alice)
  const commands: Command[] = [
    { kind: 'declare', parts: [download.declaration] },
    { kind: 'claim', parts: [download.lane(bob).commitment, download.lane(bob).claim] },
    { kind: 'redeem', parts: [download.lane(bob).redeem(7)] },
    { kind: 'release', parts: [download.release()] },
  ]
  for (const command of commands) expect(await left.run(command)).toEqual(await right.run(command))
  expect(left.root()).toEqual(right.root())
})

test('a refused command changes nothing', async () => {
  const ledger = await opened()
  const root = ledger.root()
  await expect(ledger.send('transfer', gift(alice, bob, 1001n))).rejects.toThrow('has 1000 available')
  await expect(ledger.send('transfer', gift(alice, person('nobody'), 1n))).rejects.toThrow('receiver is not known')
  expect(ledger.root()).toEqual(root)
})

test('a command has its objects, no fewer and no more', async () => {
  const ledger = await opened()
  const download = purchase(alice)
  const { claim, commitment } = download.lane(bob)
  const given = gift(alice, bob, 1n)
  await expect(ledger.send('transfer', given, given)).rejects.toEqual(coded('bad-request'))
  await ledger.send('declare', download.declaration)
  await expect(ledger.send('claim', commitment)).rejects.toEqual(coded('bad-request'))
  await expect(ledger.send('claim', commitment, claim, claim)).rejects.toEqual(coded('bad-request'))
  await expect(ledger.send('release', download.release(), claim, claim)).rejects.toEqual(coded('bad-request'))
})

describe('a delegation', () => {
  const usageOf = async (ledger: Awaited<ReturnType<typeof opened>>) =>
    (await readKnown(ledger.view(), grants, keys.delegation(alice.id, alice.agent.key), 'delegation')).usage

  test('gets back what returns unspent, in all and of the day', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice, { day: 200n, total: 300n }))
    const download = purchase(alice, { units: 100, unitPrice: 2n }, alice.agent)
    const lane = download.lane(bob)
    await ledger.send('declare', download.declaration)
    await ledger.send('claim', lane.commitment, lane.claim)
    await ledger.send('redeem', lane.redeem(10))
    expect(await usageOf(ledger)).toMatchObject({ today: 200n, total: 200n })
    await ledger.send('release', lane.release(bob))
    expect(await usageOf(ledger)).toMatchObject({ today: 188n, total: 188n })
    await ledger.send('release', download.release(alice, alice.agent))
    expect(await usageOf(ledger)).toMatchObject({ today: 20n, total: 20n })
  })

  test('gets back what a false label brings back', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice))
    const download = purchase(alice, { units: 16 }, alice.agent)
    const lane = download.lane(bob, { mode: 'sealed' })
    await ledger.send('declare', download.declaration)
    await ledger.send('claim', lane.commitment, lane.claim)
    await ledger.send('redeem', lane.redeem(3))
    expect(await usageOf(ledger)).toMatchObject({ today: 32n, total: 32n })
    const goods = sealGoods(lane, 3, bob.signer, oneBit)
    await ledger.send('dispute', goods.label, goods.accuse(alice))
    expect(await usageOf(ledger)).toMatchObject({ today: 4n, total: 4n })
  })

  test('counts what was spent under the delegation before it', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice, { total: 300n }))
    await ledger.send('declare', purchase(alice, {}, alice.agent).declaration)
    await ledger.send('delegate', delegation(alice, { total: 250n, issued: START_MS + 1 }))
    const more = purchase(alice, { units: 26, nonce: new Uint8Array(16) }, alice.agent)
    await expect(ledger.send('declare', more.declaration)).rejects.toThrow('250 credits')
  })

  test('is refused when it is not the newest, or from the future', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice, { issued: START_MS + 1 }))
    await expect(ledger.send('delegate', delegation(alice))).rejects.toThrow('newer delegation')
    const another = delegation(alice, { issued: START_MS + 1, total: 9n })
    await expect(ledger.send('delegate', another)).rejects.toThrow('newer delegation')
    const early = delegation(alice, { issued: START_MS + limits.clockSkewMs + DAY_MS })
    await expect(ledger.send('delegate', early)).rejects.toThrow('in the future')
  })

  test('that is over, or gives no power to spend, promises nobody anything', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice, { may: ['announce'] }))
    const download = purchase(alice, { expires: START_MS + 3 * DAY_MS })
    const lane = download.lane(bob, {}, alice.agent)
    await ledger.send('declare', download.declaration)
    await expect(ledger.send('claim', lane.commitment, lane.claim)).rejects.toThrow('to spend')
    await ledger.send('delegate', delegation(alice, { issued: START_MS + 1, expires: START_MS + DAY_MS }))
    ledger.advance(DAY_MS)
    await expect(ledger.send('claim', lane.commitment, lane.claim)).rejects.toThrow('delegation has expired')
  })

  test('that is over lets the agent claim, redeem and release nothing', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(bob, { expires: START_MS + DAY_MS }))
    const download = purchase(alice, { expires: START_MS + 3 * DAY_MS })
    const lane = download.lane(bob)
    await ledger.send('declare', download.declaration)
    ledger.advance(DAY_MS)
    const over = 'delegation has expired'
    await expect(ledger.send('claim', lane.commitment, lane.claimBy(bob, bob.agent))).rejects.toThrow(over)
    await ledger.send('claim', lane.commitment, lane.claim)
    await expect(ledger.send('redeem', lane.redeem(5, {}, bob.agent))).rejects.toThrow(over)
    await expect(ledger.send('release', lane.release(bob, bob.agent))).rejects.toThrow(over)
  })

  test('ends with its time, and with the key that signed it', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(alice, { expires: START_MS + DAY_MS }))
    const download = purchase(alice, { expires: START_MS + 3 * DAY_MS }, alice.agent)
    ledger.advance(DAY_MS)
    await expect(ledger.send('declare', download.declaration)).rejects.toThrow('has expired')
    await ledger.send('delegate', delegation(alice, { issued: START_MS + DAY_MS }))
    const state = await readIdentity(ledger.view(), alice.id)
    const fresh = signerFrom(sha256(utf8('fresh')))
    await ledger.send('rotate', rotate(state, [fresh.key], START_MS, alice.signer))
    await expect(ledger.send('declare', download.declaration)).rejects.toThrow('does not act for')
  })

  test('that gives no power to spend still lets the agent earn', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(bob, { may: ['announce'] }))
    const download = purchase(alice)
    const lane = download.lane(bob)
    await ledger.send('declare', download.declaration)
    await ledger.send('claim', lane.commitment, lane.claimBy(bob, bob.agent))
    await ledger.send('redeem', lane.redeem(5, {}, bob.agent))
    await ledger.send('redeem', lane.redeem(6))
    await ledger.send('release', lane.release(bob, bob.agent))
    expect((await readKnown(ledger.view(), accounts, keys.account(bob.id), 'account')).available).toBe(1012n)
    await expect(ledger.send('declare', purchase(bob, {}, bob.agent).declaration)).rejects.toThrow('to spend')
  })

  test('that gives no power at all lets the agent do nothing', async () => {
    const ledger = await opened()
    await ledger.send('delegate', delegation(bob, { may: [] }))
    const download = purchase(alice)
    const lane = download.lane(bob)
    await ledger.send('declare', download.declaration)
    await expect(ledger.send('claim', lane.commitment, lane.claimBy(bob, bob.agent))).rejects.toThrow('no power')
  })
})

describe('an identity', () => {
  const thief = signerFrom(sha256(utf8('thief')))

  test('is taken back by its recovery key within 72 hours, delegations and all', async () => {
    const ledger = memory()
    await ledger.run({ kind: 'policy', parts: [], data: decode(policies.encode(policy)) })
    const owner = { ...alice, ...recoverable() }
    await ledger.send('register', owner.identity)
    const genesis = await readIdentity(ledger.view(), owner.id)
    await ledger.send('rotate', rotate(genesis, [thief.key], START_MS, owner.signer))
    await ledger.send('delegate', delegation({ ...owner, signer: thief }))
    ledger.advance(limits.recoveryWindowMs - 1000)
    const fresh = signerFrom(sha256(utf8('fresh')))
    await ledger.send('rotate', rotate(genesis, [owner.recovery.key, fresh.key], START_MS, owner.recovery))
    await expect(ledger.send('transfer', gift(owner, owner, 1n, thief))).rejects.toThrow('same account')
    await expect(
      ledger.send('declare', purchase(owner, { expires: START_MS + 9 * DAY_MS }, owner.agent).declaration),
    ).rejects.toThrow('does not act for')
    await ledger.send('declare', purchase(owner, { expires: START_MS + 9 * DAY_MS }, fresh).declaration)
  })
})

test('a declaration names this ledger, lasts 30 days at most and expires in the future', async () => {
  const ledger = await opened()
  const declare = (terms: Parameters<typeof purchase>[1]) => ledger.send('declare', purchase(alice, terms).declaration)
  await expect(declare({ ledger: sha256(LEDGER_ID) })).rejects.toThrow('another ledger')
  await expect(declare({ expires: START_MS + 31 * DAY_MS })).rejects.toThrow('expires within')
  await expect(declare({ expires: START_MS })).rejects.toThrow('has expired')
})

test('a policy has sound keys, none of the federation’s twice', async () => {
  const { key } = policy
  const unsound = new Uint8Array(32)
  for (const changes of [
    { key: unsound },
    { issuer: unsound },
    { federation: { keys: [key, unsound] } },
    { federation: { authority: unsound, keys: [key] } },
    { federation: { keys: [key, key] } },
  ]) {
    const data = decode(policies.encode({ ...policy, ...changes }))
    await expect(memory().run({ kind: 'policy', parts: [], data })).rejects.toEqual(coded('bad-encoding'))
  }
})

test('what moves is what the items then hold', async () => {
  const ledger = await opened()
  const download = purchase(alice)
  const lane = download.lane(bob)
  await ledger.send('declare', download.declaration)
  await ledger.send('claim', lane.commitment, lane.claim)
  expect(ledger.sums()).toEqual({ available: 1800n, bonds: 0n, frozen: 200n, earned: 0n, issued: 2000n })
  await ledger.send('redeem', lane.redeem(9))
  expect(ledger.sums()).toEqual({ available: 1800n, bonds: 0n, frozen: 182n, earned: 18n, issued: 2000n })
  await ledger.send('release', download.release())
  expect(ledger.sums()).toEqual({ available: 1968n, bonds: 0n, frozen: 14n, earned: 18n, issued: 2000n })
  await ledger.send('release', lane.release(bob))
  expect(ledger.sums()).toEqual({ available: 2000n, bonds: 0n, frozen: 0n, earned: 0n, issued: 2000n })
})

test('someone who buys from themselves gains and loses nothing', async () => {
  const ledger = await opened()
  const download = purchase(alice)
  const lane = download.lane(alice)
  await ledger.send('declare', download.declaration)
  await ledger.send('claim', lane.commitment, lane.claim)
  await ledger.send('redeem', lane.redeem(9))
  await ledger.send('release', lane.release(alice))
  await ledger.send('release', download.release())
  expect((await readKnown(ledger.view(), accounts, keys.account(alice.id), 'account')).available).toBe(1000n)
})
