import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Encodable } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { filePath, locatePiece, parseTorrent, pieceHash, type MetaFile } from '../../protocol/metainfo.ts'
import { verifyPiece } from '../../protocol/piece.ts'
import { Problem } from '../../protocol/problem.ts'
import { coded } from '../problems.ts'
import { pattern } from '../pattern.ts'
import vectors from '../vectors/torrents.json' with { type: 'json' }
import { fileV1, folderParts, key, padV1, partsOfPaths, torrentOf, write, writeParts, type Parts } from './torrents.ts'

const MiB = 1024 * 1024

describe('torrents made by libtorrent', () => {
  test.each(vectors.torrents)('are read: $title', (vector) => {
    const meta = parseTorrent(fromBase64url(vector.torrent))
    expect(toHex(meta.infoHash)).toBe(vector.infoHash)
    expect(toHex(meta.infoHashV1)).toBe(vector.infoHashV1)
    expect(meta).toMatchObject({ name: vector.name, folder: vector.folder, pieceLength: vector.pieceLength })
    expect(meta.files.map(({ path, length }) => ({ path, length }))).toEqual(
      vector.files.map(({ path, length }) => ({ path, length })),
    )
    for (let index = 0; index < meta.pieces; index++) {
      const { file, offset, length } = locatePiece(meta, index)
      const { seed } = vector.files[file] as { seed: number }
      const bytes = pattern(offset + length, seed).subarray(offset)
      expect(verifyPiece(meta, index, bytes)).toBe(true)
      expect(
        verifyPiece(
          meta,
          index,
          bytes.map((byte, i) => (i === length - 1 ? byte ^ 1 : byte)),
        ),
      ).toBe(false)
    }
  })

  // libtorrent fills up the last file of some folders too; the others come out the same to the byte.
  const alike = vectors.torrents.filter(({ name }) => name !== 'padded')
  test.each(alike)('are made to the byte: $title', (vector) => {
    const { torrent, meta } = torrentOf({ ...vector, files: vector.files.toReversed() })
    expect(Buffer.from(torrent).toString('base64url')).toBe(vector.torrent)
    expect(toHex(meta.infoHash)).toBe(vector.infoHash)
  })
})

