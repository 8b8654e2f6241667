/**
 * Unfinished files of a linked folder. Each write has two files in `.raincheck-partial/`: `<id>.data`, sparse and of full
 * size, filled in any order, and `<id>.journal`, a line for each part that was put.
 *
 * What a crash means, at each step:
 * - `put` writes the bytes, syncs them, then adds the line. A line is thus never ahead of its bytes, even after a power
 *   cut. The journal itself is not synced: a killed process loses nothing of it, a power cut perhaps its last seconds,
 *   whose parts are then fetched again. Syncing each part costs little, since the bytes must reach the disk anyway.
 * - `commit` links the data under its name, syncs the folder, then removes `.data` and `.journal`. A link fails where a
 *   name is taken, so nothing is ever overwritten. Repeated, it finds the inode that its id names. FAT and some others
 *   number their files anew at each mount: there a commit that was done, and whose answer was lost, is not found after it.
 */
import type { FileHandle } from 'node:fs/promises'
import type { Random } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { createPartials } from './folder-partials.ts'
import type { FolderFs, Paths } from './folder-paths.ts'
import { createPublisher, gone, WRITE_ID } from './folder-publish.ts'
import type { Handles } from './handles.ts'
import { checkPart, merge } from './ranges.ts'
import { notWhole } from './refusals.ts'
import type { ByteRange, WriteRef } from './storage.ts'

const JOURNAL_LINE = /^([0-9]+) ([0-9]+)$/

export interface FolderWrites {
  begin(path: FilePath, size: number): Promise<WriteRef>
  put(write: WriteRef, offset: number, part: Uint8Array): Promise<void>
  written(write: WriteRef): Promise<readonly ByteRange[]>
  /** @returns the path it got */
  commit(write: WriteRef): Promise<FilePath>
  abort(write: WriteRef): Promise<void>
}

export function createFolderWrites(
  root: string,
  fs: FolderFs,
  paths: Paths,
  handles: Handles,
  random: Random,
): FolderWrites {
  const publisher = createPublisher(root, fs, paths)
  const partials = createPartials(root, fs, paths, handles, random)

  async function put(write: WriteRef, offset: number, part: Uint8Array): Promise<void> {
    checkPart(write.size, offset, part)
    await partials.useData(write, async (handle) => {
      await writeAll(handle, part, offset)
      await handle.datasync()
    })
    await partials.addLine(write, `\n${offset} ${part.length}\n`)
  }

  async function written(write: WriteRef): Promise<readonly ByteRange[]> {
    const journal = await partials.journal(write)
    if (journal !== undefined) return merge(parseJournal(journal))
    return (await publisher.find(write)) ? merge([{ offset: 0, length: write.size }]) : gone()
  }

  async function commit(write: WriteRef): Promise<FilePath> {
    const path = (await partials.hasData(write)) ? await publish(write) : await publisher.find(write)
    // What is left of a write stays unless its file is there: it may be all that was paid for.
    if (path === undefined) return gone()
    await partials.discard(write)
    return path
  }

  async function publish(write: WriteRef): Promise<FilePath> {
    const [first, ...more] = await written(write)
    if ((first?.length ?? 0) !== write.size || more.length > 0) {
      throw notWhole()
    }
    await partials.release(write)
    return publisher.publish(write, partials.dataPath(write))
  }

  return {
    begin: async (path, size) => ({ id: await partials.create(size), name: path.join('/'), size }),
    put,
    written,
    commit,
    async abort(write) {
      if (!WRITE_ID.test(write.id)) return
      await partials.release(write)
      await partials.discard(write)
    },
  }
}

async function writeAll(handle: FileHandle, part: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < part.length;) {
    const { bytesWritten } = await handle.write(part, done, part.length - done, offset + done)
    done += bytesWritten
  }
}

/**
 * A line that was cut short, by a full disk or a power cut, says less than was written or does not count: each begins
 * with a newline too, so that it never runs into the next one.
 */
function parseJournal(text: string): ByteRange[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .flatMap((line) => {
      const [, offset, length] = JOURNAL_LINE.exec(line) ?? []
      return offset === undefined ? [] : [{ offset: Number(offset), length: Number(length) }]
    })
}
