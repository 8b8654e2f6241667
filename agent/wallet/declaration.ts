/**
 * Declarations as their payer keeps them. The seed of a tick chain is derived from the agent's key and the nonce, so
 * nothing about it is stored and any instance with the key can make the next tick.
 */
import { hmacSha256 } from '#primitives'
import { concat, fromBase64url, fromHex, toBase64url, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { declare } from '../../protocol/declaration.ts'
import { limits } from '../../protocol/limits.ts'
import { makeChain, type Chain } from '../../protocol/payword.ts'
import { envelopeToJson, objectId, type EnvelopeJson, type Signer } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import type { Entry } from '../download/journal.ts'
import { encodeRecord } from '../records.ts'
import { padded } from './lane.ts'

export interface DeclarationRecord {
  readonly number: number
  /** Of the declaration, hex. */
  readonly id: string
  /** base64url. */
  readonly nonce: string
  readonly units: number
  readonly segment: number
  /** Decimal. */
  readonly price: string
  readonly expires: number
  readonly disputeWindow: number
  readonly declaration: EnvelopeJson
  /** `made`: kept here, perhaps not at the ledger yet. */
  readonly state: 'made' | 'open' | 'settling' | 'closed'
  /** The first segment that no lane has. */
  readonly next: number
}

export interface DeclarationTerms {
  /** v2 info hash, hex. */
  readonly content: string
  /** The piece length. */
  readonly unitBytes: number
  /** Credits a unit. */
  readonly price: bigint
  /** The longest segment that the seller takes. */
  readonly segmentMax: number
  readonly units: number
}

const HOUR_MS = 3_600_000
const EXPIRY_MS = 24 * HOUR_MS
const DISPUTE_WINDOW_MS = HOUR_MS
/** 256 GiB in pieces of 4 MiB: what is larger is declared in parts. */
const UNITS_MAX = 2 ** 16
/** A declaration has about so many segments, so that many sellers can have a lane of it. */
const SEGMENTS = 64
const NONCE_BYTES = 16
const SEED_DOMAIN = utf8('raincheck/seed/v1\0')

export const declarationEntry = (pk: string, record: DeclarationRecord): Entry => ({
  pk,
  sk: `declaration/${padded(record.number)}`,
  body: encodeRecord(record),
})

export const chainOf = (signer: Signer, { nonce, units, segment }: DeclarationRecord): Chain =>
  makeChain(seedOf(signer, fromBase64url(nonce)), { units, segment })

export async function makeDeclaration(
  context: AgentContext,
  terms: DeclarationTerms,
  number: number,
): Promise<DeclarationRecord> {
  const { environment, signer, owner, ledger } = context
  const { id } = await ledger.info()
  const units = Math.min(UNITS_MAX, Math.max(1, terms.units))
  const segment = Math.min(segmentFor(units), terms.segmentMax)
  const nonce = environment.random.bytes(NONCE_BYTES)
  const times = { expires: environment.clock.now() + EXPIRY_MS, disputeWindow: DISPUTE_WINDOW_MS }
  const body = {
    ...times,
    content: fromHex(terms.content),
    ledger: fromHex(id),
    nonce,
    payer: owner,
    segment,
    tickRoot: makeChain(seedOf(signer, nonce), { units, segment }).root,
    unitBytes: terms.unitBytes,
    unitPrice: terms.price,
    units,
  }
  const declaration = declare(body, signer)
  return {
    ...times,
    number,
    id: toHex(objectId('declaration', declaration.body)),
    nonce: toBase64url(nonce),
    units,
    segment,
    price: String(terms.price),
    declaration: envelopeToJson(declaration),
    state: 'made',
    next: 0,
  }
}

/** The power of two nearest to a 64th of the units, within what the protocol takes. */
function segmentFor(units: number): number {
  const power = 2 ** Math.round(Math.log2(Math.max(1, units / SEGMENTS)))
  return Math.min(limits.segmentUnitsMax, power)
}

/** A signer does nothing but sign, and ed25519 signs the same bytes the same way: a signature that is never sent is the key. */
const seedOf = (signer: Signer, nonce: Bytes): Bytes => hmacSha256(signer.sign(SEED_DOMAIN), concat(SEED_DOMAIN, nonce))
