import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLOCK_BYTES, HASH_BYTES, layerAbove, levelOf, widthOf } from '../../protocol/block-tree.ts'
import { concat, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { limits } from '../../protocol/limits.ts'
import { parseTorrent } from '../../protocol/metainfo.ts'
import { runLeaves } from '../../repository/hashes.ts'
import { content, contentOf, testRepository, type TestContent, type TestRepository } from './kit.ts'

const KiB = 1024
const MiB = 1024 * KiB
const refusal = (status: number, code: string) => ({ status, json: { code } })

const putLeaves = (repository: TestRepository, { infoHash }: TestContent, file: number, from: number, leaves: Bytes) =>
  repository.ask('PUT', `/v1/contents/${infoHash}/leaves?file=${file}&from=${from}`, leaves)

const hashesOf = (packed: Bytes): string[] =>
  Array.from({ length: packed.length / HASH_BYTES }, (_, i) =>
    toHex(packed.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)),
  )

/** BEP 52 straight from all the leaves. */
const expected = (leaves: Bytes, pieceLength: number): string[] => {
  const height = Math.log2(widthOf(leaves.length / HASH_BYTES))
  return hashesOf(layerAbove(leaves, 0, Math.min(levelOf(pieceLength), height)))
}

/** Every page of one file's hashes. */
async function allHashes(
  repository: TestRepository,
  infoHash: string,
  pieceLength: number,
  file = 0,
  count = '',
): Promise<unknown[]> {
  const hashes: unknown[] = []
  for (let from = 0; ;) {
    const { status, json } = await repository.get(
      `/v1/contents/${infoHash}?pieceLength=${pieceLength}&file=${file}&from=${from}${count}`,
    )
    expect(status).toBe(200)
    hashes.push(...(json['hashes'] as unknown[]))
    const next = json['next'] as { file: number; from: number } | undefined
    if (next?.file !== file) return hashes
    from = next.from
  }
}

