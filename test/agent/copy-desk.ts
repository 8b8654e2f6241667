/** An album on one disk, another disk for its copies, and the store of the agent that makes them. */
import { setImmediate } from 'node:timers/promises'
import { expect } from 'vitest'
import { createCopies, type Copies, type Copy } from '../../agent/copy/copies.ts'
import type { Links } from '../../agent/storage/links.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { pattern } from '../pattern.ts'
import { createDisk } from '../simulation/memory-storage.ts'
import { handClock } from './hand-clock.ts'
import { random } from './linked-folder.ts'

const FILES = { 'album/one': 3_000, 'album/two/ü': 50_000, 'album/two/empty': 0, 'album/z': 70_000 } as const

export type CopyDesk = ReturnType<typeof openCopyDesk>

export function openCopyDesk() {
  const [source, target] = [createDisk(), createDisk()]
  for (const [name, bytes] of Object.entries(FILES)) source.plant(name, pattern(bytes))

  /** As a process makes them. */
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
    return createCopies({ store: desk.store, environment }, { open } as Links, wake)
  }

  async function until(copies: Copies, id: string, isThere: (copy: Copy) => boolean): Promise<Copy> {
    for (;;) {
      const copy = (await copies.get(id)) as Copy
      if (isThere(copy)) return copy
      await setImmediate()
    }
  }

  function expectAll(folder: string): void {
    const names = Object.keys(FILES).map((name) => name.replace('album', folder))
    expect([...target.files.keys()].filter((name) => name.startsWith(`${folder}/`)).toSorted()).toEqual(
      names.toSorted(),
    )
    for (const [name, bytes] of Object.entries(FILES)) {
      expect(new Uint8Array(target.files.get(name.replace('album', folder))?.bytes ?? [])).toEqual(pattern(bytes))
    }
  }

  const store: Store = openSqlite(':memory:')
  const desk = { source, target, store, copiesInto, until, expectAll }
  return desk
}
