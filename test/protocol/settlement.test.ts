import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { checkLane, commit, parseCommitment, type CommitmentTerms } from '../../protocol/commitment.ts'
import { declare, parseDeclaration, priceOf, type DeclarationTerms } from '../../protocol/declaration.ts'
import { encode, type Encodable } from '../../protocol/encoding.ts'
import { verifyLink } from '../../protocol/payword.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { issueReceipt, parseReceipt } from '../../protocol/receipt.ts'
import * as settlement from '../../protocol/settlement.ts'
import { seal, signerFrom, type Envelope, type Kind, type Signer } from '../../protocol/signed.ts'
import vectors from '../vectors/settlement.json' with { type: 'json' }

const code = (expected: ProblemCode) => expect.objectContaining({ code: expected })

type Parse = (envelope: Envelope) => object
const PARSERS: Partial<Record<Kind, Parse>> = {
  declaration: parseDeclaration,
  commitment: parseCommitment,
  claim: settlement.parseClaim,
  redemption: settlement.parseRedemption,
  release: settlement.parseRelease,
  transfer: settlement.parseTransfer,
  signoff: settlement.parseSignoff,
  receipt: parseReceipt,
}
const signers: Record<string, Signer> = {
  payer: signerFrom(fromHex(vectors.keys.payer.secret)),
  payee: signerFrom(fromHex(vectors.keys.payee.secret)),
  ledger: signerFrom(fromHex(vectors.keys.ledger.secret)),
}
const objects = vectors.objects.map(({ kind, signer, fields, body, id, signature }) => ({
  kind: kind as Kind,
  signer: signers[signer] as Signer,
  parse: PARSERS[kind as Kind] as Parse,
  fields: fieldsOf(fields),
  body: fromHex(body),
  id,
  signature,
}))
const named = (kind: Kind) => objects.find((object) => object.kind === kind) as (typeof objects)[number]
const envelopeOf = (object: (typeof objects)[number]): Envelope => ({
  body: object.body,
  key: object.signer.key,
  signature: fromHex(object.signature),
})
const declaration = parseDeclaration(envelopeOf(named('declaration')))
const lane = parseCommitment(envelopeOf(named('commitment')))

describe('the vectors of signed objects', () => {
  it.each(objects)('signs a $kind as $signature', ({ kind, signer, fields, body, signature }) => {
    const envelope = seal(kind, fields, signer)
    expect(toHex(envelope.body)).toBe(toHex(body))
    expect(toHex(envelope.signature)).toBe(signature)
  })

  it.each(objects)('reads a $kind with the id $id', (object) => {
    expect(object.parse(envelopeOf(object))).toEqual({
      ...object.fields,
      id: fromHex(object.id),
      key: object.signer.key,
    })
  })

  it('settles unit 6 of the lane by the redemption', () => {
    const { link, proof, unit } = settlement.parseRedemption(envelopeOf(named('redemption')))
    checkLane(lane, declaration)
    expect(() => verifyLink(declaration.tickRoot, declaration, lane, unit, link, proof)).not.toThrow()
  })
})

describe('every signed object', () => {
  it.each(objects)('refuses a $kind whose field is missing, is of another type, or is one too many', (object) => {
    const { kind, signer, fields, parse } = object
    for (const name of Object.keys(fields)) {
      const { [name]: value, ...others } = fields
      const isOptional = kind === 'release' && name === 'lane'
      if (!isOptional) expect(() => parse(seal(kind, others, signer))).toThrow(code('bad-encoding'))
      const other = value instanceof Uint8Array ? value.slice(1) : Array.isArray(value) ? 5 : []
      expect(() => parse(seal(kind, { ...fields, [name]: other }, signer))).toThrow(code('bad-encoding'))
      expect(() => parse(seal(kind, { ...fields, [name]: {} }, signer))).toThrow(code('bad-encoding'))
    }
    expect(() => parse(seal(kind, { ...fields, zzz: 1 }, signer))).toThrow(code('bad-encoding'))
  })

  it.each(objects)('refuses a negative and a huge number in a $kind', ({ kind, signer, fields, parse }) => {
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value !== 'number' && typeof value !== 'bigint') continue
      expect(() => parse(seal(kind, { ...fields, [name]: -1 }, signer))).toThrow(code('bad-encoding'))
      if (kind === 'transfer') continue
      expect(() => parse(seal(kind, { ...fields, [name]: 2n ** 63n - 1n }, signer))).toThrow(code('bad-encoding'))
    }
  })

  it.each(objects)('refuses a $kind under another key, with another body, or as another kind', (object) => {
    const envelope = envelopeOf(object)
    const stranger = object.signer === signers['payer'] ? signers['payee'] : signers['payer']
    expect(() => object.parse({ ...envelope, key: (stranger as Signer).key })).toThrow(code('bad-signature'))
    expect(() => object.parse({ ...envelope, body: concat(envelope.body, Uint8Array.of(0)) })).toThrow(
      code('bad-signature'),
    )
    for (const other of objects) {
      if (other.kind !== object.kind) expect(() => other.parse(envelope)).toThrow(code('bad-signature'))
    }
  })

  it.each(objects)(
    'reads any bytes signed as a $kind, or refuses them as badly encoded',
    ({ kind, signer, fields, parse, body }) => {
      const value = fc.oneof(
        fc.bigInt({ min: -(2n ** 63n) + 1n, max: 2n ** 63n - 1n }),
        fc.uint8Array({ maxLength: 40 }),
      )
      const near = fc
        .tuple(fc.constantFrom(...Object.keys(fields)), value)
        .map(([name, other]) => encode({ ...fields, [name]: other }))
      const cut = fc.nat({ max: body.length }).map((at) => body.slice(0, at))
      fc.assert(
        fc.property(fc.oneof(near, cut, fc.uint8Array({ maxLength: 60 })), (bytes) => {
          const signed = signRaw(kind, bytes, signer)
          try {
            parse(signed)
          } catch (error) {
            expect(error).toBeInstanceOf(Problem)
            expect(error).toMatchObject({ code: 'bad-encoding' })
          }
        }),
        { numRuns: 60 },
      )
    },
  )
})

