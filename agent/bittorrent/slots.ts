/** Who is sent blocks now. The others wait; whoever had its turn makes room for them. */
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'

export interface Chokeable {
  choke(): void
  unchoke(): void
}

export interface Slots {
  want(peer: Chokeable): void
  leave(peer: Chokeable): void
  /** Its turn may be over: it is choked then, and waits again. */
  check(peer: Chokeable): void
}

export function createSlots(clock: Pick<Clock, 'now'>): Slots {
  /** With when their turn began. */
  const served = new Map<Chokeable, number>()
  const waiting = new Set<Chokeable>()

  function fill(): void {
    for (const peer of waiting) {
      if (served.size >= limits.bittorrentSlots) return
      waiting.delete(peer)
      served.set(peer, clock.now())
      peer.unchoke()
    }
  }

  return {
    want(peer) {
      if (served.has(peer)) return
      waiting.add(peer)
      fill()
    },
    leave(peer) {
      waiting.delete(peer)
      if (!served.delete(peer)) return
      peer.choke()
      fill()
    },
    check(peer) {
      const sinceMs = served.get(peer)
      if (sinceMs === undefined || waiting.size === 0 || clock.now() - sinceMs < limits.bittorrentSlotMs) return
      served.delete(peer)
      peer.choke()
      fill()
      waiting.add(peer)
    },
  }
}
