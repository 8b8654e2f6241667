import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Copies } from '../../agent/copy/copies.ts'
import { fatal, parked } from '../../agent/storage/faults.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { fromUtf8 } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { pattern } from '../pattern.ts'
import { openCopyDesk, type CopyDesk } from './copy-desk.ts'
import { handClock } from './hand-clock.ts'
import { random } from './linked-folder.ts'

let desk: CopyDesk
beforeEach(() => {
  desk = openCopyDesk()
})
afterEach(() => desk.store.close())

test('a folder is copied whole, into one that nothing bore the name of', async () => {
  const copies = desk.copiesInto()
  for (const folder of ['album', 'album (2)']) {
    const { id, to } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    expect(to).toEqual({ link: 'target', path: folder })
    const copy = await desk.until(copies, id, ({ state }) => state === 'done')
    expect(copy).toMatchObject({ folder: true, files: 4, bytes: 123_000, done: 123_000 })
    desk.expectAll(folder)
  }
  expect([desk.target.files.size, desk.target.unfinished.size]).toEqual([8, 0])
})

test('two copies that are begun at once take no name from each other', async () => {
  const copies = desk.copiesInto()
  const order = [{ link: 'source', path: 'album' }, { link: 'target' }] as const
  const both = await Promise.all([copies.start(...order), copies.start(...order)])
  for (const { id, to } of both) {
    await desk.until(copies, id, ({ state }) => state === 'done')
    desk.expectAll(to.path)
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
    const storage = desk.target.open(random)
    const dying: Storage = { ...storage }
    for (const step of steps) Object.assign(dying, { [step]: mortal(storage[step] as never, alive % 2 === 0) })
    const copies = desk.copiesInto(dying)
    const folder = `copy ${alive}`
    const order = [
      { link: 'source', path: 'album' },
      { link: 'target', path: folder },
    ] as const
    const started = await copies.start(...order).catch(() => undefined)
    if (!started) continue
    await desk.until(copies, started.id, ({ state }) => state !== 'running')
    await copies.stop()
    const after = desk.copiesInto(storage)
    await after.resumeAll()
    await desk.until(after, started.id, ({ state }) => state === 'done')
    desk.expectAll(folder)
    await after.stop()
  }
})

/** A copy of the album, each of its files begun and none of them put; whoever was at it will never move. */
async function begun(): Promise<string> {
  const stuck = desk.copiesInto({ ...desk.target.open(random), put: () => new Promise(() => undefined) })
  const { id } = await stuck.start({ link: 'source', path: 'album' }, { link: 'target' })
  await expect.poll(() => desk.target.unfinished.size).toBe(3)
  return id
}

test('a file that changed since it began fails the copy, with its reason; what was not finished goes', async () => {
  const copies = desk.copiesInto()
  const id = await begun()
  desk.source.plant('album/z', pattern(5, 2))
  await copies.resumeAll()
  expect(await desk.until(copies, id, ({ state }) => state === 'failed')).toMatchObject({ reason: 'content-changed' })
  await expect.poll(() => desk.store.list(`copy/${id}`, { limit: 10 })).toEqual([])
  expect(desk.target.unfinished.size).toBe(0)
  expect(desk.target.files.size).toBeGreaterThan(0)
  expect(await copies.get('0'.repeat(16))).toBeUndefined()
})

