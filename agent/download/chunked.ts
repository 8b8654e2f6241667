/** The chunked transfer coding of an HTTP/1.1 body (RFC 9112 §7.1), read strictly; extensions and trailers are passed over. */
import { Problem } from '../../protocol/problem.ts'

export interface ChunkedReader {
  /** The body is whole. */
  readonly isOver: boolean
  /** @throws Problem `peer-failed` for what is not this coding, and for bytes after its end */
  feed(bytes: Uint8Array): void
}

const LINE_BYTES = 1024
const TRAILER_LINES = 64
const SIZE = /^([0-9a-fA-F]{1,8})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/
const [CR, LF] = [13, 10]

export function readChunked(onData: (bytes: Uint8Array) => void): ChunkedReader {
  let state: 'size' | 'data' | 'after-data' | 'trailer' | 'over' = 'size'
  let line = ''
  let left = 0
  let trailers = 0

  /** @returns how many bytes it took */
  function takeLine(bytes: Uint8Array): number {
    const end = bytes.indexOf(LF)
    const part = end < 0 ? bytes : bytes.subarray(0, end)
    if (line.length + part.length > LINE_BYTES) refuse('has a line that is too long')
    line += Buffer.from(part.buffer, part.byteOffset, part.length).toString('latin1')
    if (end < 0) return bytes.length
    if (line.charCodeAt(line.length - 1) !== CR) refuse('has a line without its end')
    const whole = line.slice(0, -1)
    line = ''
    endLine(whole)
    return end + 1
  }

  function endLine(text: string): void {
    if (state === 'after-data') {
      if (text !== '') refuse('has a chunk of another size than it says')
      state = 'size'
    } else if (state === 'size') {
      left = Number.parseInt(SIZE.exec(text)?.[1] ?? refuse('has a malformed chunk'), 16)
      state = left > 0 ? 'data' : 'trailer'
    } else if (text !== '') {
      if (++trailers > TRAILER_LINES) refuse('has too many trailers')
    } else state = 'over'
  }

  function takeData(bytes: Uint8Array): number {
    const part = bytes.subarray(0, left)
    left -= part.length
    if (left === 0) state = 'after-data'
    onData(part)
    return part.length
  }

  return {
    get isOver() {
      return state === 'over'
    },
    feed(bytes) {
      for (let at = 0; at < bytes.length;) {
        if (state === 'over') refuse('goes on after its end')
        const rest = bytes.subarray(at)
        at += state === 'data' ? takeData(rest) : takeLine(rest)
      }
    },
  }
}

function refuse(why: string): never {
  throw new Problem('peer-failed', `The body ${why}.`)
}
