/** Entry point of `npm run simulate`: many seeds, in a few processes, and what came of them. */
import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { installPlant, plantNamed } from './plants.ts'
import { summarize, type Summary } from './report.ts'
import type { Outcome, runSeed } from './run.ts'
import { COUNTED } from './world.ts'

const USAGE =
  'usage: npm run simulate -- [--seeds N] [--from K] [--seed S [--trace]] [--plant NAME] [--jobs N] [--stop] [--json]'

interface Options {
  readonly seeds: readonly string[]
  readonly plant: string | undefined
  readonly jobs: number
  readonly json: boolean
  /** Shows every event. */
  readonly trace: boolean
  /** Ends with the first seed that fails. */
  readonly stop: boolean
}

const DEFAULT_SEEDS = 100
const MOST_JOBS = 2

function optionsIn(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: String(DEFAULT_SEEDS) },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      plant: { type: 'string' },
      jobs: { type: 'string', default: String(Math.min(MOST_JOBS, availableParallelism())) },
      json: { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      stop: { type: 'boolean', default: false },
    },
  })
  const [from, count, jobs] = [values.from, values.seeds, values.jobs].map(Number) as [number, number, number]
  if (![from, count, jobs].every(Number.isInteger) || jobs < 1)
    throw new Error('--seeds, --from and --jobs take whole numbers')
  if (values.plant !== undefined) plantNamed(values.plant)
  const seeds = values.seed === undefined ? Array.from({ length: count }, (_, i) => String(from + i)) : [values.seed]
  return { ...values, plant: values.plant, seeds, jobs: Math.min(jobs, seeds.length) }
}

/** The simulation over the shipped source, or over one with a fault in it. */
async function load(plant: string | undefined): Promise<typeof runSeed> {
  if (plant !== undefined) installPlant(plantNamed(plant))
  return (await import('./run.ts')).runSeed
}

/** The seeds one after the other, in this process. */
async function runHere({ seeds, plant, trace, stop }: Options, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const runSeed = await load(plant)
  for (const seed of seeds) {
    const outcome = await runSeed(seed, trace ? (line) => process.stdout.write(`${line}\n`) : undefined)
    onOutcome(outcome)
    if (stop && outcome.violations.length > 0) return
  }
}

/** Each process is given the next seed when it is done with the one before. */
async function runInProcesses(options: Options, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const left = [...options.seeds]
  const args = options.plant === undefined ? [] : ['--plant', options.plant]
  const next = (child: ChildProcess): void => {
    const seed = left.shift()
    if (seed === undefined) child.disconnect()
    else child.send(seed)
  }
  const children = Array.from({ length: options.jobs }, () =>
    fork(import.meta.filename, args, { execArgv: [...process.execArgv, QUIET] }),
  )
  await Promise.all(
    children.map(async (child) => {
      child.on('message', (outcome: Outcome) => {
        onOutcome(outcome)
        if (options.stop && outcome.violations.length > 0) left.length = 0
        next(child)
      })
      next(child)
      await new Promise<void>((resolve, reject) => {
        child.once('error', reject)
        child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a process ended with ${code}`))))
      })
    }),
  )
}

/** In so many seeds everything that is counted happens: else the simulation has become poorer. */
const MANY = 100
const QUIET = '--disable-warning=ExperimentalWarning'

/** A process that another one gives its seeds. */
async function serve({ plant }: Options): Promise<void> {
  const runSeed = await load(plant)
  process.on('message', (seed: string) => void runSeed(seed).then((outcome) => process.send?.(outcome)))
}

async function main(options: Options): Promise<void> {
  if (process.send) return serve(options)
  const startedMs = performance.now()
  const outcomes: Outcome[] = []
  const onOutcome = (outcome: Outcome): void => {
    outcomes.push(outcome)
    if (!options.json && outcome.violations.length > 0) process.stdout.write(failure(outcome, options))
  }
  await (options.jobs === 1 ? runHere : runInProcesses)(options, onOutcome)
  const summary = summarize(outcomes, (performance.now() - startedMs) / 1000, (seed) => replayOf(seed, options))
  process.stdout.write(options.json ? `${JSON.stringify({ event: 'done', ...summary })}\n` : lines(summary))
  const never = COUNTED.filter((what) => summary.counts[what] === 0)
  const isPoor = summary.seeds >= MANY && never.length > 0
  if (isPoor) process.stderr.write(`In none of them: ${never.join(', ')}.\n`)
  if (summary.failed.length > 0 || isPoor) process.exitCode = 1
}

const failure = ({ seed, violations }: Outcome, options: Options): string =>
  `seed ${seed} fails: ${violations[0]}${violations.length > 1 ? ` (and ${violations.length - 1} more)` : ''}\n  replay: ${replayOf(seed, options)}\n`

const replayOf = (seed: string, { plant }: Options): string =>
  `node test/simulation/main.ts --seed ${seed}${plant === undefined ? '' : ` --plant '${plant}'`} --trace`

function lines({ seeds, failed, seconds, steps, counts, slowest }: Summary): string {
  const figures = Object.entries(counts).map(([what, count]) => `${count} ${what}`)
  const speed = `${((seeds / seconds) * 60).toFixed(0)} seeds a minute`
  return [
    `${seeds} seeds, ${failed.length} of which failed, in ${seconds.toFixed(1)} s (${speed})`,
    `  ${steps} steps, ${figures.join(', ')}`,
    `  longest: seed ${slowest.seed} with ${slowest.steps} steps`,
    '',
  ].join('\n')
}

try {
  await main(optionsIn(process.argv.slice(2)))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`)
  process.exitCode = 2
}
