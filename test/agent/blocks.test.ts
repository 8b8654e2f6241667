/** Which pieces an agent keeps for the blocks that stock clients have not asked for yet. */
import { expect, it, vi } from 'vitest'
import { createBlocks } from '../../agent/bittorrent/blocks.ts'
import { createGuard } from '../../agent/guard/guard.ts'
import { limits } from '../../protocol/limits.ts'
import { openShop } from './shop.ts'

const BLOCK = limits.bittorrentBlockBytes

it('a piece that is half sent is kept rather than those that are wholly sent', async () => {
  const shop = await openShop()
  try {
    await shop.plant('film.bin', new Uint8Array(3 * limits.bittorrentCacheBytes))
    const film = await shop.shares.add({ link: 'folder', path: 'film.bin', public: true })
    const blocks = createBlocks(shop.shares, createGuard(shop.context), shop.clock)
    const readPiece = vi.spyOn(shop.shares, 'readPiece')
    const read = (index: number, offset: number) =>
      blocks.read(film, { index, offset, length: BLOCK }, new AbortController().signal)
    await read(0, 0)
    for (let index = 1; index < film.pieces; index++)
      for (let offset = 0; offset < film.pieceLength; offset += BLOCK) await read(index, offset)
    await read(0, BLOCK)
    expect(readPiece).toHaveBeenCalledTimes(film.pieces)
  } finally {
    await shop.close()
  }
})