describe('a content', () => {
  const film = contentOf('Film – 2024.mkv', content(100_000), 32 * KiB)

  it('is made known once, and described by both its info hashes', async () => {
    const repository = testRepository()
    const summary = {
      infoHash: film.infoHash,
      infoHashV1: film.infoHashV1,
      name: 'Film – 2024.mkv',
      bytes: 100_000,
      pieceLength: 32 * KiB,
      pieces: 4,
    }
    expect(await repository.putTorrent(film)).toMatchObject({ status: 201, json: summary })
    expect(await repository.putTorrent(film)).toMatchObject({ status: 200, json: summary })
    for (const infoHash of [film.infoHash, film.infoHashV1]) {
      const { json } = await repository.get(`/v1/contents/${infoHash}`)
      const [file] = film.meta.files
      expect(json).toEqual({
        ...summary,
        folder: false,
        fileCount: 1,
        file: 0,
        files: [
          {
            path: ['Film – 2024.mkv'],
            length: 100_000,
            pieces: 4,
            piecesRoot: toHex(file?.piecesRoot ?? new Uint8Array()),
          },
        ],
      })
    }
  })

  it('is given back as a torrent of what its info hash vouches for alone', async () => {
    const repository = testRepository()
    const { torrent } = film
    const dressed = concat(
      utf8('d8:announce'),
      encode('http://evil.example/announce'),
      utf8('7:comment'),
      encode('hi'),
      torrent.slice(1),
    )
    expect(await repository.ask('PUT', `/v1/contents/${film.infoHash}`, dressed)).toMatchObject({ status: 201 })
    for (const infoHash of [film.infoHash, film.infoHashV1]) {
      const reply = await repository.get(`/v1/contents/${infoHash}/torrent`)
      expect(reply).toMatchObject({ status: 200, type: 'application/x-bittorrent' })
      expect(reply.bytes).toEqual(torrent)
      expect(parseTorrent(reply.bytes)).toEqual(film.meta)
    }
  })

  it('that is not known is not found', async () => {
    const repository = testRepository()
    for (const path of ['', '/torrent', '/swarm', '?pieceLength=16384']) {
      for (const infoHash of [film.infoHash, film.infoHashV1]) {
        expect(await repository.get(`/v1/contents/${infoHash}${path}`)).toMatchObject(refusal(404, 'not-found'))
      }
    }
    expect(await putLeaves(repository, film, 0, 0, film.leaves[0] ?? new Uint8Array())).toMatchObject(
      refusal(404, 'not-found'),
    )
  })

  it('is refused under another info hash, or when it breaks its specification', async () => {
    const repository = testRepository()
    const other = contentOf('other', content(1))
    const broken = film.torrent.slice()
    broken[broken.length - 40] = (broken[broken.length - 40] as number) ^ 1
    const path = `/v1/contents/${film.infoHash}`
    for (const body of [other.torrent, broken, film.torrent.slice(1), utf8('de'), new Uint8Array(0)]) {
      expect(await repository.ask('PUT', path, body)).toMatchObject(refusal(422, 'bad-torrent'))
    }
    expect(await repository.ask('PUT', path, new Uint8Array(limits.torrentBytes + 1))).toMatchObject(
      refusal(413, 'too-large'),
    )
    expect(await repository.ask('PUT', `/v1/contents/${film.infoHashV1}`, film.torrent)).toMatchObject(
      refusal(400, 'bad-request'),
    )
    expect(await repository.get(path)).toMatchObject(refusal(404, 'not-found'))
  })

  it('of many files is described a page at a time', async () => {
    const name = (i: number): string => `ordner-${String(i).padStart(4, '0')}-${'ü'.repeat(80)}`
    const files = Array.from({ length: 2500 }, (_, i) => ({ path: [name(i), 'datei'], bytes: content(i % 5, i + 1) }))
    const folder = contentOf('viele', files)
    const repository = testRepository()
    expect(await repository.putTorrent(folder)).toMatchObject({ status: 201, json: { pieces: 2000 } })
    const listed: unknown[] = []
    for (let file: number | undefined = 0; file !== undefined;) {
      const { json } = await repository.get(`/v1/contents/${folder.infoHash}?file=${file}`)
      expect(json).toMatchObject({ folder: true, fileCount: 2500, file })
      listed.push(...(json['files'] as { path: unknown }[]).map(({ path }) => path))
      file = (json['next'] as { file: number } | undefined)?.file
    }
    expect(listed).toEqual(files.map(({ path }) => path))
    for (const first of [0, 1, 255, 256, 257, 2499]) {
      const { json } = await repository.get(`/v1/contents/${folder.infoHash}?file=${first}&count=1`)
      expect(json['files']).toMatchObject([{ path: [name(first), 'datei'], length: first % 5 }])
    }
    expect((await repository.get(`/v1/contents/${folder.infoHash}?file=2500`)).json['files']).toEqual([])
    expect((await repository.get(`/v1/contents/${folder.infoHash}/torrent`)).bytes).toEqual(folder.torrent)
    const empty = await repository.get(`/v1/contents/${folder.infoHash}?file=5&pieceLength=16384`)
    expect(empty.json).toMatchObject({ filePieces: 0, hashes: [], next: { file: 6, from: 0 } })
  })

  it('is one when many make it known at once', async () => {
    const repository = testRepository()
    const replies = await Promise.all(Array.from({ length: 10 }, () => repository.putTorrent(film)))
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1)
    expect((await repository.get(`/v1/contents/${film.infoHash}/torrent`)).bytes).toEqual(film.torrent)
  })
})

