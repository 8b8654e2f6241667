/** Copies where a process lives for minutes only: whoever is asked wakes a worker, which copies in shifts. */
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Copies } from '../../agent/copy/copies.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { parked } from '../../agent/storage/faults.ts'
import { Problem } from '../../protocol/problem.ts'
import { pattern } from '../pattern.ts'
import { openCopyDesk, type CopyDesk } from './copy-desk.ts'
import { handClock } from './hand-clock.ts'
import { random } from './linked-folder.ts'

let desk: CopyDesk
beforeEach(() => {
  desk = openCopyDesk()
})
afterEach(() => desk.store.close())

const woken: string[] = []
const front = (): Copies => desk.copiesInto(desk.target.open(random), async (task) => void woken.push(task))
const forever = new AbortController().signal
beforeEach(() => void woken.splice(0))

test('whoever is asked wakes a worker, which copies, and is woken again until it is over', async () => {
  const { id, to } = await front().start({ link: 'source', path: 'album' }, { link: 'target' })
  expect(desk.target.files.size).toBe(0)
  await front().resumeAll()
  const [task = '', again] = woken
  expect(again).toBe(task)
  const worker = desk.copiesInto()
  expect(worker.isTask(task)).toBe(true)
  expect(await worker.work(task, forever)).toEqual({ isOver: true })
  expect(await front().get(id)).toMatchObject({ state: 'done', done: 123_000 })
  desk.expectAll(to.path)
  await front().resumeAll()
  expect(woken).toHaveLength(2)
  expect(await worker.work(task, forever)).toEqual({ isOver: true })
})

test('whoever ends it calls the worker, or wakes one', async () => {
  const clock = handClock()
  const gate = Promise.withResolvers<void>()
  const storage = desk.target.open(random)
  const put: Storage['put'] = (...part) => gate.promise.then(() => storage.put(...part))
  for (const isAtWork of [true, false]) {
    const { id } = await front().start({ link: 'source', path: 'album' }, { link: 'target' })
    const task = woken.at(-1) ?? ''
    const working = isAtWork ? desk.copiesInto({ ...storage, put }, undefined, clock).work(task, forever) : undefined
    await expect.poll(() => desk.target.unfinished.size).toBe(isAtWork ? 3 : 1)
    expect(await front().end(id)).toMatchObject({ state: 'running' })
    expect(woken.at(-1)).toBe(task)
    if (working) {
      clock.advance(2_000)
      gate.resolve()
      expect(await working).toEqual({ isOver: true })
    } else expect(await desk.copiesInto().work(task, forever)).toEqual({ isOver: true })
    expect(await front().get(id)).toMatchObject({ state: 'cancelled' })
    expect(desk.target.unfinished.size).toBe(0)
  }
})

test('two workers are never at one copy, and the end of a shift is not the end of the copy', async () => {
  await front().start({ link: 'source', path: 'album' }, { link: 'target' })
  const [task = ''] = woken
  const shift = new AbortController()
  const first = desk.copiesInto().work(task, shift.signal)
  expect(await desk.copiesInto().work(task, forever)).toMatchObject({ isOver: false, isTaken: true })
  shift.abort()
  expect(await first).toEqual({ isOver: false })
  await front().resumeAll()
  expect(woken).toHaveLength(1)
  expect(await desk.copiesInto().work(task, forever)).toEqual({ isOver: true })
  desk.expectAll('album')
})

test('a worker that begins at once finds what it is to copy', async () => {
  const worker = desk.copiesInto()
  const asked = desk.copiesInto(undefined, async (task) => void (await worker.work(task, forever)))
  const { id } = await asked.start({ link: 'source', path: 'album' }, { link: 'target' })
  expect(await asked.get(id)).toMatchObject({ state: 'done' })
})

/** Its worker stands still for a minute, in the midst of four parts, and goes on once `release` is called. */
async function slowWorker() {
  const clock = handClock()
  const gate = Promise.withResolvers<void>()
  const storage = desk.target.open(random)
  desk.source.plant('album/long', pattern(3 * storage.partBytes))
  const seen = { puts: 0 }
  const put: Storage['put'] = async (...part) => {
    seen.puts++
    await gate.promise
    await storage.put(...part)
  }
  const { id } = await front().start({ link: 'source', path: 'album' }, { link: 'target' })
  const [task = ''] = woken
  const slow = desk.copiesInto({ ...storage, put }, undefined, clock).work(task, forever)
  await expect.poll(() => seen.puts).toBe(4)
  const release = async () => {
    clock.advance(2_000)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    gate.resolve()
    return slow
  }
  return { id, task, seen, release, later: handClock(clock.now() + 60_000) }
}

