import { sha256 } from '#primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import {
  checkShape,
  makeChain,
  segmentOf,
  segmentsOf,
  tickFromJson,
  tickRoot,
  tickToJson,
  verifyLink,
  verifyNext,
  type ChainShape,
} from '../../protocol/payword.ts'
import type { ProblemCode } from '../../protocol/problem.ts'
import { orProblem } from '../problems.ts'
import vectors from '../vectors/payword.json' with { type: 'json' }

const code = (expected: ProblemCode) => expect.objectContaining({ code: expected })
const seed = sha256(utf8('a seed'))

/** A chain, the segment a lane of it begins at, and a unit of that lane. */
const somewhere = fc
  .record({
    units: fc.integer({ min: 1, max: 200 }),
    segment: fc.integer({ min: 1, max: 64 }),
    at: fc.nat(),
    of: fc.nat(),
  })
  .map(({ units, segment, at, of }) => {
    const shape: ChainShape = { units, segment }
    const first = at % segmentsOf(shape)
    return { shape, first, unit: (of % ((segmentsOf(shape) - first) * segment)) + 1 }
  })

describe('the vectors of tick chains', () => {
  for (const chain of vectors.chains) {
    const shape = { units: chain.units, segment: chain.segment }
    const name = `${chain.units} units in segments of ${chain.segment}`

    it(`makes the tick root of ${name}`, () => {
      expect(segmentsOf(shape)).toBe(chain.segments)
      expect(toHex(tickRoot(fromHex(chain.seed), shape))).toBe(chain.tickRoot)
    })

    it.each(chain.links)(`makes and checks unit $unit from segment $first on, of ${name}`, (vector) => {
      const { first, unit, segment } = vector
      const made = makeChain(fromHex(chain.seed), shape)
      expect(segmentOf(shape, first, unit)).toBe(segment)
      expect(toHex(made.link(first, unit))).toBe(vector.link)
      expect(made.proof(segment).map(toHex)).toEqual(vector.proof)
      const proof = vector.proof.map((hash) => fromHex(hash))
      expect(toHex(verifyLink(fromHex(chain.tickRoot), shape, { first }, unit, fromHex(vector.link), proof))).toBe(
        vector.anchor,
      )
    })
  }

  it('reads and writes a tick as it travels', () => {
    const tick = tickFromJson(vectors.tickJson)
    expect(toHex(tick.link)).toBe(vectors.chains[1]?.links[3]?.link)
    expect(tickToJson(tick)).toEqual(vectors.tickJson)
    const { lane, unit, link } = vectors.tickJson
    expect(tickToJson(tickFromJson({ lane, unit, link }))).toEqual({ lane, unit, link })
  })
})

describe('links', () => {
  it('are accepted for their own unit of their own lane, and for no other', () => {
    fc.assert(
      fc.property(
        somewhere,
        fc.nat({ max: 250 }),
        fc.nat({ max: 250 }),
        ({ shape, first, unit }, otherFirst, other) => {
          const chain = makeChain(seed, shape)
          const link = chain.link(first, unit)
          const proof = chain.proof(segmentOf(shape, first, unit))
          const isSame = (otherFirst - first) * shape.segment === unit - (other + 1)
          expect(() => verifyLink(chain.root, shape, { first }, unit, link, proof)).not.toThrow()
          const check = () => verifyLink(chain.root, shape, { first: otherFirst }, other + 1, link, proof)
          if (isSame) expect(check).not.toThrow()
          else expect(check).toThrow(code('tick-invalid'))
        },
      ),
    )
  })

  it('hash to every earlier link of their segment', () => {
    fc.assert(
      fc.property(somewhere, ({ shape, first, unit }) => {
        const chain = makeChain(seed, shape)
        const tick = { unit, link: chain.link(first, unit) }
        for (let before = 1; before < unit; before++) {
          const check = () => verifyNext(shape, { unit: before, link: chain.link(first, before) }, tick)
          if (segmentOf(shape, 0, before) === segmentOf(shape, 0, unit)) expect(check).not.toThrow()
          else expect(check).toThrow(code('tick-invalid'))
        }
      }),
    )
  })

  it('come out the same whatever was asked for in between', () => {
    const shape = { units: 20_000, segment: 64 }
    const chain = makeChain(seed, shape)
    for (let segment = 0; segment < segmentsOf(shape); segment++) {
      const unit = (segment % 64) + 1
      expect(chain.link(segment, unit)).toEqual(makeChain(seed, shape).link(segment, unit))
    }
    expect(chain.link(0, 1)).toEqual(makeChain(seed, shape).link(0, 1))
  })

  it('reach to the end of the last segment, though the units end before', () => {
    const shape = { units: 5, segment: 4 }
    const chain = makeChain(seed, shape)
    expect(() => verifyLink(chain.root, shape, { first: 1 }, 4, chain.link(1, 4), chain.proof(1))).not.toThrow()
    expect(() => chain.link(1, 5)).toThrow(RangeError)
    expect(() => chain.link(2, 1)).toThrow(RangeError)
    expect(() => chain.link(0, 0)).toThrow(RangeError)
    expect(() => chain.link(-1, 5)).toThrow(RangeError)
    expect(() => chain.link(0, 1.5)).toThrow(RangeError)
  })

  it('can be checked at the last unit of the longest chain', () => {
    const shape = { units: limits.unitsPerDeclaration, segment: limits.segmentUnitsMax }
    const chain = makeChain(seed, shape)
    const proof = chain.proof(segmentsOf(shape) - 1)
    expect(proof).toHaveLength(14)
    const link = chain.link(0, shape.units)
    expect(() => verifyLink(chain.root, shape, { first: 0 }, shape.units, link, proof)).not.toThrow()
  })
})

