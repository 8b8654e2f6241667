import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copyFile, type CopyTask } from '../../agent/copy/copy-file.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { readAll, type CloudHarness } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import type { CopyReferences } from '../servers/dropbox.ts'
import { openDriveWorld } from './drive-world.ts'
import { openDropboxWorld, type DropboxWorld } from './dropbox-world.ts'
import { linkBucket } from './linked-bucket.ts'

const KINDS = {
  s3: () => linkBucket(),
  drive: () => openDriveWorld(),
  dropbox: () => openDropboxWorld(),
} as const
type Kind = keyof typeof KINDS

const PAIRS = (Object.keys(KINDS) as Kind[]).flatMap((from) =>
  (Object.keys(KINDS) as Kind[]).map((to) => [from, to] as const),
)

async function taskOf(source: Storage, target: Storage, name: string): Promise<CopyTask> {
  const { size, version } = await source.stat({ name })
  const write = await target.begin(`copies/${name}`, size)
  return {
    source,
    target,
    file: { name, version },
    write,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  }
}

describe.each(PAIRS.filter(([from, to]) => from !== to))('from %s to %s', (from, to) => {
  let source: CloudHarness
  let target: CloudHarness
  beforeEach(async () => {
    ;[source, target] = await Promise.all([KINDS[from](), KINDS[to]()])
  })
  afterEach(() => Promise.all([source.dispose(), target.dispose()]))

  test('a file is copied without a hop through a disk, and on after a stop', async () => {
    const bytes = pattern(5 * 8 * 1024 * 1024 + 17)
    await source.plant('film', bytes)
    const task = await taskOf(source.storage, target.storage, 'film')
    const stop = new AbortController()
    const begun = await copyFile({ ...task, signal: stop.signal, onProgress: (done) => done > 0 && stop.abort() })
    expect(begun).toBeUndefined()
    const [held] = await target.storage.written(task.write)
    expect(held?.length).toBeGreaterThan(0)
    const after = await target.reopen()
    const made = await copyFile({ ...task, target: after })
    expect(made?.name).toBe('copies/film')
    expect(made && Buffer.from(await readAll(after, made)).equals(bytes)).toBe(true)
    expect(await target.everything()).toEqual(['copies/film'])
  })

  test('faults of both on the way cost no byte', async () => {
    const bytes = pattern(3 * 8 * 1024 * 1024 - 5)
    await source.plant('film', bytes)
    source.faults.next('read', { kind: 'reset-reply', afterBytes: 100_000 })
    source.faults.next('read', { kind: 'truncate', bytes: 1000 })
    source.faults.next('read', { kind: 'refuse', why: 'rate', retryAfterS: 1 })
    target.faults.next('put', { kind: 'drop-reply' })
    target.faults.next('put', { kind: 'refuse', why: 'busy' })
    target.faults.next('commit', { kind: 'drop-reply' })
    const made = await copyFile(await taskOf(source.storage, target.storage, 'film'))
    expect(made && Buffer.from(await readAll(target.storage, made)).equals(bytes)).toBe(true)
    expect([source.faults.left, target.faults.left]).toEqual([0, 0])
  })
})

describe('from one Dropbox to another', () => {
  const bytes = pattern(20_000_000)
  let references: CopyReferences
  let source: DropboxWorld
  let target: DropboxWorld
  beforeEach(async () => {
    references = new Map()
    ;[source, target] = await Promise.all([openDropboxWorld({ references }), openDropboxWorld({ references })])
    await source.plant('film', bytes)
  })
  afterEach(() => Promise.all([source.dispose(), target.dispose()]))

  test('a copy reference moves the file, and no byte passes the agent', async () => {
    const made = await copyFile(await taskOf(source.storage, target.storage, 'film'))
    expect([source.server.traffic.out, target.server.traffic.in]).toEqual([0, 0])
    expect(made && Buffer.from(await readAll(target.storage, made)).equals(bytes)).toBe(true)
    expect(await target.everything()).toEqual(['copies/film'])
  })

  test('it is done once, though the reply is lost, and never over what is there', async () => {
    await target.plant('copies/film', pattern(5))
    const task = await taskOf(source.storage, target.storage, 'film')
    target.faults.next('commit', { kind: 'drop-reply' })
    expect(await copyFile(task)).toMatchObject({ name: 'copies/film (2)' })
    expect(await copyFile(task)).toMatchObject({ name: 'copies/film (2)' })
    expect(await target.everything()).toEqual(['copies/film', 'copies/film (2)'])
  })

  test('a file that changed since is not copied in its place', async () => {
    const task = await taskOf(source.storage, target.storage, 'film')
    await source.plant('film', pattern(20_000_000, 2))
    await expect(copyFile(task)).rejects.toMatchObject({ code: 'content-changed' })
    expect(await target.everything()).toEqual([])
  })

  test('a reference that Dropbox does not take is no obstacle: the bytes go through the agent', async () => {
    const task = await taskOf(source.storage, target.storage, 'film')
    const lend = async () => ({ provider: 'dropbox', reference: 'unknown', contentHash: '' })
    const made = await copyFile({ ...task, source: { ...source.storage, lend } })
    expect(made && Buffer.from(await readAll(target.storage, made)).equals(bytes)).toBe(true)
    expect(target.server.traffic.in).toBeGreaterThan(bytes.length - 1)
  })
})
