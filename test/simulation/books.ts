/**
 * The ledger's books, kept a second time from what it writes to its store, and checked after every write: no credit
 * appears or is lost, what is frozen or earned is what is still open, and indexes only rise.
 */
import {
  accounts,
  familyOf,
  issuedBy,
  lanes,
  reserves,
  type Account,
  type Lane,
  type Reserve,
} from '../../protocol/arbiter/items.ts'
import { toHex } from '../../protocol/bytes.ts'
import { parseDeclaration } from '../../protocol/declaration.ts'
import { decode, field, fields } from '../../protocol/encoding.ts'
import { decodeEntry } from '../../protocol/entry.ts'
import { readRedemption } from '../../protocol/settlement.ts'
import type { Change } from '../../protocol/store.ts'
import type { World } from './world.ts'

export interface Holding {
  readonly available: bigint
  readonly frozen: bigint
  readonly earned: bigint
  readonly bonds: bigint
}

/** A lane as the ledger keeps it, and whose. */
export interface BookedLane extends Pick<
  Lane,
  'mode' | 'redeemed' | 'cap' | 'closed' | 'unitPrice' | 'expires' | 'disputeWindow'
> {
  readonly payer: string
  readonly payee: string
  /** Ids in hex. */
  readonly declaration: string
  /** What the payee stands to lose, in credits. */
  readonly bond: bigint
  /** Of a sealed lane: what its keys lead to, hex. */
  readonly anchor: string | undefined
}

export interface BookedDeclaration extends Pick<Reserve, 'unclaimed' | 'closed' | 'unitPrice'> {
  readonly payer: string
  readonly units: number
  /** v2 info hash, hex. */
  readonly content: string
  readonly expires: number
}

export interface Books {
  /** By id in hex. */
  readonly lanes: ReadonlyMap<string, BookedLane>
  readonly declarations: ReadonlyMap<string, BookedDeclaration>
  /** What an account holds, added up anew. */
  holding(account: string): Holding
  totals(): Holding & { readonly issued: bigint }
  /** By the faucet alone: without what came from another ledger or went there. */
  given(): bigint
  onLane(listener: (id: string, lane: BookedLane) => void): void
  take(changes: readonly Change[]): void
}

/** Before the body of an item stands the time of the entry that touched it last, as a uint64. */
const STAMP_BYTES = 8
const slotShape = {
  entry: field.optional(field.bytes()),
  from: field.optional(field.integer()),
  lane: field.optional(field.bytes()),
  mark: field.optional(field.bytes()),
  time: field.optional(field.integer()),
}

