import * as nodeFs from 'node:fs/promises'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { folderProblem, openFolder } from '../../agent/storage/folder.ts'
import { realFs, type FolderFs } from '../../agent/storage/folder-paths.ts'
import { merge } from '../../agent/storage/folder-writes.ts'
import type { Storage, WriteRef } from '../../agent/storage/storage.ts'
import type { Random } from '../../protocol/environment.ts'
import { describeStorage } from '../conformance/storage.ts'
import { pattern } from '../pattern.ts'
import { handClock } from './hand-clock.ts'
import { PART, partAt } from './storage-folder-writer.ts'

const random: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) }

async function everythingIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).toSorted()
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => !entry.isDirectory())
  return files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).toSorted()
}

/** Opens folders, and closes them all in the end. */
function openings() {
  const opened: Storage[] = []
  return {
    async open(folder: string, fs?: FolderFs): Promise<Storage> {
      const storage = await openFolder(folder, { clock: handClock(), random }, fs)
      opened.push(storage)
      return storage
    },
    closeAll: async () => void (await Promise.all(opened.map((storage) => storage.close()))),
  }
}

describeStorage('a folder', async () => {
  const root = await mkdtemp(join(tmpdir(), 'raincheck-folder-'))
  const opened = openings()
  return {
    storage: await opened.open(root),
    reopen: () => opened.open(root),
    async plant(name, bytes) {
      await mkdir(dirname(join(root, name)), { recursive: true })
      await writeFile(join(root, name), bytes)
    },
    uproot: (name) => rm(join(root, name)),
    everything: () => filesIn(root),
    async dispose() {
      await opened.closeAll()
      await rm(root, { recursive: true })
    },
  }
})

