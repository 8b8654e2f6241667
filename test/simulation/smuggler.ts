/**
 * Someone who sends credits from one ledger to another, and tries to have them at both: every lock is brought, declined
 * and refunded too early, too late, twice, at once, whatever the weather. What must not be is refused.
 */
import { proveEntry } from '../../agent/clients/carry.ts'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { sha256 } from '#primitives'
import { toHex } from '../../protocol/bytes.ts'
import { formatVerifierKey } from '../../protocol/checkpoint.ts'
import { lock, mint, refund, type CarriedTerms } from '../../protocol/crossing.ts'
import { trustPeer } from '../../protocol/federation.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Books } from './books.ts'
import type { Chance } from './chance.ts'
import type { LedgerTown } from './ledgers.ts'
import type { Person } from './people.ts'
import type { World } from './world.ts'

export interface Place {
  readonly ledger: LedgerTown
  readonly books: Books
}

export interface Smuggling {
  readonly world: World
  readonly chance: Chance
  readonly near: Place
  readonly far: Place
  readonly smuggler: Person
}

const LIMIT = 1_000_000n
const GIVE_UP_MS = 600_000
const MOST_LOCKS = 4
/** What passes: somebody is away, or the entry is in no checkpoint yet. */
const PASSING = new Set(['peer-failed', 'conflict', 'store-unavailable', 'not-found'])

const idOf = ({ ledger }: Place) => sha256(ledger.signer.key)

/** At every write of either ledger: what circulates at both is never more than what their faucets gave. */
export function watchBoth({ world, near, far }: Pick<Smuggling, 'world' | 'near' | 'far'>): void {
  const check = (): void => {
    const [circulating, given] = [circulatingAt(near, far), near.books.given() + far.books.given()]
    if (circulating > given) world.fail(`${circulating} credits circulate at two ledgers that gave ${given}`)
  }
  for (const host of [...near.ledger.hosts, ...far.ledger.hosts]) host.onWrite(check)
}

const circulatingAt = (...places: readonly Place[]): bigint =>
  places.reduce((sum, { books }) => sum + books.totals().issued, 0n)

/** Resolves when every lock is settled. */
export async function smuggle(at: Smuggling): Promise<void> {
  const [near, far] = [at.near, at.far].map(({ ledger }) =>
    createLedgerClient({ environment: at.smuggler.environment, url: ledger.url }),
  ) as [LedgerClient, LedgerClient]
  for (const ledger of [near, far]) await insist(at, () => ledger.register(at.smuggler.operations[0] as Envelope))
  await trust(at, at.near, at.far)
  await trust(at, at.far, at.near)
  const count = at.chance.integer(1, MOST_LOCKS)
  await Promise.all(Array.from({ length: count }, () => cross(at, near, far)))
  const [circulating, given] = [circulatingAt(at.near, at.far), at.near.books.given() + at.far.books.given()]
  if (circulating !== given) at.world.fail(`${circulating} credits circulate after all locks are settled, not ${given}`)
}

async function trust({ smuggler, world }: Smuggling, at: Place, peer: Place): Promise<void> {
  const policy = `log ${formatVerifierKey(peer.ledger.key)}\nquorum none\n`
  const order = trustPeer({ ledger: idOf(at), limit: LIMIT, policy, seq: 1 }, at.ledger.signer)
  const body = JSON.stringify({ peer: [envelopeToJson(order)] })
  const headers = { 'content-type': 'application/json' }
  for (const untilMs = world.scheduler.now() + GIVE_UP_MS; world.scheduler.now() < untilMs;) {
    const request = new Request(`${at.ledger.url}/v1/peers`, { method: 'POST', headers, body })
    const isTaken = await smuggler.environment.transport(request).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isTaken) return
    await world.scheduler.sleep(1_000)
  }
  world.fail(`${at.ledger.url} takes no peer`)
}

async function cross(at: Smuggling, near: LedgerClient, far: LedgerClient): Promise<void> {
  const { chance, smuggler, world } = at
  const { scheduler } = world
  await scheduler.sleep(chance.integer(0, 20_000))
  const expires = scheduler.now() + chance.integer(40, 150) * 1_000
  const terms = { amount: BigInt(chance.integer(1, 900)), expires, from: smuggler.id, nonce: chance.bytes(16) }
  const order = lock({ ...terms, ledger: idOf(at.near), recipient: smuggler.id, target: idOf(at.far) }, smuggler.signer)
  // Taken late or not at all, where the ledger was away for long.
  const locked = await insist(at, () => near.lock(order)).catch((error: unknown) => {
    if (!(error instanceof Problem)) throw error
  })
  if (!locked) return
  world.count('locks')
  const proof = await insist(at, () => proveEntry(near, locked.receipt))
  const attempts = chance.shuffle(['mint', 'decline', 'mint', 'decline'] as const)
  for (const attempt of attempts) {
    await scheduler.sleep(chance.integer(0, 60_000))
    if (attempt === 'mint') await Promise.all([bring(at, far, proof), bring(at, far, proof)])
    else await far.decline(order).catch(passing)
  }
  await settle(at, { far, near, order, proof })
}

const bring = ({ smuggler }: Smuggling, far: LedgerClient, proof: CarriedTerms): Promise<unknown> =>
  far.mint(mint(proof, smuggler.signer)).catch(passing)

/** Refusals are what is tried for; a fault of ours is not. */
function passing(error: unknown): void {
  if (!(error instanceof Problem)) throw error
}

interface Crossing {
  readonly near: LedgerClient
  readonly far: LedgerClient
  readonly order: Envelope
  readonly proof: CarriedTerms
}

/** Minted or, once it has expired, declined and refunded: one of them comes about, and not the other. */
async function settle(at: Smuggling, { far, near, order, proof }: Crossing): Promise<void> {
  const { scheduler } = at.world
  for (const untilMs = scheduler.now() + GIVE_UP_MS; scheduler.now() < untilMs;) {
    const minted = await far.mint(mint(proof, at.smuggler.signer)).catch(passing)
    const declined = await far.decline(order).catch(passing)
    if (minted && declined) at.world.fail('a lock is minted and declined')
    if (minted) return
    if (declined) return giveBack(at, { far, near, order, proof }, declined)
    await scheduler.sleep(5_000)
  }
  at.world.fail('a lock is not settled')
}

async function giveBack(
  at: Smuggling,
  { far, near, proof }: Crossing,
  declined: { lock: string; receipt: Envelope },
): Promise<void> {
  const before = await insist(at, () => near.account(toHex(at.smuggler.id)))
  const word = await insist(at, () => proveEntry(far, declined.receipt))
  const order = refund(word, at.smuggler.signer)
  await Promise.all([insist(at, () => near.refund(order)), insist(at, () => near.refund(order))])
  const again = await near.refund(refund(proof, at.smuggler.signer)).then(
    () => 'accepted',
    (error: unknown) => (error instanceof Problem ? error.code : 'fault'),
  )
  if (again === 'accepted') at.world.fail('a lock is refunded on the proof of the lock')
  const after = await insist(at, () => near.account(toHex(at.smuggler.id)))
  if (after.available < before.available) at.world.fail('a refund takes credits away')
}

async function insist<T>({ world: { scheduler } }: Smuggling, ask: () => Promise<T>): Promise<T> {
  for (const untilMs = scheduler.now() + GIVE_UP_MS; ;) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof Problem) || !PASSING.has(error.code) || scheduler.now() > untilMs) throw error
      await scheduler.sleep(1_000)
    }
  }
}