export function createBooks(world: World): Books {
  const accountsById = new Map<string, Account>()
  const declarations = new Map<string, BookedDeclaration>()
  const lanesById = new Map<string, BookedLane>()
  const listeners: ((id: string, lane: BookedLane) => void)[] = []

  function takeChange({ pk, body }: Change): boolean {
    const family = familyOf({ pk })
    if (family !== 'account' && family !== 'declaration' && family !== 'lane') return false
    const id = pk.slice(family.length + 1)
    if (!body) {
      world.fail(`the ledger deletes ${pk}`)
      return true
    }
    if (family === 'lane') takeSlot(id, body)
    else if (family === 'account') takeAccount(id, accounts.decode(body.slice(STAMP_BYTES)))
    else takeDeclaration(id, reserves.decode(body.slice(STAMP_BYTES)))
    return true
  }

  /** A lane is a row of slots: each holds it whole, or a redemption that goes on from the slot before. */
  function takeSlot(id: string, body: Uint8Array): void {
    const { entry, lane } = fields(decode(body), slotShape)
    if (lane) return takeLane(id, bookedFrom(lanes.decode(lane)))
    const before = lanesById.get(id)
    const [envelope] = entry ? decodeEntry(entry).parts : []
    if (!before || !envelope) return world.fail(`a slot of lane ${id} holds neither a lane nor a redemption`)
    const { lane: named, unit } = readRedemption(envelope)
    if (toHex(named) !== id) world.fail(`lane ${id} takes a redemption of lane ${toHex(named)}`)
    if (unit === before.redeemed) world.fail(`lane ${id} is redeemed twice up to unit ${unit}`)
    takeLane(id, { ...before, redeemed: unit })
  }

  function takeAccount(id: string, account: Account): void {
    if (account.available < 0n) world.fail(`account ${id} holds ${account.available}`)
    if ((accountsById.get(id)?.issued ?? account.issued) !== account.issued)
      world.fail(`account ${id} is issued credits twice`)
    accountsById.set(id, account)
  }

  function takeDeclaration(id: string, { closed, envelope, unclaimed, unitPrice }: Reserve): void {
    const before = declarations.get(id)
    const { content, expires, payer, units } = before ?? termsOf(envelope)
    if (before && unclaimed > before.unclaimed) world.fail(`declaration ${id} has more units than before`)
    if (before?.closed !== undefined && closed === undefined) world.fail(`declaration ${id} is opened again`)
    declarations.set(id, {
      ...(closed !== undefined && { closed }),
      content,
      expires,
      payer,
      unclaimed,
      unitPrice,
      units,
    })
  }

  function takeLane(id: string, lane: BookedLane): void {
    const before = lanesById.get(id)
    if (before && lane.redeemed < before.redeemed) world.fail(`lane ${id} goes back to unit ${lane.redeemed}`)
    if (before?.closed !== undefined && (lane.closed === undefined || lane.redeemed !== before.redeemed)) {
      world.fail(`lane ${id} changes after it was closed`)
    }
    if (lane.redeemed > lane.cap) world.fail(`lane ${id} of ${lane.cap} units is redeemed up to ${lane.redeemed}`)
    lanesById.set(id, lane)
    for (const listener of listeners) listener(id, lane)
  }

  function checkTotals(): void {
    const { available, frozen, earned, bonds, issued } = totals()
    if (available + frozen + earned + bonds !== issued) {
      world.fail(
        `${issued} credits were issued, there are ${available} available + ${frozen} frozen + ${earned} earned + ${bonds} in bonds`,
      )
    }
    for (const [id, { units, unclaimed }] of declarations) {
      const claimed = sum(lanesOf(id), ({ cap }) => BigInt(cap))
      if (claimed + BigInt(unclaimed) > BigInt(units))
        world.fail(`declaration ${id} of ${units} units is claimed ${claimed} times`)
    }
  }

  const lanesOf = (declaration: string): BookedLane[] =>
    [...lanesById.values()].filter((lane) => lane.declaration === declaration)

  function holding(account: string): Holding {
    const declared = [...declarations.values()].filter(({ payer }) => payer === account)
    const out = [...lanesById.values()].filter(({ payer, closed }) => payer === account && closed === undefined)
    const incoming = [...lanesById.values()].filter(({ payee, closed }) => payee === account && closed === undefined)
    return {
      available: accountsById.get(account)?.available ?? 0n,
      frozen: sum(declared, unclaimedIn) + sum(out, openIn),
      earned: sum(incoming, redeemedIn),
      bonds: sum(incoming, ({ bond }) => bond),
    }
  }

  function totals(): Holding & { issued: bigint } {
    const open = [...lanesById.values()].filter(({ closed }) => closed === undefined)
    return {
      available: sum([...accountsById.values()], ({ available }) => available),
      frozen: sum([...declarations.values()], unclaimedIn) + sum(open, openIn),
      earned: sum(open, redeemedIn),
      bonds: sum(open, ({ bond }) => bond),
      issued: sum([...accountsById.values()], issuedBy),
    }
  }

  return {
    lanes: lanesById,
    declarations,
    holding,
    totals,
    given: () => sum([...accountsById.values()], ({ issued }) => issued),
    onLane: (listener) => void listeners.push(listener),
    take(changes) {
      const touched = changes.map(takeChange).includes(true)
      if (touched) checkTotals()
    },
  }
}

const unclaimedIn = ({ unclaimed, unitPrice }: BookedDeclaration): bigint => BigInt(unclaimed) * unitPrice
const openIn = ({ cap, redeemed, unitPrice }: BookedLane): bigint => BigInt(cap - redeemed) * unitPrice
const redeemedIn = ({ redeemed, unitPrice }: BookedLane): bigint => BigInt(redeemed) * unitPrice

const sum = <T>(values: readonly T[], amount: (value: T) => bigint): bigint =>
  values.reduce((total, value) => total + amount(value), 0n)

const bookedFrom = (lane: Lane): BookedLane => {
  const { cap, closed, disputeWindow, expires, mode, redeemed, unitPrice } = lane
  return {
    cap,
    disputeWindow,
    expires,
    mode,
    redeemed,
    unitPrice,
    ...(closed !== undefined && { closed }),
    payer: toHex(lane.payer),
    payee: toHex(lane.payee),
    declaration: toHex(lane.declaration),
    bond: lane.sealed?.bond ?? 0n,
    anchor: lane.sealed && toHex(lane.sealed.anchor),
  }
}

function termsOf(envelope: Reserve['envelope']): Pick<BookedDeclaration, 'content' | 'expires' | 'payer' | 'units'> {
  const { content, expires, payer, units } = parseDeclaration(envelope)
  return { content: toHex(content), expires, payer: toHex(payer), units }
}