describe('a copy that its owner ends', () => {
  const expectNothing = async (copies: Copies, id: string): Promise<void> => {
    await desk.until(copies, id, ({ state }) => state === 'cancelled')
    for (const pk of [`copy/${id}`, 'download-call'])
      await expect.poll(() => desk.store.list(pk, { limit: 10 })).toEqual([])
    expect(desk.target.unfinished.size).toBe(0)
  }
  const unavailable = () => Promise.reject(new Problem('storage-unavailable', 'Away.', { retryAfterMs: 0 }))

  test('while it runs stops, and leaves nothing unfinished', async () => {
    const gate = Promise.withResolvers<void>()
    const storage = desk.target.open(random)
    const put: Storage['put'] = (...part) => gate.promise.then(() => storage.put(...part))
    const copies = desk.copiesInto({ ...storage, put })
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await expect.poll(() => desk.target.unfinished.size).toBe(3)
    expect(await copies.end(id)).toMatchObject({ id, state: 'running' })
    gate.resolve()
    await expectNothing(copies, id)
    expect(await copies.end(id)).toMatchObject({ state: 'cancelled' })
  })

  test('while it waits does not wait for that', async () => {
    const copies = desk.copiesInto({ ...desk.target.open(random), put: unavailable })
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await desk.until(copies, id, ({ state }) => state === 'waiting')
    await copies.end(id)
    await expectNothing(copies, id)
  })

  test('ends also after a restart, and when the target does not let go at first', async () => {
    const id = await begun()
    const away = desk.copiesInto({ ...desk.target.open(random), abort: unavailable })
    await away.end(id)
    await desk.until(away, id, ({ state, reason }) => state === 'waiting' && reason === 'storage-unavailable')
    await away.stop()
    const copies = desk.copiesInto()
    await copies.resumeAll()
    await expectNothing(copies, id)
  })

  test('ends also when it had failed, and the target did not let go then', async () => {
    const id = await begun()
    desk.source.plant('album/z', pattern(5, 2))
    const storage = desk.target.open(random)
    let isAway = true
    const abort: Storage['abort'] = (write) => (isAway ? unavailable() : storage.abort(write))
    const copies = desk.copiesInto({ ...storage, abort })
    await copies.resumeAll()
    await desk.until(copies, id, ({ state }) => state === 'failed')
    expect(desk.target.unfinished.size).toBeGreaterThan(0)
    isAway = false
    await copies.end(id)
    await expectNothing(copies, id)
  })

  test('asks a target that does not let go again after a pause, and no sooner', async () => {
    const clock = handClock()
    let asked = 0
    const abort = () => (++asked < 9 ? unavailable() : new Promise<never>(() => undefined))
    const copies = desk.copiesInto({ ...desk.target.open(random), put: unavailable, abort }, undefined, clock)
    const { id } = await copies.start({ link: 'source', path: 'album/one' }, { link: 'target' })
    await desk.until(copies, id, ({ state }) => state === 'waiting')
    await copies.end(id)
    for (const times of [1, 2]) {
      await expect.poll(() => asked).toBe(times)
      for (let turn = 0; turn < 50; turn++) await setImmediate()
      expect(asked).toBe(times)
      clock.advance(30_000)
    }
  })

  test('is not ended where it is done, or never was', async () => {
    const copies = desk.copiesInto()
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    await desk.until(copies, id, ({ state }) => state === 'done')
    await expect(copies.end(id)).rejects.toMatchObject({ code: 'closed' })
    await expect(copies.end('0'.repeat(16))).rejects.toMatchObject({ code: 'not-found' })
    expect(await copies.get(id)).toMatchObject({ state: 'done' })
    expect(await desk.store.list('download-call', { limit: 10 })).toEqual([])
  })
})

test('a file whose name is taken gets another, and the copy says which, also after a crash', async () => {
  desk.target.plant('one', pattern(5))
  const { store } = desk
  const isDone = ({ pk, body }: Change) =>
    pk === 'copy' && body !== undefined && fromUtf8(body).includes('"state":"done"')
  let isDead = false
  const write: Store['write'] = (changes) => {
    if (changes.some(isDone)) isDead = true
    return isDead ? new Promise(() => undefined) : store.write(changes)
  }
  desk.store = { ...store, write }
  const { id } = await desk.copiesInto().start({ link: 'source', path: 'album/one' }, { link: 'target' })
  await expect.poll(() => isDead).toBe(true)
  desk.store = store
  const copies = desk.copiesInto()
  await copies.resumeAll()
  const { to } = await desk.until(copies, id, ({ state }) => state === 'done')
  expect(to).toEqual({ link: 'target', path: 'one (2)' })
  expect(desk.target.files.get('one (2)')?.bytes).toEqual(pattern(3_000))
  expect(desk.target.files.size).toBe(2)
})

test('a file that is there is not copied again, though its owner has moved it away since', async () => {
  const names = Array.from({ length: 12 }, (_, n) => `many/${n}`)
  for (const [n, name] of names.entries()) desk.source.plant(name, pattern(100 + n, n))
  const storage = desk.target.open(random)
  let puts = 0
  const put: Storage['put'] = (...part) => (++puts > 7 ? new Promise(() => undefined) : storage.put(...part))
  const { id } = await desk.copiesInto({ ...storage, put }).start({ link: 'source', path: 'many' }, { link: 'target' })
  await expect.poll(() => puts).toBe(11)
  const [moved = '', ...others] = names
  desk.target.uproot(moved)
  const copies = desk.copiesInto()
  await copies.resumeAll()
  await desk.until(copies, id, ({ state }) => state === 'done')
  expect([...desk.target.files.keys()].toSorted()).toEqual(others.toSorted())
  for (const name of others) expect(desk.target.files.get(name)?.bytes).toEqual(desk.source.files.get(name)?.bytes)
})

test('each file of a folder has one part in memory at a time', async () => {
  const storage = desk.target.open(random)
  for (const n of [1, 2, 3, 4, 5]) desk.source.plant(`long/${n}`, pattern(5 * storage.partBytes))
  let [atOnce, most] = [0, 0]
  const put: Storage['put'] = async (...part) => {
    most = Math.max(most, ++atOnce)
    await setImmediate()
    await storage.put(...part)
    atOnce--
  }
  const copies = desk.copiesInto({ ...storage, put })
  const { id } = await copies.start({ link: 'source', path: 'long' }, { link: 'target' })
  await desk.until(copies, id, ({ state }) => state === 'done')
  expect(most).toBe(4)
})

