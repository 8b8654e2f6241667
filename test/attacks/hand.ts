/** A payer who does everything by hand, and so can do anything: declare, promise lanes, make ticks, true ones and others. */
import { sha256 } from '#primitives'
import { fromHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { CommitmentTerms, LaneMode } from '../../protocol/commitment.ts'
import type { DeclarationTerms } from '../../protocol/declaration.ts'
import { segmentOf, tickToJson, type Tick, type TickJson } from '../../protocol/payword.ts'
import { signOff } from '../../protocol/settlement.ts'
import { envelopeToJson, type EnvelopeJson, type Signer } from '../../protocol/signed.ts'
import { formatOffer, networkOf, PAYMENT_SIGNATURE, X402_VERSION, type PaywordPayload } from '../../protocol/x402.ts'
import { LEDGER_ID } from '../ledger/kit.ts'
import { purchase, type Lane, type Purchase } from '../ledger/people.ts'
import type { Answer } from './answer.ts'
import { PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import type { Person, World } from './world.ts'

export const SEGMENT = 4
const HOUR_MS = 3_600_000

export interface HandLane extends Lane {
  /** The true tick of a unit. */
  tick(unit: number): Tick
  tickJson(unit: number, forged?: object): TickJson
  /** The headers that pay with a unit, 0 for none. @param forged members of the payload */
  pay(unit: number, forged?: object): Record<string, string>
  signoff(unit: number, signer?: Signer): { readonly signoff: EnvelopeJson }
}

export interface Bargain extends Omit<Purchase, 'lane'> {
  readonly payer: Person
  laneTo(payee: Person, terms?: Partial<CommitmentTerms>, signer?: Signer): HandLane
}

/** What a payer may sign for a share; the ledger hears nothing of it yet. */
export function bargain(
  payer: Person,
  { clock }: Pick<World, 'clock'>,
  share: Pick<ShareJson, 'infoHash'>,
  terms: Partial<DeclarationTerms> & { readonly salt?: string } = {},
  signer = payer.agent,
): Bargain {
  const { salt = '', ...changes } = terms
  const whole = {
    content: fromHex(share.infoHash),
    unitBytes: PIECE_BYTES,
    unitPrice: PRICE,
    units: 24,
    segment: SEGMENT,
    disputeWindow: 60_000,
    expires: clock.now() + HOUR_MS,
    nonce: sha256(utf8(`${payer.name} ${salt}`)).slice(0, 16),
    ...changes,
  }
  const bought = purchase(payer, whole, signer)
  return {
    ...bought,
    payer,
    laneTo: (payee, laneTerms = {}, by = signer) =>
      handLane(bought, bought.lane({ ...payee }, { mode: 'prepaid', segments: 1, ...laneTerms }, by), by),
  }
}

/** The same, and the ledger has frozen it. */
export async function declared(
  world: Pick<World, 'bank' | 'clock'>,
  payer: Person,
  share: Pick<ShareJson, 'infoHash'>,
  terms: Parameters<typeof bargain>[3] = {},
): Promise<Bargain> {
  const made = bargain(payer, world, share, terms)
  await world.bank.declare(made.declaration)
  return made
}

function handLane({ chain, terms: declaration }: Purchase, lane: Lane, by: Signer): HandLane {
  const { first, mode, payee } = lane.terms
  const tick = (unit: number): Tick => ({
    lane: lane.id,
    unit,
    link: chain.link(first, unit),
    proof: chain.proof(segmentOf(declaration, first, unit)),
  })
  const tickJson = (unit: number, forged: object = {}): TickJson => ({ ...tickToJson(tick(unit)), ...forged })
  const payload = (unit: number): PaywordPayload => ({
    lane: lane.hex,
    commitment: envelopeToJson(lane.commitment),
    ...(unit > 0 && { tick: tickToJson(tick(unit)) }),
  })
  return {
    ...lane,
    tick,
    tickJson,
    pay: (unit, forged = {}) => paymentOf({ declaration, mode, payee }, { ...payload(unit), ...forged }),
    signoff: (unit, signer = by) => ({ signoff: envelopeToJson(signOff({ lane: lane.id, unit }, signer)) }),
  }
}

interface Accepted {
  readonly declaration: DeclarationTerms
  readonly mode: LaneMode
  readonly payee: Bytes
}

/** The headers of a payment that says whatever it is told to say. */
export function paymentOf({ declaration, mode, payee }: Accepted, payload: object): Record<string, string> {
  const accepted = formatOffer({
    mode,
    payee,
    content: declaration.content,
    price: declaration.unitPrice,
    unitBytes: declaration.unitBytes,
    segmentMax: 64,
    ledgerUrl: 'https://ledger.example',
    network: networkOf(LEDGER_ID),
    maxTimeoutSeconds: 60,
  })
  return { [PAYMENT_SIGNATURE]: encoded({ x402Version: X402_VERSION, accepted, payload }) }
}

export const encoded = (value: unknown): string => btoa(JSON.stringify(value))

/** A lane of `units` paid by hand, piece after piece from number 0 on. @returns the last answer */
export async function buy(seller: Resident, share: ShareJson, lane: HandLane, units: number): Promise<Answer> {
  let answer = await seller.piece(share, 0, lane.pay(1))
  for (let unit = 2; unit <= units; unit++) answer = await seller.piece(share, unit - 1, lane.pay(unit))
  return answer
}
