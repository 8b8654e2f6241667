/** What a benchmark says: medians of interleaved runs, and ratios against a baseline of the same run. */

export interface Figure {
  readonly name: string
  /** To the baseline named in `unit` or in the name; machines are noisy, ratios less so. */
  readonly ratio?: number
  readonly unit: string
  readonly value: number
  /** How many runs the value is the median of. */
  readonly runs: number
}

export interface BenchOptions {
  readonly runs: number
  /** Scratch space, on a tmpfs where there is one. */
  readonly dir: string
  say(line: string): void
}

export type Bench = (options: BenchOptions) => Promise<readonly Figure[]>

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}
