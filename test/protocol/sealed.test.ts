import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { BLOCK_BYTES, blocksOf, HASH_BYTES, pathOf, rootOfPath, rootOfPiece } from '../../protocol/block-tree.ts'
import { equal, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { dispute, evidenceOf, parseDispute, requireFault, type BlockEvidence } from '../../protocol/dispute.ts'
import { label, parseLabel, type LabelTerms } from '../../protocol/label.ts'
import { limits } from '../../protocol/limits.ts'
import { pieceHasher } from '../../protocol/piece.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  blockHashes,
  cryptBlock,
  isKeyOf,
  keyOf,
  openPiece,
  partsOf,
  readSealed,
  rootsOf,
  sealedBytes,
  sealPiece,
  type PieceShape,
  type Roots,
} from '../../protocol/sealed.ts'
import { objectId, signerFrom, type Envelope } from '../../protocol/signed.ts'
import vectors from '../vectors/sealed.json' with { type: 'json' }

const payee = signerFrom(new Uint8Array(32).fill(2))
const payer = signerFrom(new Uint8Array(32).fill(1))
const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes))

/** The least tree that holds it, or one level more. */
const shapes: fc.Arbitrary<PieceShape> = fc
  .record({
    piece: fc.nat({ max: limits.pieces - 1 }),
    length: fc.oneof(
      fc.integer({ min: 1, max: 3 * BLOCK_BYTES }),
      fc.constantFrom(BLOCK_BYTES, 2 * BLOCK_BYTES, 4 * BLOCK_BYTES, 9 * BLOCK_BYTES + 5),
    ),
    more: fc.nat({ max: 1 }),
  })
  .map(({ piece, length, more }) => ({ piece, length, levels: Math.ceil(Math.log2(blocksOf(length))) + more }))

const plainOf = (length: number): Bytes => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255)

function sealed(shape: PieceShape, key: Bytes) {
  const body = new Uint8Array(sealedBytes(shape))
  partsOf(body, shape).bytes.set(plainOf(shape.length))
  return { body, roots: sealPiece(body, shape, key) }
}

const envelopeOf = ({ body, key, signature }: Record<'body' | 'key' | 'signature', string>): Envelope => ({
  body: fromHex(body),
  key: fromHex(key),
  signature: fromHex(signature),
})

describe('the vectors of sealed pieces', () => {
  const keys = vectors.keys.map((key) => fromHex(key))

  it('have keys that lead to their anchor', () => {
    const anchor = { unit: 0, key: keys[0] as Bytes }
    for (const [unit, key] of keys.entries()) if (unit > 0) expect(isKeyOf(anchor, unit, key)).toBe(true)
    expect(keys.slice(0, -1)).toEqual(keys.slice(1).map(sha256))
  })

  it.each(vectors.pieces)('are sealed alike: $length bytes', ({ piece, length, levels, unit, ...expected }) => {
    const shape = { piece, length, levels }
    const { body, roots } = sealed(shape, keys[unit] as Bytes)
    const { leaves, bytes } = partsOf(body, shape)
    expect({
      leaves: toHex(leaves),
      sha256: toHex(sha256(body)),
      begins: toHex(bytes.slice(0, 32)),
      ends: toHex(body.slice(-16)),
      plainRoot: toHex(roots.plainRoot),
      cipherRoot: toHex(roots.cipherRoot),
    }).toEqual({ ...expected, label: undefined })
    const signed = label({ ...shape, ...roots, lane: fromHex(vectors.lane), unit }, payee)
    expect(toHex(objectId('label', signed.body))).toBe(expected.label.id)
    expect(toHex(signed.signature)).toBe(expected.label.signature)
  })

  it.each(vectors.disputes)('are judged alike: $name', ({ fault, label: said, dispute: shown }) => {
    const judge = () =>
      requireFault(parseLabel(envelopeOf(said)), { unit: 0, key: keys[0] as Bytes }, parseDispute(envelopeOf(shown)))
    if (fault) expect(judge).not.toThrow()
    else expect(judge).toThrow(expect.objectContaining({ code: 'no-fault' }))
  })
})

