/** What many seeds came to. */
import { createHash } from 'node:crypto'
import type { Outcome } from './run.ts'
import { COUNTED, type Counted } from './world.ts'

export interface Summary {
  readonly seeds: number
  readonly failed: readonly { readonly seed: string; readonly violations: readonly string[]; readonly replay: string }[]
  readonly seconds: number
  readonly steps: number
  readonly counts: Readonly<Record<Counted, number>>
  readonly slowest: { readonly seed: string; readonly steps: number }
  /** SHA-256 over the seeds and their traces, in order of the seeds: the same each time they run. */
  readonly trace: string
}

/** @param replayOf the command that runs a seed again */
export function summarize(outcomes: readonly Outcome[], seconds: number, replayOf: (seed: string) => string): Summary {
  const sum = (amount: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + amount(outcome), 0)
  return {
    seeds: outcomes.length,
    failed: outcomes
      .filter(({ violations }) => violations.length > 0)
      .map(({ seed, violations }) => ({ seed, violations, replay: replayOf(seed) })),
    seconds,
    steps: sum(({ steps }) => steps),
    counts: Object.fromEntries(COUNTED.map((what) => [what, sum(({ counts }) => counts[what])])) as Record<
      Counted,
      number
    >,
    slowest: outcomes.reduce((most, { seed, steps }) => (steps > most.steps ? { seed, steps } : most), {
      seed: '',
      steps: 0,
    }),
    trace: traceOf(outcomes),
  }
}

function traceOf(outcomes: readonly Outcome[]): string {
  const lines = outcomes.map(({ seed, trace }) => `${seed} ${trace}\n`)
  return createHash('sha256').update(lines.toSorted().join('')).digest('hex')
}
