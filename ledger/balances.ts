/**
 * What an account holds, from the items themselves: what it can spend, what its open declarations and lanes still
 * hold of it, what lanes to it have earned, what it put up for sealed ones. Exact at one moment: the items are read until nothing changed between two
 * readings, so what is added up was there all at once.
 */
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import {
  accounts,
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
import type { Key } from '../protocol/arbiter/view.ts'
import { readAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Item, Store } from '../protocol/store.ts'
import { load, unstamp } from './state.ts'

export interface Balance {
  readonly id: Bytes
  /** Those that speak for it, the highest priority first. */
  readonly keys: readonly Bytes[]
  readonly available: bigint
  readonly frozen: bigint
  readonly earned: bigint
  readonly bonds: bigint
  /** Its declarations that are not settled yet. */
  readonly declarations: readonly Bytes[]
  /** The open lanes to it. */
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
  return {
    async get(family, key) {
      const item = await load(store, key)
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
  const claimed = await reading.list(keys.segments(declaration, 0).pk)
  const inLanes = await sumOver(claimed, async (item) => {
    const { lane } = laneIds.decode(unstamp(item).body)
    return (await heldOn(reading, lane)).frozen
  })
  return inLanes + (reserve ? unclaimedIn(reserve) : 0n)
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