describe('keys of a lane', () => {
  it('lead to every key before them, and to none after', () => {
    fc.assert(
      fc.property(key32, fc.integer({ min: 2, max: 40 }), fc.nat(), fc.nat(), (last, cap, a, b) => {
        const [known, unit] = [a % (cap + 1), 1 + (b % cap)]
        const of = { unit: known, key: keyOf(last, cap, known) }
        expect(isKeyOf(of, unit, keyOf(last, cap, unit))).toBe(true)
        expect(isKeyOf(of, unit, keyOf(last, cap, unit - 1))).toBe(false)
        if (unit < cap) expect(isKeyOf(of, unit, keyOf(last, cap, unit + 1))).toBe(false)
      }),
    )
  })

  it('have a unit from 1 to what a lane may have, and 32 bytes', () => {
    const known = { unit: 0, key: sha256(new Uint8Array(1)) }
    for (const unit of [0, -1, 1.5, Number.NaN, Infinity, limits.unitsPerSealedLane + 1]) {
      expect(isKeyOf(known, unit, known.key)).toBe(false)
    }
    expect(isKeyOf(known, 1, new Uint8Array(31))).toBe(false)
  })
})

describe('a sealed piece', () => {
  it('opens to the piece under its key alone, and has the hash that the torrent has', () => {
    fc.assert(
      fc.property(shapes, key32, key32, (shape, key, other) => {
        fc.pre(!equal(key, other))
        const { body, roots } = sealed(shape, key)
        expect(rootsOf(body, shape)).toEqual(roots)
        const before = Uint8Array.from(body)
        expect(openPiece(body, shape, other)).toBe(0)
        expect(body).toEqual(before)
        expect(openPiece(body, shape, key)).toBeUndefined()
        expect(partsOf(body, shape).bytes).toEqual(plainOf(shape.length))
      }),
      { numRuns: 40 },
    )
    const whole = pieceHasher(40_000, 64 * 1024, true)
    whole.update(plainOf(40_000))
    const { roots } = sealed({ piece: 0, length: 40_000, levels: 2 }, sha256(new Uint8Array(2)))
    expect(roots.plainRoot).toEqual(whole.digest())
  })

  it('is hashed as it arrives, in parts of any size', () => {
    const key = sha256(new Uint8Array(7))
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1000, max: 3 * BLOCK_BYTES }), (shape, size) => {
        const { body, roots } = sealed(shape, key)
        const arriving = new Uint8Array(body.length)
        const reader = readSealed(arriving, shape)
        for (let at = 0; at < body.length; at += size) {
          const part = body.subarray(at, at + size)
          arriving.set(part, at)
          reader.arrived(part.length)
        }
        expect(reader.roots()).toEqual(roots)
      }),
      { numRuns: 20 },
    )
  })

  it('has blocks that open alone', () => {
    const key = sha256(new Uint8Array(3))
    const shape = { piece: 4, length: 2 * BLOCK_BYTES + 7, levels: 2 }
    const { bytes } = partsOf(sealed(shape, key).body, shape)
    for (const block of [0, 1, 2]) {
      const [from, to] = [block * BLOCK_BYTES, Math.min(shape.length, (block + 1) * BLOCK_BYTES)]
      const opened = new Uint8Array(cryptBlock(key, 4, block, bytes.subarray(from, to)))
      expect(opened).toEqual(plainOf(shape.length).slice(from, to))
    }
  })
})

describe('a path in the tree of a piece', () => {
  it('leads from each block to the root', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat({ max: 2 }), (blocks, more) => {
        const levels = Math.ceil(Math.log2(blocks)) + more
        const leaves = blockHashes(plainOf(blocks * BLOCK_BYTES))
        for (let block = 0; block < blocks; block++) {
          const leaf = leaves.slice(block * HASH_BYTES, (block + 1) * HASH_BYTES)
          const path = pathOf(leaves, levels, block)
          expect(path).toHaveLength(levels)
          expect(rootOfPath(leaf, block, path)).toEqual(rootOfPiece(leaves, levels))
        }
      }),
      { numRuns: 20 },
    )
  })
})