describe('a torrent', () => {
  test('of an empty file has no pieces', () => {
    const { meta } = torrentOf({
      name: 'empty',
      folder: false,
      pieceLength: 16_384,
      files: [{ path: ['empty'], length: 0, seed: 1 }],
    })
    expect(meta).toMatchObject({ bytes: 0, pieces: 0, files: [{ path: ['empty'], length: 0, firstPiece: 0 }] })
    expect(meta.files[0]?.piecesRoot).toBeUndefined()
    expect(() => locatePiece(meta, 0)).toThrow(coded('not-found'))
  })

  test('of files with names that JavaScript treats in its own way keeps their order', () => {
    const names = ['9', '10', '__proto__', 'constructor', 'length', '1']
    const files = names.map((name, seed) => ({ path: [name], length: 10, seed }))
    const { meta } = torrentOf({ name: 'f', folder: true, pieceLength: 16_384, files })
    expect(meta.files.map(({ path }) => path[0])).toEqual(['1', '10', '9', '__proto__', 'constructor', 'length'])
  })

  test('is read back with names in NFC, whatever it holds', () => {
    const { files } = parseTorrent(writeParts(partsOfPaths([['u\u0308']])))
    expect(files.map(({ path }) => path)).toEqual([['\u00fc']])
  })

  test('of any files comes back as it went in', () => {
    const name = fc.stringMatching(/^[a-z0-9üß😀.]{1,8}$/u).filter((text) => !/^\.+$/.test(text))
    const file = fc.record({
      path: fc.array(name, { minLength: 1, maxLength: 4 }),
      length: fc.nat(100_000),
      seed: fc.nat(),
    })
    const content = fc.record({
      name,
      folder: fc.constant(true),
      pieceLength: fc.constantFrom(16_384, 32_768, 131_072),
      files: fc.array(file, { minLength: 1, maxLength: 6 }),
    })
    fc.assert(
      fc.property(content, (given) => {
        const made = orProblem(() => torrentOf(given))
        if (made instanceof Problem) {
          expect(made.code).toBe('bad-torrent')
          return
        }
        const { torrent, meta } = made
        expect(parseTorrent(torrent)).toEqual(meta)
        expect(meta.bytes).toBe(given.files.reduce((sum, { length }) => sum + length, 0))
        let pieces = 0
        for (const { length, firstPiece, path } of meta.files) {
          expect(firstPiece).toBe(pieces)
          pieces += Math.ceil(length / given.pieceLength)
          expect(filePath(meta, { path } as MetaFile)).toEqual([meta.name, ...path])
        }
        expect(meta.pieces).toBe(pieces)
        for (let index = 0; index < pieces; index++) {
          const { file, offset, length } = locatePiece(meta, index)
          const { path } = meta.files[file] as MetaFile
          const seed = given.files.find((one) => one.path.join('/').normalize('NFC') === path.join('/'))?.seed
          expect(verifyPiece(meta, index, pattern(offset + length, seed).subarray(offset))).toBe(true)
        }
      }),
      { numRuns: 50 },
    )
  })

  test('says where its pieces are, past empty files', () => {
    const files = [0, 40_000, 0, 0, 5, 0].map((length, i) => ({ path: [String(i)], length, seed: i }))
    const { meta } = torrentOf({ name: 'f', folder: true, pieceLength: 16_384, files })
    expect(meta.pieces).toBe(4)
    expect([0, 1, 2, 3].map((index) => locatePiece(meta, index))).toEqual([
      { file: 1, offset: 0, length: 16_384, whole: false },
      { file: 1, offset: 16_384, length: 16_384, whole: false },
      { file: 1, offset: 32_768, length: 7232, whole: false },
      { file: 4, offset: 0, length: 5, whole: true },
    ])
    for (const index of [-1, 4, 0.5, Number.NaN]) {
      expect(() => pieceHash(meta, index)).toThrow(coded('not-found'))
    }
  })

  test('takes the deepest path that is allowed', () => {
    const path = Array<string>(limits.pathDepth - 1).fill('d')
    expect(parseTorrent(writeParts(partsOfPaths([path]))).files[0]?.path).toEqual(path)
  })

  test('may have other members, which are ignored', () => {
    const { info, layers } = folderParts()
    const torrent = write({
      announce: 'http://tracker',
      info: { ...info, private: 1 },
      nodes: [],
      'piece layers': layers,
      zzz: 'z',
    })
    expect(toHex(parseTorrent(torrent).infoHash)).toBe(
      toHex(parseTorrent(write({ info: { ...info, private: 1 } })).infoHash),
    )
  })

  test('shares a piece layer between files of the same content', () => {
    const files = ['a', 'b'].map((name) => ({ path: [name], length: 40_000, seed: 1 }))
    const { meta } = torrentOf({ name: 'f', folder: true, pieceLength: 16_384, files })
    expect(meta.files[0]?.pieceHashes).toEqual(meta.files[1]?.pieceHashes)
  })
})

const infoWith = (members: Parts['info']): Bytes => {
  const { info, layers } = folderParts()
  return writeParts({ info: { ...info, ...members }, layers })
}
const leaf = (members: Record<string, Encodable>): Encodable => ({ '': members })
const ROOT = new Uint8Array(32).fill(7)
const tree = (members: Record<string, Encodable>): Bytes => infoWith({ 'file tree': members })

const HOSTILE_NAMES = ['..', '.', 'a/b', '/etc', 'a\\b', 'a\u0000', 'a\u001fb', 'a\u007f', 'a\u0085b', 'x'.repeat(256)]