describe('a linked folder', () => {
  let base: string
  let root: string
  let storage: Storage
  let opened: ReturnType<typeof openings>
  const reopen = (fs?: FolderFs): Promise<Storage> => opened.open(root, fs)
  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'raincheck-folder-'))
    root = join(base, 'root')
    await mkdir(root)
    await mkdir(join(base, 'outside'))
    await writeFile(join(base, 'outside/secret'), 'secret')
    opened = openings()
    storage = await reopen()
  })
  afterEach(async () => {
    await opened.closeAll()
    await rm(base, { recursive: true, force: true })
  })

  const outside = { code: 'path-outside' }
  const outsideUntouched = async (): Promise<void> =>
    expect(await everythingIn(join(base, 'outside'))).toEqual(['secret'])

  test('follows a link that stays inside', async () => {
    await mkdir(join(root, 'real'))
    await writeFile(join(root, 'real/file'), 'inside')
    await symlink('real', join(root, 'folder'))
    await symlink('real/file', join(root, 'link'))
    expect(Buffer.from(await storage.read({ name: 'folder/file' }, { offset: 0, length: 6 })).toString()).toBe('inside')
    expect(Buffer.from(await storage.read({ name: 'link' }, { offset: 0, length: 6 })).toString()).toBe('inside')
    expect((await storage.list()).files.map(({ name }) => name)).toEqual(['folder/file', 'link', 'real/file'])
  })

  test('refuses a link that leaves it, to a file or to a folder, whatever is asked', async () => {
    await symlink('../outside', join(root, 'folder'))
    await symlink(join(base, 'outside/secret'), join(root, 'file'))
    await expect(storage.stat({ name: 'file' })).rejects.toMatchObject(outside)
    await expect(storage.read({ name: 'folder/secret' }, { offset: 0, length: 1 })).rejects.toMatchObject(outside)
    await expect(storage.begin('folder/new', 1)).rejects.toMatchObject(outside)
    await expect(storage.remove({ name: 'folder/secret' })).rejects.toMatchObject(outside)
    await expect(storage.list({ under: 'folder' })).rejects.toMatchObject(outside)
    expect(await storage.list()).toMatchObject({
      files: [],
      refused: [
        { name: 'file', problem: 'path-outside' },
        { name: 'folder', problem: 'path-outside' },
      ],
    })
    await outsideUntouched()
  })

  test('refuses a link that appears between begin and commit', async () => {
    const write = await storage.begin('folder/sub/file', 3)
    await storage.put(write, 0, pattern(3))
    await symlink('../outside', join(root, 'folder'))
    await expect(storage.commit(write)).rejects.toMatchObject(outside)
    await outsideUntouched()
    await rm(join(root, 'folder'))
    expect(await storage.commit(write)).toMatchObject({ name: 'folder/sub/file' })
  })

  test('refuses to keep unfinished files behind a link', async () => {
    await symlink('../outside', join(root, '.raincheck-partial'))
    await expect(storage.begin('file', 3)).rejects.toMatchObject(outside)
    await outsideUntouched()
  })

  test('refuses a part when the unfinished files were moved away behind a link', async () => {
    const write = await storage.begin('file', 3)
    await rename(join(root, '.raincheck-partial'), join(base, 'outside/partial'))
    await symlink('../outside/partial', join(root, '.raincheck-partial'))
    await expect(storage.put(write, 0, pattern(3))).rejects.toMatchObject(outside)
  })

  test('keeps its own folder for unfinished files from everybody', async () => {
    await storage.begin('file', 3)
    for (const name of ['.raincheck-partial', '.raincheck-partial/x', '.Raincheck-Partial/x']) {
      await expect(storage.stat({ name })).rejects.toMatchObject(outside)
      await expect(storage.begin(name, 1)).rejects.toMatchObject(outside)
    }
  })

  test('walks a circle of links once, and skips what is no file', async () => {
    await mkdir(join(root, 'a/b'), { recursive: true })
    await symlink('../..', join(root, 'a/b/up'))
    await symlink('nowhere', join(root, 'dangling'))
    await symlink('circle', join(root, 'circle'))
    await writeFile(join(root, 'a/file'), 'x')
    const { files } = await storage.list()
    expect(files.map(({ name }) => name)).toEqual(['a/file'])
    await expect(storage.stat({ name: 'circle' })).rejects.toMatchObject(outside)
    await expect(storage.stat({ name: 'dangling' })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('refuses names on disk that are no names, and lists the rest', async () => {
    await writeFile(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe])]), 'x')
    await writeFile(join(root, 'back\\slash'), 'x')
    await writeFile(join(root, 'good'), 'x')
    const { files, refused } = await storage.list()
    expect(files.map(({ name }) => name)).toEqual(['good'])
    expect(refused).toHaveLength(2)
  })

  test('lists more files than a page holds, each once', async () => {
    const names = Array.from({ length: 5000 }, (_, i) => `folder ${i % 7}/${i}`)
    for (let i = 0; i < 7; i++) await mkdir(join(root, `folder ${i}`))
    await Promise.all(names.map((name) => writeFile(join(root, name), '')))
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const page = await storage.list(cursor === undefined ? {} : { cursor })
      listed.push(...page.files.map(({ name }) => name))
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(listed.toSorted()).toEqual(names.toSorted())
    expect(new Set(listed).size).toBe(listed.length)
  })

  test('notices a file that shrinks, grows or changes in place while it is open', async () => {
    const file = join(root, 'file')
    const changes = [() => truncate(file, 10), () => writeFile(file, pattern(5000, 9)), () => utimes(file, 1, 1)]
    for (const change of changes) {
      await writeFile(file, pattern(5000))
      const { version } = await storage.stat({ name: 'file' })
      const read = (): Promise<unknown> => storage.read({ name: 'file', version }, { offset: 4000, length: 1000 })
      await read()
      await change()
      await expect(read()).rejects.toMatchObject({ code: 'content-changed' })
    }
  })

  test('goes on to serve the pinned content, or none, after another file took its name', async () => {
    await writeFile(join(root, 'file'), pattern(5000))
    const { version } = await storage.stat({ name: 'file' })
    await storage.read({ name: 'file', version }, { offset: 0, length: 1 })
    await writeFile(join(root, 'other'), pattern(5000, 2))
    await rename(join(root, 'other'), join(root, 'file'))
    const outcome = await storage
      .read({ name: 'file', version }, { offset: 0, length: 5000 })
      .catch((error: unknown) => error)
    if (outcome instanceof Uint8Array) expect(outcome).toEqual(pattern(5000))
    else expect(outcome).toMatchObject({ code: 'content-changed' })
    expect(await storage.read({ name: 'file' }, { offset: 0, length: 5000 })).toEqual(pattern(5000, 2))
  })

  test('takes a line of the journal that was cut short for what it says, or not at all', async () => {
    const write = await storage.begin('file', 100)
    await storage.put(write, 0, pattern(10))
    const [journal] = (await readdir(join(root, '.raincheck-partial'))).filter((name) => name.endsWith('.journal'))
    const path = join(root, '.raincheck-partial', journal as string)
    await writeFile(path, `${await readFile(path, 'utf8')}\n10 9`)
    expect(await storage.written(write)).toEqual([{ offset: 0, length: 10 }])
    await storage.put(write, 50, pattern(10))
    expect(await storage.written(write)).toEqual([
      { offset: 0, length: 19 },
      { offset: 50, length: 10 },
    ])
  })

  test('keeps every part that was acknowledged when its process is killed, again and again', async () => {
    const parts = 400
    const write = await storage.begin('file', parts * PART)
    let next = 0
    for (let kills = 1; kills <= 5; kills++) next = (await putUntilKilled(root, write, next, kills * 15)) + 1
    const written = await storage.written(write)
    expect(written).toHaveLength(1)
    expect(written[0]?.length).toBeGreaterThanOrEqual(next * PART)
    for (let index = next; index < parts; index++) await storage.put(write, index * PART, partAt(index))
    const file = await storage.commit(write)
    for (let index = 0; index < parts; index++) {
      const bytes = await storage.read(file, { offset: index * PART, length: PART })
      expect(Buffer.from(bytes).equals(partAt(index))).toBe(true)
    }
  })

  test('finishes a commit that a crash cut short at any step', async () => {
    for (const step of ['link', 'rename', 'unlink', 'rmdir'] as const) {
      for (const outcome of ['done', 'not done'] as const) {
        const write = await storage.begin(`folder/${step}`, 5)
        await storage.put(write, 0, pattern(5))
        const crash = async (...names: [string, string]): Promise<void> => {
          if (outcome === 'done') await (nodeFs[step] as (...names: string[]) => Promise<void>)(...names)
          throw new Error('crash')
        }
        const crashing = await reopen({ ...realFs, [step]: crash, ...(step === 'rename' && { link: refuseLinks }) })
        await crashing.commit(write).catch(() => undefined)
        const file = await (await reopen()).commit(write)
        expect(await storage.read(file, { offset: 0, length: 5 })).toEqual(pattern(5))
        await storage.remove(file)
      }
    }
    expect((await filesIn(root)).filter((name) => name.startsWith('.raincheck'))).toEqual([])
  })

  test('commits without hard links too, and overwrites nothing', async () => {
    const other = await reopen({ ...realFs, link: refuseLinks })
    await writeFile(join(root, 'file'), 'mine')
    const write = await other.begin('file', 5)
    await other.put(write, 0, pattern(5))
    expect(await other.commit(write)).toMatchObject({ name: 'file (2)' })
    expect(await other.commit(write)).toMatchObject({ name: 'file (2)' })
    expect(await readFile(join(root, 'file'), 'utf8')).toBe('mine')
    expect(await everythingIn(root)).toEqual(['file', 'file (2)'])
  })

  test('works where /proc is not there to ask', async () => {
    const readlinkSync = () => {
      throw new Error('ENOENT')
    }
    const other = await reopen({ ...realFs, readlinkSync })
    await symlink('../outside', join(root, 'out'))
    const write = await other.begin('a/b/file', 5)
    await other.put(write, 0, pattern(5))
    const file = await other.commit(write)
    expect(await other.read(file, { offset: 0, length: 5 })).toEqual(pattern(5))
    await expect(other.stat({ name: 'out/secret' })).rejects.toMatchObject(outside)
    await expect(other.begin('out/new', 1)).rejects.toMatchObject(outside)
    await outsideUntouched()
  })

  test('says that the disk is full, and keeps what was written', async () => {
    const write = await storage.begin('file', 20)
    await storage.put(write, 0, pattern(10))
    const full = await reopen({ ...realFs, open: openFull })
    await expect(full.put(write, 10, pattern(10))).rejects.toMatchObject({ code: 'storage-full' })
    expect(await storage.written(write)).toEqual([{ offset: 0, length: 10 }])
    await storage.put(write, 10, pattern(10))
    expect(await storage.commit(write)).toMatchObject({ name: 'file' })
  })

  test('refuses at once a file that the disk has no room for', async () => {
    await expect(storage.begin('file', 2 ** 52)).rejects.toMatchObject({ code: 'storage-full' })
    expect(await everythingIn(root)).toEqual([])
  })

  test('says that the folder cannot be written', async () => {
    const readOnly = await reopen({ ...realFs, mkdir: failing('EROFS') })
    await expect(readOnly.begin('file', 1)).rejects.toMatchObject({ code: 'storage-read-only' })
    expect(await everythingIn(root)).toEqual([])
  })

  test('knows a folder that is gone from a file that is gone', async () => {
    await writeFile(join(root, 'file'), 'x')
    const { version } = await storage.stat({ name: 'file' })
    await rename(root, join(base, 'elsewhere'))
    const outcome = storage.read({ name: 'file', version }, { offset: 0, length: 1 })
    await expect(outcome).rejects.toMatchObject({ code: 'storage-unavailable' })
    await expect(storage.list()).rejects.toMatchObject({ code: 'storage-unavailable' })
    await expect(storage.begin('file', 1)).rejects.toMatchObject({ code: 'storage-unavailable' })
    await mkdir(root)
    await expect(storage.stat({ name: 'file' })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('names what the operating system says', () => {
    const named = (code: string, way: 'read' | 'write') =>
      folderProblem(Object.assign(new Error(code), { code }), way).code
    expect(['ENOSPC', 'EDQUOT'].map((code) => named(code, 'write'))).toEqual(['storage-full', 'storage-full'])
    expect(['EROFS', 'EACCES', 'EPERM'].map((code) => named(code, 'write'))).toEqual(Array(3).fill('storage-read-only'))
    expect(named('EACCES', 'read')).toBe('forbidden')
    expect(['EIO', 'EMFILE', 'ETIMEDOUT'].map((code) => named(code, 'read'))).toEqual(
      Array(3).fill('storage-unavailable'),
    )
  })

  test('is linked only when it is a folder that exists', async () => {
    const open = (folder: string) => openFolder(folder, { clock: handClock(), random })
    await expect(open(join(base, 'nothing'))).rejects.toMatchObject({ code: 'not-found' })
    await expect(open(join(base, 'outside/secret'))).rejects.toMatchObject({ code: 'not-found' })
    await expect(open('relative')).rejects.toMatchObject({ code: 'bad-request' })
  })

  test('keeps few files open, and none when idle', async () => {
    const clock = handClock()
    let opened = 0
    let most = 0
    const counting: FolderFs = {
      ...realFs,
      open: async (...args: Parameters<typeof nodeFs.open>) => {
        const handle = await nodeFs.open(...args)
        most = Math.max(most, ++opened)
        const close = handle.close.bind(handle)
        handle.close = () => close().finally(() => opened--)
        return handle
      },
    }
    const counted = await openFolder(root, { clock, random }, counting)
    for (let i = 0; i < 200; i++) await writeFile(join(root, String(i)), pattern(10))
    const { files } = await counted.list()
    for (const file of files) await counted.read(file, { offset: 0, length: 10 })
    expect(most).toBeLessThan(70)
    expect(opened).toBe(64)
    clock.advance(60_000)
    await expect.poll(() => opened).toBe(0)
    await counted.close()
  })
})

/** @returns the last part that was acknowledged */
async function putUntilKilled(root: string, write: WriteRef, first: number, parts: number): Promise<number> {
  const script = fileURLToPath(new URL('./storage-folder-writer.ts', import.meta.url))
  const child = spawn(process.execPath, [script, root, JSON.stringify(write), String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  let last = first - 1
  for await (const line of createInterface(child.stdout)) {
    last = Number(line)
    if (last >= first + parts) child.kill('SIGKILL')
  }
  await exited
  return last
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

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }))
const refuseLinks = failing('EPERM')

/** A disk that takes no more bytes. */
const openFull = async (...args: Parameters<typeof nodeFs.open>) => {
  const handle = await nodeFs.open(...args)
  handle.write = failing('ENOSPC')
  return handle
}