describe('hashes of pieces', () => {
  const LENGTHS = [1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES - 3, 64 * KiB, 300_000, 1 * MiB + 5]

  it('are given for every power of two from the torrent’s own length up', async () => {
    for (const length of LENGTHS) {
      const file = contentOf('file', content(length), 16 * KiB)
      const repository = testRepository()
      await repository.putTorrent(file)
      for (let pieceLength = 16 * KiB; pieceLength <= limits.pieceBytesMax; pieceLength *= 2) {
        expect(await allHashes(repository, file.infoHash, pieceLength)).toEqual(
          expected(file.leaves[0] as Bytes, pieceLength),
        )
      }
    }
  })

  it('are given below it once the 16 KiB hashes were uploaded', async () => {
    for (const length of LENGTHS) {
      const file = contentOf('file', content(length), 256 * KiB)
      const leaves = file.leaves[0] as Bytes
      const repository = testRepository()
      await repository.putTorrent(file)
      const before = await repository.get(`/v1/contents/${file.infoHash}?pieceLength=16384`)
      if (length > BLOCK_BYTES)
        expect(before).toMatchObject({ status: 404, json: { code: 'not-found', missing: 'leaves' } })
      expect(await putLeaves(repository, file, 0, 0, leaves)).toMatchObject({
        status: 200,
        json: { count: leaves.length / 32 },
      })
      for (let pieceLength = 16 * KiB; pieceLength <= 1 * MiB; pieceLength *= 2) {
        expect(await allHashes(repository, file.infoHash, pieceLength, 0, '&count=3')).toEqual(
          expected(leaves, pieceLength),
        )
      }
    }
  })

  it('are counted over all files, and told a file at a time', async () => {
    const files = [
      { path: ['a'], bytes: content(100_000) },
      { path: ['b'], bytes: new Uint8Array(0) },
      { path: ['c'], bytes: content(70_000, 2) },
    ]
    const folder = contentOf('folder', files, 32 * KiB)
    const repository = testRepository()
    await repository.putTorrent(folder)
    const page = (query: string) => repository.get(`/v1/contents/${folder.infoHash}?pieceLength=65536${query}`)
    expect((await page('&count=1')).json).toMatchObject({
      pieceLength: 65_536,
      pieces: 4,
      file: 0,
      from: 0,
      filePieces: 2,
      next: { file: 0, from: 1 },
    })
    expect((await page('&from=1')).json).toMatchObject({
      from: 1,
      next: { file: 1, from: 0 },
      hashes: expected(folder.leaves[0] as Bytes, 65_536).slice(1),
    })
    expect((await page('&file=1')).json).toMatchObject({ filePieces: 0, hashes: [], next: { file: 2, from: 0 } })
    const last = await page('&file=2')
    expect(last.json).toMatchObject({ filePieces: 2, hashes: expected(folder.leaves[2] as Bytes, 65_536) })
    expect(last.json).not.toHaveProperty('next')
    expect(await page('&file=3')).toMatchObject(refusal(404, 'not-found'))
    expect(await page('&from=3')).toMatchObject(refusal(416, 'range-invalid'))
  })

  it.each(['0', '1', '16383', '16385', '8192', '24576', '134217728', '9223372036854775808', '-1', '1e6', 'x', ''])(
    'are not given for a piece length of %j',
    async (pieceLength) => {
      const file = contentOf('file', content(5))
      const repository = testRepository()
      await repository.putTorrent(file)
      expect(await repository.get(`/v1/contents/${file.infoHash}?pieceLength=${pieceLength}`)).toMatchObject(
        refusal(400, 'bad-request'),
      )
    },
  )

  it('take a bounded amount of work for one answer', async () => {
    const blocks = 70_000
    const leaves = new Uint8Array(blocks * HASH_BYTES).map((_, i) => (i * 31) % 251)
    const { torrent, infoHash } = torrentOfLeaves(leaves)
    const repository = testRepository()
    expect(await repository.ask('PUT', `/v1/contents/${infoHash}`, torrent)).toMatchObject({ status: 201 })
    const page = async (pieceLength: number, from = 0) =>
      (await repository.get(`/v1/contents/${infoHash}?pieceLength=${pieceLength}&from=${from}&count=1000000`)).json
    expect((await page(16 * KiB))['hashes']).toHaveLength(4096)
    expect(await page(64 * MiB)).toMatchObject({ filePieces: 18, next: { file: 0, from: 16 } })
    expect([
      ...((await page(64 * MiB))['hashes'] as unknown[]),
      ...((await page(64 * MiB, 16))['hashes'] as unknown[]),
    ]).toEqual(expected(leaves, 64 * MiB))
    expect((await page(16 * KiB, 69_990))['hashes']).toEqual(hashesOf(leaves.slice(-10 * HASH_BYTES)))
  })
})

