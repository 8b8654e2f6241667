import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createCopies, type Copies, type Copy } from '../../agent/copy/copies.ts'
import type { Links } from '../../agent/storage/links.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { pattern } from '../pattern.ts'
import { createDisk, type Disk } from '../simulation/memory-storage.ts'
import { handClock } from './hand-clock.ts'
import { random } from './linked-folder.ts'

const FILES = { 'album/one': 3_000, 'album/two/ü': 50_000, 'album/two/empty': 0, 'album/z': 70_000 } as const

let source: Disk
let target: Disk
let store: Store
beforeEach(() => {
  ;[source, target] = [createDisk(), createDisk()]
  store = openSqlite(':memory:')
  for (const [name, bytes] of Object.entries(FILES)) source.plant(name, pattern(bytes))
})
afterEach(() => store.close())

function copiesInto(
  storage: Storage = target.open(random),
  wake?: (task: string) => Promise<void>,
  clock = handClock(),
): Copies {
  const open: Links['open'] = async (name = '') => ({
    name,
    storage: name === 'source' ? source.open(random) : storage,
  })
  const environment = { clock, random, transport: () => Promise.reject(new Error('unused')) }
  return createCopies({ store, environment }, { open } as Links, wake)
}

async function until(copies: Copies, id: string, isThere: (copy: Copy) => boolean): Promise<Copy> {
  for (;;) {
    const copy = (await copies.get(id)) as Copy
    if (isThere(copy)) return copy
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function expectAll(folder: string): void {
  const names = Object.keys(FILES).map((name) => name.replace('album', folder))
  expect([...target.files.keys()].filter((name) => name.startsWith(`${folder}/`)).toSorted()).toEqual(names.toSorted())
  for (const [name, bytes] of Object.entries(FILES)) {
    expect(new Uint8Array(target.files.get(name.replace('album', folder))?.bytes ?? [])).toEqual(pattern(bytes))
  }
}

test('a folder is copied whole, into one that nothing bore the name of', async () => {
  const copies = copiesInto()
  for (const folder of ['album', 'album (2)']) {
    const { id, to } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    expect(to).toEqual({ link: 'target', path: folder })
    const copy = await until(copies, id, ({ state }) => state === 'done')
    expect(copy).toMatchObject({ folder: true, files: 4, bytes: 123_000, done: 123_000 })
    expectAll(folder)
  }
  expect([target.files.size, target.unfinished.size]).toEqual([8, 0])
})

test('two copies under way take no name from each other', async () => {
  const copies = copiesInto()
  const order = [{ link: 'source', path: 'album' }, { link: 'target' }] as const
  const both = [await copies.start(...order), await copies.start(...order)]
  for (const { id, to } of both) {
    await until(copies, id, ({ state }) => state === 'done')
    expectAll(to.path)
  }
})

test('it goes on after a crash at any step, and no file is made twice', async () => {
  const steps = ['begin', 'put', 'commit'] as const
  for (let alive = 1, died = true; died; alive++) {
    let left = alive
    died = false
    const mortal =
      <A extends unknown[], R>(work: (...args: A) => Promise<R>, isAfter: boolean) =>
      async (...args: A): Promise<R> => {
        const dies = --left <= 0
        if (dies) died = true
        if (dies && !isAfter) throw new Problem('storage-unavailable', 'Dead.', { retryAfterMs: 0 })
        const result = await work(...args)
        if (dies) throw new Problem('storage-unavailable', 'Dead.', { retryAfterMs: 0 })
        return result
      }
    const storage = target.open(random)
    const dying: Storage = { ...storage }
    for (const step of steps) Object.assign(dying, { [step]: mortal(storage[step] as never, alive % 2 === 0) })
    const copies = copiesInto(dying)
    const folder = `copy ${alive}`
    const order = [
      { link: 'source', path: 'album' },
      { link: 'target', path: folder },
    ] as const
    const started = await copies.start(...order).catch(() => undefined)
    if (!started) continue
    await until(copies, started.id, ({ state }) => state !== 'running')
    await copies.stop()
    const after = copiesInto(storage)
    await after.resumeAll()
    await until(after, started.id, ({ state }) => state === 'done')
    expectAll(folder)
    await after.stop()
  }
})

/** A copy of the album, each of its files begun and none of them put; whoever was at it will never move. */
async function begun(): Promise<string> {
  const stuck = copiesInto({ ...target.open(random), put: () => new Promise(() => undefined) })
  const { id } = await stuck.start({ link: 'source', path: 'album' }, { link: 'target' })
  await expect.poll(() => target.unfinished.size).toBe(3)
  return id
}

test('a file that changed since it began fails the copy, with its reason; what was not finished goes', async () => {
  const copies = copiesInto()
  const id = await begun()
  source.plant('album/z', pattern(5, 2))
  await copies.resumeAll()
  expect(await until(copies, id, ({ state }) => state === 'failed')).toMatchObject({ reason: 'content-changed' })
  await expect.poll(() => store.list(`copy/${id}`, { limit: 10 })).toEqual([])
  expect(target.unfinished.size).toBe(0)
  expect(target.files.size).toBeGreaterThan(0)
  expect(await copies.get('0'.repeat(16))).toBeUndefined()
})

describe('a copy that its owner ends', () => {
  const expectNothing = async (copies: Copies, id: string): Promise<void> => {
    await until(copies, id, ({ state }) => state === 'cancelled')
    await expect.poll(() => store.list(`copy/${id}`, { limit: 10 })).toEqual([])
    expect(target.unfinished.size).toBe(0)
  }
  const unavailable = () => Promise.reject(new Problem('storage-unavailable', 'Away.', { retryAfterMs: 0 }))

  test('while it runs stops, and leaves nothing unfinished', async () => {
    const gate = Promise.withResolvers<void>()
    const storage = target.open(random)
    const put: Storage['put'] = (...part) => gate.promise.then(() => storage.put(...part))
    const copies = copiesInto({ ...storage, put })
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await expect.poll(() => target.unfinished.size).toBe(3)
    expect(await copies.end(id)).toMatchObject({ id, state: 'running' })
    gate.resolve()
    await expectNothing(copies, id)
    expect(await copies.end(id)).toMatchObject({ state: 'cancelled' })
  })

  test('while it waits does not wait for that', async () => {
    const copies = copiesInto({ ...target.open(random), put: unavailable })
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await until(copies, id, ({ state }) => state === 'waiting')
    await copies.end(id)
    await expectNothing(copies, id)
  })

  test('ends also after a restart, and when the target does not let go at first', async () => {
    const id = await begun()
    const away = copiesInto({ ...target.open(random), abort: unavailable })
    await away.end(id)
    await until(away, id, ({ state, reason }) => state === 'waiting' && reason === 'storage-unavailable')
    await away.stop()
    const copies = copiesInto()
    await copies.resumeAll()
    await expectNothing(copies, id)
  })

  test('ends also when it had failed, and the target did not let go then', async () => {
    const id = await begun()
    source.plant('album/z', pattern(5, 2))
    const away = copiesInto({ ...target.open(random), abort: unavailable })
    await away.resumeAll()
    await until(away, id, ({ state }) => state === 'failed')
    expect(target.unfinished.size).toBeGreaterThan(0)
    const copies = copiesInto()
    await copies.end(id)
    await expectNothing(copies, id)
  })

  test('is not ended where it is done, or never was', async () => {
    const copies = copiesInto()
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await until(copies, id, ({ state }) => state === 'done')
    await expect(copies.end(id)).rejects.toMatchObject({ code: 'closed' })
    await expect(copies.end('0'.repeat(16))).rejects.toMatchObject({ code: 'not-found' })
    expect(await copies.get(id)).toMatchObject({ state: 'done' })
  })
})

test('what is not there is not copied', async () => {
  const copies = copiesInto()
  const start = copies.start({ link: 'source', path: 'nothing' }, { link: 'target' })
  await expect(start).rejects.toMatchObject({ code: 'not-found' })
})

describe('where a process lives for minutes only', () => {
  const woken: string[] = []
  const front = (): Copies => copiesInto(target.open(random), async (task) => void woken.push(task))
  const forever = new AbortController().signal
  beforeEach(() => void woken.splice(0))

  test('whoever is asked wakes a worker, which copies, and is woken again until it is over', async () => {
    const { id, to } = await front().start({ link: 'source', path: 'album' }, { link: 'target' })
    expect(target.files.size).toBe(0)
    await front().resumeAll()
    const [task = '', again] = woken
    expect(again).toBe(task)
    const worker = copiesInto()
    expect(worker.isTask(task)).toBe(true)
    expect(await worker.work(task, forever)).toEqual({ isOver: true })
    expect(await front().get(id)).toMatchObject({ state: 'done', done: 123_000 })
    expectAll(to.path)
    await front().resumeAll()
    expect(woken).toHaveLength(2)
    expect(await worker.work(task, forever)).toEqual({ isOver: true })
  })

  test('whoever ends it calls the worker, or wakes one', async () => {
    const clock = handClock()
    const gate = Promise.withResolvers<void>()
    const storage = target.open(random)
    const put: Storage['put'] = (...part) => gate.promise.then(() => storage.put(...part))
    for (const isAtWork of [true, false]) {
      const { id } = await front().start({ link: 'source', path: 'album' }, { link: 'target' })
      const task = woken.at(-1) ?? ''
      const working = isAtWork ? copiesInto({ ...storage, put }, undefined, clock).work(task, forever) : undefined
      await expect.poll(() => target.unfinished.size).toBe(isAtWork ? 3 : 1)
      expect(await front().end(id)).toMatchObject({ state: 'running' })
      expect(woken.at(-1)).toBe(task)
      if (working) {
        clock.advance(2_000)
        gate.resolve()
        expect(await working).toEqual({ isOver: true })
      } else expect(await copiesInto().work(task, forever)).toEqual({ isOver: true })
      expect(await front().get(id)).toMatchObject({ state: 'cancelled' })
      expect(target.unfinished.size).toBe(0)
    }
  })

  test('two workers are never at one copy, and the end of a shift is not the end of the copy', async () => {
    await front().start({ link: 'source', path: 'album' }, { link: 'target' })
    const [task = ''] = woken
    const shift = new AbortController()
    const first = copiesInto().work(task, shift.signal)
    expect(await copiesInto().work(task, forever)).toMatchObject({ isOver: false, isTaken: true })
    shift.abort()
    expect(await first).toEqual({ isOver: false })
    await front().resumeAll()
    expect(woken).toHaveLength(1)
    expect(await copiesInto().work(task, forever)).toEqual({ isOver: true })
    expectAll('album')
  })
})

describe('while the store is away', () => {
  const away = new Problem('store-unavailable', 'The store does not answer.')
  let isAway: (pk: string, body: string) => boolean
  beforeEach(() => {
    isAway = () => false
    const inner = store
    store = {
      ...inner,
      async write(changes) {
        const [first] = changes
        if (first && isAway(first.pk, Buffer.from(first.body ?? []).toString())) throw away
        return inner.write(changes)
      },
    }
  })

  test('a copy that has come to its end says so later', async () => {
    const clock = handClock()
    const copies = copiesInto(undefined, undefined, clock)
    let missed = 0
    isAway = (pk, body) => pk === 'copy' && body.includes('"state":"done"') && missed++ < 3
    const { id } = await copies.start({ link: 'source', path: 'album/one' }, { link: 'target' })
    for (let state = 'running'; state !== 'done'; state = (await copies.get(id))?.state ?? '') {
      clock.advance(60_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(missed).toBe(4)
  })

  test('a copy that needs it meanwhile waits, and goes on', async () => {
    const clock = handClock()
    let [reads, writes] = [0, 0]
    const inner = store
    store = {
      ...inner,
      async get(pk, sk) {
        if (pk === 'download-call' && reads++ < 3) throw away
        return inner.get(pk, sk)
      },
    }
    const copies = copiesInto(undefined, undefined, clock)
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    isAway = (pk) => pk.startsWith('copy/') && writes++ < 3
    const copy = await until(copies, id, ({ state }) => (clock.advance(60_000), state === 'done' || state === 'failed'))
    expect([copy.state, reads > 3, writes > 3]).toEqual(['done', true, true])
    expectAll('album')
  })

  test('a worker that cannot keep its lease is at rest when its shift fails', async () => {
    const clock = handClock()
    const storage = target.open(random)
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
    const woken: string[] = []
    const copies = copiesInto(slow, async (task) => void woken.push(task), clock)
    await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    isAway = (pk) => pk === 'download-lease' && puts > 0
    const working = copies.work(woken[0] ?? '', new AbortController().signal)
    await expect(clock.until(working)).rejects.toBe(away)
    expect(atWork).toBe(0)
    const before = puts
    clock.advance(60_000)
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(puts).toBe(before)
  })
})
