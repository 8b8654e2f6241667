import * as nodeFs from 'node:fs/promises'
import { mkdir, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openFolder } from '../../agent/storage/folder.ts'
import { realFs, type FolderFs } from '../../agent/storage/folder-paths.ts'
import { merge } from '../../agent/storage/ranges.ts'
import { describeHuge } from '../conformance/storage-huge.ts'
import type { StorageHarness } from '../conformance/storage-world.ts'
import { describeStorage } from '../conformance/storage.ts'
import { writeSparse } from '../servers/sparse-file.ts'
import { pattern } from '../pattern.ts'
import { handClock } from './hand-clock.ts'
import { everythingIn, filesIn, linkFolder, random, type LinkedFolder } from './linked-folder.ts'

async function openHarness(fs?: FolderFs): Promise<StorageHarness & { readonly root: string }> {
  const linked = await linkFolder(fs)
  const { root } = linked
  return {
    root,
    storage: linked.storage,
    reopen: () => linked.open(),
    async plant(name, bytes) {
      await mkdir(dirname(join(root, name)), { recursive: true })
      await writeFile(join(root, name), bytes)
    },
    uproot: (name) => rm(join(root, name)),
    everything: () => filesIn(root),
    dispose: () => linked.close(),
  }
}

/** A disk with room for anything, as far as it tells: a sparse file needs none of it. */
const roomyFs: FolderFs = {
  ...realFs,
  statfs: (async (path) => Object.assign(await realFs.statfs(path), { bavail: 2 ** 40 })) as FolderFs['statfs'],
}

describeStorage('a folder', () => openHarness())
describeHuge('a folder', async () => {
  const harness = await openHarness(roomyFs)
  const { root } = harness
  return { ...harness, plantContent: async (name, content, marks) => writeSparse(join(root, name), content, marks) }
})

