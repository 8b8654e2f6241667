/**
 * What an account holds, from the items themselves: what it can spend, what its open declarations and lanes still
 * hold of it, what lanes to it have earned, what it put up for sealed ones. Exact at one moment: the items are read until
 * nothing changed between two readings, so what is added up was there all at once.
 *
 * Anyone may ask, so what there is to read is bounded: what holds no credits is in no list, and no account has more than so
 * many declarations that do.
 */
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import {
  accounts,
  familyOf,
  heldBy,
  identities,
  keys,
  laneIds,
  lanes,
  reserves,
  unclaimedIn,
  type Family,
  type Held,
} from '../protocol/arbiter/items.ts'
import { keyText, type Key, type Touched } from '../protocol/arbiter/view.ts'
import { readAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Item, Store } from '../protocol/store.ts'
import { load, unstamp, type Versioned } from './state.ts'

export interface Balance {
  readonly id: Bytes
  /** Those that speak for it, the highest priority first. */
  readonly keys: readonly Bytes[]
  readonly available: bigint
  readonly frozen: bigint
  readonly earned: bigint
  readonly bonds: bigint
  /** Its declarations that hold credits, or may. */
  readonly declarations: readonly Bytes[]
  /** The open lanes to it, but those at no price. */
  readonly lanes: readonly Bytes[]
}

/** A reading of several items, which remembers each one's version. */
interface Reading {
  get<T>(family: Family<T>, key: Key): Promise<T | undefined>
  list(pk: string): Promise<readonly Item[]>
  /** Equal for two readings of the same items in the same versions. */
  trace(): string
}

function startReading(store: Store): Reading {
  const seen: string[] = []
  /** A lane may be both the account's own and to it. */
  const known = new Map<string, Versioned | undefined>()
  return {
    async get(family, key) {
      const text = keyText(key)
      const item = known.has(text) ? known.get(text) : await load(store, key)
      known.set(text, item)
      seen.push(`${key.pk} ${key.sk} ${item?.version}`)
      return item && family.decode(item.body)
    },
    async list(pk) {
      const items = await readAll(store, pk, (item) => item)
      seen.push(...items.map(({ sk, version }) => `${pk} ${sk} ${version}`))
      return items
    },
    trace: () => seen.join('\n'),
  }
}

/** @throws Problem `not-found` | `conflict` when it changes faster than it can be read */
export async function readBalance(store: Store, id: Bytes): Promise<Balance> {
  let before: string | undefined
  for (let tries = 0; tries < limits.writeAttempts; tries++) {
    const reading = startReading(store)
    const balance = await addUp(reading, id)
    if (reading.trace() === before) return balance
    before = reading.trace()
  }
  throw new Problem('conflict', 'The account changes faster than it can be read. Try again.')
}

async function addUp(reading: Reading, id: Bytes): Promise<Balance> {
  const account = await reading.get(accounts, keys.account(id))
  const identity = await reading.get(identities, keys.identity(id))
  if (!account || !identity) throw new Problem('not-found', 'The account is not known here.')
  const declarations = await idsIn(reading, keys.declarations(id, id).pk)
  const incoming = await idsIn(reading, keys.lanes(id, id).pk)
  const held: Held[] = []
  for (const lane of incoming) held.push(await heldOn(reading, lane))
  return {
    id,
    keys: identity.keys,
    available: account.available,
    frozen: await sumOver(declarations, (declaration) => frozenIn(reading, declaration)),
    earned: held.reduce((sum, { earned }) => sum + earned, 0n),
    bonds: held.reduce((sum, { bonds }) => sum + bonds, 0n),
    declarations,
    lanes: incoming,
  }
}

const idsIn = async (reading: Reading, pk: string): Promise<Bytes[]> =>
  (await reading.list(pk)).map(({ sk }) => fromHex(sk))

/** What no lane has claimed, and what its open lanes have not redeemed. */
async function frozenIn(reading: Reading, declaration: Bytes): Promise<bigint> {
  const reserve = await reading.get(reserves, keys.declaration(declaration))
  if (!reserve || reserve.open === 0) return reserve ? unclaimedIn(reserve) : 0n
  const claimed = await reading.list(keys.segments(declaration, 0).pk)
  const inLanes = await sumOver(claimed, async (item) => {
    const { lane } = laneIds.decode(unstamp(item).body)
    return (await heldOn(reading, lane)).frozen
  })
  return inLanes + unclaimedIn(reserve)
}

async function heldOn(reading: Reading, id: Bytes): Promise<Held> {
  const lane = await reading.get(lanes, keys.lane(id))
  return lane ? heldBy(lane) : { frozen: 0n, earned: 0n, bonds: 0n }
}

async function sumOver<T>(values: readonly T[], amount: (value: T) => Promise<bigint>): Promise<bigint> {
  let sum = 0n
  for (const value of values) sum += await amount(value)
  return sum
}

/**
 * @param touched by a command that is about to be accepted
 * @throws Problem `limit-reached` where an account would have one declaration more than are added up
 */
export async function requireCountable(store: Store, touched: readonly Touched<Versioned>[]): Promise<void> {
  const added = touched.find(({ key, before, body }) => familyOf(key) === 'declarations' && !before && body)
  if (!added) return
  const open = await store.list(added.key.pk, { limit: limits.openDeclarations })
  if (open.length === limits.openDeclarations)
    throw new Problem('limit-reached', `An account has at most ${limits.openDeclarations} declarations open.`)
}
