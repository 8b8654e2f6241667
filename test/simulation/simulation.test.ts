import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { planted, PLANTS, sourceOf } from './plants.ts'
import { summarize, type Summary } from './report.ts'
import { runSeed } from './run.ts'

const [FIRST, SEEDS] = [21, 3]
/** Each plant is found sooner, from its seed on. */
const SEARCHED = 80
const AT_ONCE = 2
/** One of each kind that is found within seconds. `PLANTS=all` looks for all of them (`.ci/parts/plants`). */
const QUICK: ReadonlySet<string> = new Set(['a redemption may go back', 'a redemption is taken whoever signs it'])
const LOOKED_FOR = PLANTS.filter(({ name }) => process.env['PLANTS'] === 'all' || QUICK.has(name))
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const TIMEOUT_MS = 300_000

/** In a process of its own. */
function simulate(...args: string[]): Promise<Summary> {
  const { promise, resolve, reject } = Promise.withResolvers<Summary>()
  const command = ['--disable-warning=ExperimentalWarning', MAIN, ...args, '--json']
  execFile(process.execPath, command, (error, stdout, stderr) => {
    // It ends with 1 where a seed fails.
    if (error && error.code !== 1) reject(new Error(stderr))
    else resolve(JSON.parse(stdout) as Summary)
  })
  return promise
}

const taken: Promise<unknown>[] = []

/** A few at once, the others in order. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const done = (taken.at(-AT_ONCE) ?? Promise.resolve()).then(work)
  taken.push(done.catch(() => undefined))
  return done
}

describe('the simulation', () => {
  it('looks for plants that there are', () => {
    expect(LOOKED_FOR.length).toBeGreaterThanOrEqual(QUICK.size)
  })

  it(
    'breaks no invariant, and plays the same seeds in the same way in every process',
    async () => {
      const elsewhere = simulate('--from', String(FIRST), '--seeds', String(SEEDS))
      const outcomes = []
      for (let seed = FIRST; seed < FIRST + SEEDS; seed++) outcomes.push(await runSeed(String(seed)))
      const here = summarize(outcomes, 0, () => '')
      expect(here.failed).toEqual([])
      expect((await elsewhere).trace).toBe(here.trace)
    },
    TIMEOUT_MS,
  )

  it.each(PLANTS)('has a place where $name', (plant) => {
    expect(planted(plant, sourceOf(plant))).not.toBe(sourceOf(plant))
  })

  it.concurrent.each(LOOKED_FOR)(
    'finds that $name',
    async ({ name, seed }) => {
      const from = ['--from', String(seed), '--seeds', String(SEARCHED), '--stop', '--jobs', '1']
      const { failed } = await inTurn(() => simulate('--plant', name, ...from))
      expect(failed).toHaveLength(1)
    },
    TIMEOUT_MS,
  )
})
