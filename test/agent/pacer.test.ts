import { randomBytes } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { fatal, parked, passing } from '../../agent/storage/faults.ts'
import { createPacer, type Pacer, type PacerOptions } from '../../agent/storage/pacer.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { Problem } from '../../protocol/problem.ts'
import { handClock, START_MS, type HandClock } from './hand-clock.ts'

let clock: HandClock
let instance: (options?: Partial<PacerOptions>) => Pacer
beforeEach(() => {
  clock = handClock()
  const store = openSqlite(':memory:')
  const environment = { clock, random: { bytes: (length: number) => new Uint8Array(randomBytes(length)) } }
  instance = (options) => createPacer({ environment, store }, { account: 'drive/someone', ...options })
})

/** An action that fails so many times, and how often it ran. */
function failing(times: number, error: () => Error) {
  const state = { runs: 0 }
  const action = async (): Promise<string> => {
    if (state.runs++ < times) throw error()
    return 'done'
  }
  return { state, action }
}

test('two instances together stay within the allowance of a window', async () => {
  const starts: number[] = []
  const action = async (): Promise<void> => void starts.push(clock.now())
  const pacers = [instance({ unitsPerMinute: 600 }), instance({ unitsPerMinute: 600 })]
  const runs = Array.from({ length: 300 }, (_, i) => (pacers[i % 2] as Pacer).run(action, 1))
  await clock.until(Promise.all(runs))
  const windows = new Map<number, number>()
  for (const ms of starts) windows.set(Math.floor(ms / 10_000), (windows.get(Math.floor(ms / 10_000)) ?? 0) + 1)
  expect(Math.max(...windows.values())).toBeLessThanOrEqual(100)
  expect(starts).toHaveLength(300)
})

test('a request that takes more than a window holds goes alone', async () => {
  const pacer = instance({ unitsPerMinute: 60 })
  expect(await clock.until(Promise.all([pacer.run(async () => 1, 500), pacer.run(async () => 2)]))).toEqual([1, 2])
})

test('comes again after a fault that passes, and no sooner than the provider asks', async () => {
  const { state, action } = failing(2, () => passing('busy', 7000))
  expect(await clock.until(instance().run(action))).toBe('done')
  expect(state.runs).toBe(3)
  expect(clock.now() - START_MS).toBeGreaterThanOrEqual(14_000)
})

test('what the provider asks of one request holds for the others', async () => {
  const pacer = instance()
  const { action } = failing(1, () => passing('busy', 9000))
  const first = pacer.run(action)
  await new Promise((resolve) => setImmediate(resolve))
  const second = pacer.run(async () => clock.now())
  expect(await clock.until(second)).toBeGreaterThanOrEqual(START_MS + 9000)
  await clock.until(first)
})

test('gives up after so many tries, with the fault itself', async () => {
  const { state, action } = failing(99, () => passing('still busy'))
  await expect(clock.until(instance().run(action))).rejects.toMatchObject({ message: 'still busy' })
  expect(state.runs).toBe(5)
})

test.each([
  ['fatal', () => fatal('auth', 'The token was revoked.'), 'storage-denied'],
  ['an answer', () => new Problem('not-found', 'No such file.'), 'not-found'],
  ['a bug', () => new TypeError('oops'), undefined],
])('hands on at once what is %s', async (_, error, code) => {
  const { state, action } = failing(99, error)
  const thrown: unknown = await instance()
    .run(action)
    .catch((caught: unknown) => caught)
  expect([state.runs, thrown instanceof Problem ? thrown.code : undefined]).toEqual([1, code])
})

test('a daily cap parks the account for every instance, until its time', async () => {
  const untilMs = START_MS + 3_600_000
  const [one, other] = [instance(), instance()]
  await other.run(async () => undefined)
  const { state, action } = failing(1, () => parked('The daily cap is used up.', untilMs))
  const refused = { code: 'storage-parked', members: { parkUntil: untilMs }, message: 'The daily cap is used up.' }
  await expect(one.run(action)).rejects.toMatchObject(refused)
  await expect(one.run(action)).rejects.toMatchObject(refused)
  expect(state.runs).toBe(1)
  clock.advance(5000)
  await expect(other.run(action)).rejects.toMatchObject(refused)
  await expect(instance().run(action)).rejects.toMatchObject(refused)
  clock.advance(3_600_000)
  expect(await other.run(action)).toBe('done')
})

test('a wait that is too long to sit out parks the account', async () => {
  const { action } = failing(1, () => passing('slow down', 300_000))
  const pacer = instance()
  await expect(pacer.run(action)).rejects.toMatchObject({
    code: 'storage-parked',
    members: { parkUntil: START_MS + 300_000 },
  })
})

test('whoever waits is let go when the storage closes', async () => {
  const pacer = instance()
  const { action } = failing(99, () => passing('busy', 30_000))
  const run = pacer.run(action)
  await new Promise((resolve) => setImmediate(resolve))
  pacer.close()
  await expect(run).rejects.toMatchObject({ message: 'busy' })
})
