/** A process that dies at any request of a write, before or after its effect, is followed by another that ends the write. */
import { expect, test } from 'vitest'
import { openDrive } from '../../agent/storage/drive.ts'
import { openDropbox } from '../../agent/storage/dropbox.ts'
import type { DriverContext } from '../../agent/storage/open.ts'
import type { ByteRange, Storage, WriteRef } from '../../agent/storage/storage.ts'
import type { Store } from '../../protocol/store.ts'
import { namesOf, partsOf, readAll, thawed, type StorageHarness } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { DRIVE_CLIENT } from '../servers/drive.ts'
import { DROPBOX_CLIENT } from '../servers/dropbox.ts'
import { openDriveWorld } from './drive-world.ts'
import { openDropboxWorld } from './dropbox-world.ts'

interface World extends StorageHarness {
  readonly context: DriverContext
}

const KINDS: Readonly<Record<string, readonly [() => Promise<World>, (context: DriverContext) => Promise<Storage>]>> = {
  Drive: [openDriveWorld, (context) => openDrive({ clientId: DRIVE_CLIENT.id }, context)],
  Dropbox: [openDropboxWorld, (context) => openDropbox({ appKey: DROPBOX_CLIENT.id }, context)],
}

const DEAD = new Error('The process is dead.')

/** The world of a process whose `last`th request is its last. `isDone`: that one has its effect. */
function mortal(context: DriverContext, last: number, isDone: boolean) {
  let left = last
  let isDead = false
  const unlessDead =
    <A extends readonly unknown[], T>(work: (...words: A) => Promise<T>) =>
    async (...words: A): Promise<T> => {
      if (isDead) throw DEAD
      return work(...words)
    }
  const { environment } = context
  const store: Store = {
    get: unlessDead((...words) => context.store.get(...words)),
    list: unlessDead((...words) => context.store.list(...words)),
    write: unlessDead((...words) => context.store.write(...words)),
    close: () => undefined,
  }
  async function transport(request: Request): Promise<Response> {
    if (isDead || left-- > 0) {
      if (isDead) throw DEAD
      return environment.transport(request)
    }
    isDead = true
    if (isDone) await (await environment.transport(request)).body?.cancel()
    throw DEAD
  }
  const clock = {
    ...environment.clock,
    sleep: unlessDead((ms: number, signal?: AbortSignal) => environment.clock.sleep(ms, signal)),
  }
  return {
    context: { ...context, store, environment: { ...environment, clock, transport } },
    get died() {
      return isDead
    },
  }
}

/** Drive takes any multiple of 256 KiB: little ones are as good to die between. */
const small = (storage: Storage): Storage =>
  storage.writes === 'in-order' ? { ...storage, partBytes: 256 * 1024 } : storage

const covers = (held: readonly ByteRange[], offset: number): boolean =>
  held.some((range) => offset >= range.offset && offset < range.offset + range.length)

/** What a download does: after a crash the storage is asked what it has. */
async function finish(storage: Storage, write: WriteRef, bytes: Uint8Array): Promise<void> {
  const held = await storage.written(write)
  const parts = partsOf(small(storage), bytes)
  const order = storage.writes === 'any-order' ? parts.toReversed() : parts
  for (const { offset, part } of order) if (!covers(held, offset)) await storage.put(write, offset, part)
  const file = await storage.commit(write)
  expect(file.name).toBe('folder/film (2).bin')
}

test.each(Object.entries(KINDS))(
  '%s: a write goes on after a death at any request',
  async (_, [openWorld, openDriver]) => {
    for (const isDone of [false, true]) {
      for (let last = 0, over = false; !over; last++) {
        const world = await openWorld()
        try {
          await world.plant('folder/film.bin', pattern(3))
          const bytes = pattern(small(world.storage).partBytes + 17)
          const write = await world.storage.begin('folder/film.bin', bytes.length)
          const life = mortal(world.context, last, isDone)
          await finish(await openDriver(life.context), write, bytes).catch(() => undefined)
          over = !life.died
          const heir = await openDriver(world.context)
          await finish(heir, thawed(write), bytes)
          const names = ['folder/film (2).bin', 'folder/film.bin']
          expect([last, await world.everything(), await namesOf(heir)]).toEqual([last, names, names])
          expect(Buffer.from(await readAll(heir, { name: 'folder/film (2).bin' })).equals(bytes)).toBe(true)
          await heir.close()
        } finally {
          await world.dispose()
        }
      }
    }
  },
)
