/** What every storage over HTTP makes of faults: never a wrong byte, never a try too many, nothing left behind. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Storage } from '../../agent/storage/storage.ts'
import { pattern } from '../pattern.ts'
import {
  namesOf,
  partsOf,
  readAll,
  store,
  thawed,
  type CloudHarness,
  type Part,
  type ServerFault,
  type Step,
} from './storage-world.ts'

const BUSY: ServerFault = { kind: 'refuse', why: 'busy' }
const RATE: ServerFault = { kind: 'refuse', why: 'rate', retryAfterS: 2 }
const DROP: ServerFault = { kind: 'drop-reply' }
/** More than any driver tries. */
const STORM = 40

const READ_FAULTS: readonly ServerFault[] = [
  DROP,
  BUSY,
  RATE,
  { kind: 'refuse', why: 'rate' },
  { kind: 'reset-reply', afterBytes: 1000 },
  { kind: 'reset-reply', afterBytes: 0 },
  { kind: 'truncate', bytes: 999 },
  { kind: 'wrong-range' },
  { kind: 'ignore-range' },
]
const PUT_FAULTS: readonly ServerFault[] = [DROP, BUSY, RATE, { kind: 'reset-request', afterBytes: 100_000 }]
const WORK_STEPS: readonly Step[] = ['begin', 'put', 'written', 'commit']

const NAMES = [
  `it's "quoted"`,
  'a%20b+c&d=e?f#g',
  '🦀 crab – ünï',
  'trailing space ',
  ' leading space',
  'dots...',
  `${'x'.repeat(251)}.bin`,
  'é'.repeat(127),
]

