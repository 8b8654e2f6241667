/** Runs of bytes of a file. */
import { Problem } from '../../protocol/problem.ts'
import type { ByteRange } from './storage.ts'

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

/** @throws Problem `range-invalid` unless both are whole numbers, and the buffer, where given, is of that length */
export function bufferFor({ offset, length }: ByteRange, into: Uint8Array | undefined): Uint8Array {
  const whole = Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0
  if (!whole || (into && into.length !== length)) outOfRange()
  return into ?? new Uint8Array(length)
}

export function outOfRange(): never {
  throw new Problem('range-invalid', 'The range does not fit the file.')
}

/** @throws Problem `bad-request` */
export function checkSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new Problem('bad-request', 'The size of a file is no whole number.')
  }
}

/** @throws Problem `range-invalid` beyond the size */
export function checkPart(size: number, offset: number, part: Uint8Array): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + part.length > size) {
    throw new Problem('range-invalid', `The file has ${size} bytes, the part ends beyond them.`)
  }
}

/** As HTTP asks for a range of a byte or more (RFC 9110 §14.2). */
export const rangeHeader = ({ offset, length }: ByteRange): string => `bytes=${offset}-${offset + length - 1}`

/** What an answer holds, by its Content-Range (RFC 9110 §14.4). @returns undefined where that names no range */
export function contentRange(header: string | null | undefined): (ByteRange & { readonly total?: number }) | undefined {
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header ?? '') ?? []
  if (first === undefined) return undefined
  const range = { offset: Number(first), length: Number(last) - Number(first) + 1 }
  return total === '*' ? range : { ...range, total: Number(total) }
}

export const isSame = (a: ByteRange | undefined, b: ByteRange): boolean =>
  a?.offset === b.offset && a.length === b.length
