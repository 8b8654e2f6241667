/** Sparse content as a file that takes as little of the disk. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { RUN, type Content } from './s3-content.ts'

const MARK_BYTES = 8

/** @param marks where those of 256 KiB stand that are to be right; default: all */
export function writeSparse(path: string, content: Content, marks: Iterable<number> = everyRun(content)): void {
  const file = openSync(path, 'w')
  ftruncateSync(file, content.size)
  for (const at of marks) writeSync(file, content.read(at, Math.min(MARK_BYTES, content.size - at)), 0, null, at)
  closeSync(file)
}

function* everyRun({ size }: Content): Generator<number> {
  for (let at = 0; at < size; at += RUN) yield at
}
