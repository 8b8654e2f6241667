/** What all parts of one simulated run share. */
import { createHash } from 'node:crypto'
import { createChance, type Chance } from './chance.ts'
import { createNetwork, type SimulatedNetwork } from './network.ts'
import { createScheduler, type Scheduler } from './scheduler.ts'

export interface World {
  readonly scheduler: Scheduler
  readonly chance: Chance
  readonly network: SimulatedNetwork
  readonly trace: Trace
  /** What was broken, as it was found. */
  readonly violations: readonly string[]
  /** An invariant does not hold. */
  fail(what: string): void
  /** Counts what happened, so that an idle simulation shows. */
  count(what: Counted, more?: number): void
  readonly counts: Readonly<Record<Counted, number>>
  /** Told when it is over. */
  onEnd(listener: () => void): void
  /** Lets go of all that it holds, so that many worlds fit into a process. */
  end(): void
}

export const COUNTED = [
  'messages',
  'writes',
  'crashes',
  'failedWrites',
  'downloads',
  'done',
  'cancelled',
  'pieces',
  'ticks',
  'entries',
  'receipts',
  'refusals',
  'keys',
  'disputes',
  'locks',
  'cosigned',
] as const
export type Counted = (typeof COUNTED)[number]

/** All that happens, in order: two runs of one seed have the same. */
export interface Trace {
  note(event: string): void
  /** What comes from now on is shown, and no part of the hash. */
  end(): void
  /** SHA-256 of all events. */
  hash(): string
}

const START_MS = Date.UTC(2030, 0, 1)
const VIOLATIONS_KEPT = 20

/** @param onEvent told of every event, to show what happens */
export function createWorld(seed: string, onEvent: (line: string) => void = () => undefined): World {
  const chance = createChance(seed)
  const scheduler = createScheduler(START_MS)
  const network = createNetwork(scheduler, chance.fork('network'))
  const violations: string[] = []
  const counts = Object.fromEntries(COUNTED.map((what) => [what, 0])) as Record<Counted, number>
  const trace = createTrace(scheduler, onEvent)
  const endings = [() => scheduler.end()]

  return {
    scheduler,
    chance,
    network,
    trace,
    violations,
    counts,
    fail(what) {
      trace.note(`VIOLATION ${what}`)
      if (violations.length < VIOLATIONS_KEPT && !violations.includes(what)) violations.push(what)
    },
    count: (what, more = 1) => void (counts[what] += more),
    onEnd: (listener) => void endings.push(listener),
    end: () => endings.forEach((listener) => listener()),
  }
}

function createTrace(scheduler: Scheduler, onEvent: (line: string) => void): Trace {
  const hash = createHash('sha256')
  let isOver = false
  return {
    end: () => void (isOver = true),
    note(event) {
      const line = `${scheduler.now() - START_MS} ${event}`
      if (!isOver) hash.update(`${line}\n`)
      onEvent(line)
    },
    hash: () => hash.copy().digest('hex'),
  }
}