test('a worker whose lease went to another puts nothing any more', async () => {
  const { task, seen, release, later } = await slowWorker()
  let puts = 0
  const put = () => (puts++, new Promise<never>(() => undefined))
  void desk.copiesInto({ ...desk.target.open(random), put }, undefined, later).work(task, forever)
  await expect.poll(() => puts).toBe(4)
  expect(await release()).toEqual({ isOver: false })
  expect(seen.puts).toBe(4)
})

test('a worker whose lease went to another has no say in how the copy stands', async () => {
  const { id, task, release, later } = await slowWorker()
  expect(await desk.copiesInto(undefined, undefined, later).work(task, forever)).toEqual({ isOver: true })
  expect(await release()).toEqual({ isOver: false })
  expect(await front().get(id)).toMatchObject({ state: 'done' })
  expect(desk.target.files.size).toBe(5)
})

test('one that waits for its time is left alone by whoever is woken, until its owner ends it', async () => {
  const clock = handClock()
  const untilMs = clock.now() + 3_600_000
  const storage = desk.target.open(random)
  let puts = 0
  const put = () => (puts++, Promise.reject(parked('The daily cap is used up.', untilMs)))
  const worker = desk.copiesInto({ ...storage, put }, undefined, clock)
  const asked = desk.copiesInto(storage, async (task) => void woken.push(task), clock)
  const { id } = await asked.start({ link: 'source', path: 'album/one' }, { link: 'target' })
  const [task = ''] = woken
  for (let times = 0; times < 2; times++) expect(await worker.work(task, forever)).toEqual({ isOver: false, untilMs })
  expect(puts).toBe(1)
  await asked.end(id)
  expect(await worker.work(task, forever)).toEqual({ isOver: true })
  expect(await asked.get(id)).toMatchObject({ state: 'cancelled' })
  expect(desk.target.unfinished.size).toBe(0)
})

test('one that has failed stays so when its worker is woken again, and goes when its owner ends it', async () => {
  const storage = desk.target.open(random)
  let isAway = true
  const away = new Problem('storage-unavailable', 'Away.', { retryAfterMs: 0 })
  const abort: Storage['abort'] = (write) => (isAway ? Promise.reject(away) : storage.abort(write))
  const put = () => Promise.reject(new Problem('storage-denied', 'It lets nobody in.'))
  const worker = desk.copiesInto({ ...storage, put, abort })
  const { id } = await front().start({ link: 'source', path: 'album/one' }, { link: 'target' })
  const [task = ''] = woken
  for (let times = 0; times < 2; times++) expect(await worker.work(task, forever)).toEqual({ isOver: true })
  expect(await front().get(id)).toMatchObject({ state: 'failed', reason: 'storage-denied' })
  expect(desk.target.unfinished.size).toBe(1)
  isAway = false
  await front().end(id)
  expect(await worker.work(task, forever)).toEqual({ isOver: true })
  expect(await front().get(id)).toMatchObject({ state: 'cancelled' })
  expect(desk.target.unfinished.size).toBe(0)
  expect(await worker.work(task, forever)).toEqual({ isOver: true })
  expect(await front().get(id)).toMatchObject({ state: 'cancelled' })
})

test('a worker that cannot keep its lease is at rest when its shift fails', async () => {
  const clock = handClock()
  const storage = desk.target.open(random)
  let [atWork, puts] = [0, 0]
  const slow: Storage = {
    ...storage,
    async put(...args) {
      atWork++
      puts++
      await clock.sleep(5_000)
      await storage.put(...args)
      atWork--
    },
  }
  const inner = desk.store
  const away = new Problem('store-unavailable', 'The store does not answer.')
  desk.store = {
    ...inner,
    write: (changes) =>
      puts > 0 && changes.some(({ pk }) => pk === 'download-lease') ? Promise.reject(away) : inner.write(changes),
  }
  const copies = desk.copiesInto(slow, async (task) => void woken.push(task), clock)
  await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
  const working = copies.work(woken[0] ?? '', forever)
  await expect(clock.until(working)).rejects.toBe(away)
  expect(atWork).toBe(0)
  const before = puts
  clock.advance(60_000)
  for (let turn = 0; turn < 50; turn++) await setImmediate()
  expect(puts).toBe(before)
})