/** @param refused of the names, those that the provider refuses */
export function describeFaults(kind: string, open: () => Promise<CloudHarness>, refused: readonly string[] = []): void {
  describe(`${kind} when its provider fails`, () => {
    let world: CloudHarness
    beforeEach(async () => {
      world = await open()
    })
    afterEach(() => world.dispose())

    test.each(READ_FAULTS)('reads the right bytes through %o', async (fault) => {
      const bytes = pattern(50_000)
      await world.plant('file', bytes)
      const { version } = await world.storage.stat({ name: 'file' })
      world.faults.next('read', fault, 2)
      const range = { offset: 10_000, length: 20_000 }
      const read = await world.storage.read({ name: 'file', version }, range)
      expect(Buffer.from(read).equals(bytes.subarray(10_000, 30_000))).toBe(true)
      expect(world.faults.left).toBe(0)
    })

    test.each(PUT_FAULTS)('puts every part through %o', async (fault) => {
      const bytes = pattern(2 * world.storage.partBytes + 17)
      const write = await world.storage.begin('file', bytes.length)
      world.faults.next('put', fault, 2)
      await putAll(world.storage, write, partsOf(world.storage, bytes))
      expect(world.faults.left).toBe(0)
      const file = await world.storage.commit(write)
      expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
      expect(await world.everything()).toEqual(['file'])
    })

    test.each(WORK_STEPS.flatMap((step) => [DROP, BUSY, RATE].map((fault) => [step, fault] as const)))(
      'writes a file through %s: %o',
      async (step, fault) => {
        const bytes = pattern(world.storage.partBytes + 17)
        world.faults.next(step, fault)
        const write = await world.storage.begin('file', bytes.length)
        await putAll(world.storage, write, partsOf(world.storage, bytes))
        expect(await world.storage.written(write)).toEqual([{ offset: 0, length: bytes.length }])
        const file = await world.storage.commit(write)
        expect(file.name).toBe('file')
        expect(Buffer.from(await readAll(world.storage, file)).equals(bytes)).toBe(true)
        expect(await namesOf(world.storage)).toEqual(['file'])
      },
    )

    test.each(['read', 'put', 'commit'] as const)('gives up in a storm at %s, and goes on after it', async (step) => {
      const bytes = pattern(world.storage.partBytes)
      await world.plant('other', bytes)
      const write = await world.storage.begin('file', bytes.length)
      if (step === 'commit') await world.storage.put(write, 0, bytes)
      const work = async (): Promise<unknown> => {
        if (step === 'read') return world.storage.read({ name: 'other' }, { offset: 0, length: 10 })
        return step === 'put' ? world.storage.put(write, 0, bytes) : world.storage.commit(write)
      }
      world.faults.next(step, BUSY, STORM)
      await expect(work()).rejects.toMatchObject({ code: 'storage-unavailable' })
      const tried = STORM - world.faults.left
      expect(tried).toBeGreaterThan(1)
      expect(tried).toBeLessThan(20)
      while (world.faults.left > 0) await work().catch(() => undefined)
      await work()
      if (step === 'put') await world.storage.commit(write)
      if (step !== 'read') expect((await world.storage.stat({ name: 'file' })).size).toBe(bytes.length)
    })

    test.each([
      ['denied', 'storage-denied'],
      ['full', 'storage-full'],
    ] as const)('stops at once when a part is refused: %s', async (why, code) => {
      const bytes = pattern(world.storage.partBytes)
      const write = await world.storage.begin('file', bytes.length)
      world.faults.next('put', { kind: 'refuse', why })
      await expect(world.storage.put(write, 0, bytes)).rejects.toMatchObject({ code })
      expect(world.faults.left).toBe(0)
      await world.storage.put(write, 0, bytes)
      expect((await world.storage.commit(write)).name).toBe('file')
    })

    test('two instances write one file, part by part, and both commit it', async () => {
      const bytes = pattern(3 * world.storage.partBytes + 17)
      const other = await world.reopen()
      const write = await world.storage.begin('folder/file', bytes.length)
      for (const [i, { offset, part }] of partsOf(world.storage, bytes).entries()) {
        await (i % 2 === 0 ? world.storage : other).put(thawed(write), offset, part)
      }
      const files = await Promise.all([world.storage.commit(write), other.commit(thawed(write))])
      expect(files[0]).toEqual(files[1])
      expect(await namesOf(world.storage)).toEqual(['folder/file'])
      expect(Buffer.from(await readAll(world.storage, files[0])).equals(bytes)).toBe(true)
      expect(await world.everything()).toEqual(['folder/file'])
    })

    test.each(NAMES.filter((name) => !refused.includes(name)))('keeps the name %j as it is', async (name) => {
      const path = `${name}/${name}`
      const file = await store(world.storage, path, pattern(100))
      expect(file.name).toBe(path)
      expect(await namesOf(world.storage)).toEqual([path])
      expect(await namesOf(world.storage, name)).toEqual([path])
      expect(await readAll(world.storage, file)).toEqual(pattern(100))
      await world.storage.remove(file)
      expect(await world.everything()).toEqual([])
    })

    test('hands on a body that was altered on its way, for whoever knows its hash', async () => {
      await world.plant('file', pattern(100))
      world.faults.next('read', { kind: 'corrupt' })
      const read = await world.storage.read({ name: 'file' }, { offset: 0, length: 100 }).catch(() => undefined)
      if (read) expect(read).not.toEqual(pattern(100))
      expect(await world.storage.read({ name: 'file' }, { offset: 0, length: 100 })).toEqual(pattern(100))
    })

    test('an abort that meets a fault leaves nothing either', async () => {
      const write = await world.storage.begin('file', 2 * world.storage.partBytes)
      await world.storage.put(write, 0, pattern(world.storage.partBytes))
      world.faults.next('abort', BUSY)
      await world.storage.abort(write)
      expect(await world.everything()).toEqual([])
    })
  })
}

async function putAll(storage: Storage, write: Parameters<Storage['put']>[0], parts: readonly Part[]): Promise<void> {
  for (const { offset, part } of parts) await storage.put(write, offset, part)
}