describe('a hostile torrent is refused', () => {
  const hostile: Record<string, Bytes> = {
    'that is empty': new Uint8Array(0),
    'that is no dictionary': write(['info']),
    'without info': write({ 'piece layers': {} }),
    'with bytes after its end': new Uint8Array([...writeParts(folderParts()), 0]),
    'with an info that is a number': write({ info: 5, 'piece layers': {} }),
    'of v1 alone': infoWith({ 'file tree': undefined, 'meta version': undefined }),
    'of v2 alone': infoWith({ pieces: undefined, files: undefined }),
    'of another version': infoWith({ 'meta version': 3 }),
    'with no length and no files': infoWith({ files: undefined }),
    'with both a length and files': infoWith({ length: 11 }),
    'with a length of several files': infoWith({ files: undefined, length: 11 }),
    'with no files': infoWith({ 'file tree': {}, files: [] }),
    'with an empty folder': tree({ a: leaf({ length: 5, 'pieces root': ROOT }), b: {} }),
    'with a file that is a folder': tree({
      a: { '': { length: 5, 'pieces root': ROOT }, x: leaf({ length: 0 }) },
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with a file at the root of its tree': infoWith({ 'file tree': leaf({ length: 5, 'pieces root': ROOT }) }),
    'with a file without a root': tree({ a: leaf({ length: 5 }), b: leaf({ length: 6, 'pieces root': ROOT }) }),
    'with a root of nothing': tree({
      a: leaf({ length: 0, 'pieces root': ROOT }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with a short root': tree({
      a: leaf({ length: 5, 'pieces root': ROOT.subarray(1) }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with a negative length': tree({
      a: leaf({ length: -5, 'pieces root': ROOT }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with a length of 2^63 - 1': tree({
      a: leaf({ length: 2n ** 63n - 1n, 'pieces root': ROOT }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with a symbolic link': tree({
      a: leaf({ attr: 'l', length: 5, 'pieces root': ROOT }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'with padding in v2': tree({
      a: leaf({ attr: 'p', length: 5, 'pieces root': ROOT }),
      b: leaf({ length: 6, 'pieces root': ROOT }),
    }),
    'whose v1 has another length': infoWith({ files: [fileV1(['a'], 6), padV1(16_378), fileV1(['b'], 6)] }),
    'whose v1 has another name': infoWith({ files: [fileV1(['A'], 5), padV1(16_379), fileV1(['b'], 6)] }),
    'whose v1 has another order': infoWith({ files: [fileV1(['b'], 6), padV1(16_378), fileV1(['a'], 5)] }),
    'whose v1 lacks a file': infoWith({ files: [fileV1(['a'], 5)] }),
    'whose v1 has a file more': infoWith({
      files: [fileV1(['a'], 5), padV1(16_379), fileV1(['b'], 6), fileV1(['c'], 0)],
    }),
    'whose v1 is not aligned': infoWith({ files: [fileV1(['a'], 5), fileV1(['b'], 6)] }),
    'whose v1 has a symbolic link': infoWith({
      files: [fileV1(['a'], 5), padV1(16_379), { attr: 'l', length: 6, path: ['b'] }],
    }),
    'whose v1 pads by a piece or more': infoWith({
      files: [fileV1(['a'], 5), padV1(16_379), padV1(16_384), fileV1(['b'], 6)],
    }),
    'whose v1 has a piece too few': infoWith({ pieces: new Uint8Array(20) }),
    'whose v1 has half a hash': infoWith({ pieces: new Uint8Array(41) }),
    'with a layer of no file': writeParts({ ...folderParts(), layers: { [String.fromCharCode(...ROOT)]: ROOT } }),
    'with layers that are a list': write({ info: folderParts().info, 'piece layers': [] }),
  }
  test.each(Object.entries(hostile))('%s', (_, torrent) => refused(torrent))

  const lengths = [0, 1, -16_384, 1000, 8192, 16_383, 16_385, 3 * 16_384, 2 ** 27, 2n ** 63n - 1n]
  test.each(lengths)('with a piece length of %s', (length) => refused(infoWith({ 'piece length': length })))

  test('with a piece length of 2^63', () => {
    const text = Buffer.from(writeParts(folderParts())).toString('latin1')
    refused(Buffer.from(text.replace('12:piece lengthi16384e', `12:piece lengthi${2n ** 63n}e`), 'latin1'))
  })

  test.each(HOSTILE_NAMES)('with the name %j, of a file, a folder or all', (name) => {
    refused(writeParts(partsOfPaths([[name]])))
    refused(writeParts(partsOfPaths([['a', name, 'b']])))
    refused(infoWith({ name }))
  })

  test('with an empty name', () => {
    refused(infoWith({ name: '' }))
    refused(tree({ a: leaf({ length: 5, 'pieces root': ROOT }), b: { '': leaf({ length: 6, 'pieces root': ROOT }) } }))
  })

  test('with names that are no UTF-8', () => {
    const info = folderParts().info
    refused(write({ info: { ...info, name: Uint8Array.of(0xff, 0xfe) } }))
    refused(tree({ '\xff': leaf({ length: 5, 'pieces root': ROOT }), b: leaf({ length: 6, 'pieces root': ROOT }) }))
  })

  const collisions: [string, string[][]][] = [
    ['case', [['readme'], ['README']]],
    ['case beyond ASCII', [['ünd'], ['ÜND']]],
    ['both small sigmas', [['σ'], ['ς']]],
    ['normal forms', [['\u00fc'], ['u\u0308']]],
    [
      'the case of folders',
      [
        ['a', 'x'],
        ['A', 'y'],
      ],
    ],
    ['a file and a folder', [['a'], ['A', 'y']]],
  ]
  test.each(collisions)('with names that collide by %s', (_, paths) => refused(writeParts(partsOfPaths(paths))))

  test('but not with names that differ', () => {
    const paths = [['straße'], ['strasse'], ['a', 'x'], ['a', 'y'], ['ab', 'x'], ['a.b']]
    expect(parseTorrent(writeParts(partsOfPaths(paths))).files).toHaveLength(6)
  })

  test('with a path that is too deep or too long', () => {
    refused(writeParts(partsOfPaths([Array<string>(limits.pathDepth).fill('d')])))
    refused(writeParts(partsOfPaths([Array<string>(60).fill('d')])))
    refused(writeParts(partsOfPaths([Array<string>(17).fill('d'.repeat(250))])))
  })

  test('with a layer that does not hash to its root, has another length, or is missing', () => {
    const { torrent, meta } = torrentOf({
      name: 'f',
      folder: false,
      pieceLength: 16_384,
      files: [{ path: ['f'], length: 50_000, seed: 1 }],
    })
    const { piecesRoot, pieceHashes } = meta.files[0] as MetaFile
    const root = String.fromCharCode(...(piecesRoot as Bytes))
    const layer = Uint8Array.from(pieceHashes)
    const withLayer = (layers: Encodable): Bytes =>
      new Uint8Array([
        ...torrent.subarray(0, Buffer.from(torrent).lastIndexOf('12:piece layers')),
        ...Buffer.from('12:piece layers'),
        ...write(layers),
        0x65,
      ])
    expect(toHex(parseTorrent(withLayer({ [root]: layer })).infoHash)).toBe(toHex(meta.infoHash))
    refused(withLayer({ [root]: layer.map((byte, i) => (i === 40 ? byte ^ 1 : byte)) }))
    refused(withLayer({ [root]: layer.subarray(0, 96) }))
    refused(withLayer({ [root]: layer.subarray(0, 127) }))
    refused(withLayer({ [root]: new Uint8Array(0) }))
    // Padding with the hashes of nothing gives the same root, and one piece too many.
    refused(withLayer({ [root]: new Uint8Array([...layer, ...new Uint8Array(128)]) }))
    refused(withLayer({ [root]: 5 }))
    refused(withLayer({}))
  })

  test('with too many files', () => {
    const files = Object.fromEntries(
      Array.from({ length: limits.filesPerTorrent + 1 }, (_, i) => [String(i), leaf({ length: 0 })]),
    )
    refused(tree(files))
  })

  test('that promises more pieces than there may be', () => {
    const length = limits.pieces * 16_384 + 1
    const { info } = folderParts()
    refused(
      write({
        info: {
          ...info,
          'file tree': { a: leaf({ length, 'pieces root': ROOT }) },
          files: [fileV1(['a'], length)],
          pieces: new Uint8Array(0),
        },
      }),
    )
  })

  test('that is larger than the limit', () => {
    expect(() => parseTorrent(new Uint8Array(limits.torrentBytes + 1))).toThrow(coded('too-large'))
  })

  test('whatever its bytes are', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refused))
  })

  test('whatever is altered in a good one, or else it is read', () => {
    const good = [torrentOf(nested).torrent, writeParts(folderParts())]
    const change = fc.record({
      at: fc.nat(),
      byte: fc.integer({ min: 0, max: 255 }),
      cut: fc.nat(3),
      insert: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.constantFrom(...good), fc.array(change, { minLength: 1, maxLength: 4 }), (torrent, changes) => {
        const bytes = Array.from(torrent)
        for (const { at, byte, cut, insert } of changes) bytes.splice(at % bytes.length, cut, ...(insert ? [byte] : []))
        const outcome = orProblem(() => parseTorrent(Uint8Array.from(bytes)))
        if (outcome instanceof Problem) expect(outcome.code).toBe('bad-torrent')
      }),
      { numRuns: 2000 },
    )
  })
})

const nested = {
  name: 'f',
  folder: true,
  pieceLength: 16_384,
  files: [
    { path: ['a', key('b')], length: 40_000, seed: 1 },
    { path: ['c'], length: 0, seed: 2 },
  ],
}

function orProblem<T>(action: () => T): T | Problem {
  try {
    return action()
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
}

function refused(torrent: Uint8Array): void {
  const outcome = orProblem(() => parseTorrent(torrent))
  expect(outcome).toMatchObject({ code: 'bad-torrent' })
}

test('a torrent of many pieces is read at once', () => {
  const { meta } = torrentOf({
    name: 'f',
    folder: false,
    pieceLength: 16_384,
    files: [{ path: ['f'], length: 8 * MiB + 1, seed: 1 }],
  })
  expect(meta.pieces).toBe(513)
})
