/** Files beyond 4 GiB: read anywhere, and written piece by piece, by their real offsets. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createJournal } from '../../agent/download/journal.ts'
import { spoolOf } from '../../agent/download/spool.ts'
import { openSink, type Sink } from '../../agent/download/sink.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { HASH_BYTES, levelOf, rootOf } from '../../protocol/block-tree.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { SHA1_BYTES, type Metainfo } from '../../protocol/metainfo.ts'
import { fileHasher, verifyPiece } from '../../protocol/piece.ts'
import { sparseContent, type Content } from '../servers/s3-content.ts'
import type { StorageHarness } from './storage-world.ts'

export interface HugeHarness extends StorageHarness {
  /** @param marks where it is read: nothing else need be right */
  plantContent(name: string, content: Content, marks: readonly number[]): Promise<void>
  /** Where parts come in order: the one upload that is open has got so many bytes, without their being sent. */
  receive?(bytes: number): void
}

const MIB = 1024 ** 2
const SIZE = 50 * 1024 * MIB
const PIECE_BYTES = 16 * MIB
const PIECES = SIZE / PIECE_BYTES
const TAIL = 2

/** Of zeros: a piece is hashed once, and stands for all of them. */
function zerosOf(name: string): Metainfo {
  const hasher = fileHasher({ length: 2 * PIECE_BYTES, pieceLength: PIECE_BYTES, padded: false })
  hasher.update(new Uint8Array(2 * PIECE_BYTES))
  const { pieceHashes, sha1 } = hasher.digest()
  const many = (hash: Uint8Array): Uint8Array<ArrayBuffer> =>
    new Uint8Array(Buffer.concat(Array.from({ length: PIECES }, () => hash)))
  const layer = many(pieceHashes.subarray(0, HASH_BYTES))
  const piecesRoot = rootOf(layer, levelOf(PIECE_BYTES))
  const hashes = { length: SIZE, piecesRoot, pieceHashes: layer, sha1: many(sha1.subarray(0, SHA1_BYTES)) }
  return makeTorrent({ name, folder: false, pieceLength: PIECE_BYTES, files: [{ path: [name], hashes }] }).meta
}

export function describeHuge(kind: string, open: () => Promise<HugeHarness>): void {
  describe(`${kind} and a file of 50 GiB`, () => {
    let harness: HugeHarness
    beforeEach(async () => {
      harness = await open()
    })
    afterEach(() => harness.dispose())

    test('reads it anywhere', async () => {
      const offsets = [2 ** 32 - MIB, 2 ** 32, 49 * 1024 * MIB, SIZE - MIB]
      await harness.plantContent('huge', sparseContent(SIZE), offsets)
      const { size, version } = await harness.storage.stat({ name: 'huge' })
      expect(size).toBe(SIZE)
      for (const offset of offsets) {
        const read = await harness.storage.read({ name: 'huge', version }, { offset, length: MIB })
        expect(Buffer.from(read).readBigUInt64BE()).toBe(BigInt(offset))
      }
    })

    test('takes its last pieces where they belong, and tells so after a crash', async () => {
      const meta = zerosOf('huge')
      const store = openSqlite(':memory:')
      const spool = spoolOf({ store }, 'huge', meta)
      const options = { meta, pk: 'huge', spool, span: { from: 0, to: PIECES }, folder: undefined }
      const open = (storage: Storage): Promise<Sink> =>
        openSink({ ...options, storage, journal, onRoom: () => undefined })
      const journal = createJournal(store)
      const sink = await open(harness.storage)
      const piece = new Uint8Array(PIECE_BYTES)
      const last = Array.from({ length: TAIL }, (_, i) => PIECES - TAIL + i)
      await journal.write(await sink.prepare(last[0] as number))
      harness.receive?.(SIZE - TAIL * PIECE_BYTES)
      expect(verifyPiece(meta, PIECES - 1, piece)).toBe(true)
      for (const index of last) await sink.put(index, piece)
      const after = await open(await harness.reopen())
      expect(await after.missing(last)).toEqual([])
      const isInOrder = harness.receive !== undefined
      expect(await after.missing([0, 256, PIECES - TAIL - 1])).toEqual(isInOrder ? [] : [0, 256, PIECES - TAIL - 1])
      if (isInOrder) expect(await after.commit()).toBe('huge')
      else await expect(after.commit()).rejects.toMatchObject({ code: 'conflict' })
      await after.abort()
      store.close()
      expect(await harness.everything()).toEqual([])
    })
  })
}
