import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, utf8, type Bytes } from '../../protocol/bytes.ts'
import {
  consistencyProof,
  consistencySpans,
  inclusionProof,
  inclusionSpans,
  leafHash,
  levelsOf,
  readSpans,
  rootOf,
} from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  decodeBundle,
  encodeBundle,
  growTiles,
  hasTile,
  parseTilePath,
  tileHashes,
  tileNodeReader,
  tilePath,
  tileWidth,
  type Edge,
  type Tile,
} from '../../protocol/tile.ts'
import { coded, orProblem } from '../problems.ts'

const leavesOf = (size: number): Bytes[] => Array.from({ length: size }, (_, i) => leafHash(utf8(`entry ${i}`)))

/** A log that keeps what it published under its paths, as a server does. */
function tiledLog() {
  const files = new Map<string, Bytes>()
  let edge: Edge = []
  let size = 0
  return {
    files,
    append(leaves: readonly Bytes[]) {
      const grown = growTiles(edge, size, leaves)
      for (const { tile, bytes } of grown.tiles) files.set(tilePath(tile), bytes)
      edge = grown.edge
      size += leaves.length
    },
  }
}

describe('paths of tiles', () => {
  it.each([
    [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
    [{ level: 0, index: 1234067, width: 256 }, 'tile/0/x001/x234/067'],
    [{ level: 3, index: 999, width: 1 }, 'tile/3/999.p/1'],
    [{ level: 1, index: 1000, width: 255 }, 'tile/1/x001/000.p/255'],
    [{ level: 'entries', index: 273, width: 112 }, 'tile/entries/273.p/112'],
    [{ level: 63, index: 0, width: 256 }, 'tile/63/000'],
  ] as const)('writes %o as %s, and reads it back', (tile, path) => {
    expect(tilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual(tile)
  })

  it.each([
    'tile/64/000',
    'tile/00/000',
    'tile/-1/000',
    'tile/0/0',
    'tile/0/0000',
    'tile/0/x000/001',
    'tile/0/001/000',
    'tile/0/x001',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/',
    'tile/data/000',
    '/tile/0/000',
    'tile/0/000/',
    'tile/0/x999/x999/x999/x999/x999/999',
    'tile/0/x001/x002/x003/x004/x005/x006/007',
    '',
  ])('refuses %j', (path) => {
    expect(() => parseTilePath(path)).toThrow(coded('bad-request'))
  })

  it('reads any text as the one tile of that path, or refuses it', () => {
    const near = fc.stringMatching(/^tile\/(entries|\d{1,2})\/(x?\d{3}\/){0,3}\d{3}(\.p\/\d{1,3})?$/)
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (path) => {
        const tile = orProblem(() => parseTilePath(path))
        if (tile) expect(tilePath(tile)).toBe(path)
      }),
    )
  })
})