describe('a linked folder', () => {
  let linked: LinkedFolder
  beforeEach(async () => {
    linked = await linkFolder()
  })
  afterEach(() => linked.close())

  const outside = { code: 'path-outside' }
  const outsideUntouched = async (): Promise<void> =>
    expect(await everythingIn(join(linked.base, 'outside'))).toEqual(['secret'])

  test('follows a link that stays inside', async () => {
    await mkdir(join(linked.root, 'real'))
    await writeFile(join(linked.root, 'real/file'), 'inside')
    await symlink('real', join(linked.root, 'folder'))
    await symlink('real/file', join(linked.root, 'link'))
    expect(Buffer.from(await linked.storage.read({ name: 'folder/file' }, { offset: 0, length: 6 })).toString()).toBe(
      'inside',
    )
    expect(Buffer.from(await linked.storage.read({ name: 'link' }, { offset: 0, length: 6 })).toString()).toBe('inside')
    expect((await linked.storage.list()).files.map(({ name }) => name)).toEqual(['folder/file', 'link', 'real/file'])
  })

  test('refuses a link that leaves it, to a file or to a folder, whatever is asked', async () => {
    await symlink('../outside', join(linked.root, 'folder'))
    await symlink(join(linked.base, 'outside/secret'), join(linked.root, 'file'))
    await expect(linked.storage.stat({ name: 'file' })).rejects.toMatchObject(outside)
    await expect(linked.storage.read({ name: 'folder/secret' }, { offset: 0, length: 1 })).rejects.toMatchObject(
      outside,
    )
    await expect(linked.storage.begin('folder/new', 1)).rejects.toMatchObject(outside)
    await expect(linked.storage.remove({ name: 'folder/secret' })).rejects.toMatchObject(outside)
    await expect(linked.storage.list({ under: 'folder' })).rejects.toMatchObject(outside)
    expect(await linked.storage.list()).toMatchObject({
      files: [],
      refused: [
        { name: 'file', problem: 'path-outside' },
        { name: 'folder', problem: 'path-outside' },
      ],
    })
    await outsideUntouched()
  })

  test('refuses a link that appears between begin and commit', async () => {
    const write = await linked.storage.begin('folder/sub/file', 3)
    await linked.storage.put(write, 0, pattern(3))
    await symlink('../outside', join(linked.root, 'folder'))
    await expect(linked.storage.commit(write)).rejects.toMatchObject(outside)
    await outsideUntouched()
    await rm(join(linked.root, 'folder'))
    expect(await linked.storage.commit(write)).toMatchObject({ name: 'folder/sub/file' })
  })

  test('refuses to keep unfinished files behind a link', async () => {
    await symlink('../outside', join(linked.root, '.raincheck-partial'))
    await expect(linked.storage.begin('file', 3)).rejects.toMatchObject(outside)
    await outsideUntouched()
  })

  test('refuses a part when the unfinished files were moved away behind a link', async () => {
    const write = await linked.storage.begin('file', 3)
    await rename(join(linked.root, '.raincheck-partial'), join(linked.base, 'outside/partial'))
    await symlink('../outside/partial', join(linked.root, '.raincheck-partial'))
    await expect(linked.storage.put(write, 0, pattern(3))).rejects.toMatchObject(outside)
  })

  test('keeps its own folder for unfinished files from everybody', async () => {
    await linked.storage.begin('file', 3)
    for (const name of ['.raincheck-partial', '.raincheck-partial/x', '.Raincheck-Partial/x']) {
      await expect(linked.storage.stat({ name })).rejects.toMatchObject(outside)
      await expect(linked.storage.begin(name, 1)).rejects.toMatchObject(outside)
    }
  })

  test('walks a circle of links once, and skips what is no file', async () => {
    await mkdir(join(linked.root, 'a/b'), { recursive: true })
    await symlink('../..', join(linked.root, 'a/b/up'))
    await symlink('nowhere', join(linked.root, 'dangling'))
    await symlink('circle', join(linked.root, 'circle'))
    await writeFile(join(linked.root, 'a/file'), 'x')
    const { files } = await linked.storage.list()
    expect(files.map(({ name }) => name)).toEqual(['a/file'])
    await expect(linked.storage.stat({ name: 'circle' })).rejects.toMatchObject(outside)
    await expect(linked.storage.stat({ name: 'dangling' })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('refuses names on disk that are no names, and lists the rest', async () => {
    await writeFile(Buffer.concat([Buffer.from(`${linked.root}/`), Buffer.from([0xff, 0xfe])]), 'x')
    await writeFile(join(linked.root, 'back\\slash'), 'x')
    await writeFile(join(linked.root, 'good'), 'x')
    const { files, refused } = await linked.storage.list()
    expect(files.map(({ name }) => name)).toEqual(['good'])
    expect(refused).toHaveLength(2)
  })

  test('lists more files than a page holds, each once', async () => {
    const names = Array.from({ length: 5000 }, (_, i) => `folder ${i % 7}/${i}`)
    for (let i = 0; i < 7; i++) await mkdir(join(linked.root, `folder ${i}`))
    await Promise.all(names.map((name) => writeFile(join(linked.root, name), '')))
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const page = await linked.storage.list(cursor === undefined ? {} : { cursor })
      listed.push(...page.files.map(({ name }) => name))
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(listed.toSorted()).toEqual(names.toSorted())
    expect(new Set(listed).size).toBe(listed.length)
  })

  test('notices a file that shrinks, grows or changes in place while it is open', async () => {
    const file = join(linked.root, 'file')
    const changes = [() => truncate(file, 10), () => writeFile(file, pattern(5000, 9)), () => utimes(file, 1, 1)]
    for (const change of changes) {
      await writeFile(file, pattern(5000))
      const { version } = await linked.storage.stat({ name: 'file' })
      const read = (): Promise<unknown> =>
        linked.storage.read({ name: 'file', version }, { offset: 4000, length: 1000 })
      await read()
      await change()
      await expect(read()).rejects.toMatchObject({ code: 'content-changed' })
    }
  })

  test('goes on to serve the pinned content, or none, after another file took its name', async () => {
    await writeFile(join(linked.root, 'file'), pattern(5000))
    const { version } = await linked.storage.stat({ name: 'file' })
    await linked.storage.read({ name: 'file', version }, { offset: 0, length: 1 })
    await writeFile(join(linked.root, 'other'), pattern(5000, 2))
    await rename(join(linked.root, 'other'), join(linked.root, 'file'))
    const outcome = await linked.storage
      .read({ name: 'file', version }, { offset: 0, length: 5000 })
      .catch((error: unknown) => error)
    if (outcome instanceof Uint8Array) expect(outcome).toEqual(pattern(5000))
    else expect(outcome).toMatchObject({ code: 'content-changed' })
    expect(await linked.storage.read({ name: 'file' }, { offset: 0, length: 5000 })).toEqual(pattern(5000, 2))
  })

  test('works where /proc is not there to ask', async () => {
    const readlinkSync = () => {
      throw new Error('ENOENT')
    }
    const other = await linked.open({ ...realFs, readlinkSync })
    await symlink('../outside', join(linked.root, 'out'))
    const write = await other.begin('a/b/file', 5)
    await other.put(write, 0, pattern(5))
    const file = await other.commit(write)
    expect(await other.read(file, { offset: 0, length: 5 })).toEqual(pattern(5))
    await expect(other.stat({ name: 'out/secret' })).rejects.toMatchObject(outside)
    await expect(other.begin('out/new', 1)).rejects.toMatchObject(outside)
    await outsideUntouched()
  })

  test('is linked only when it is a folder that exists', async () => {
    const open = (folder: string) => openFolder(folder, { clock: handClock(), random })
    await expect(open(join(linked.base, 'nothing'))).rejects.toMatchObject({ code: 'not-found' })
    await expect(open(join(linked.base, 'outside/secret'))).rejects.toMatchObject({ code: 'not-found' })
    await expect(open('relative')).rejects.toMatchObject({ code: 'bad-request' })
  })

  test('keeps few files open, and none when idle', async () => {
    const clock = handClock()
    const files = countingFiles()
    const counted = await openFolder(linked.root, { clock, random }, files.fs)
    for (let i = 0; i < 200; i++) await writeFile(join(linked.root, String(i)), pattern(10))
    for (const file of (await counted.list()).files) await counted.read(file, { offset: 0, length: 10 })
    expect(files.most()).toBeLessThan(70)
    expect(files.open()).toBe(64)
    clock.advance(60_000)
    await expect.poll(() => files.open()).toBe(0)
    await counted.close()
  })

  test('keeps no file open once it is closed, also of what comes later', async () => {
    const files = countingFiles()
    const counted = await linked.open(files.fs)
    await writeFile(join(linked.root, 'file'), pattern(10))
    const { version } = await counted.stat({ name: 'file' })
    const read = (): Promise<Uint8Array> => counted.read({ name: 'file', version }, { offset: 0, length: 10 })
    const reading = read()
    await counted.close()
    expect(await reading).toEqual(pattern(10))
    expect(files.open()).toBe(0)
    expect(await read()).toEqual(pattern(10))
    const write = await counted.begin('other', 10)
    await counted.put(write, 0, pattern(10))
    expect(files.open()).toBe(0)
  })
})

/** Counts the files that are open. */
function countingFiles() {
  let [open, most] = [0, 0]
  const fs: FolderFs = {
    ...realFs,
    open: async (...args: Parameters<typeof nodeFs.open>) => {
      const handle = await nodeFs.open(...args)
      most = Math.max(most, ++open)
      const close = handle.close.bind(handle)
      handle.close = () => close().finally(() => open--)
      return handle
    },
  }
  return { fs, open: () => open, most: () => most }
}

test('merges ranges that touch or overlap', () => {
  const ranges = [
    [10, 5],
    [0, 3],
    [3, 2],
    [12, 1],
    [20, 0],
    [14, 3],
  ].map(([offset, length]) => ({ offset, length }) as { offset: number; length: number })
  expect(merge(ranges)).toEqual([
    { offset: 0, length: 5 },
    { offset: 10, length: 7 },
  ])
})
