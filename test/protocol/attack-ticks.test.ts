/** The attacks on ticks, against the rules alone: what a payee checks of a tick, what a ledger checks of a redemption. */
import { sha256 } from '#primitives'
import { describe, expect, it } from 'vitest'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { makeChain, tickFromJson, verifyLink, verifyNext, type Chain } from '../../protocol/payword.ts'
import type { ProblemCode } from '../../protocol/problem.ts'
import { claim, parseRedemption, redeem, type RedemptionTerms } from '../../protocol/settlement.ts'
import { seal, signerFrom } from '../../protocol/signed.ts'

const code = (expected: ProblemCode) => expect.objectContaining({ code: expected })
const shape = { units: 40, segment: 8 }
const chain = makeChain(sha256(utf8('the payer')), shape)
const forged = makeChain(sha256(utf8('somebody else')), shape)

/** A lane from segment 1 on, of which unit 5 is the last taken: link (1, 5). */
const first = 1
const tab = { unit: 5, link: chain.link(first, 5) }
const tick = (unit: number, link: Bytes = chain.link(first, unit)) => ({ unit, link })
const next = (unit: number, link?: Bytes): void => verifyNext(shape, tab, tick(unit, link))
const proven = (unit: number, link: Bytes, segment: number, by: Chain = chain, from = first): Bytes =>
  verifyLink(chain.root, shape, { first: from }, unit, link, by.proof(segment))

describe('an honest tick', () => {
  it('pays the next unit, or several at once', () => {
    expect(() => next(6)).not.toThrow()
    expect(() => next(8)).not.toThrow()
    expect(() => proven(9, chain.link(first, 9), 2)).not.toThrow()
  })
})

describe('a replayed tick', () => {
  it('is refused when it is the one taken last', () => {
    expect(() => next(5)).toThrow(code('tick-replayed'))
  })

  it('is refused when it is lower', () => {
    for (let unit = 1; unit < 5; unit++) expect(() => next(unit)).toThrow(code('tick-replayed'))
  })

  it('is refused when a lower unit brings the link of a higher one', () => {
    expect(() => next(4, chain.link(first, 7))).toThrow(code('tick-replayed'))
  })

  it('names the last unit taken, so that an honest payer can go on from there', () => {
    expect(() => next(5)).toThrow(expect.objectContaining({ members: { unit: 5 } }))
  })
})

describe('a tick that claims more than its link', () => {
  it('is refused when an old link is shown for a new unit', () => {
    expect(() => next(6, tab.link)).toThrow(code('tick-invalid'))
    expect(() => next(7, chain.link(first, 6))).toThrow(code('tick-invalid'))
    expect(() => proven(6, tab.link, 1)).toThrow(code('tick-invalid'))
  })

  it('is refused when a link of one segment is shown for the same place of a later one', () => {
    expect(() => next(13, tab.link)).toThrow(code('tick-invalid'))
    expect(() => proven(13, tab.link, 2)).toThrow(code('tick-invalid'))
    expect(() => proven(13, tab.link, 1)).toThrow(code('tick-invalid'))
  })

  it('is refused when it enters a new segment without proof', () => {
    expect(() => next(9)).toThrow(code('tick-invalid'))
  })

  it('is refused when the anchor of a segment, which the first link gives away, is shown as a link', () => {
    const anchor = sha256(chain.link(first, 1))
    for (let unit = 6; unit <= 9; unit++) expect(() => next(unit, anchor)).toThrow(code('tick-invalid'))
    for (let unit = 1; unit <= 8; unit++) expect(() => proven(unit, anchor, 1)).toThrow(code('tick-invalid'))
  })

  it('is refused beyond the declared chain', () => {
    expect(() => proven(33, chain.link(first, 32), 4)).toThrow(code('tick-invalid'))
    expect(() => proven(1, chain.link(4, 1), 4, chain, 5)).toThrow(code('tick-invalid'))
    expect(() => proven(1, chain.link(4, 1), 4, chain, 2 ** 40)).toThrow(code('tick-invalid'))
  })
})

