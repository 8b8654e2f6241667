/** One seed, from an empty world to its end. */
import { bringToEnd } from './ending.ts'
import { watchRejections } from './scheduler.ts'
import { liveThroughStorm } from './story.ts'
import { foundTown } from './town.ts'
import { createWorld, type Counted, type World } from './world.ts'

export interface Outcome {
  readonly seed: string
  /** Broken invariants; empty when all hold. */
  readonly violations: readonly string[]
  /** SHA-256 of all events: the same each time the seed runs. */
  readonly trace: string
  /** Wake-ups of the scheduler. */
  readonly steps: number
  readonly counts: Readonly<Record<Counted, number>>
}

/** More than any story takes: what is not over by then hangs. */
const MOST_STEPS = 30_000

/** @param onEvent told of every event, to show what happens */
export async function runSeed(seed: string, onEvent?: (line: string) => void): Promise<Outcome> {
  const world = createWorld(seed, onEvent)
  const { scheduler, trace, counts, violations } = world
  const unwatch = watchRejections((reason) => world.fail(`nobody hears of ${described(reason)}`))
  let isOver = false
  void story(world).then(
    () => (isOver = true),
    (error: unknown) => {
      world.fail(`the story ends with ${described(error)}`)
      isOver = true
    },
  )
  try {
    await scheduler.run(() => isOver || scheduler.steps > MOST_STEPS, Infinity)
    if (!isOver) world.fail('the story does not end')
  } finally {
    unwatch()
    world.end()
  }
  return { seed, violations, trace: trace.hash(), steps: scheduler.steps, counts }
}

async function story(world: World): Promise<void> {
  const town = await foundTown(world)
  town.log.start()
  await liveThroughStorm(town)
  await bringToEnd(town)
}

const described = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))
