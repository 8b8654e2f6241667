/**
 * What the ledger keeps: canonical bencode under a partition key and a sort key. Families marked as state make up the
 * state root; the others are lists that can be made anew from them.
 */
import { toHex, type Bytes } from '../bytes.ts'
import { LANE_MODES } from '../commitment.ts'
import { POWERS } from '../delegation.ts'
import {
  decode,
  encode,
  field,
  fields,
  type Bencode,
  type Encodable,
  type Field,
  type Fields,
  type Shape,
} from '../encoding.ts'
import { decodeIdentity, encodeIdentity, type IdentityState } from '../identity.ts'
import { limits } from '../limits.ts'
import { Problem } from '../problem.ts'
import type { Key, View } from './view.ts'

/** The sort key where a partition holds one item: a store's keys are not empty. */
const ONLY = '-'
const SEGMENT_DIGITS = 5

const STATE = new Set([
  'policy',
  'attested',
  'account',
  'identity',
  'delegation',
  'declaration',
  'lane',
  'segments',
  'accepted',
  'price',
  'peer',
  'reference',
  'lock',
  'arrival',
])

/** Whether the item is under the state root. */
export const isState = ({ pk }: Key): boolean => STATE.has(familyOf({ pk }))

/** Whether an item, once there, never changes. */
export const isFixed = ({ pk }: Key): boolean => pk === 'policy'

/** What comes before the slash of a partition key. */
export const familyOf = ({ pk }: Pick<Key, 'pk'>): string => pk.split('/', 1)[0] as string

const only = (family: string, id: Bytes): Key => ({ pk: `${family}/${toHex(id)}`, sk: ONLY })

/** Where things are. Ids and keys are in hex. */
export const keys = {
  policy: { pk: 'policy', sk: ONLY },
  attested: { pk: 'attested', sk: ONLY },
  account: (id: Bytes): Key => only('account', id),
  identity: (id: Bytes): Key => only('identity', id),
  delegation: (owner: Bytes, agent: Bytes): Key => ({ pk: `delegation/${toHex(owner)}`, sk: toHex(agent) }),
  declaration: (id: Bytes): Key => only('declaration', id),
  lane: (id: Bytes): Key => only('lane', id),
  /** The lane that begins at a segment. */
  segments: (declaration: Bytes, first: number): Key => ({
    pk: `segments/${toHex(declaration)}`,
    sk: String(first).padStart(SEGMENT_DIGITS, '0'),
  }),
  price: { pk: 'price', sk: ONLY },
  /** Another ledger that is trusted. */
  peer: (ledger: Bytes): Key => ({ pk: 'peer', sk: toHex(ledger) }),
  /** What an order of the issuer refers to, by its SHA-256. */
  reference: (hash: Bytes): Key => only('reference', hash),
  /** Credits sent to another ledger, by the lock's id; and what became of those sent here. */
  lock: (id: Bytes): Key => only('lock', id),
  arrival: (lock: Bytes): Key => only('arrival', lock),
  /** What an object, by its id, was answered with. */
  accepted: (id: Bytes): Key => only('accepted', id),
  /** A payer's declarations that hold credits, or may. Not state. */
  declarations: (payer: Bytes, declaration: Bytes): Key => ({
    pk: `declarations/${toHex(payer)}`,
    sk: toHex(declaration),
  }),
  /** A payee's open lanes, but those at no price. Not state. */
  lanes: (payee: Bytes, lane: Bytes): Key => ({ pk: `lanes/${toHex(payee)}`, sk: toHex(lane) }),
} as const

/** How one family is written and read. */
export interface Family<T> {
  encode(value: T): Bytes
  decode(body: Uint8Array): T
}

export async function read<T>(view: Pick<View, 'get'>, family: Family<T>, key: Key): Promise<T | undefined> {
  const body = await view.get(key)
  return body && family.decode(body)
}

/** @throws Problem `not-found`, its detail naming `what` is missing */
export async function readKnown<T>(view: Pick<View, 'get'>, family: Family<T>, key: Key, what: string): Promise<T> {
  const value = await read(view, family, key)
  if (value === undefined) throw new Problem('not-found', `The ${what} is not known here.`)
  return value
}

export const write = <T>(view: View, family: Family<T>, key: Key, value: T): void => view.put(key, family.encode(value))

export const dictionary = <T extends { readonly [member: string]: Encodable | undefined }>(
  from: (value: Bencode) => T,
): Family<T> => {
  /** One body is read several times on the way of one command. */
  const known = new WeakMap<Uint8Array, T>()
  return {
    encode: (value) => encode(value),
    decode(body) {
      const value = known.get(body) ?? from(decode(body))
      known.set(body, value)
      return value
    },
  }
}

export const shaped =
  <S extends Shape>(shape: S) =>
  (value: Bencode): Fields<S> =>
    fields(value, shape)

/** An integer of either sign. */
const difference: Field<bigint> = {
  read(value, path) {
    if (typeof value !== 'bigint')
      throw new Problem('bad-encoding', `The field "${path}" must be an integer.`, { field: path })
    return value
  },
}

const id = field.bytes(32)
const time = field.integer()
const envelope = field.dict({ body: field.bytes(), key: id, signature: field.bytes(64) })

/**
 * What an entry moves on one account, in credits. `available` can be spent, `frozen` is promised by it, `earned` to it,
 * `bonds` it stands to lose. An entry that moves no bond does not speak of any.
 */
export const movementShape = {
  account: id,
  available: difference,
  bonds: field.optional(difference),
  earned: difference,
  frozen: difference,
}
export type Movement = Fields<typeof movementShape>

