/**
 * Unfinished files of a linked folder. Each write has two files in `.raincheck-partial/`: `<id>.data`, sparse and of full
 * size, filled in any order, and `<id>.journal`, a line for each part that was put.
 *
 * What a crash means, at each step:
 * - `put` writes the bytes, syncs them, then adds the line. A line is thus never ahead of its bytes, even after a power
 *   cut. The journal itself is not synced: a killed process loses nothing of it, a power cut perhaps its last seconds,
 *   whose parts are then fetched again. Syncing each part costs little, since the bytes must reach the disk anyway.
 * - `commit` links the data under its name, syncs the folder, then removes `.data` and `.journal`. A link fails where a
 *   name is taken, so nothing is ever overwritten. Repeated, it finds the inode that its id names.
 */
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { codeOf, PARTIAL_FOLDER, syncFolder, unless, type FolderFs, type Paths, type Place } from './folder-paths.ts'
import type { Handles } from './handles.ts'
import type { ByteRange, WriteRef } from './storage.ts'

/** Random id, and the inode of `.data`, by which a repeated commit knows its file. */
const ID = /^([0-9a-f]{32})-([0-9]+)$/
const JOURNAL_LINE = /^([0-9]+) ([0-9]+)$/
const MOST_NUMBERS = 10_000
const ATTEMPTS = 3
/** File systems without hard links. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

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
  const partial = join(root, PARTIAL_FOLDER)
  const fileOf = (write: WriteRef, kind: 'data' | 'journal'): string => join(partial, `${parseId(write).name}.${kind}`)

  async function begin(path: FilePath, size: number): Promise<WriteRef> {
    for (let attempt = 1; ; attempt++) {
      try {
        const id = await paths.inFolder([PARTIAL_FOLDER], (place) => create(place, toHex(random.bytes(16)), size))
        return { id, name: path.join('/'), size }
      } catch (error) {
        // The last write that ends removes the folder, perhaps just as this one begins.
        if (codeOf(error) !== 'ENOENT' || attempt === ATTEMPTS) throw error
      }
    }
  }

  async function create(place: Place, name: string, size: number): Promise<string> {
    const journal = await fs.open(place.at(`${name}.journal`), 'wx')
    await journal.close()
    const data = await fs.open(place.at(`${name}.data`), 'wx')
    try {
      await data.truncate(size)
      return `${name}-${(await data.stat({ bigint: true })).ino}`
    } finally {
      await data.close()
    }
  }

  const openPartial = async (path: string, flags: number): Promise<FileHandle> =>
    (await unless(paths.openExact(path, flags), 'ENOENT')) ?? gone()

  async function put(write: WriteRef, offset: number, part: Uint8Array): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + part.length > write.size) {
      throw new Problem('range-invalid', `The file has ${write.size} bytes, the part ends beyond them.`)
    }
    const data = fileOf(write, 'data')
    await handles.use(
      data,
      () => openPartial(data, constants.O_RDWR),
      async (handle) => {
        await writeAll(handle, part, offset)
        await handle.datasync()
      },
    )
    const journal = fileOf(write, 'journal')
    await handles.use(
      journal,
      () => openPartial(journal, constants.O_WRONLY | constants.O_APPEND),
      (handle) => handle.write(utf8(`${offset} ${part.length}\n`)),
    )
  }

  async function written(write: WriteRef): Promise<readonly ByteRange[]> {
    const journal = await unless(paths.openExact(fileOf(write, 'journal'), constants.O_RDONLY), 'ENOENT')
    if (!journal) return (await findCommitted(write)) ? merge([{ offset: 0, length: write.size }]) : gone()
    try {
      return merge(parseJournal(await journal.readFile('utf8')))
    } finally {
      await journal.close()
    }
  }

  async function commit(write: WriteRef): Promise<FilePath> {
    const data = fileOf(write, 'data')
    if (!(await isOurs(write, data))) return committed(write)
    const [first, ...more] = await written(write)
    if ((first?.length ?? 0) !== write.size || more.length > 0) {
      throw new Problem('conflict', 'Not all bytes of the file were put yet.')
    }
    await release(write)
    const path = await paths.inFolder(folderOf(write), (place) => publish(write, data, place))
    await discard(write)
    return path
  }

  async function committed(write: WriteRef): Promise<FilePath> {
    const path = (await findCommitted(write)) ?? gone()
    await discard(write)
    return path
  }

  async function publish(write: WriteRef, data: string, place: Place): Promise<FilePath> {
    for (const name of namesFor(write)) {
      if ((await isOurs(write, place.at(name))) || (await linkAs(data, place.at(name)))) {
        await syncFolder(place.handle)
        return [...folderOf(write), name]
      }
    }
    throw new Problem('conflict', `${MOST_NUMBERS} files bear the name ${JSON.stringify(write.name)}.`)
  }

  /** @returns false when the name is taken */
  async function linkAs(data: string, target: string): Promise<boolean> {
    try {
      await fs.link(data, target)
      return true
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false
      if (!NO_LINKS.includes(codeOf(error) ?? '')) throw error
      return renameAs(data, target)
    }
  }

  /** Reserves the name with an empty file, which a crash may leave behind, and moves the data over it. */
  async function renameAs(data: string, target: string): Promise<boolean> {
    const reserved = await unless(fs.open(target, 'wx'), 'EEXIST')
    if (!reserved) return false
    await reserved.close()
    await fs.rename(data, target)
    return true
  }

  async function isOurs(write: WriteRef, target: string): Promise<boolean> {
    const found = await unless(fs.lstat(target, { bigint: true }), 'ENOENT', 'ENOTDIR')
    return found !== undefined && found.ino === parseId(write).inode && found.size === BigInt(write.size)
  }

  /** Where a commit that was cut short, or its answer lost, has put the file. */
  async function findCommitted(write: WriteRef): Promise<FilePath | undefined> {
    for (const name of namesFor(write, 100)) {
      const path = [...folderOf(write), name]
      if (await isOurs(write, join(root, ...path))) return path
    }
    return undefined
  }

  async function release(write: WriteRef): Promise<void> {
    await handles.drop(fileOf(write, 'data'))
    await handles.drop(fileOf(write, 'journal'))
  }

  async function discard(write: WriteRef): Promise<void> {
    for (const kind of ['data', 'journal'] as const) await unless(fs.unlink(fileOf(write, kind)), 'ENOENT')
    await unless(fs.rmdir(partial), 'ENOTEMPTY', 'EEXIST', 'ENOENT')
  }

  return {
    begin,
    put,
    written,
    commit,
    async abort(write) {
      if (!ID.test(write.id)) return
      await release(write)
      await discard(write)
    },
  }
}