describe('evidence', () => {
  it('shows a fault just where a bit is wrong, and none where nothing is', () => {
    fc.assert(
      fc.property(shapes, key32, fc.nat(), (shape, last, at) => {
        const key = keyOf(last, 3, 2)
        const known = { unit: 0, key: keyOf(last, 3, 0) }
        const plain = plainOf(shape.length)
        const promised = blockHashes(plain)
        const place = at % shape.length
        plain[place] = (plain[place] as number) ^ 4
        const body = new Uint8Array(sealedBytes(shape))
        partsOf(body, shape).bytes.set(plain)
        sealPiece(body, shape, key)
        body.set(promised)
        const said: LabelTerms = { ...shape, ...rootsOf(body, shape), lane: known.key, unit: 2 }
        const wrong = openPiece(body, shape, key)
        expect(wrong).toBe(Math.floor(place / BLOCK_BYTES))
        for (let block = 0; block < blocksOf(shape.length); block++) {
          const judge = () => requireFault(said, known, { ...evidenceOf(body, shape, block), unitKey: key })
          if (block === wrong) expect(judge).not.toThrow()
          else expect(judge).toThrow(expect.objectContaining({ code: 'no-fault' }))
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('evidence against a good piece', () => {
  const key = sha256(new Uint8Array(6))

  /** About its last block, which is as long as two nodes of a tree. */
  function judged(shape: PieceShape, forge: (body: Bytes, roots: Roots) => Partial<BlockEvidence>): () => void {
    const { body, roots } = sealed(shape, key)
    const evidence = { ...evidenceOf(body, shape, blocksOf(shape.length) - 1), ...forge(body, roots), unitKey: key }
    return () => requireFault({ ...shape, ...roots, lane: key, unit: 2 }, { unit: 1, key: sha256(key) }, evidence)
  }

  it.each<[string, PieceShape, Parameters<typeof judged>[1]]>([
    [
      'two nodes for the block',
      { piece: 3, length: BLOCK_BYTES + 64, levels: 1 },
      (body) => ({ cipher: blockHashes(body.slice(2 * HASH_BYTES)), cipherPath: [] }),
    ],
    [
      'the root for the hash of the block',
      { piece: 3, length: BLOCK_BYTES + 64, levels: 1 },
      (_, { plainRoot }) => ({ leaf: plainRoot, leafPath: [] }),
    ],
    [
      'a half of the block for its hash',
      { piece: 3, length: 64, levels: 0 },
      () => ({ leaf: plainOf(64).slice(0, 32), leafPath: [plainOf(64).slice(32)] }),
    ],
  ])('is none with %s', (_, shape, forge) => {
    expect(judged(shape, forge)).toThrow(expect.objectContaining({ code: 'no-fault' }))
  })
})

describe('decoders of labels and disputes', () => {
  const key = sha256(new Uint8Array(5))
  const shape = { piece: 1, length: 100, levels: 0 }
  const { body, roots } = sealed(shape, key)
  const signed = label({ ...shape, ...roots, lane: key, unit: 1 }, payee)
  const accused = dispute({ ...evidenceOf(body, shape, 0), by: key, label: key, unitKey: key }, payer)

  it('take what was signed, and answer anything else with a problem', () => {
    expect(parseLabel(signed)).toMatchObject({ ...shape, ...roots, unit: 1 })
    expect(parseDispute(accused)).toMatchObject({ block: 0, unitKey: key })
    const parsers = [
      [parseLabel, signed],
      [parseDispute, accused],
    ] as const
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.nat({ max: 7 }), (noise, at, bit) => {
        for (const [parse, good] of parsers) {
          const flipped = Uint8Array.from(good.body, (byte, i) =>
            i === at % good.body.length ? byte ^ (1 << bit) : byte,
          )
          for (const bytes of [new Uint8Array(noise), flipped]) {
            expect(() => parse({ ...good, body: bytes })).toThrow(Problem)
          }
        }
      }),
    )
  })

  it('refuse what lies out of bounds, also when it is signed', () => {
    const terms = { ...shape, ...roots, lane: key, unit: 1 }
    const wrong: Partial<LabelTerms>[] = [
      { length: 0 },
      { length: limits.pieceBytesMax + 1, levels: 12 },
      { length: BLOCK_BYTES + 1 },
      { levels: 13 },
      { unit: 0 },
      { unit: limits.unitsPerSealedLane + 1 },
      { piece: limits.pieces },
      { plainRoot: new Uint8Array(31) },
    ]
    for (const change of wrong) {
      expect(() => parseLabel(label({ ...terms, ...change }, payee))).toThrow(
        expect.objectContaining({ code: 'bad-encoding' }),
      )
    }
    const evidence = { ...evidenceOf(body, shape, 0), by: key, label: key, unitKey: key }
    const long = new Uint8Array(BLOCK_BYTES + 1)
    for (const change of [{ cipher: long }, { cipherPath: Array.from({ length: 13 }, () => key) }, { block: 4096 }]) {
      expect(() => parseDispute(dispute({ ...evidence, ...change }, payer))).toThrow(
        expect.objectContaining({ code: 'bad-encoding' }),
      )
    }
  })
})