describe('tiles of a growing log', () => {
  it('has the tiles that the specification counts for 70,000 leaves', () => {
    expect(tileWidth(0, 272, 70_000)).toBe(256)
    expect(tileWidth(0, 273, 70_000)).toBe(112)
    expect(tileWidth('entries', 273, 70_000)).toBe(112)
    expect(tileWidth(0, 274, 70_000)).toBe(0)
    expect(tileWidth(1, 0, 70_000)).toBe(256)
    expect(tileWidth(1, 1, 70_000)).toBe(17)
    expect(tileWidth(2, 0, 70_000)).toBe(1)
    expect(tileWidth(3, 0, 70_000)).toBe(0)
    expect([tileWidth(0, 0, 256), tileWidth(1, 0, 256)]).toEqual([256, 1])
  })

  it('has a partial tile also when the log has outgrown it, and none that is yet to come', () => {
    expect(hasTile({ level: 0, index: 0, width: 3 }, 256)).toBe(true)
    expect(hasTile({ level: 0, index: 1, width: 1 }, 256)).toBe(false)
    expect(hasTile({ level: 1, index: 0, width: 2 }, 511)).toBe(false)
  })

  it('holds in each tile the roots that the specification names, however the leaves came', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 4 }), (batches) => {
        const log = tiledLog()
        const leaves = leavesOf(batches.reduce((sum, batch) => sum + batch, 0))
        let size = 0
        for (const batch of batches) {
          log.append(leaves.slice(size, (size += batch)))
          for (const tile of tilesOf(size)) {
            const hashes = tileHashes(log.files.get(tilePath(tile)) as Bytes, tile.width)
            const span = 256 ** tile.level
            const start = tile.index * 256
            hashes.forEach((hash, i) =>
              expect(hash).toEqual(rootOf(leaves.slice((start + i) * span, (start + i + 1) * span))),
            )
          }
        }
      }),
      { numRuns: 15 },
    )
  })

  it('proves out of tiles what the tree in memory proves, reading each tile once', async () => {
    const leaves = leavesOf(66_000)
    const tree = levelsOf(leaves)
    const log = tiledLog()
    for (let at = 0; at < leaves.length; at += 4400) log.append(leaves.slice(at, at + 4400))
    const asked: string[] = []
    const read = tileNodeReader(leaves.length, async (tile) => {
      asked.push(tilePath(tile))
      return log.files.get(tilePath(tile)) as Bytes
    })
    expect(await readSpans(inclusionSpans(300, 66_000), read)).toEqual(inclusionProof(tree, 300))
    expect(await readSpans(consistencySpans(65_000, 66_000), read)).toEqual(consistencyProof(tree, 65_000))
    expect(await readSpans([[0, 66_000]], read)).toEqual([rootOf(leaves)])
    expect(asked.length).toBeLessThanOrEqual(12)
    expect(asked.slice(0, 4).toSorted()).toEqual(['tile/0/001', 'tile/0/257.p/208', 'tile/1/000', 'tile/1/001.p/1'])
  })

  it('refuses a tile that is shorter or longer than its width', async () => {
    const read = tileNodeReader(3, async () => concat(...leavesOf(2)))
    await expect(readSpans([[0, 3]], read)).rejects.toThrow(coded('bad-encoding'))
    expect(() => tileHashes(concat(...leavesOf(2)), 1)).toThrow(Problem)
  })
})

describe('bundles of entries', () => {
  it('reads back what was bundled', () => {
    const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 256 })
    fc.assert(
      fc.property(entries, (list) => {
        expect(decodeBundle(encodeBundle(list), list.length)).toEqual(list)
      }),
    )
  })

  it('writes the length of an entry as a big-endian uint16', () => {
    expect(encodeBundle([utf8('ab'), new Uint8Array(0)])).toEqual(Uint8Array.of(0, 2, 0x61, 0x62, 0, 0))
    expect(decodeBundle(encodeBundle([new Uint8Array(65_535)]), 1)[0]).toHaveLength(65_535)
  })

  it('refuses an entry that a uint16 cannot measure', () => {
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(coded('too-large'))
  })

  it('refuses bytes that are not exactly so many entries', () => {
    const bundle = encodeBundle([utf8('one'), utf8('two')])
    for (const [bytes, width] of [
      [bundle, 1],
      [bundle, 3],
      [bundle.slice(1), 2],
      [bundle.slice(0, -1), 2],
    ] as const) {
      expect(() => decodeBundle(bytes, width)).toThrow(coded('bad-encoding'))
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat({ max: 4 }), (bytes, width) => {
        const entries = orProblem(() => decodeBundle(bytes, width))
        if (entries) expect(encodeBundle(entries)).toEqual(bytes)
      }),
    )
  })
})

function* tilesOf(size: number): Iterable<Tile & { level: number }> {
  for (let level = 0; 256 ** level <= size; level++) {
    for (let index = 0; tileWidth(level, index, size) > 0; index++) {
      yield { level, index, width: tileWidth(level, index, size) }
    }
  }
}