describe('uploaded 16 KiB hashes', () => {
  const unit = runLeaves(4 * MiB)
  const file = contentOf('large', content(9 * MiB + 5), 4 * MiB)
  const leaves = file.leaves[0] as Bytes
  const part = (from: number, to: number): Bytes => leaves.slice(from * HASH_BYTES, to * HASH_BYTES)

  async function opened() {
    const repository = testRepository()
    await repository.putTorrent(file)
    return repository
  }

  it('come in runs of whole pieces, in any order, and again', async () => {
    const repository = await opened()
    const runs = [
      [2 * unit, 577],
      [0, unit],
      [unit, 2 * unit],
      [0, 2 * unit],
    ] as const
    for (const [from, to] of runs)
      expect(await putLeaves(repository, file, 0, from, part(from, to))).toMatchObject({ status: 200 })
    expect(await allHashes(repository, file.infoHash, 32 * KiB)).toEqual(expected(leaves, 32 * KiB))
  })

  it('that did not come are missed, and the others are given', async () => {
    const repository = await opened()
    await putLeaves(repository, file, 0, 0, part(0, unit))
    await putLeaves(repository, file, 0, 2 * unit, part(2 * unit, 577))
    const page = (from: number, count: number) =>
      repository.get(`/v1/contents/${file.infoHash}?pieceLength=16384&from=${from}&count=${count}`)
    expect((await page(0, unit)).json['hashes']).toHaveLength(unit)
    expect((await page(2 * unit, 900)).json['hashes']).toHaveLength(577 - 2 * unit)
    expect(await page(unit - 1, 2)).toMatchObject(refusal(404, 'not-found'))
    expect(await page(unit, unit + 1)).toMatchObject(refusal(404, 'not-found'))
  })

  it('that are not those of the torrent are refused, whole', async () => {
    const repository = await opened()
    const wrong = part(0, 2 * unit)
    wrong[wrong.length - 1] = (wrong.at(-1) as number) ^ 1
    expect(await putLeaves(repository, file, 0, 0, wrong)).toMatchObject(refusal(422, 'piece-invalid'))
    expect(await putLeaves(repository, file, 0, unit, part(0, unit))).toMatchObject(refusal(422, 'piece-invalid'))
    expect(await repository.get(`/v1/contents/${file.infoHash}?pieceLength=16384`)).toMatchObject(
      refusal(404, 'not-found'),
    )
  })

  it.each<[string, number, number, Bytes, number, string]>([
    ['that begin within a piece', 0, 1, part(1, unit), 416, 'range-invalid'],
    ['that end within a piece', 0, 0, part(0, unit - 1), 416, 'range-invalid'],
    ['beyond the file', 0, 3 * unit, part(0, unit), 416, 'range-invalid'],
    ['that are none', 0, 0, new Uint8Array(0), 416, 'range-invalid'],
    ['that are half', 0, 0, leaves.slice(0, 33), 416, 'range-invalid'],
    ['of a file that there is not', 1, 0, part(0, unit), 404, 'not-found'],
  ])('%s are refused', async (_, number, from, run, status, code) => {
    expect(await putLeaves(await opened(), file, number, from, run)).toMatchObject(refusal(status, code))
  })

  it('larger than a run may be are refused', async () => {
    const run = new Uint8Array(limits.leavesBytes + 1)
    expect(await putLeaves(await opened(), file, 0, 0, run)).toMatchObject(refusal(413, 'too-large'))
  })
})

describe('any bytes', () => {
  it('as a torrent are refused, and nothing is known of them', async () => {
    const good = contentOf('x', content(40_000))
    const mutated = fc
      .array(fc.tuple(fc.nat(good.torrent.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 })
      .map((changes) => {
        const copy = good.torrent.slice()
        for (const [at, byte] of changes) copy[at] = byte
        return copy
      })
    const repository = testRepository()
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 100 }).map((drawn) => new Uint8Array(drawn)),
          mutated,
        ),
        async (body) => {
          fc.pre(toHex(body) !== toHex(good.torrent))
          expect(await repository.ask('PUT', `/v1/contents/${good.infoHash}`, body)).toMatchObject({
            status: 422,
            json: { code: 'bad-torrent' },
          })
        },
      ),
    )
    expect(await repository.get(`/v1/contents/${good.infoHash}`)).toMatchObject(refusal(404, 'not-found'))
    expect(repository.faults).toEqual([])
  })
})

/** A torrent of one file with a piece for each leaf: content is not needed, its hashes are enough. */
function torrentOfLeaves(leaves: Bytes): TestContent {
  const count = leaves.length / HASH_BYTES
  const length = count * BLOCK_BYTES
  const height = Math.log2(widthOf(count))
  const piecesRoot = layerAbove(leaves, 0, height)
  const info = encode({
    'file tree': { big: { '': { length, 'pieces root': piecesRoot } } },
    length,
    'meta version': 2,
    name: 'big',
    'piece length': BLOCK_BYTES,
    pieces: new Uint8Array(count * 20),
  })
  const layers = encode({ [String.fromCharCode(...piecesRoot)]: leaves }, { keys: 'binary' })
  const torrent = concat(utf8('d4:info'), info, utf8('12:piece layers'), layers, utf8('e'))
  const meta = parseTorrent(torrent)
  return { infoHash: toHex(meta.infoHash), infoHashV1: toHex(meta.infoHashV1), torrent, meta, leaves: [leaves] }
}
