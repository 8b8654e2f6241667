/**
 * Blocks of pieces. A piece is read once from the owner's storage and kept for its other blocks: a request for each 16 KiB
 * of them is what a cloud bills.
 */
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { locatePiece } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import { STOP_HEARD_MS, type Guard } from '../guard/guard.ts'
import { createSerial } from '../serial.ts'
import { isForAll, type Share, type Shares } from '../share/share.ts'

/** In bytes of the piece, as v1 counts them: zeros fill up the last piece of each file of a folder (BEP 47). */
export interface BlockPlace {
  readonly index: number
  readonly offset: number
  readonly length: number
}

export interface Blocks {
  /** A share that strangers may have for nothing. @param infoHash v1 or v2, hex @throws Problem `stopped` */
  find(infoHash: string): Promise<Share | undefined>
  /**
   * @param gone aborts once nobody waits for it: a piece that is not being read yet is left alone then
   * @throws Problem `bad-request` for what is no block, `not-found`, `content-changed`, `stopped`, `cap-reached`,
   *   `storage-unavailable`; the signal's reason
   */
  read(share: Share, place: BlockPlace, gone: AbortSignal): Promise<Uint8Array>
}

interface Kept {
  readonly bytes: Uint8Array
  /** Of what the day's cap was charged for reading it. */
  left: number
  /** When it was known to be shared. */
  sharedMs: number
}

export function createBlocks(
  shares: Shares,
  guard: Pick<Guard, 'requireRunning' | 'serve'>,
  clock: Pick<Clock, 'now'>,
): Blocks {
  /** The latest used last. */
  const kept = new Map<string, Kept>()
  const inTurn = createSerial()

  async function find(infoHash: string): Promise<Share | undefined> {
    await guard.requireRunning()
    const share = await shares.get(infoHash)
    return share && isForAll(share) ? share : undefined
  }

  /** One is read at a time: however many ask, memory holds one piece more than what is kept. */
  async function pieceOf({ infoHash }: Share, index: number, gone: AbortSignal): Promise<Kept> {
    const name = `${infoHash}/${index}`
    const load = async (): Promise<Kept> => {
      gone.throwIfAborted()
      return take(name) ?? keep(name, await readPiece(infoHash, index))
    }
    return take(name) ?? inTurn('read', load)
  }

  function take(name: string): Kept | undefined {
    const piece = kept.get(name)
    kept.delete(name)
    if (piece) kept.set(name, piece)
    return piece
  }

  function keep(name: string, piece: Kept): Kept {
    makeRoom(piece.bytes.length)
    kept.set(name, piece)
    return piece
  }

  async function requireShared(infoHash: string): Promise<Share> {
    const share = await find(infoHash)
    if (!share) throw new Problem('not-found', 'This content is not shared here any more.')
    return share
  }

  async function readPiece(infoHash: string, index: number): Promise<Kept> {
    const sharedMs = clock.now()
    const share = await requireShared(infoHash)
    const { length } = locatePiece(share.meta, index)
    const giveBack = await guard.serve(length, true)
    try {
      return { bytes: await shares.readPiece(share, index), left: length, sharedMs }
    } catch (error) {
      giveBack()
      throw error
    }
  }

  /** What is kept goes to nobody once the owner has taken it back or stopped the agent. */
  async function renew(piece: Kept, { infoHash }: Share): Promise<void> {
    const nowMs = clock.now()
    if (nowMs - piece.sharedMs < STOP_HEARD_MS) return
    await requireShared(infoHash)
    piece.sharedMs = nowMs
  }

  function makeRoom(bytes: number): void {
    let held = Array.from(kept.values()).reduce((sum, piece) => sum + piece.bytes.length, bytes)
    for (const [name, piece] of Array.from(kept).toSorted(sentFirst)) {
      if (held <= limits.bittorrentCacheBytes) return
      kept.delete(name)
      held -= piece.bytes.length
    }
  }

  /** To read a piece is charged like sending it once; what goes out beyond that is charged as it goes. */
  async function charge(piece: Kept, bytes: number): Promise<void> {
    if (piece.left < bytes) await guard.serve(bytes, true)
    else piece.left -= bytes
  }

  return {
    find,
    async read(share, { index, offset, length }, gone) {
      const isBlock = offset >= 0 && length > 0 && length <= limits.bittorrentBlockBytes
      if (!isBlock || offset + length > share.pieceLength) throw new Problem('bad-request', 'There is no such block.')
      const piece = await pieceOf(share, index, gone)
      await renew(piece, share)
      await charge(piece, length)
      const block = new Uint8Array(length)
      block.set(piece.bytes.subarray(offset, offset + length))
      return block
    },
  }
}

/** What is half sent would be read and charged anew for each block of a slow client. */
const sentFirst = ([, one]: [string, Kept], [, other]: [string, Kept]): number =>
  Number(other.left === 0) - Number(one.left === 0)
