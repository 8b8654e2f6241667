/** The part of a file that a request asks for (RFC 9110 §14). */
import type { ByteRange } from '../storage/storage.ts'

/**
 * @param header the request's Range
 * @returns undefined for all of it: without a range, or with one that may be ignored: of another unit, malformed, or of several parts;
 *   `unsatisfiable` where no byte of the file is in it
 */
export function askedRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header ?? '') ?? []
  if (first === '') return last === '' ? undefined : suffix(Number(last), size)
  const [from, to] = [Number(first), last === '' ? Infinity : Number(last)]
  if (to < from) return undefined
  return from < size ? { offset: from, length: Math.min(to, size - 1) - from + 1 } : 'unsatisfiable'
}

/** An empty file has a last byte of no place: all of it is sent, which is nothing. */
function suffix(bytes: number, size: number): ByteRange | 'unsatisfiable' | undefined {
  if (bytes === 0) return 'unsatisfiable'
  const length = Math.min(bytes, size)
  return size === 0 ? undefined : { offset: size - length, length }
}