describe('declarations', () => {
  const { id: _, key: __, ...terms } = declaration
  const payer = signers['payer'] as Signer
  const reparse = (changes: Partial<DeclarationTerms>) => parseDeclaration(declare({ ...terms, ...changes }, payer))

  it('freeze the price of all their units', () => {
    expect(priceOf(declaration)).toBe(250n)
  })

  it('are refused when the price of all units is 2^63 or more', () => {
    expect(reparse({ units: 1, unitPrice: 2n ** 63n - 1n }).unitPrice).toBe(2n ** 63n - 1n)
    expect(() => reparse({ units: 2, unitPrice: 2n ** 62n })).toThrow(code('bad-encoding'))
  })

  it('are refused beyond the limits of chains and times', () => {
    for (const bad of [
      { units: 2 ** 20 + 1 },
      { segment: 65 },
      { units: 2 ** 14 + 1, segment: 1 },
      { units: 0 },
      { segment: 0 },
      { unitBytes: 0 },
      { unitBytes: 2 ** 26 + 1 },
      { disputeWindow: 7 * 86_400_000 + 1 },
    ]) {
      expect(() => reparse(bad)).toThrow(code('bad-encoding'))
    }
    expect(() => reparse({ units: 1.5 })).toThrow(code('bad-encoding'))
  })
})

describe('lanes', () => {
  const { id: _, key: __, ...terms } = lane
  const check = (changes: Partial<CommitmentTerms>): void =>
    checkLane(parseCommitment(commit({ ...terms, ...changes }, signers['payer'] as Signer)), declaration)

  it('lie within the declared chain, their cap in their last segment', () => {
    expect(() => check({ first: 0, segments: 3, cap: 12 })).not.toThrow()
    expect(() => check({ first: 2, segments: 1, cap: 1 })).not.toThrow()
    for (const bad of [
      { first: 2, segments: 2 },
      { first: 3, segments: 1, cap: 1 },
      { cap: 9 },
      { cap: 4 },
      { segments: 1 },
    ]) {
      expect(() => check(bad)).toThrow(code('bad-request'))
    }
  })

  it('belong to the declaration that they name', () => {
    expect(() => check({ declaration: declaration.tickRoot })).toThrow(code('bad-request'))
  })

  it('know no fourth mode', () => {
    const odd = seal('commitment', { ...terms, mode: 'barter' }, signers['payer'] as Signer)
    expect(() => parseCommitment(odd)).toThrow(code('bad-encoding'))
  })
})

describe('what the parties sign to settle', () => {
  const [payer, payee, ledger] = [signers['payer'], signers['payee'], signers['ledger']] as [Signer, Signer, Signer]
  const [a, b] = [declaration.id, lane.id]

  it('reads back what it signs', () => {
    const claim = { commitment: a, payee: b }
    expect(settlement.parseClaim(settlement.claim(claim, payee))).toMatchObject(claim)
    const redemption = { lane: a, link: b, payee: a, proof: [b], unit: 3 }
    expect(settlement.parseRedemption(settlement.redeem(redemption, payee))).toMatchObject(redemption)
    const release = { by: a, declaration: b }
    expect(settlement.parseRelease(settlement.release(release, payer)).lane).toBeUndefined()
    expect(settlement.parseRelease(settlement.release({ ...release, lane: a }, payer)).lane).toEqual(a)
    const transfer = { amount: 5n, from: a, ledger: b, nonce: a.slice(16), to: b }
    expect(settlement.parseTransfer(settlement.transfer(transfer, payer))).toMatchObject(transfer)
    const signoff = { lane: a, unit: 0 }
    expect(settlement.parseSignoff(settlement.signOff(signoff, payer))).toMatchObject(signoff)
    const receipt = { entry: a, ledger: b, mergeDelay: 10_000, time: 1_800_000_000_000 }
    expect(parseReceipt(issueReceipt(receipt, ledger))).toMatchObject({ ...receipt, key: ledger.key })
  })

  it('moves at least one credit', () => {
    const nothing = settlement.transfer({ amount: 0n, from: a, ledger: b, nonce: a.slice(16), to: b }, payer)
    expect(() => settlement.parseTransfer(nothing)).toThrow(code('bad-encoding'))
  })

  it('brings no longer proof than the longest chain needs', () => {
    const long = settlement.redeem({ lane: a, link: b, payee: a, proof: Array<Bytes>(15).fill(b), unit: 3 }, payee)
    expect(() => settlement.parseRedemption(long)).toThrow(code('bad-encoding'))
  })
})

/** Bytes that `seal` would never make, well signed. */
function signRaw(kind: Kind, body: Bytes, signer: Signer): Envelope {
  const message = concat(new TextEncoder().encode(`raincheck/${kind}/v1\0`), body)
  return { body, key: signer.key, signature: signer.sign(message) }
}

/** Vectors carry bytes as hex and credits as decimal text. */
function fieldsOf(fields: Readonly<Record<string, unknown>>): Record<string, Encodable> {
  const isCredits = (name: string): boolean => name === 'amount' || name === 'unitPrice'
  const valueOf = (name: string, value: unknown): Encodable => {
    if (isCredits(name)) return BigInt(value as string)
    if (Array.isArray(value)) return value.map((item) => fromHex(item as string))
    return typeof value === 'string' && name !== 'mode' ? fromHex(value) : (value as Encodable)
  }
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, valueOf(name, value)]))
}
