/** What the repository is given of a share: its torrent, and the hashes of its 16 KiB blocks. */
import { Problem } from '../../protocol/problem.ts'
import type { RepositoryClient } from '../clients/repository-client.ts'
import type { LeafBox } from './leaves.ts'
import type { ShareHead, ShareRecords } from './records.ts'

export interface Uploads {
  /** @throws Problem `too-large`, from then on a share that is `isRefused` */
  torrent(head: ShareHead): Promise<void>
  /** It stays so until it is shared again, or there is another repository. */
  isRefused(head: ShareHead): boolean
  /** Some of those that are left: the next round goes on. */
  leaves(head: ShareHead): Promise<void>
}

/** Of 256 KiB at most each: the leaves of 8 GiB. */
const RUNS_PER_ROUND = 64
/** How many are in memory. */
const RUNS_AT_ONCE = 4

export function createUploads(repository: RepositoryClient, records: ShareRecords, box: LeafBox): Uploads {
  /** Each round would send it in vain. */
  async function refuse(infoHash: string, error: unknown): Promise<never> {
    if (error instanceof Problem && error.code === 'too-large') {
      const refused = { by: repository.url, reason: error.message }
      await records.change(infoHash, (head) => ({ ...head, refused }))
    }
    throw error
  }

  return {
    async torrent({ infoHash }) {
      const torrent = await records.torrent(infoHash)
      await repository.putTorrent(infoHash, torrent).catch((error: unknown) => refuse(infoHash, error))
      await records.change(infoHash, ({ refused: _, ...head }) => ({ ...head, uploaded: true }))
    },
    isRefused: ({ refused }) => refused?.by === repository.url,
    async leaves({ infoHash, source }) {
      for (let sent = 0; sent < RUNS_PER_ROUND; sent += RUNS_AT_ONCE) {
        const runs = await box.first(source, RUNS_AT_ONCE)
        for (const { key, run } of runs) {
          await repository.putLeaves(infoHash, run)
          await box.forget(source, [key])
        }
        if (runs.length === RUNS_AT_ONCE) continue
        await records.change(infoHash, (head) => ({ ...head, leavesUploaded: true }))
        return
      }
    },
  }
}
