/** Reusable buffers for pieces on their way out: serving allocates nothing, and a crowd of readers cannot fill the memory. */
import { Problem } from '../../protocol/problem.ts'

export interface Lease {
  readonly buffer: Uint8Array
  /** Gives the buffer back; what comes after the first call is ignored. */
  readonly release: () => void
}

export interface BufferPool {
  /**
   * Waits while all of the memory is out, first come, first served.
   * @throws Problem `limit-reached` when too many are waiting already
   */
  lease(bytes: number): Promise<Lease>
}

export interface BufferPoolOptions {
  /** Out at one time, but for a single larger buffer, which goes out alone. */
  readonly bytes: number
  readonly waiting: number
}

export function createBufferPool(options: BufferPoolOptions): BufferPool {
  const idle: Uint8Array[] = []
  const waiters: { readonly bytes: number; readonly start: () => void }[] = []
  let out = 0

  const fits = (bytes: number): boolean => out === 0 || out + bytes <= options.bytes

  function take(bytes: number): Lease {
    const found = idle.findLastIndex((buffer) => buffer.length >= bytes && buffer.length <= 2 * bytes)
    const [whole = new Uint8Array(bytes)] = found < 0 ? [] : idle.splice(found, 1)
    let leased = true
    return {
      buffer: whole.subarray(0, bytes),
      release() {
        if (!leased) return
        leased = false
        out -= bytes
        keep(whole)
        wake()
      },
    }
  }

  function keep(buffer: Uint8Array): void {
    idle.push(buffer)
    let kept = idle.reduce((sum, { length }) => sum + length, 0)
    while (kept + out > options.bytes && idle.length > 0) kept -= idle.shift()?.length ?? 0
  }

  function wake(): void {
    for (let next = waiters[0]; next && fits(next.bytes); next = waiters[0]) {
      waiters.shift()
      out += next.bytes
      next.start()
    }
  }

  return {
    async lease(bytes) {
      const isFree = waiters.length === 0 && fits(bytes)
      if (!isFree && waiters.length >= options.waiting) {
        throw new Problem('limit-reached', 'Too many pieces are being sent; try again.')
      }
      if (isFree) out += bytes
      else await new Promise<void>((start) => waiters.push({ bytes, start }))
      return take(bytes)
    },
  }
}
