/** Which pieces an agent keeps for the blocks that stock clients have not asked for yet. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createBlocks } from '../../agent/bittorrent/blocks.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { openShop, type Shop } from './shop.ts'

const BLOCK = limits.bittorrentBlockBytes

let shop: Shop
beforeEach(async () => {
  shop = await openShop()
})
afterEach(() => shop.close())

/** A film of three times what may be kept. */
async function openFilm() {
  await shop.plant('film.bin', new Uint8Array(3 * limits.bittorrentCacheBytes))
  const film = await shop.shares.add({ link: 'folder', path: 'film.bin', public: true })
  const guard = createGuard(shop.context)
  const blocks = createBlocks(shop.shares, guard, shop.clock)
  const readPiece = vi.spyOn(shop.shares, 'readPiece')
  const read = (index: number, offset: number) =>
    blocks.read(film, { index, offset, length: BLOCK }, new AbortController().signal)
  async function readWhole(from: number): Promise<void> {
    for (let index = from; index < film.pieces; index++)
      for (let offset = 0; offset < film.pieceLength; offset += BLOCK) await read(index, offset)
  }
  return { film, guard, readPiece, read, readWhole }
}

it('a piece that is half sent is kept rather than those that are wholly sent', async () => {
  const { film, readPiece, read, readWhole } = await openFilm()
  await read(0, 0)
  await readWhole(1)
  await read(0, BLOCK)
  expect(readPiece).toHaveBeenCalledTimes(film.pieces)
})

it('no more is kept than fits, whatever is asked for', async () => {
  const { film, readPiece, read, readWhole } = await openFilm()
  await readWhole(0)
  const kept = limits.bittorrentCacheBytes / film.pieceLength
  for (let index = film.pieces - 1; index >= 0; index--) await read(index, 0)
  expect(readPiece).toHaveBeenCalledTimes(2 * film.pieces - kept)
})

it('a piece that the storage does not give counts for nothing against the cap of the day', async () => {
  const { film, guard, readPiece, read } = await openFilm()
  // Half of it is for what is free: one piece.
  await guard.change({ serve: BigInt(2 * film.pieceLength) })
  readPiece.mockRejectedValueOnce(new Problem('storage-unavailable', 'Away.'))
  await expect(read(0, 0)).rejects.toMatchObject({ code: 'storage-unavailable' })
  expect(await read(0, 0)).toHaveLength(BLOCK)
  await expect(read(1, 0)).rejects.toMatchObject({ code: 'cap-reached' })
})
