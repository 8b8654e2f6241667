/** People with accounts at a test's ledger, and what they sign. */
import { sha256 } from '#primitives'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { commit, type CommitmentTerms } from '../../protocol/commitment.ts'
import { declare, type DeclarationTerms } from '../../protocol/declaration.ts'
import { delegate, type DelegationTerms } from '../../protocol/delegation.ts'
import { genesis } from '../../protocol/identity.ts'
import { makeChain, segmentOf, type Chain } from '../../protocol/payword.ts'
import { keyOf } from '../../protocol/sealed.ts'
import { claim, leastBond, redeem, release, signOff, transfer, type SealedTerms } from '../../protocol/settlement.ts'
import { objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { DAY_MS, LEDGER_ID, START_MS } from './kit.ts'

export interface Person {
  /** 32 bytes. */
  readonly id: Bytes
  readonly hex: string
  readonly signer: Signer
  /** The key that its agent has, once delegated to. */
  readonly agent: Signer
  readonly identity: Envelope
}

export function person(name: string): Person {
  const signer = signerFrom(sha256(utf8(name)))
  const identity = genesis([signer], START_MS)
  const id = objectId('identity', identity.body)
  return { id, hex: toHex(id), signer, agent: signerFrom(sha256(utf8(`agent of ${name}`))), identity }
}

/** Keys in two ranks: a recovery key above the owner's. */
export function recoverable(): Pick<Person, 'id' | 'hex' | 'identity'> & { readonly recovery: Signer } {
  const recovery = signerFrom(sha256(utf8('recovery')))
  const identity = genesis([recovery, person('alice').signer], START_MS)
  const id = objectId('identity', identity.body)
  return { recovery, identity, id, hex: toHex(id) }
}

export const delegation = ({ agent, id, signer }: Person, terms: Partial<DelegationTerms> = {}): Envelope =>
  delegate(
    {
      agent: agent.key,
      owner: id,
      day: 1000n,
      total: 5000n,
      issued: START_MS,
      expires: START_MS + 30 * DAY_MS,
      ledger: LEDGER_ID,
      may: ['spend', 'announce'],
      ...terms,
    },
    signer,
  )

/** A declaration, its tick chain, and what is signed on the way through it. */
export interface Purchase {
  readonly declaration: Envelope
  readonly terms: DeclarationTerms
  readonly id: Bytes
  readonly chain: Chain
  lane(payee: Person, terms?: Partial<CommitmentTerms>, signer?: Signer): Lane
  /** What no lane has claimed. */
  release(by?: Person, signer?: Signer): Envelope
}

export interface Lane {
  readonly terms: CommitmentTerms
  readonly id: Bytes
  readonly hex: string
  readonly commitment: Envelope
  /** By the payee's own key, unless told. */
  readonly claim: Envelope
  /** @param forged of the sealed part, where the lane is sealed */
  claimBy(payee: Person, signer?: Signer, forged?: Partial<SealedTerms>): Envelope
  /** Of a sealed lane. */
  unitKey(unit: number): Bytes
  consent(payer: Person, unit: number, signer?: Signer): Envelope
  redeem(unit: number, forged?: Partial<Parameters<typeof redeem>[0]>, signer?: Signer): Envelope
  release(by: Person, signer?: Signer): Envelope
}

export function purchase(payer: Person, terms: Partial<DeclarationTerms> = {}, signer = payer.signer): Purchase {
  const units = terms.units ?? 100
  const segment = terms.segment ?? 8
  const nonce = terms.nonce ?? sha256(utf8('nonce')).slice(0, 16)
  const chain = makeChain(sha256(nonce), { units, segment })
  const whole: DeclarationTerms = {
    content: sha256(utf8('content')),
    disputeWindow: 60_000,
    expires: START_MS + DAY_MS,
    ledger: LEDGER_ID,
    nonce,
    payer: payer.id,
    segment,
    tickRoot: chain.root,
    unitBytes: 4 * 1024 * 1024,
    unitPrice: 2n,
    units,
    ...terms,
  }
  const declaration = declare(whole, signer)
  const id = objectId('declaration', declaration.body)
  return {
    declaration,
    terms: whole,
    id,
    chain,
    lane: (payee, laneTerms = {}, by = signer) => laneOf({ id, terms: whole, chain }, payee, laneTerms, by),
    release: (by = payer, key = by.signer) => release({ by: by.id, declaration: id }, key),
  }
}

function laneOf(
  { id: declaration, terms, chain }: Pick<Purchase, 'id' | 'terms' | 'chain'>,
  payee: Person,
  laneTerms: Partial<CommitmentTerms>,
  signer: Signer,
): Lane {
  const segments = laneTerms.segments ?? 2
  const first = laneTerms.first ?? 0
  const cap = laneTerms.cap ?? segments * terms.segment
  const whole: CommitmentTerms = { mode: 'credit', payee: payee.id, declaration, ...laneTerms, segments, first, cap }
  const commitment = commit(whole, signer)
  const id = objectId('commitment', commitment.body)
  const isSealed = whole.mode === 'sealed'
  const unitKey = (unit: number): Bytes => keyOf(sha256(id), cap, Math.min(unit, cap))
  const promised = { anchor: unitKey(0), bond: leastBond(whole, terms.unitPrice), cipher: 'aes-256-ctr' } as const
  const claimBy = (by: Person, key = by.signer, forged: Partial<SealedTerms> = {}): Envelope =>
    claim({ commitment: id, payee: by.id, ...(isSealed && { sealed: { ...promised, ...forged } }) }, key)
  return {
    terms: whole,
    id,
    hex: toHex(id),
    commitment,
    claim: claimBy(payee),
    claimBy,
    redeem: (unit, forged = {}, key = payee.signer) => {
      const within = Math.min(Math.max(unit, 1), segments * terms.segment)
      const proof = chain.proof(segmentOf(terms, first, within))
      const shown = { link: chain.link(first, within), proof, ...(isSealed && { unitKey: unitKey(within) }) }
      return redeem({ lane: id, payee: payee.id, unit, ...shown, ...forged }, key)
    },
    unitKey,
    consent: (payer, unit, key = payer.signer) => signOff({ lane: id, unit }, key),
    release: (by, key = by.signer) => release({ by: by.id, declaration, lane: id }, key),
  }
}

export const gift = (
  from: Person,
  to: Person,
  amount: bigint,
  signer = from.signer,
  nonce = 'gift',
  ledger = LEDGER_ID,
): Envelope => transfer({ amount, from: from.id, ledger, nonce: sha256(utf8(nonce)).slice(0, 16), to: to.id }, signer)