describe('shapes of chains', () => {
  it.each([
    [0, 1],
    [-1, 1],
    [1.5, 1],
    [Number.NaN, 1],
    [2 ** 20 + 1, 64],
    [2 ** 53, 64],
    [1, 0],
    [1, -1],
    [1, 65],
    [10, 2.5],
    [2 ** 14 + 1, 1],
    [2 ** 20, 63],
  ])('refuses %d units in segments of %d', (units, segment) => {
    expect(() => checkShape({ units, segment })).toThrow(code('bad-encoding'))
    expect(() => makeChain(seed, { units, segment })).toThrow(code('bad-encoding'))
  })

  it.each([
    [1, 1],
    [1, 64],
    [2 ** 14, 1],
    [2 ** 20, 64],
  ])('accepts %d units in segments of %d', (units, segment) => {
    expect(() => checkShape({ units, segment })).not.toThrow()
  })
})

describe('ticks in JSON', () => {
  const { tickJson } = vectors

  it.each([
    ['a missing lane', { ...tickJson, lane: undefined }, 'bad-request'],
    ['a unit in quotes', { ...tickJson, unit: '5' }, 'bad-request'],
    ['a link that is a number', { ...tickJson, link: 5 }, 'bad-request'],
    ['a proof that is no list', { ...tickJson, proof: 'none' }, 'bad-request'],
    ['a proof of numbers', { ...tickJson, proof: [1] }, 'bad-request'],
    ['a proof of 15 hashes', { ...tickJson, proof: Array(15).fill(tickJson.link) }, 'bad-request'],
    ['a member too many', { ...tickJson, more: 1 }, 'bad-request'],
    ['a lane in upper case', { ...tickJson, lane: tickJson.lane.toUpperCase() }, 'bad-encoding'],
    ['a short lane', { ...tickJson, lane: tickJson.lane.slice(2) }, 'bad-encoding'],
    ['a short link', { ...tickJson, link: tickJson.link.slice(4) }, 'bad-encoding'],
    ['a padded link', { ...tickJson, link: `${tickJson.link}=` }, 'bad-encoding'],
    ['a short hash in the proof', { ...tickJson, proof: ['AAAA'] }, 'bad-encoding'],
    ['a negative unit', { ...tickJson, unit: -1 }, 'tick-invalid'],
    ['unit 0', { ...tickJson, unit: 0 }, 'tick-invalid'],
    ['half a unit', { ...tickJson, unit: 0.5 }, 'tick-invalid'],
    ['a huge unit', { ...tickJson, unit: 1e300 }, 'tick-invalid'],
    ['a unit beyond every chain', { ...tickJson, unit: limits.unitsPerDeclaration + 1 }, 'tick-invalid'],
  ] as const)('refuses %s', (_, json, expected) => {
    expect(() => tickFromJson(json)).toThrow(code(expected))
  })

  it.each([
    ['lane', 'AB'],
    ['link', 'AAAA'],
    ['proof', ['AAAA']],
  ])('names the member that is malformed: %s', (field, value) => {
    const malformed = expect.objectContaining({ code: 'bad-encoding', members: { field } })
    expect(() => tickFromJson({ ...tickJson, [field]: value })).toThrow(malformed)
  })

  it('reads any JSON as a tick that it writes back, or refuses it', () => {
    const near = fc.record(
      {
        lane: fc.oneof(fc.constant(tickJson.lane), fc.string()),
        unit: fc.oneof(fc.integer(), fc.double()),
        link: fc.oneof(fc.constant(tickJson.link), fc.base64String()),
        proof: fc.array(fc.oneof(fc.constant(tickJson.link), fc.string()), { maxLength: 16 }),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(near, fc.jsonValue()), (json) => {
        const tick = orProblem(() => tickFromJson(json))
        if (tick) expect(tickToJson(tick)).toEqual(json)
      }),
    )
  })

  it('brings any tick back as it was', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const ticks = fc.record(
      { lane: hash, unit: fc.integer({ min: 1, max: 2 ** 20 }), link: hash, proof: fc.array(hash, { maxLength: 14 }) },
      { requiredKeys: ['lane', 'unit', 'link'] },
    )
    fc.assert(
      fc.property(ticks, (tick) => {
        expect(tickFromJson(structuredClone(tickToJson(tick)))).toEqual(tick)
      }),
    )
  })
})