describe('a tick of no unit', () => {
  it.each([
    5.5,
    0.5,
    0,
    -1,
    -6,
    6 + 2 ** -40,
    1e300,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    limits.unitsPerDeclaration + 1,
  ])('is refused for unit %d', (unit) => {
    expect(() => next(unit, chain.link(first, 6))).toThrow(code('tick-invalid'))
    expect(() => proven(unit, chain.link(first, 6), 1)).toThrow(code('tick-invalid'))
    const json = { lane: toHex(sha256(utf8('lane'))), unit, link: 'A'.repeat(43) }
    expect(() => tickFromJson(json)).toThrow(code('tick-invalid'))
  })

  it('is refused when its link has not 32 bytes', () => {
    const link = chain.link(first, 6)
    for (const bad of [link.slice(1), Uint8Array.of(...link, 0), new Uint8Array(0)]) {
      expect(() => next(6, bad)).toThrow(code('tick-invalid'))
      expect(() => proven(6, bad, 1)).toThrow(code('tick-invalid'))
    }
  })
})

describe('a tick of a forged chain', () => {
  it('is refused though it hashes well by itself', () => {
    expect(() => next(6, forged.link(first, 6))).toThrow(code('tick-invalid'))
    expect(() => proven(6, forged.link(first, 6), 1, forged)).toThrow(code('tick-invalid'))
    expect(() => proven(6, forged.link(first, 6), 1)).toThrow(code('tick-invalid'))
  })

  it('is refused with a proof that is bent, cut, padded or of another segment', () => {
    const link = chain.link(first, 6)
    const proof = chain.proof(1)
    const bent = proof.map((hash, i) => (i === 1 ? sha256(hash) : hash))
    for (const bad of [
      bent,
      proof.slice(1),
      proof.slice(0, -1),
      [...proof, link],
      [],
      chain.proof(2),
      proof.toReversed(),
    ]) {
      expect(() => verifyLink(chain.root, shape, { first }, 6, link, bad)).toThrow(code('tick-invalid'))
    }
  })

  it('is refused when the chain is declared in another shape than it is shown', () => {
    const link = chain.link(first, 6)
    for (const other of [
      { units: 40, segment: 4 },
      { units: 80, segment: 8 },
      { units: 8, segment: 8 },
    ]) {
      expect(() => verifyLink(chain.root, other, { first }, 6, link, chain.proof(1))).toThrow(code('tick-invalid'))
    }
  })

  it('cannot be built on a link that was seen: the one after it would hash to it', () => {
    expect(() => next(6, sha256(tab.link))).toThrow(code('tick-invalid'))
    expect(sha256(chain.link(first, 6))).toEqual(tab.link)
  })
})

describe('a redemption', () => {
  const payee = signerFrom(sha256(utf8('the payee')))
  const terms: RedemptionTerms = {
    lane: sha256(utf8('lane')),
    link: chain.link(first, 6),
    payee: sha256(utf8('the payee’s id')),
    proof: chain.proof(1),
    unit: 6,
  }

  it('is refused for a unit that no lane has', () => {
    for (const unit of [0, -1, -(2 ** 53 - 1), limits.unitsPerDeclaration + 1, Number.MAX_SAFE_INTEGER]) {
      expect(() => parseRedemption(redeem({ ...terms, unit }, payee))).toThrow(code('bad-encoding'))
    }
    expect(() => redeem({ ...terms, unit: 5.5 }, payee)).toThrow(code('bad-encoding'))
    expect(() => parseRedemption(seal('redemption', { ...terms, unit: 2n ** 63n - 1n }, payee))).toThrow(
      code('bad-encoding'),
    )
  })

  it('is refused when its unit is raised after it was signed', () => {
    const raised = { ...redeem(terms, payee), body: redeem({ ...terms, unit: 7 }, payee).body }
    expect(() => parseRedemption(raised)).toThrow(code('bad-signature'))
  })

  it('is refused when it is another object that the payee has signed', () => {
    const claimed = claim({ commitment: terms.lane, payee: terms.payee }, payee)
    expect(() => parseRedemption(claimed)).toThrow(code('bad-signature'))
  })

  it('is refused under the key of a thief who keeps the signature', () => {
    const thief = signerFrom(sha256(utf8('a thief')))
    expect(() => parseRedemption({ ...redeem(terms, payee), key: thief.key })).toThrow(code('bad-signature'))
  })
})
