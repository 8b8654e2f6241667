/** A storage in memory. What lies on its disk outlives the storage that put it there, as files outlive a process. */
import { merge } from '../../agent/storage/ranges.ts'
import { numbered } from '../../agent/storage/names.ts'
import type { ByteRange, FileEntry, FileRef, FileStat, Storage, WriteRef } from '../../agent/storage/storage.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import { checkPath } from '../../protocol/file-path.ts'
import { Problem } from '../../protocol/problem.ts'

interface StoredFile {
  readonly bytes: Uint8Array
  readonly version: string
  /** Of the write that made it. */
  readonly write?: string
}

interface Unfinished {
  readonly name: string
  readonly bytes: Bytes
  put: readonly ByteRange[]
}

export interface Disk {
  readonly files: ReadonlyMap<string, StoredFile>
  readonly unfinished: ReadonlyMap<string, Unfinished>
  /** Puts a file there, or replaces it, as another program would. */
  plant(name: string, bytes: Uint8Array): void
  uproot(name: string): void
  wipe(): void
  /** Over the same disk, as each process opens its own. */
  open(random: Random): Storage
}

const PART_BYTES = 64 * 1024

export function createDisk(): Disk {
  const files = new Map<string, StoredFile>()
  const unfinished = new Map<string, Unfinished>()
  let versions = 0

  function place(name: string, bytes: Uint8Array, write?: string): StoredFile {
    const file = { bytes, version: `v${++versions}`, ...(write !== undefined && { write }) }
    files.set(name, file)
    return file
  }

  return {
    files,
    unfinished,
    plant: (name, bytes) => void place(name, bytes),
    uproot: (name) => void files.delete(name),
    wipe() {
      files.clear()
      unfinished.clear()
    },
    open: (random) => ({
      writes: 'any-order',
      partBytes: PART_BYTES,
      wholeParts: false,
      quota: async () => undefined,
      close: async () => undefined,
      ...readsOf(files),
      ...writesOf(files, unfinished, place, random),
    }),
  }
}

type Reads = Pick<Storage, 'list' | 'stat' | 'read' | 'remove' | 'freeFolder'>

function readsOf(files: Map<string, StoredFile>): Reads {
  function find({ name, version }: FileRef): StoredFile {
    const file = files.get(checked(name))
    if (!file) throw new Problem('not-found', 'There is no such file.')
    if (version !== undefined && version !== file.version) throw new Problem('content-changed', 'The file has changed.')
    return file
  }
  const isTaken = (name: string): boolean =>
    files.has(name) || [...files.keys()].some((file) => file.startsWith(`${name}/`))

  return {
    async list({ under } = {}) {
      const prefix = under === undefined ? '' : `${checked(under)}/`
      const inside = [...files].filter(([name]) => name.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1))
      return { files: inside.map(([name, file]): FileEntry => ({ name, ...statOf(file) })), refused: [] }
    },
    stat: async (file) => statOf(find(file)),
    async read(file, { offset, length }, into) {
      const { bytes } = find(file)
      const isInside = Number.isInteger(offset) && offset >= 0 && length >= 0 && offset + length <= bytes.length
      if (!isInside || (into && into.length !== length)) throw new Problem('range-invalid', 'The range does not fit.')
      const buffer = into ?? new Uint8Array(length)
      buffer.set(bytes.subarray(offset, offset + length))
      return buffer
    },
    async remove(file) {
      if (files.has(checked(file.name)) && find(file)) files.delete(file.name)
    },
    async freeFolder(name, taken = () => false) {
      for (let number = 1; ; number++) {
        const candidate = numbered(checked(name), number, -1)
        if (!taken(candidate) && !isTaken(candidate)) return candidate
      }
    },
  }
}

type Writes = Pick<Storage, 'begin' | 'put' | 'written' | 'commit' | 'abort'>
type Place = (name: string, bytes: Uint8Array, write: string) => StoredFile

function writesOf(
  files: Map<string, StoredFile>,
  unfinished: Map<string, Unfinished>,
  place: Place,
  random: Random,
): Writes {
  const committed = (write: WriteRef): readonly [string, StoredFile] | undefined =>
    [...files].find(([, file]) => file.write === write.id)

  function find(write: WriteRef): Unfinished {
    const found = unfinished.get(write.id)
    if (!found) throw new Problem('not-found', 'This write was aborted, or is not of this storage.')
    return found
  }

  /** A name that is free: nothing is overwritten. */
  function freeName(name: string): string {
    const folder = name.slice(0, name.lastIndexOf('/') + 1)
    const last = name.slice(folder.length)
    let number = 1
    while (files.has(folder + numbered(last, number, last.lastIndexOf('.')))) number++
    return folder + numbered(last, number, last.lastIndexOf('.'))
  }

  return {
    async begin(name, size) {
      const path = checked(name.normalize('NFC'))
      if (!Number.isSafeInteger(size) || size < 0) throw new Problem('bad-request', 'The size is no whole number.')
      const folders = path.split('/').map((_, depth, names) => names.slice(0, depth).join('/'))
      if (folders.some((folder) => files.has(folder)))
        throw new Problem('conflict', 'A file is where a folder is needed.')
      const id = toHex(random.bytes(16))
      unfinished.set(id, { name: path, bytes: new Uint8Array(size), put: [] })
      return { id, name: path, size }
    },
    async put(write, offset, part) {
      const found = find(write)
      const isInside = Number.isInteger(offset) && offset >= 0 && offset + part.length <= found.bytes.length
      if (!isInside) throw new Problem('range-invalid', 'The part lies beyond the size.')
      found.bytes.set(part, offset)
      found.put = merge([...found.put, { offset, length: part.length }])
    },
    async written(write) {
      return committed(write) ? merge([{ offset: 0, length: write.size }]) : find(write).put
    },
    async commit(write) {
      const known = committed(write)
      if (known) return { name: known[0], version: known[1].version }
      const { bytes, name, put } = find(write)
      if ((put[0]?.length ?? 0) !== bytes.length) throw new Problem('conflict', 'Not all bytes were put yet.')
      const free = freeName(name)
      unfinished.delete(write.id)
      return { name: free, version: place(free, bytes, write.id).version }
    },
    abort: async (write) => void unfinished.delete(write.id),
  }
}

function checked(name: string): string {
  checkPath(name.split('/'), 'path-outside')
  return name
}

const statOf = ({ bytes, version }: StoredFile): FileStat => ({ size: bytes.length, version })