const folderOf = (write: WriteRef): FilePath => write.name.split('/').slice(0, -1)

function parseId(write: WriteRef): { name: string; inode: bigint } {
  const [, name, inode] = ID.exec(write.id) ?? []
  return name !== undefined && inode !== undefined ? { name, inode: BigInt(inode) } : gone()
}

async function writeAll(handle: FileHandle, part: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < part.length;) {
    const { bytesWritten } = await handle.write(part, done, part.length - done, offset + done)
    done += bytesWritten
  }
}

/** A last line that a crash cut short does not end in a newline, and is left out. */
function parseJournal(text: string): ByteRange[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .flatMap((line) => {
      const [, offset, length] = JOURNAL_LINE.exec(line) ?? []
      return offset === undefined ? [] : [{ offset: Number(offset), length: Number(length) }]
    })
}

/** Sorted, none touching another. */
export function merge(ranges: readonly ByteRange[]): readonly ByteRange[] {
  const merged: { offset: number; length: number }[] = []
  for (const { offset, length } of ranges.toSorted((a, b) => a.offset - b.offset)) {
    const last = merged.at(-1)
    if (length === 0) continue
    if (last && offset <= last.offset + last.length) last.length = Math.max(last.length, offset + length - last.offset)
    else merged.push({ offset, length })
  }
  return merged
}

function* namesFor(write: WriteRef, most = MOST_NUMBERS): Generator<string> {
  const name = write.name.slice(write.name.lastIndexOf('/') + 1)
  for (let number = 1; number <= most; number++) yield numbered(name, number, name.lastIndexOf('.'))
}

/** "photo (2).jpg": the number goes in at `dot`, or at the end; the name is cut to stay within the limit. */
export function numbered(name: string, number: number, dot: number): string {
  if (number === 1) return name
  const at = dot > 0 ? dot : name.length
  const end = ` (${number})${name.slice(at)}`
  const stem = Array.from(name.slice(0, at))
  while (stem.length > 1 && utf8(stem.join('') + end).length > limits.nameBytes) stem.pop()
  return stem.join('') + end
}

function gone(): never {
  throw new Problem('not-found', 'This write was aborted, or is not of this folder.')
}