test('one that is stopped has nothing on its way any more', async () => {
  const storage = desk.target.open(random)
  const gate = Promise.withResolvers<void>()
  let [begun, over] = [0, 0]
  const put: Storage['put'] = async (...part) => {
    begun++
    await gate.promise
    await storage.put(...part)
    over++
  }
  const copies = desk.copiesInto({ ...storage, put })
  await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
  await expect.poll(() => begun).toBe(3)
  const stopped = copies.stop().then(() => over)
  gate.resolve()
  expect(await stopped).toBe(3)
})

describe('a target', () => {
  const HOUR_MS = 3_600_000

  test('whose allowance is used up is asked nothing before its time; the copy says so, and how far it came', async () => {
    const clock = handClock()
    const untilMs = clock.now() + 5 * HOUR_MS
    const storage = desk.target.open(random)
    desk.source.plant('long', pattern(4 * storage.partBytes))
    const gate = Promise.withResolvers<void>()
    let puts = 0
    const put: Storage['put'] = async (...part) => {
      if (++puts > 2 && clock.now() < untilMs) throw parked('The daily cap is used up.', untilMs)
      if (puts > 2) await gate.promise
      await storage.put(...part)
    }
    const first = desk.copiesInto({ ...storage, put }, undefined, clock)
    const { id } = await first.start({ link: 'source', path: 'long' }, { link: 'target' })
    const waiting = { state: 'waiting', reason: 'storage-parked', until: untilMs, done: 2 * storage.partBytes }
    expect(await desk.until(first, id, ({ state }) => state === 'waiting')).toMatchObject(waiting)
    await first.stop()
    const copies = desk.copiesInto({ ...storage, put }, undefined, clock)
    await copies.resumeAll()
    const before = puts
    await desk.until(copies, id, ({ state }) => puts > before && state === 'waiting')
    const after = puts
    clock.advance(4 * HOUR_MS)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    expect(puts).toBe(after)
    expect(await copies.get(id)).toMatchObject(waiting)
    clock.advance(HOUR_MS)
    await expect.poll(() => puts).toBe(after + 2)
    expect(await copies.get(id)).toMatchObject({ state: 'running', done: 2 * storage.partBytes })
    gate.resolve()
    const done = await desk.until(copies, id, ({ state }) => state === 'done')
    expect(Object.keys(done)).not.toContain('reason')
    expect(desk.target.files.get('long')?.bytes).toEqual(pattern(4 * storage.partBytes))
  })

  test('that has lost what was put is given it again', async () => {
    const clock = handClock()
    const storage = desk.target.open(random)
    let puts = 0
    const put: Storage['put'] = (...part) =>
      ++puts === 2 ? Promise.reject(fatal('gone', 'The upload is gone.')) : storage.put(...part)
    const copies = desk.copiesInto({ ...storage, put }, undefined, clock)
    const { id } = await copies.start({ link: 'source', path: 'album/z' }, { link: 'target' })
    await desk.until(copies, id, ({ state }) => state === 'waiting')
    clock.advance(30_000)
    await desk.until(copies, id, ({ state }) => state === 'done')
    expect(desk.target.files.get('z')?.bytes).toEqual(pattern(70_000))
  })
})

test('what is not there is not copied', async () => {
  const copies = desk.copiesInto()
  const start = copies.start({ link: 'source', path: 'nothing' }, { link: 'target' })
  await expect(start).rejects.toMatchObject({ code: 'not-found' })
})

describe('while the store is away', () => {
  const away = new Problem('store-unavailable', 'The store does not answer.')
  let isAway: (pk: string, body: string) => boolean
  beforeEach(() => {
    isAway = () => false
    const inner = desk.store
    desk.store = {
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
    const copies = desk.copiesInto(undefined, undefined, clock)
    let missed = 0
    isAway = (pk, body) => pk === 'copy' && body.includes('"state":"done"') && missed++ < 3
    const { id } = await copies.start({ link: 'source', path: 'album/one' }, { link: 'target' })
    for (let state = 'running'; state !== 'done'; state = (await copies.get(id))?.state ?? '') {
      clock.advance(60_000)
      await setImmediate()
    }
    expect(missed).toBe(4)
  })

  test('a copy that needs it meanwhile waits, and goes on', async () => {
    const clock = handClock()
    let [reads, writes] = [0, 0]
    const inner = desk.store
    desk.store = {
      ...inner,
      async get(pk, sk) {
        if (pk === 'download-call' && reads++ < 3) throw away
        return inner.get(pk, sk)
      },
    }
    const copies = desk.copiesInto(undefined, undefined, clock)
    const { id } = await copies.start({ link: 'source', path: 'album' }, { link: 'target' })
    isAway = (pk) => pk.startsWith('copy/') && writes++ < 3
    const copy = await desk.until(
      copies,
      id,
      ({ state }) => (clock.advance(60_000), state === 'done' || state === 'failed'),
    )
    expect([copy.state, reads > 3, writes > 3]).toEqual(['done', true, true])
    desk.expectAll('album')
  })
})