const federationShape = {
  /** Signs memberships, without which nobody opens an account here. */
  authority: field.optional(id),
  /** A majority of them decides: `arbiter/governance.ts`. */
  keys: field.list(id, { min: 1, max: limits.federationKeys }),
}
const policyShape = {
  faucet: field.amount,
  federation: field.optional(field.dict(federationShape)),
  /** Signs what is bought and sold for outside money; nothing is when absent. */
  issuer: field.optional(id),
  key: id,
  mergeDelay: field.integer(),
  /** How many the log is in; absent where it is one. */
  shards: field.optional(field.integer({ min: 2, max: limits.logShards })),
  unitPrice: field.amount,
}
/**
 * What a ledger announces in its first entry: credits for each new account, who decides, its key, its merge delay in
 * milliseconds, the price of a unit until it is changed.
 */
export type Policy = Fields<typeof policyShape>
export const readPolicy = shaped(policyShape)
export const policies = dictionary(readPolicy)

const attestationShape = {
  available: field.amount,
  /** Absent while there are none. */
  bonds: field.optional(field.amount),
  earned: field.amount,
  frozen: field.amount,
  issued: field.amount,
  root: id,
  size: field.integer(),
}
/** What the first `size` entries lead to: the state root and the sums over all accounts. */
export type Attestation = Fields<typeof attestationShape>
export const readAttestation = shaped(attestationShape)
export const attestations = dictionary(readAttestation)

const accountShape = {
  available: field.amount,
  bought: field.optional(field.amount),
  issued: field.amount,
  received: field.optional(field.amount),
  sent: field.optional(field.amount),
  sold: field.optional(field.amount),
}
/**
 * `issued`: what the ledger's policy gave to it. What its owner bought and sold for outside money, received from other
 * ledgers and sent there; absent while nothing was.
 */
export type Account = Fields<typeof accountShape>
export const accounts = dictionary(shaped(accountShape))

/** What an account brought into circulation at this ledger, less what it took out; below 0 for who was given credits and sold them. */
export const issuedBy = ({ bought = 0n, issued, received = 0n, sent = 0n, sold = 0n }: Account): bigint =>
  issued + bought + received - sent - sold

export const identities: Family<IdentityState> = { encode: encodeIdentity, decode: decodeIdentity }

const grantShape = {
  agent: id,
  day: field.amount,
  expires: time,
  id,
  issued: time,
  key: id,
  ledger: field.optional(id),
  may: field.list(field.choice(...POWERS), { max: POWERS.length }),
  owner: id,
  payees: field.optional(field.list(id, { max: limits.payeesPerDelegation })),
  total: field.amount,
  usage: field.dict({ day: field.integer(), today: field.amount, total: field.amount }),
}
/** A delegation and what its agent has spent. */
export type Grant = Fields<typeof grantShape>
export const grants = dictionary(shaped(grantShape))

const declarationShape = {
  /** The agent's key, when a delegation paid. */
  agent: field.optional(id),
  /** When the payer released it. */
  closed: field.optional(time),
  envelope,
  /** Lanes that are open. */
  open: field.integer(),
  /** A bit for each segment where a lane begins, and for each that a lane has taken. */
  starts: field.bytes(),
  taken: field.bytes(),
  unclaimed: field.integer(),
  unitPrice: field.amount,
}
/** A declaration's credits that are not in a lane: `unclaimed` x `unitPrice`. */
export type Reserve = Fields<typeof declarationShape>
export const reserves = dictionary(shaped(declarationShape))

const laneShape = {
  agent: field.optional(id),
  cap: field.integer(),
  /** The payee's key that claimed: it redeems without a look at the identity. */
  claimer: id,
  closed: field.optional(time),
  commitment: envelope,
  declaration: id,
  disputeWindow: time,
  expires: time,
  first: field.integer(),
  /** The latest redemption: its object's id, its entry, what it moved. */
  last: field.optional(field.dict({ amount: field.amount, entry: id, id, time })),
  mode: field.choice(...LANE_MODES),
  payee: id,
  payer: id,
  redeemed: field.integer(),
  /** Of a sealed lane: the agent's key when a delegation put up the bond, K(0), credits, the key of what is redeemed. */
  sealed: field.optional(field.dict({ agent: field.optional(id), anchor: id, bond: field.amount, key: id })),
  segment: field.integer(),
  tickRoot: id,
  unitPrice: field.amount,
  units: field.integer(),
}
/** All that a redemption needs, so that it touches this item alone. */
export type Lane = Fields<typeof laneShape>
export const lanes = dictionary(shaped(laneShape))

/** What is frozen outside of its lanes. */
export const unclaimedIn = ({ unclaimed, unitPrice }: Reserve): bigint => BigInt(unclaimed) * unitPrice

/** Credits that lie in a lane. */
export interface Held {
  readonly frozen: bigint
  readonly earned: bigint
  readonly bonds: bigint
}

/** What an open lane holds: frozen for the payer, earned for the payee, and the payee's bond. A closed one holds nothing. */
export function heldBy({ cap, closed, redeemed, sealed, unitPrice }: Lane): Held {
  if (closed !== undefined) return { frozen: 0n, earned: 0n, bonds: 0n }
  const [frozen, earned] = [BigInt(cap - redeemed) * unitPrice, BigInt(redeemed) * unitPrice]
  return { frozen, earned, bonds: sealed?.bond ?? 0n }
}

/** The id of a lane, under its first segment. */
export const laneIds = dictionary(shaped({ lane: id }))

const acceptedShape = { entry: id, moves: field.list(field.dict(movementShape)), time }
/** What was answered: the leaf hash and ledger time of the entry, and what it moved. */
export type Accepted = Fields<typeof acceptedShape>
export const acceptances = dictionary(shaped(acceptedShape))

/** Stands in lists, where the key says it all. */
export const marks = dictionary(shaped({}))
