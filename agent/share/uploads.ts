/** What the repository is given of a share: its torrent, and the hashes of its 16 KiB blocks. */
import { HASH_BYTES } from '../../protocol/block-tree.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import type { RepositoryClient } from '../clients/repository-client.ts'
import type { LeafBox } from './leaves.ts'
import type { ShareHead, ShareRecords } from './records.ts'

export interface Uploads {
  torrent(head: ShareHead): Promise<void>
  /** Some of those that are left: the next round goes on. */
  leaves(head: ShareHead): Promise<void>
}

/** Of 256 KiB at most each: the leaves of 8 GiB. */
const RUNS_PER_ROUND = 64

export function createUploads(repository: RepositoryClient, records: ShareRecords, box: LeafBox): Uploads {
  return {
    async torrent({ infoHash }) {
      await repository.putTorrent(infoHash, await records.torrent(infoHash))
      await records.change(infoHash, (head) => ({ ...head, uploaded: true }))
    },
    async leaves({ infoHash, source }) {
      const runs = await box.first(source, RUNS_PER_ROUND)
      for (const { key, run } of runs) {
        await repository.putLeaves(infoHash, { ...run, leaves: split(run.leaves) })
        await box.forget(source, [key])
      }
      if (runs.length === RUNS_PER_ROUND) return
      await records.change(infoHash, (head) => ({ ...head, leavesUploaded: true }))
    },
  }
}

const split = (leaves: Bytes): Bytes[] =>
  Array.from({ length: leaves.length / HASH_BYTES }, (_, i) => leaves.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))
