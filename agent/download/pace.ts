/** How fast bytes come, and who is too slow to wait for. */
import type { Clock } from '../../protocol/environment.ts'

export interface Meter {
  /** Work begins after a pause: what was before is forgotten. */
  start(): void
  /** Work pauses: the rate stays as it is until `start`. */
  stop(): void
  add(bytes: number): void
  /** Bytes a second, the latest seconds counting most. */
  rate(): number
  /** How long it has been at work without a pause, in milliseconds; 0 in a pause. */
  ageMs(): number
}

/** An average whose weights fall off exponentially; it is right from the first second on, not only after a few of `smoothingMs`. */
export function createMeter(clock: Clock, smoothingMs: number): Meter {
  let startedMs = clock.now()
  let latestMs = startedMs
  let weighed = 0
  let frozen: number | undefined

  function decay(): number {
    const nowMs = clock.now()
    weighed *= Math.exp((latestMs - nowMs) / smoothingMs)
    latestMs = nowMs
    return nowMs - startedMs
  }
  function current(): number {
    const ageMs = Math.max(1, decay())
    const weight = smoothingMs * (1 - Math.exp(-ageMs / smoothingMs))
    return (weighed * 1000) / weight
  }

  return {
    start() {
      startedMs = latestMs = clock.now()
      weighed = 0
      frozen = undefined
    },
    stop: () => void (frozen = current()),
    add(bytes) {
      decay()
      weighed += bytes
    },
    rate: () => frozen ?? current(),
    ageMs: () => (frozen === undefined ? clock.now() - startedMs : 0),
  }
}

export interface Pace {
  readonly id: string
  readonly bytesPerSecond: number
  /** How long it has been at work without a pause; 0 when it is not, and its rate is that of the last time. */
  readonly ageMs: number
}

export interface SlowRule {
  /** Nobody is judged before that. */
  readonly afterMs: number
  /** Whoever is faster than this is never slow. */
  readonly floorBytesPerSecond: number
  /** Slow is below this share of the others' median. */
  readonly share: number
}

/** Who is slow beside the others: well under their median and under a floor. Alone, nobody is. */
export const slowAmong = (paces: readonly Pace[], rule: SlowRule): readonly string[] =>
  paces.filter((pace) => isSlow(pace, paces, rule)).map(({ id }) => id)

function isSlow(pace: Pace, paces: readonly Pace[], { afterMs, floorBytesPerSecond, share }: SlowRule): boolean {
  const others = paces.filter(({ id }) => id !== pace.id).map(({ bytesPerSecond }) => bytesPerSecond)
  if (others.length === 0 || pace.ageMs < afterMs || pace.bytesPerSecond >= floorBytesPerSecond) return false
  return pace.bytesPerSecond < share * median(others)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2
}

/** How a download goes about it; times in milliseconds. */
export interface DownloadPace {
  /** How often the repository is asked for sellers, and sellers for what they have. */
  readonly refreshMs: number
  /** A request with no byte for so long is given up. */
  readonly stallMs: number
  /** Tries for one piece at one seller, and the pause before the second; it doubles. */
  readonly attempts: number
  readonly retryMs: number
  /** How long a seller that failed is left alone the first time; it doubles. */
  readonly leaveMs: number
  readonly leaveMostMs: number
  /** How long the ledger is left alone after it refused to freeze credits. */
  readonly fundsMs: number
  /** Flows to one seller once it has sent a good piece, and flows in all. Prepaid, each has a unit at stake. */
  readonly lanesPerSeller: number
  readonly workers: number
  /** Piece buffers together: large pieces mean fewer flows. */
  readonly bufferBytes: number
  /** How long the end waits for sellers to sign off. */
  readonly patienceMs: number
  /** Units of a seller's first lane, for how long the next ones may last, and how much longer than the longest each may be. */
  readonly firstLaneUnits: number
  readonly laneMs: number
  readonly laneGrowth: number
  readonly smoothingMs: number
  readonly slow: SlowRule
}

export const USUAL_PACE: DownloadPace = {
  refreshMs: 5_000,
  stallMs: 15_000,
  attempts: 4,
  retryMs: 250,
  leaveMs: 15_000,
  leaveMostMs: 600_000,
  fundsMs: 15_000,
  lanesPerSeller: 3,
  workers: 8,
  bufferBytes: 64 * 1024 * 1024,
  patienceMs: 10_000,
  firstLaneUnits: 4,
  laneMs: 15_000,
  laneGrowth: 4,
  smoothingMs: 5_000,
  slow: { afterMs: 5_000, floorBytesPerSecond: 128 * 1024, share: 0.25 },
}
