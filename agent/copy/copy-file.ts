/**
 * One file from one storage to another, part by part, with a few parts in memory at once whatever its size. The target
 * says what it has, so it goes on after a crash where the target says; inside one provider no byte passes us.
 */
import { Problem } from '../../protocol/problem.ts'
import { allAtRest } from '../at-rest.ts'
import type { ByteRange, FileRef, Storage, WriteRef } from '../storage/storage.ts'

export interface CopyTask {
  readonly source: Storage
  readonly target: Storage
  /** Pinned: another version is not copied in its place. */
  readonly file: FileRef & { readonly version: string }
  readonly write: WriteRef
  readonly signal: AbortSignal
  /** Others are copied beside it, and memory is theirs too: it has one part in it at a time. */
  readonly isOneOfMany?: boolean
  /** Told how many bytes the target holds. */
  readonly onProgress: (bytes: number) => void
}

const PARTS_AT_ONCE = 4

/** @returns where the file lies; undefined when the signal stopped it. @throws Problem of either storage */
export async function copyFile(task: CopyTask): Promise<FileRef | undefined> {
  const { target, write, signal, onProgress } = task
  const held = await target.written(write)
  let done = held.reduce((sum, { length }) => sum + length, 0)
  onProgress(done)
  if (await copyWhole(task)) {
    onProgress(write.size)
    return target.commit(write)
  }
  const parts = missingParts(task, held)
  const movePart = await moverOf(task)
  const partBytes = Math.min(write.size, partBytesOf(task))
  async function flow(): Promise<void> {
    // One for all of the flow's parts: what is only let go of stays in memory for a while.
    let buffer: Uint8Array | undefined
    for (const part of parts) {
      if (signal.aborted) return
      await movePart(part, () => (buffer ??= new Uint8Array(partBytes)).subarray(0, part.length))
      onProgress((done += part.length))
    }
  }
  const flows = task.isOneOfMany || target.writes === 'in-order' ? 1 : PARTS_AT_ONCE
  await allAtRest(Array.from({ length: flows }, flow))
  return signal.aborted ? undefined : target.commit(write)
}

/** @returns false where the providers differ, or one account may not copy from the other */
async function copyWhole({ source, target, file, write }: CopyTask): Promise<boolean> {
  if (!source.lend || !target.copyWhole || write.size === 0) return false
  try {
    await target.copyWhole(write, await source.lend(file))
    return true
  } catch (error) {
    if (!(error instanceof Problem && error.code === 'storage-denied')) throw error
    return false
  }
}

/** A generator that several flows draw from. Where the target takes parts in order, it begins in the midst of one. */
function* missingParts(task: CopyTask, held: readonly ByteRange[]): Generator<ByteRange> {
  const { write } = task
  const partBytes = partBytesOf(task)
  const isHeld = (offset: number): ByteRange | undefined =>
    held.find((range) => offset >= range.offset && offset < range.offset + range.length)
  for (let offset = 0; offset < write.size;) {
    const range = isHeld(offset)
    const end = range ? range.offset + range.length : Math.min(write.size, offset - (offset % partBytes) + partBytes)
    if (!range) yield { offset, length: end - offset }
    offset = end
  }
}

const partBytesOf = ({ target, write }: CopyTask): number => write.partBytes ?? target.partBytes

/** @param buffer as long as the part, where its bytes pass us */
type MovePart = (part: ByteRange, buffer: () => Uint8Array) => Promise<void>

async function moverOf({ source, target, file, write }: CopyTask): Promise<MovePart> {
  const through: MovePart = async (part, buffer) =>
    target.put(write, part.offset, await source.read(file, part, buffer()))
  const place = source.place?.(file)
  const site = await target.site?.()
  if (!place || !site || site.provider !== place.provider || !target.copyFrom) return through
  let isInside = true
  return async (part, buffer) => {
    if (!isInside) return through(part, buffer)
    try {
      await target.copyFrom?.(write, part.offset, place, part)
    } catch (error) {
      // One account may not read the other's: then each is used by its own.
      if (!(error instanceof Problem && error.code === 'storage-denied')) throw error
      isInside = false
      await through(part, buffer)
    }
  }
}
