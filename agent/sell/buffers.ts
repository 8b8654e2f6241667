/** Reusable buffers for pieces on their way out: serving allocates nothing, and a crowd of readers cannot fill the memory. */
import type { Clock } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'

export interface BufferLease {
  readonly buffer: Uint8Array
  /** Gives the buffer back; what comes after the first call is ignored. */
  readonly release: () => void
  /** From now on it may be cut short, once it is out for long and others wait: whoever reads slowly keeps nobody out. */
  readonly cutBy: (cut: () => void) => void
}

export interface BufferPool {
  /**
   * Waits while all of the memory is out, first come, first served.
   * @throws Problem `limit-reached` when too many are waiting already
   */
  lease(bytes: number): Promise<BufferLease>
}

export interface BufferPoolOptions {
  /** Out at one time, but for a single larger buffer, which goes out alone. */
  readonly bytes: number
  readonly waiting: number
  /** Who may be cut short keeps a buffer for so long at least. */
  readonly patienceMs: number
  readonly clock: Pick<Clock, 'now'>
}

interface Sending {
  readonly sinceMs: number
  readonly cut: () => void
}

export function createBufferPool(options: BufferPoolOptions): BufferPool {
  const idle: Uint8Array[] = []
  const waiters: { readonly bytes: number; readonly start: () => void }[] = []
  /** The first is out the longest. */
  const sendings = new Set<Sending>()
  let out = 0

  const fits = (bytes: number): boolean => out === 0 || out + bytes <= options.bytes

  function take(bytes: number): BufferLease {
    const found = idle.findLastIndex((buffer) => buffer.length >= bytes && buffer.length <= 2 * bytes)
    const [whole = new Uint8Array(bytes)] = found < 0 ? [] : idle.splice(found, 1)
    let leased = true
    let sending: Sending | undefined
    return {
      buffer: whole.subarray(0, bytes),
      cutBy(cut) {
        sending = { sinceMs: options.clock.now(), cut }
        sendings.add(sending)
      },
      release() {
        if (!leased) return
        leased = false
        if (sending) sendings.delete(sending)
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

  function cutSlowest(): void {
    const [slowest] = sendings
    if (!slowest || options.clock.now() - slowest.sinceMs < options.patienceMs) return
    sendings.delete(slowest)
    slowest.cut()
  }

  return {
    async lease(bytes) {
      if (waiters.length === 0 && fits(bytes)) {
        out += bytes
        return take(bytes)
      }
      if (waiters.length >= options.waiting) {
        // Else a queue full of readers who have left would keep the slow ones from being cut.
        cutSlowest()
        throw new Problem('limit-reached', 'Too many pieces are being sent; try again.')
      }
      const started = new Promise<void>((start) => waiters.push({ bytes, start }))
      cutSlowest()
      await started
      return take(bytes)
    },
  }
}
