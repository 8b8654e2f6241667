/** What objects hold: bytes that are kept, or bytes that are computed when asked for, so that 50 GiB take no memory. */
import { createHash } from 'node:crypto'

export interface Content {
  readonly size: number
  read(offset: number, length: number): Uint8Array
}

export const bytesContent = (bytes: Uint8Array): Content => ({
  size: bytes.length,
  read: (offset, length) => bytes.subarray(offset, offset + length),
})

/** What a server does with uploaded bytes: keeps them, unless it holds more than memory does. */
export type Keep = (bytes: Buffer) => Content

/** Every upload to a provider is in multiples of this, but for the last. */
export const RUN = 256 * 1024

/** Sparse: zeros, but for the offset of each 256 KiB in its first 8 bytes, big-endian, so that no two are the same. */
export function sparseContent(size: number): Content {
  return {
    size,
    read(offset, length) {
      const bytes = Buffer.alloc(length)
      const first = Math.floor(offset / RUN) * RUN
      for (let at = first; at < offset + length; at += RUN) {
        const mark = Buffer.alloc(8)
        mark.writeBigUInt64BE(BigInt(at))
        for (let i = 0; i < 8; i++) {
          const place = at + i - offset
          if (place >= 0 && place < length) bytes[place] = mark[i] as number
        }
      }
      return bytes
    },
  }
}

/** Zeros alone. */
export const holeContent = (size: number): Content => ({ size, read: (_, length) => Buffer.alloc(length) })

/** Bytes that are a run of the sparse content are kept as that, which takes no memory; others as they are. */
export const keepSparse =
  (sparse: Content): Keep =>
  (bytes) => {
    const at = bytes.length < 8 ? sparse.size : Number(bytes.readBigUInt64BE())
    const isRun = at + bytes.length <= sparse.size && bytes.equals(sparse.read(at, bytes.length))
    return isRun ? sliceContent(sparse, at, bytes.length) : bytesContent(bytes)
  }

export function joinContents(parts: readonly Content[]): Content {
  const starts: number[] = []
  let size = 0
  for (const part of parts) {
    starts.push(size)
    size += part.size
  }
  return {
    size,
    read(offset, length) {
      const pieces: Uint8Array[] = []
      parts.forEach((part, i) => {
        const from = Math.max(offset, starts[i] as number)
        const to = Math.min(offset + length, (starts[i] as number) + part.size)
        if (from < to) pieces.push(part.read(from - (starts[i] as number), to - from))
      })
      return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)
    },
  }
}

export const sliceContent = (content: Content, offset: number, size: number): Content => ({
  size,
  read: (at, length) => content.read(offset + at, length),
})

const DIGEST_CHUNK = 8 * 1024 * 1024

export const HASHES = { md5: 'md5', sha1: 'sha1', sha256: 'sha256' } as const

export function digestOf(algorithm: keyof typeof HASHES, content: Content): Buffer {
  const hash = createHash(HASHES[algorithm])
  for (let at = 0; at < content.size; at += DIGEST_CHUNK) {
    hash.update(content.read(at, Math.min(DIGEST_CHUNK, content.size - at)))
  }
  return hash.digest()
}
